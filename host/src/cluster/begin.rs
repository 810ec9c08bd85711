//! A process begins: it reads what was ordered before it gives orders itself.

use super::{Cluster, holders, restore};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_beam::job::JobServer;
use thalweg_core::error::{Error, Result};
use thalweg_io::kafka::cluster::Journal;
use thalweg_io::kafka::passes;

/// How long a process that starts waits for brokers that are away.
const BEGIN_WITHIN: Duration = Duration::from_secs(120);

impl Cluster {
    /// Reads the journal, and takes part in what it says. `server` answers for all jobs of the cluster. Brokers that are away are waited for. Blocks until
    /// the journal was read, or the process leaves: who gives orders before would do so by what this process does not know yet.
    ///
    /// # Errors
    /// What [`Journal::open`] says, if that does not pass within [`BEGIN_WITHIN`], and `KAFKA_UNREACHABLE` if nothing of it comes for so long.
    pub fn begin(&self, server: JobServer) -> Result<()> {
        self.0.server.set(server).unwrap_or_default();
        restore::sweep(&self.0.config.state_dir);
        let end = Instant::now() + BEGIN_WITHIN;
        loop {
            match self.open_journal() {
                Err(error) if passes(&error) && Instant::now() < end => {
                    if self.0.state().leaving {
                        return Ok(());
                    }
                    tracing::warn!(%error, "waiting for the brokers");
                    std::thread::sleep(Duration::from_secs(1));
                }
                opened => break opened?,
            }
        }
        let (mut told, mut end) = (0, Instant::now() + BEGIN_WITHIN);
        loop {
            let state = self.0.state();
            if state.begun || state.leaving {
                return Ok(());
            }
            if std::mem::replace(&mut told, state.told) != state.told {
                end = Instant::now() + BEGIN_WITHIN;
            }
            drop(state);
            if Instant::now() > end {
                let what = format!("nothing came of the orders of the cluster for {BEGIN_WITHIN:?}");
                return Err(Error::external("KAFKA_UNREACHABLE", what).help("look after the brokers, and try again"));
            }
            std::thread::sleep(holders::LOOK);
        }
    }

    fn open_journal(&self) -> Result<()> {
        let inner = Arc::downgrade(&self.0);
        let listener = move |told| {
            if let Some(inner) = inner.upgrade() {
                inner.hear(told);
            }
        };
        let journal = Journal::open(&self.0.config.client, &self.0.config.name, listener)?;
        self.0.journal.set(Arc::new(journal)).unwrap_or_default();
        Ok(())
    }
}
