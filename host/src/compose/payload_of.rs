//! Reading the JSON payload of a native transform, with its name in the message when it does not fit.

use serde::de::DeserializeOwned;
use thalweg_core::error::{Error, Result};

/// The payload as JSON.
///
/// # Errors
/// `NATIVE_PAYLOAD` when it is not of this form.
pub fn json<P: DeserializeOwned>(payload: &[u8], transform: &str) -> Result<P> {
    serde_json::from_slice(payload).map_err(|e| {
        Error::user("NATIVE_PAYLOAD", format!("the payload of {transform} cannot be read: {e}"))
            .help("make the pipeline with the version of Thalweg that runs it")
    })
}
