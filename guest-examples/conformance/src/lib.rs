//! One function for everything that the guest contract has, driven by commands in its elements. The tests beside each run it by
//! the test kit; the host's tests run the same scripts through the component.

pub mod ledger;
pub mod lookups;
pub mod shapes;
pub mod timers;

thalweg_udf::export!(
    "ledger" => ledger::Ledger,
    "timers" => timers::Timers,
    "buffer" => timers::Buffer,
    "lookups" => lookups::Lookups,
    "total" => shapes::Total,
    "walks" => shapes::Walks,
    combinefn "top" => shapes::Top,
    windowfn "sessions" => shapes::Sessions,
    windowfn "spans" => shapes::Spans,
    keyselector "first_word" => shapes::FirstWord,
);
