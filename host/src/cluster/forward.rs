//! Questions that a process cannot answer, for the one that can.
//!
//! In: what processes say in the journal of where others reach them. Out: the answer of the process that has a partition. It is asked once and waited for a
//! moment, and answers of itself alone, so that no question goes round. What does not come back is no answer: then the owner is named, as it is where nobody says how
//! to reach it.

use super::Inner;
use super::order::door_key;
use crate::jobs::ask_process;
use crate::query::{Answer, Question};
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::error::Result;
use thalweg_io::kafka::cluster::Page;
use thalweg_io::kafka::passes;

/// Questions that are asked elsewhere at a time; with more the owner is named.
pub const QUESTIONS_MAX: usize = 16;
/// How long another process may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of an address: a name of a host and a port.
const DOOR_BYTES_MAX: usize = 300;
/// How long it waits after brokers that are away before it says again where it is reached.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Inner {
    /// On the journal's thread: a process says where others reach it, or that they do not.
    pub(super) fn hear_door(&self, process: &str, endpoint: Option<&[u8]>) {
        let endpoint = endpoint.filter(|text| text.len() <= DOOR_BYTES_MAX);
        let doors = &mut self.state().doors;
        match endpoint.and_then(|text| std::str::from_utf8(text).ok()) {
            Some(endpoint) => drop(doors.insert(process.to_owned(), endpoint.to_owned())),
            None => drop(doors.remove(process)),
        }
    }

    /// Says where others reach this process, if that is not what the journal has; on a thread of its own, for the journal goes on.
    pub(super) fn say_where(self: &Arc<Self>) {
        let wanted = self.config.advertise.clone();
        if self.state().doors.get(&self.config.process) == wanted.as_ref() {
            return;
        }
        let this = Arc::clone(self);
        let say = move || {
            let (key, endpoint) = (door_key(&this.config.process), wanted.as_deref().map(str::as_bytes));
            while let Err(error) = this.journal.wait().append(Page::Results, &key, endpoint) {
                tracing::warn!(%error, "other processes do not hear where they reach this one");
                if !passes(&error) || this.state().leaving {
                    return;
                }
                std::thread::sleep(AGAIN_AFTER);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("cluster-door".to_owned()).spawn(say) {
            tracing::error!(%error, "cannot start a thread to say where this process is");
        }
    }

    /// The answer of another process, if it is reached; blocks, and must not be called by what drives connections.
    pub(super) fn ask_process(&self, process: &str, job: &str, question: &Question) -> Option<Result<Answer>> {
        let others = process != self.config.process; // this one is about to open what it was given
        let endpoint = self.state().doors.get(process).filter(|_| others).cloned()?;
        let _place = self.asking.try_acquire().ok()?;
        let asked = async { tokio::time::timeout(ANSWERED_WITHIN, ask_process(&endpoint, job, question)).await };
        match self.runtime.block_on(asked) {
            Ok(Err(error)) if error.code == "QUERY_ELSEWHERE" || !error.code.starts_with("QUERY_") => {
                tracing::debug!(process, endpoint, %error, "it has no answer");
                None
            }
            Ok(answer) => Some(answer),
            Err(_) => {
                tracing::debug!(process, endpoint, "it does not answer");
                None
            }
        }
    }
}
