//! Which job has a state, and which of two orders holds that exclude each other.
//!
//! In: orders to run and to cancel, in the order of the journal and nothing else, so that all processes come to the same. Results stand in another topic: a process
//! that starts reads them behind all orders, another one has read some before; so what they say cannot decide whether an order holds. Who gives an order
//! looks at them, and no job that is over begins again; the order says which job had the state as he saw it (`after`), or whose place it takes, and holds if no other order
//! came between. Orders of earlier versions do not say it, and hold as they did then: a job that was ordered by one may run. Out: what holds, and
//! to who gave an order here what became of it.

use super::order::{Run, What};
use super::{Inner, State};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};

/// How long an order may take to come back from the journal.
pub const HEARD_WITHIN: Duration = Duration::from_secs(30);
pub const LOOK: Duration = Duration::from_millis(10);

/// The jobs that were ordered last, by the names of their states.
#[derive(Debug, Default)]
pub struct Holders {
    last: BTreeMap<String, Holder>,
    /// The jobs that were ordered to end. Nobody takes the place of such a one.
    cancelled: BTreeSet<String>,
}

/// The job that was ordered last with a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its id; empty if there was none.
    pub job: String,
    /// Its revision.
    pub revision: u64,
    /// The highest revision that was ever ordered with the state: its changelogs have none that is higher.
    pub highest: u64,
}

/// What becomes of an order to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All processes take it up.
    Holds,
    /// Nobody does, for something that it uses was given up before.
    Lacks,
    /// Nobody does, for another order came first.
    Stale,
}

impl Holders {
    /// The job that was ordered last with a state.
    pub fn last(&self, state: &str) -> Holder {
        self.last.get(state).cloned().unwrap_or_default()
    }

    /// Whether no order came between this one and what it knows of.
    fn is_next(&self, run: &Run) -> bool {
        let Some(after) = &run.after else { return true };
        let last = self.last(&run.state);
        if run.replaces.is_empty() {
            // a version that was deployed into a job when it was over already
            return *after == last.job && run.revision >= last.highest;
        }
        run.replaces == last.job && run.revision == last.revision + 1 && !self.cancelled.contains(&run.replaces)
    }

    /// A job is ordered to run, and the order holds.
    fn take(&mut self, job: &str, run: &Run) {
        let last = self.last.entry(run.state.clone()).or_default();
        let highest = last.highest.max(run.revision);
        *last = Holder { job: job.to_owned(), revision: run.revision, highest };
    }

    /// A job is ordered to end.
    pub fn cancel(&mut self, job: &str) {
        self.cancelled.insert(job.to_owned());
    }
}

impl State {
    /// A job is ordered to run. Tells whether the order holds.
    pub(super) fn judge(&mut self, job: &str, run: &Run) -> Verdict {
        if !self.holders.is_next(run) {
            return Verdict::Stale;
        }
        if !self.artifacts.used(job, run) {
            return Verdict::Lacks;
        }
        self.holders.take(job, run);
        Verdict::Holds
    }

    /// Tells who gave an order, if that was here, what became of it.
    pub(super) fn tell(&mut self, ticket: u64, verdict: Verdict) {
        if let Some(given) = self.given.get_mut(&ticket) {
            *given = Some(verdict);
        }
    }
}

impl Inner {
    /// Orders a job to run. Blocks until the order is read, and tells what became of it.
    ///
    /// # Errors
    /// As for [`Inner::order`], and `KAFKA_UNREACHABLE` when it is not read in time.
    pub(super) fn order_to_run(&self, job: &str, run: Run) -> Result<Verdict> {
        // another one each time, also than those that are in the journal by now
        let ticket = RandomState::new().hash_one(job);
        self.state().given.insert(ticket, None);
        let ordered = self.order(job, What::Run(Box::new(Run { ticket, ..run })));
        let verdict = ordered.and_then(|()| self.verdict(job, ticket));
        self.state().given.remove(&ticket);
        verdict
    }

    fn verdict(&self, job: &str, ticket: u64) -> Result<Verdict> {
        let end = Instant::now() + HEARD_WITHIN;
        while Instant::now() < end {
            if let Some(verdict) = self.state().given.get(&ticket).copied().flatten() {
                return Ok(verdict);
            }
            std::thread::sleep(LOOK);
        }
        let what = format!("the order to run {job} is written, and did not come back within {HEARD_WITHIN:?}");
        Err(Error::external("KAFKA_UNREACHABLE", what).help(SEE_FIRST))
    }
}

/// What to do about an order of which it is not known whether it is in the journal.
pub const SEE_FIRST: &str = "see whether the brokers answer; then `thalweg job list` shows whether the order was taken up: give it again only if it was not";

