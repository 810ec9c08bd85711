//! What a store said last when it did not do what was asked: the library that speaks with it keeps little of that.

use crate::http::Failure;
use bytes::Bytes;
use hyper::Response;
use std::sync::{Mutex, PoisonError};

/// Bytes of what a store says that are kept for a message.
const SAID_MAX: usize = 300;

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// An answer that says no.
    Status {
        /// Of HTTP.
        status: u16,
        /// The store's own word, like `NoSuchBucket`.
        code: String,
        /// Its sentence.
        says: String,
    },
    /// No answer from this host.
    Silence {
        /// Who was asked.
        host: String,
        /// Why there was none.
        why: Failure,
    },
}

/// The last refusal.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Option<Refusal>>);

impl Heard {
    /// Forgets it: something else is asked.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes an answer, if it says no.
    pub fn answer(&self, answer: &Response<Bytes>) {
        let status = answer.status();
        if status.is_success() {
            return;
        }
        let text = String::from_utf8_lossy(answer.body());
        let code = element(&text, "Code").unwrap_or_default();
        let says = element(&text, "Message").unwrap_or_else(|| text.trim().to_owned());
        let says: String = says.chars().take(SAID_MAX).collect();
        self.note(Refusal::Status { status: status.as_u16(), code, says });
    }

    /// Notes that there was none.
    pub fn silence(&self, host: &str, why: &Failure) {
        self.note(Refusal::Silence { host: host.to_owned(), why: why.clone() });
    }

    /// What was noted last.
    pub fn last(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }
}

/// The text of the first element of this name, as stores write their errors.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (found, _) = rest.split_once(&format!("</{name}>"))?;
    Some(found.trim().to_owned())
}
