//! Files: lines of text in ([`TextSource`]), JSON lines out ([`JsonLinesSink`]).
//!
//! In: paths and options the host has checked. Out: batches whose positions are byte offsets, and marks that are file lengths.

mod block;
mod error;
mod json_lines;
mod list;
mod position;
mod text;

pub use json_lines::{JsonLinesConfig, JsonLinesSink};
pub use list::FileList;
pub use text::{InvalidUtf8, LineElement, TextConfig, TextSource};
