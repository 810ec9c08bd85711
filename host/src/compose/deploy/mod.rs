//! Hot swap: another version of a component's function in a running job, at the end of an epoch, without losing state.
//!
//! In: a component and the name of a transform. Out: the epoch behind which it runs. A version must be [`compatible`]; it is
//! opened for every shard before the epoch ends, so that a shard only takes it up. It is watched for its first bundles beside the old
//! one, which gets back what it fails on and takes over again when that is too much; a *canary* gets a share of the keys
//! and stays one until it is deployed for all. State belongs to the transform and stays, whichever version runs.
//!
//! What is deployed for all keys is stored in the epoch that it follows ([`record`]), and is there when the job is started
//! again; a canary is not. It knows nothing of how a job is steered from outside.

mod compatible;
mod pipeline;
mod record;
mod saved;
mod terms;

pub use compatible::{Beyond, compatible};
pub(super) use pipeline::restore;
pub use pipeline::{Place, check, opens, replace, running, whole_name};
pub use saved::{Saved, path_of, put, saved, writes};

use super::components::{ComponentStore, pinned};
use super::local::{LocalWorkers, Wasm};
use crate::runtime::{Change, Changes};
use pipeline::named;
use record::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use terms::check_terms;
use thalweg_core::engine::Event;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::TimerFamily;
use thalweg_core::id::{Epoch, ShardId, StageId, StateId};
use thalweg_core::port::store::CellWrite;
use thalweg_core::port::worker::{StateSpec, TimeDomain};
use thalweg_wasm::describe::Domain;
use thalweg_wasm::{Component, Step, Terms, Trial, Verdict};

/// How long a deployment may wait for the end of an epoch.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a version that is watched is looked at, to store that it was rolled back.
const LOOK: Duration = Duration::from_millis(50);

/// What is to be deployed.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The transform whose function it is.
    pub transform: String,
    /// The component.
    pub component: Vec<u8>,
    /// Its name in messages.
    pub name: String,
    /// The function; the one that runs now without it.
    pub function: Option<String>,
    /// What the function is opened with; as now without it.
    pub config: Option<serde_json::Value>,
    /// On which terms.
    pub terms: Terms,
}

/// A transform and what runs for it.
#[derive(Clone, Debug)]
pub struct Status {
    /// The transform.
    pub transform: String,
    /// `sha256:` and the digest of the version that runs.
    pub running: String,
    /// The version that was deployed last, if the old one is still there to go back to: digest, share, verdict, bundles, failures.
    pub trial: Option<(String, f64, Verdict, u64, u64)>,
    /// What that version failed with last.
    pub why: Option<thalweg_wasm::Error>,
}

/// A version that runs beside an old one.
struct Next {
    wasm: Vec<Wasm>,
    trial: Trial,
    bytes: Arc<Vec<u8>>,
}

/// What runs for a transform.
struct Running {
    /// The places of the transform: one, or those of the parts of a CombineFn.
    wasm: Vec<Wasm>,
    /// The component's bytes, if it is not the pipeline's own.
    bytes: Option<Arc<Vec<u8>>>,
    next: Option<Next>,
    /// Digest of the component in the pipeline.
    pipeline: String,
    /// Pieces that the stored version has.
    pieces: u64,
    /// Timer families that versions added to the stage, whichever runs now.
    families: Vec<String>,
}

struct Inner {
    local: Arc<LocalWorkers>,
    components: Arc<ComponentStore>,
    changes: Changes,
    running: Mutex<BTreeMap<String, Running>>,
}

/// The functions of a job that can be replaced. Cheap to clone.
#[derive(Clone)]
pub struct Deployments(Arc<Inner>);

fn digest(wasm: &[Wasm]) -> String {
    wasm.first().map(|w| pinned(w.component.digest())).unwrap_or_default()
}

impl Deployments {
    pub(super) fn new(local: Arc<LocalWorkers>, components: Arc<ComponentStore>) -> Self {
        let mut running: BTreeMap<String, Running> = BTreeMap::new();
        for wasm in &local.wasm {
            // the parts of a CombineFn stand below its name
            let name = wasm.name.strip_suffix("/Precombine").unwrap_or(&wasm.name);
            let adopted = components.adopted(&wasm.call.component);
            let pieces = adopted.as_ref().map_or(0, |from| from.pieces);
            let bytes = adopted.as_ref().map(|from| Arc::clone(&from.bytes));
            let pipeline = adopted.map_or_else(|| pinned(wasm.component.digest()), |from| from.replaces);
            let families = Vec::new();
            let new = || Running { wasm: Vec::new(), bytes, next: None, pipeline, pieces, families };
            running.entry(name.to_owned()).or_insert_with(new).wasm.push(wasm.clone());
        }
        Self(Arc::new(Inner { local, components, changes: Changes::default(), running: Mutex::new(running) }))
    }

