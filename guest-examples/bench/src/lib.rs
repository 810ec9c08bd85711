//! The user functions of the benchmarks W1 (`split`), W2 (`event`), W3 (`change`), W4 (`count`) and W5 (`join`), the identity
//! (`same`), and what stands before and in the groupings between topics (`pass`, `number`). The host runs them as a component and natively, from this one source.

mod change;
mod count;
mod event;
mod join;
mod number;
mod pass;
mod same;
mod split;

pub use change::Change;
pub use count::Count;
pub use event::Event;
pub use join::Join;
pub use number::Number;
pub use pass::Pass;
pub use same::Same;
pub use split::Split;

thalweg_udf::export!(
    "split" => Split,
    "event" => Event,
    "change" => Change,
    "count" => Count,
    "join" => Join,
    "same" => Same,
    "pass" => Pass,
    combinefn "number" => Number,
);
