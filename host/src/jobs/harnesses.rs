//! The SDK workers of one job: a harness per environment and worker number, and the factory that gives shards their share.

use super::is_sdk;
use super::sizes::Sizes;
use crate::compose::LocalWorkers;
use crate::runtime::{Waker, WorkerFactory, WorkerSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use thalweg_beam::descriptor::{Endpoints, describe};
use thalweg_beam::fnapi::{Environment, FnApiServer, FnApiWorker, Harness, HarnessSpec, Provision, Windows};
use thalweg_beam::job::PreparedJob;
use thalweg_beam::translate::Translation;
use thalweg_core::error::Result;
use thalweg_core::graph::{EnvironmentId, Plan, StageKind};
use thalweg_core::id::{ShardId, StageId};

/// How long callbacks of committed bundles may hold up the end of a job: Beam promises them at best effort.
const FINALIZED_WITHIN: Duration = Duration::from_secs(10);

/// The harnesses of a job, by environment. Cheap to clone; when the last clone goes, the workers are told to stop.
#[derive(Clone)]
pub struct Harnesses(Arc<All>);

struct All {
    harnesses: BTreeMap<EnvironmentId, Vec<Harness>>,
    /// Stages that read large values piece by piece.
    pieces: BTreeSet<StageId>,
}

impl Drop for All {
    fn drop(&mut self) {
        self.harnesses.values().flatten().for_each(Harness::end);
    }
}

impl Harnesses {
    /// Starts the workers that the plan needs. They come up in the background; none is started unless all can be.
    pub fn start(
        server: &Arc<FnApiServer>,
        translation: &Translation,
        plan: &Plan,
        job: &PreparedJob,
        sizes: &Sizes,
    ) -> Result<Self> {
        let endpoints = Endpoints::at(server.endpoint());
        let mut wanted = Vec::new();
        let mut pieces = BTreeSet::new();
        for (i, info) in translation.environments.iter().enumerate().filter(|(_, e)| is_sdk(e)) {
            let id = EnvironmentId(i as u32);
            let mut stages = BTreeMap::new();
            for stage in &plan.stages {
                if matches!(&stage.kind, StageKind::Worker(w) if w.environment == Some(id)) {
                    let wire = describe(translation, plan, stage.id, &endpoints)?;
                    if wire.inputs.iter().all(|input| input.paged) {
                        pieces.insert(stage.id);
                    }
                    stages.insert(stage.id, wire);
                }
            }
            if stages.is_empty() {
                continue;
            }
            let chosen = Environment::choose(&info.proto, server.allowed())?;
            let windows = Windows::of(translation, plan, id, &endpoints)?;
            wanted.extend((0..sizes.workers).map(|n| {
                let spec = HarnessSpec {
                    name: format!("{}-{i}-{n}", job.id),
                    environment: chosen.environment.clone(),
                    provision: Provision {
                        options: Some(job.options.wire().clone()),
                        retrieval_token: job.id.clone(),
                        artifact_endpoint: server.endpoint().to_owned(),
                        dependencies: chosen.dependencies.clone(),
                    },
                    stages: stages.clone(),
                    windows: windows.clone(),
                };
                (id, spec)
            }));
        }
        let mut all: BTreeMap<EnvironmentId, Vec<Harness>> = BTreeMap::new();
        for (id, spec) in wanted {
            all.entry(id).or_default().push(server.harness(spec));
        }
        Ok(Self(Arc::new(All { harnesses: all, pieces })))
    }

    /// The stages that read large values piece by piece.
    pub fn pieces(&self) -> &BTreeSet<StageId> {
        &self.0.pieces
    }

    /// Waits until all workers have done what their bundles do after commits, at most [`FINALIZED_WITHIN`].
    pub async fn finalized(&self) {
        let all = async {
            for harness in self.0.harnesses.values().flatten() {
                harness.finalized().await;
            }
        };
        if tokio::time::timeout(FINALIZED_WITHIN, all).await.is_err() {
            tracing::warn!("callbacks of committed bundles have not ended within {} s", FINALIZED_WITHIN.as_secs());
        }
    }

    /// Stops all workers, at most as long as their pools may take.
    pub async fn stop(&self) {
        self.0.harnesses.values().flatten().for_each(Harness::end); // all at once
        for harness in self.0.harnesses.values().flatten() {
            harness.stop().await;
        }
    }
}

/// Gives every shard its native, Wasm and Fn API workers.
pub struct AllWorkers {
    pub local: Arc<LocalWorkers>,
    pub harnesses: Harnesses,
}

impl WorkerFactory for AllWorkers {
    fn make(&self, shard: ShardId, waker: Waker) -> Result<WorkerSet> {
        let mut workers = self.local.make(shard, &waker)?;
        for (environment, list) in &self.harnesses.0.harnesses {
            // a shard keeps to one worker, so that a key's bundles always meet the same one
            if let Some(harness) = list.get(usize::from(shard.0) % list.len().max(1)) {
                workers.push((Some(*environment), Box::new(FnApiWorker::new(harness, Arc::clone(&waker)))));
            }
        }
        Ok(workers)
    }
}