    /// Where the job's runtime finds what changes.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.0.changes
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transforms and what runs for them.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let status = |(name, running): (&String, &Running)| {
            let trial = running.next.as_ref().map(|next| {
                let (bundles, failed) = next.trial.counts();
                (digest(&next.wasm), next.trial.terms().share, next.trial.verdict(), bundles, failed)
            });
            let why = running.next.as_ref().and_then(|next| next.trial.why());
            Status { transform: name.clone(), running: digest(running.now()), trial, why }
        };
        self.running().iter().map(status).collect()
    }

    /// Deploys a version and waits for the epoch behind which it runs.
    ///
    /// # Errors
    /// `WASM_*` for the component, `DEPLOY_UNKNOWN` for the transform, `DEPLOY_INCOMPATIBLE`, `DEPLOY_CANARY` for terms that
    /// cannot be, `DEPLOY_PENDING` when no epoch ends in a minute, `JOB_NOT_RUNNING` when the job has ended.
    pub fn deploy(&self, deploy: &Deploy) -> Result<Epoch> {
        let component = self.0.components.from_bytes(&deploy.name, &deploy.component)?;
        let bytes = Arc::new(deploy.component.clone());
        let told = {
            let mut all = self.running();
            let (transform, running) = named(&deploy.transform, all.iter_mut())?;
            let trial = Trial::new(deploy.terms);
            let kept = running.keep();
            // opened now: a bad configuration shows here, and a shard loses no time
            let opened = running.version(&component, deploy).and_then(|(wasm, beyond)| {
                let ready = self.opened(&wasm)?;
                Ok((wasm, beyond, ready))
            });
            let (wasm, beyond, ready) = opened.inspect_err(|_| kept.iter().for_each(Trial::release))?;
            let writes = if deploy.terms.share >= 1.0 { running.store(&wasm, &bytes) } else { Vec::new() };
            let before = running.next.as_ref().map(|next| next.trial.clone());
            let told = self.change((&wasm, ready), &beyond, &trial, before, writes);
            running.families.extend(beyond.timers.into_iter().map(|timer| timer.name));
            running.settle();
            running.next = Some(Next { wasm, trial: trial.clone(), bytes });
            self.watch(transform, trial)?;
            told
        };
        wait(&told)
    }

    /// Goes back to the version before the one that was deployed last, and waits for the epoch behind which it runs alone. State
    /// stays as it is.
    ///
    /// # Errors
    /// `DEPLOY_UNKNOWN` when there is none to go back to, else as for [`Deployments::deploy`].
    pub fn roll_back(&self, transform: &str) -> Result<Epoch> {
        let told = {
            let mut all = self.running();
            let (_, running) = named(transform, all.iter_mut())?;
            let next = running.next.as_ref().map(|next| next.trial.clone());
            let Some(trial) = next.filter(|trial| trial.verdict() == Verdict::Running) else {
                let message = format!("{transform:?} has no version on trial that could be rolled back");
                return Err(Error::user("DEPLOY_UNKNOWN", message).help("deploy the version that is wanted"));
            };
            trial.end(Verdict::RolledBack);
            if trial.verdict() != Verdict::RolledBack {
                return Err(Error::user("DEPLOY_UNKNOWN", format!("the version of {transform:?} passed just now"))
                    .help("deploy the version that is wanted"));
            }
            let writes = running.forget();
            let (sender, told) = crossbeam_channel::bounded(1);
            let lasts = move |epoch| sender.send(epoch).unwrap_or_default();
            self.0.changes.make(Change::new(writes, |_| Vec::new(), lasts));
            told
        };
        wait(&told)
    }

    /// The steps of a version for every shard, each with an instance that is open.
    fn opened(&self, wasm: &[Wasm]) -> Result<BTreeMap<ShardId, Vec<Vec<Step>>>> {
        let shards: BTreeSet<ShardId> = {
            let inboxes = self.0.local.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            inboxes.keys().map(|(shard, _)| *shard).collect()
        };
        shards.into_iter().map(|shard| Ok((shard, opened(&self.0.local, wasm)?))).collect()
    }

    /// Has the version taken up by every shard at the end of the epoch.
    fn change(
        &self,
        (wasm, ready): (&[Wasm], BTreeMap<ShardId, Vec<Vec<Step>>>),
        beyond: &Beyond,
        trial: &Trial,
        before: Option<Trial>,
        writes: Vec<CellWrite>,
    ) -> crossbeam_channel::Receiver<Epoch> {
        let (ready, local) = (Mutex::new(ready), Arc::clone(&self.0.local));
        let (wasm, trial, events) = (wasm.to_vec(), trial.clone(), grown(wasm, beyond));
        let apply = move |shard: ShardId| {
            let ready = ready.lock().unwrap_or_else(PoisonError::into_inner).remove(&shard);
            // a shard that was not there yet when the others' were opened
            match ready.map_or_else(|| opened(&local, &wasm), Ok) {
                Ok(steps) => take_up(&local, shard, &wasm, steps, &trial),
                Err(error) => {
                    tracing::warn!("a new version cannot be opened: {error}");
                    trial.end(Verdict::RolledBack);
                }
            }
            events()
        };
        let (sender, told) = crossbeam_channel::bounded(1);
        let lasts = move |epoch| {
            // it is the old version everywhere, or gone: nobody looks after it any more
            if let Some(before) = before {
                before.end(Verdict::Passed);
            }
            sender.send(epoch).unwrap_or_default();
        };
        self.0.changes.make(Change::new(writes, apply, lasts));
        told
    }

    /// Looks after a version until it has its verdict: that it was rolled back has to be stored.
    fn watch(&self, transform: &str, trial: Trial) -> Result<()> {
        let (this, transform) = (self.clone(), transform.to_owned());
        let body = move || {
            while trial.verdict() == Verdict::Running && !this.0.changes.is_closed() {
                std::thread::sleep(LOOK);
            }
            let mut all = this.running();
            let Some(running) = all.get_mut(&transform) else { return };
            let mine = running.next.as_ref().is_some_and(|next| next.trial.is(&trial));
            if mine && trial.verdict() == Verdict::RolledBack {
                let why = trial.why().map_or_else(|| "as was asked for".to_owned(), |e| e.to_string());
                tracing::warn!("the new version of {transform} is rolled back: {why}");
                let writes = running.forget();
                this.0.changes.make(Change::new(writes, |_| Vec::new(), |_| ()));
            }
        };
        let spawned = std::thread::Builder::new().name("deploy-watch".to_owned()).spawn(body);
        spawned.map(drop).map_err(|e| {
            Error::external("THREAD_START", format!("cannot start a thread: {e}"))
                .help("raise the process's limit of threads, or use fewer shards")
        })
    }
}