/// What is told to who gave an order to run that came too late.
pub fn stale(run: &Run) -> Error {
    if run.replaces.is_empty() {
        let what = format!("another job was ordered first with the state {:?}", run.state);
        return Error::user("CLUSTER_STATE_IN_USE", what)
            .help("cancel that job first, use another state_name, or submit this one as an update");
    }
    let what = format!("the job {} was changed or cancelled by another order first", run.replaces);
    Error::user("CLUSTER_ORDER_STALE", what)
        .help("`thalweg job list` shows what runs by now; give the order again if it is still wanted")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orders as they stand in a journal.
    #[derive(Default)]
    struct Read(State);

    impl Read {
        fn order(&mut self, job: &str, run: &Run) -> Verdict {
            self.0.judge(job, run)
        }

        fn last(&self) -> Holder {
            self.0.holders.last("s")
        }
    }

    /// A job that begins with a state, given by who saw this one there.
    fn fresh(last: &Holder) -> Run {
        Run { state: "s".to_owned(), revision: last.highest, after: Some(last.job.clone()), ..Run::default() }
    }

    /// One that takes the place of this one.
    fn update(of: &Holder) -> Run {
        let (replaces, revision) = (of.job.clone(), of.revision + 1);
        Run { replaces, revision, ..fresh(of) }
    }

    /// The same of an earlier version.
    fn early(run: Run) -> Run {
        Run { after: None, ..run }
    }

    #[test]
    fn of_two_jobs_with_one_state_the_first_order_holds() {
        let mut read = Read::default();
        let nobody = read.last();
        assert_eq!(read.order("a", &fresh(&nobody)), Verdict::Holds);
        assert_eq!(read.order("b", &fresh(&nobody)), Verdict::Stale);
        let a = read.last();
        assert_eq!((a.job.as_str(), read.order("a", &fresh(&nobody))), ("a", Verdict::Stale), "given twice");
        // whoever gives these has seen that it is over
        assert_eq!(read.order("c", &fresh(&a)), Verdict::Holds);
        assert_eq!(read.order("d", &fresh(&a)), Verdict::Stale);
        assert_eq!(read.order("u", &update(&a)), Verdict::Stale, "another job has the state");
        assert_eq!(read.last().job, "c");
        assert_eq!(read.order("e", &Run { state: "t".to_owned(), ..fresh(&nobody) }), Verdict::Holds);
    }

    #[test]
    fn of_two_updates_or_versions_the_first_order_holds_and_none_behind_a_cancellation() {
        let mut read = Read::default();
        assert_eq!(read.order("a", &fresh(&Holder::default())), Verdict::Holds);
        let a = read.last();
        assert_eq!(read.order("u", &update(&a)), Verdict::Holds);
        assert_eq!(read.order("v", &update(&a)), Verdict::Stale);
        assert_eq!(read.order("a", &update(&a)), Verdict::Stale, "a version for what was replaced");
        let u = read.last();
        assert_eq!(read.order("u", &update(&u)), Verdict::Holds);
        assert_eq!(read.order("u", &update(&u)), Verdict::Stale, "a version beside another");
        let u = read.last();
        assert_eq!((u.job.as_str(), u.revision), ("u", 2));
        read.0.holders.cancel("u");
        assert_eq!(read.order("w", &update(&u)), Verdict::Stale);
        assert_eq!(read.order("w", &fresh(&u)), Verdict::Holds);
        assert_eq!(read.last(), Holder { job: "w".to_owned(), revision: 2, highest: 2 }, "it goes on with the state");
    }

    #[test]
    fn what_earlier_versions_ordered_holds_as_it_did() {
        let mut read = Read::default();
        assert_eq!(read.order("a", &early(fresh(&Holder::default()))), Verdict::Holds);
        let a = read.last();
        assert_eq!(read.order("u", &early(update(&a))), Verdict::Holds);
        assert_eq!(read.order("v", &early(update(&a))), Verdict::Holds);
        // they began again without the revision of the state
        assert_eq!(read.order("b", &early(Run { revision: 0, ..fresh(&a) })), Verdict::Holds);
        let b = read.last();
        assert_eq!(b, Holder { job: "b".to_owned(), revision: 0, highest: 1 });
        assert_eq!(read.order("c", &Run { revision: 0, ..fresh(&b) }), Verdict::Stale);
        assert_eq!(read.order("w", &update(&b)), Verdict::Holds);
        assert_eq!(read.order("c", &fresh(&read.last())), Verdict::Holds);
        assert_eq!(read.last().revision, 1);
    }

    #[test]
    fn what_lacks_an_artifact_holds_no_state() {
        use super::super::order::Carried;
        let mut read = Read::default();
        let gone = Carried { key: "d/z".to_owned(), ..Carried::default() };
        let run = fresh(&Holder::default());
        assert_eq!(read.order("a", &Run { components: vec![gone], ..run.clone() }), Verdict::Lacks);
        assert_eq!(read.order("a", &run), Verdict::Holds);
    }
}
