//! The user functions of the benchmarks W1 (`split`), W2 (`event`) and W4 (`count`). The host runs them as a component and
//! natively, from this one source.

mod count;
mod event;
mod split;

pub use count::Count;
pub use event::Event;
pub use split::Split;

thalweg_udf::export!("split" => Split, "event" => Event, "count" => Count);