impl Running {
    /// The version that counts: the new one, once it has all keys.
    fn now(&self) -> &[Wasm] {
        match &self.next {
            Some(next) if next.trial.is_whole() => &next.wasm,
            _ => &self.wasm,
        }
    }

    /// Keeps the version that has all keys from being rolled back: it is the one that another takes the place of. Gives its trial, if it has one.
    fn keep(&self) -> Option<Trial> {
        let trial = &self.next.as_ref()?.trial;
        (trial.terms().share >= 1.0 && trial.keep()).then(|| trial.clone())
    }

    /// What is deployed for all keys is the old version of the next deployment; anything else on trial is gone.
    fn settle(&mut self) {
        let Some(next) = self.next.take() else { return };
        if next.trial.is_whole() {
            (self.wasm, self.bytes) = (next.wasm, Some(next.bytes));
        }
    }

    /// The places with another component.
    fn version(&self, component: &Component, deploy: &Deploy) -> Result<(Vec<Wasm>, Beyond)> {
        let Some(first) = self.now().first() else { return Ok((Vec::new(), Beyond::default())) };
        let name = deploy.function.as_ref().unwrap_or(&first.call.function);
        let (old, new) = (first.component.function(&first.call.function)?, component.function(name)?);
        let beyond = compatible(old, new)?;
        check_terms(deploy.terms, new, &beyond)?;
        // the stage has them until the job is started again, and the running version does not know them
        if let Some(family) = self.families.iter().find(|f| first.timers.iter().flatten().all(|known| known != *f)) {
            let message = format!("timers `{family}` of a version that was rolled back may still be set");
            return Err(
                Error::user("DEPLOY_INCOMPATIBLE", message).help("start the job again first, or submit another")
            );
        }
        let place = |wasm: &Wasm| {
            let mut wasm = wasm.clone();
            wasm.component = component.clone();
            wasm.call.function.clone_from(name);
            wasm.call.config = deploy.config.clone().or(wasm.call.config);
            let states = beyond.slots.iter().map(|slot| (slot.name.clone(), state_id(&wasm.name, &slot.name)));
            wasm.states.extend(states.collect::<Vec<_>>());
            wasm.timers.extend(beyond.timers.iter().map(|timer| Some(timer.name.clone())));
            wasm
        };
        Ok((self.now().iter().map(place).collect(), beyond))
    }

