//! The refusals of this crate. A refusal is an [`Error`] of the domain *user* whose code begins with `PIPELINE_`.
//!
//! Codes of the translation: `PIPELINE_INVALID` (the proto contradicts itself), `PIPELINE_REQUIREMENT`,
//! `PIPELINE_TRANSFORM` (a URN that nobody can run), `PIPELINE_CODER`, `PIPELINE_FLATTEN_CODERS`, `PIPELINE_WINDOWING`,
//! `PIPELINE_TRIGGER`, `PIPELINE_ENVIRONMENT`, `PIPELINE_STATE`, `PIPELINE_SIDE_INPUT`, `PIPELINE_TEST_STREAM`.

use prost::Message;
use prost::bytes::Bytes;
use thalweg_core::error::Error;

pub use thalweg_core::error::Result;

/// A pipeline that we do not run, with what is wrong.
pub fn refuse(code: &'static str, message: impl Into<String>) -> Error {
    Error::user(code, message)
}

/// A pipeline whose parts do not fit together: the SDK's fault rather than the user's.
pub fn invalid(message: impl Into<String>) -> Error {
    refuse("PIPELINE_INVALID", message)
        .help("the SDK that built the pipeline made a proto that contradicts itself; report it there")
}

/// Decodes the payload of a transform, coder or function.
///
/// # Errors
/// `PIPELINE_INVALID` naming `owner` when the bytes are not such a message.
pub fn payload<M: Message + Default>(bytes: &Bytes, owner: &str) -> Result<M> {
    M::decode(bytes.clone()).map_err(|e| invalid(format!("the payload of {owner} cannot be read: {e}")))
}
