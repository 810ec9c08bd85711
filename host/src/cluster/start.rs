//! A process's part of a job begins: composed from the journal's order, its splits dealt, its membership taken.

use super::known::prepared;
use super::node::{Node, Seed, Stop};
use super::order::Run;
use super::{Inner, update};
use crate::jobs::UPDATE_WITHIN;
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::error::Result;
use thalweg_io::kafka::passes;

impl Inner {
    /// Starts this process's part of a job, on a thread of its own: the journal goes on.
    pub(super) fn take_part(self: &Arc<Self>, job: String) {
        let this = Arc::clone(self);
        let start = move || {
            let begun = loop {
                match this.node(&job) {
                    Err(error) if passes(&error) => {
                        tracing::warn!(job, %error, "waiting for the brokers");
                        std::thread::sleep(Duration::from_secs(1));
                    }
                    begun => break begun,
                }
            };
            let mut state = this.state();
            let leaving = state.leaving;
            let Some(known) = state.jobs.get_mut(&job) else { return };
            match begun {
                Ok(Some((node, _))) if known.over || leaving => {
                    drop(state);
                    node.stop(Stop::AtOnce);
                }
                // other versions were deployed while it was started
                Ok(Some((node, run))) if !Arc::ptr_eq(&run, &known.run) => {
                    drop(state);
                    node.stop(Stop::Keep(UPDATE_WITHIN));
                    this.take_part(job);
                }
                Ok(Some((node, _))) => {
                    if let Some(reporter) = &known.reporter {
                        reporter.live_metrics(node.metrics());
                        reporter.state(known.state());
                    }
                    // what came while it was started
                    node.pause(known.paused);
                    if known.draining {
                        node.drain();
                    }
                    known.node = Some(Arc::new(node));
                    drop(state);
                    this.keep_held(&job);
                }
                Ok(None) => {}
                Err(_) if known.over => {} // its topics are deleted already
                Err(error) => {
                    known.over = true;
                    tracing::error!(job, %error, "this process cannot take part");
                    if let Some(reporter) = &known.reporter {
                        reporter.fail(&error);
                    }
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("job-start".to_owned()).spawn(start) {
            tracing::error!(%error, "cannot start a thread for a job");
        }
    }

    fn node(self: &Arc<Self>, id: &str) -> Result<Option<(Node, Arc<Run>)>> {
        let (run, draining, paused, held_ms) = match self.state().jobs.get(id) {
            Some(known) if !known.over => (Arc::clone(&known.run), known.draining, known.paused, known.held_ms),
            _ => return Ok(None),
        };
        let job = prepared(id, &run);
        let mut translation = self.translated(id, &run)?;
        let sizes = self.jobs.sizes(&job)?;
        let mut apart = self.composer_of(&run)?.compose_apart(&mut translation)?;
        let partitions = update::partitions(&run);
        let named = (apart.plan.sources.as_slice(), apart.sources.as_slice());
        let Some(dealt) = self.settled(id, &run.state, named, partitions)? else { return Ok(None) };
        dealt.settle(&apart.plan.sources, &mut apart.sources, partitions);
        Node::start(Seed {
            config: &self.config,
            apart,
            epoch_ms: self.composer.settings().epoch_ms,
            server: self.jobs.workers(),
            journal: Arc::clone(self.journal.wait()),
            runtime: self.runtime.clone(),
            job,
            run: &run,
            translation,
            sizes,
            draining,
            paused,
            held_ms,
            stuck: self.when_stuck(),
        })
        .map(|node| Some((node, run)))
    }
}