    /// The writes that have a later run begin with a version.
    fn store(&mut self, wasm: &[Wasm], bytes: &[u8]) -> Vec<CellWrite> {
        let Some(first) = wasm.first() else { return Vec::new() };
        let pieces = record::pieces(bytes);
        let record = Record {
            replaces: self.pipeline.clone(),
            digest: digest(wasm),
            function: first.call.function.clone(),
            config: first.call.config.clone(),
            pieces,
        };
        let before = std::mem::replace(&mut self.pieces, pieces);
        record::store(&name_of(first), &record, bytes, before)
    }

    /// The writes that have a later run begin with the version before the last.
    fn forget(&mut self) -> Vec<CellWrite> {
        let Some(first) = self.wasm.first() else { return Vec::new() };
        match self.bytes.clone() {
            Some(bytes) => {
                let wasm = self.wasm.clone();
                self.store(&wasm, &bytes)
            }
            None => record::delete(&name_of(first), std::mem::take(&mut self.pieces)),
        }
    }
}

fn name_of(wasm: &Wasm) -> String {
    wasm.name.strip_suffix("/Precombine").unwrap_or(&wasm.name).to_owned()
}

fn state_id(transform: &str, slot: &str) -> StateId {
    StateId::derive(transform, &format!("state\0{slot}"))
}

/// The steps of all places, each with an instance that is open.
fn opened(local: &LocalWorkers, wasm: &[Wasm]) -> Result<Vec<Vec<Step>>> {
    let place = |wasm: &Wasm| {
        let mut steps = local.wasm_steps(wasm)?;
        steps.iter_mut().try_for_each(Step::warm)?;
        Ok(steps)
    };
    wasm.iter().map(|wasm| place(wasm).map_err(|e: Error| e.in_transform(&wasm.name))).collect()
}

/// Hands the steps to the shard's worker.
fn take_up(local: &LocalWorkers, shard: ShardId, wasm: &[Wasm], steps: Vec<Vec<Step>>, trial: &Trial) {
    let inboxes = local.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
    for (wasm, steps) in wasm.iter().zip(steps) {
        if let Some(inbox) = inboxes.get(&(shard, wasm.environment)) {
            let steps = steps.into_iter().enumerate();
            steps.for_each(|(at, step)| inbox.deploy(wasm.stage, at, step, trial.clone()));
        }
    }
}

/// What the shards' machines are told: the stage of a version that keeps more.
fn grown(wasm: &[Wasm], beyond: &Beyond) -> impl Fn() -> Vec<Event> + Send + Sync + use<> {
    let first = wasm.first().filter(|_| !beyond.is_nothing());
    let grown = first.map(|wasm| {
        let states = beyond.slots.iter();
        let states = states.map(|slot| super::shape::state(&wasm.name, slot.name.clone(), super::shape::kept(slot)));
        let timers = beyond.timers.iter().map(|timer| TimerFamily {
            transform: wasm.transform,
            name: timer.name.clone(),
            domain: if timer.domain == Domain::Event { TimeDomain::Event } else { TimeDomain::Processing },
            id: StateId::derive(&wasm.name, &format!("timer\0{}", timer.name)),
            expires: false,
        });
        (wasm.stage, states.collect::<Vec<_>>(), timers.collect::<Vec<_>>())
    });
    let event =
        |(stage, states, timers): (StageId, Vec<StateSpec>, Vec<TimerFamily>)| Event::Grow { stage, states, timers };
    move || grown.clone().map(event).into_iter().collect()
}

fn wait(told: &crossbeam_channel::Receiver<Epoch>) -> Result<Epoch> {
    told.recv_timeout(PATIENCE).map_err(|e| match e {
        crossbeam_channel::RecvTimeoutError::Timeout => {
            Error::external("DEPLOY_PENDING", "no epoch has ended since, so the version does not run yet")
                .help("it runs when the open epoch ends; look at the job if that does not come")
        }
        crossbeam_channel::RecvTimeoutError::Disconnected => {
            Error::user("JOB_NOT_RUNNING", "the job ended before the version could run").help("start the job again")
        }
    })
}
