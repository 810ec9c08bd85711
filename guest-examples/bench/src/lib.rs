//! The user functions of the benchmarks W1 (`split`), W2 (`event`), W3 (`change`), W4 (`count`) and W5 (`join`), and the identity
//! (`same`). The host runs them as a component and natively, from this one source.

mod change;
mod count;
mod event;
mod join;
mod same;
mod split;

pub use change::Change;
pub use count::Count;
pub use event::Event;
pub use join::Join;
pub use same::Same;
pub use split::Split;

thalweg_udf::export!(
    "split" => Split, "event" => Event, "change" => Change, "count" => Count, "join" => Join, "same" => Same
);
