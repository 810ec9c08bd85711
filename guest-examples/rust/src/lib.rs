//! The examples of `guest-examples/expected` in Rust, one file each. The example `parse` is a crate of its own: `flights/parse`.

pub mod alerts;
pub mod day_sessions;
pub mod enrich;
pub mod sessionize;
pub mod top_k;
pub mod word_count;

use serde::de::DeserializeOwned;
use thalweg_udf::Failure;

thalweg_udf::export!(
    "sessionize" => sessionize::Sessionize,
    combinefn "top_k" => top_k::TopK,
    "words" => word_count::Words,
    combinefn "sum" => word_count::Sum,
    "alerts" => alerts::Alerts,
    "enrich" => enrich::Enrich,
    windowfn "day_sessions" => day_sessions::DaySessions,
);

/// Reads the configuration; its defaults stand for what is not there.
fn config<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    let text = if text.is_empty() { "{}" } else { text };
    serde_json::from_str(text).map_err(|e| Failure::new("CONFIG", format!("the configuration is wrong: {e}")))
}

/// A number of a configuration that has to be larger than nothing.
fn positive(name: &str, number: i64) -> Result<i64, Failure> {
    if number > 0 { Ok(number) } else { Err(Failure::new("CONFIG", format!("{name} must be larger than 0"))) }
}
