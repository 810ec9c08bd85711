//! Questions about state in a cluster: each process answers from the copies it has, its own partitions' and those it keeps for others.
//!
//! In: a question, and the copies that are open here. Out: what the last commits hold that have reached them, with their epochs and ages; for a
//! partition that is not here, what the process says that has it, or its name.

use super::node::Shared;
use super::scan::scan;
use super::store::labelled_at;
use crate::query::{self, Answer, Catalog, Question, ReadAt};
use crate::runtime::now_ms;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{Epoch, Partition};
use thalweg_core::port::store::StateRead;
use thalweg_state::{Database, WeakDatabase};

/// The copies that are open in this process, by partition. Nothing is kept open by being here.
#[derive(Debug, Default)]
pub struct Shown(Mutex<BTreeMap<u16, Open>>);

/// A copy.
#[derive(Clone, Debug)]
struct Open {
    database: WeakDatabase,
    /// Of a copy that is kept for another process: whether it may not be read just now. Held while it is read.
    torn: Option<Arc<Mutex<bool>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shown {
    /// A copy is open from now on, until its database is closed.
    pub fn show(&self, partition: u16, database: &Database, torn: Option<Arc<Mutex<bool>>>) {
        lock(&self.0).insert(partition, Open { database: database.downgrade(), torn });
    }

    /// Reads a copy; nothing if it is not here, or not at an epoch, or its partition has not committed yet.
    pub fn read<T>(
        &self,
        partition: u16,
        read: impl FnOnce(&dyn StateRead) -> Result<T>,
    ) -> Result<Option<(T, ReadAt)>> {
        let Some(open) = lock(&self.0).get(&partition).cloned() else { return Ok(None) };
        let Some(database) = open.database.upgrade() else { return Ok(None) };
        let still = open.torn.as_deref().map(lock);
        if still.as_deref().is_some_and(|torn| *torn) {
            return Ok(None);
        }
        let found = database.committed(None, |cells, Epoch(epoch)| {
            let age_ms = labelled_at(cells)?.map(|at| now_ms().saturating_sub(at).max(0));
            let at = ReadAt { epoch, partition: Some(partition), standby: open.torn.is_some(), age_ms };
            Ok((read(cells)?, at))
        });
        match found {
            Err(error) if error.code == "STATE_NO_JOB" => Ok(None),
            found => found.map(Some),
        }
    }
}

/// Asks the process of this name; nothing when there is no answer.
pub type Ask<'a> = dyn Fn(&str, &Question) -> Option<Result<Answer>> + 'a;

/// Answers from the copies that are here, and for the rest asks the processes that have it, unless this one was asked by another one.
pub fn answer(shared: &Shared, question: &Question, ask: Option<&Ask<'_>>) -> Result<Answer> {
    let (catalog, at) = described(shared)?;
    match question {
        Question::List => Ok(Answer { read: vec![at], ..query::list(&catalog) }),
        Question::Get { .. } => {
            let wanted = query::wanted_key(&catalog, question)?;
            let Partition(partition) = wanted.group.partition(shared.partitions);
            let found = shared.shown.read(partition, |cells| query::get(cells, &wanted))?;
            let Some((answer, at)) = found else {
                let owner = owner(shared, partition);
                let owned = owner.as_ref().ok().and_then(Option::as_deref);
                let answered = ask.zip(owned).and_then(|(ask, owner)| ask(owner, question));
                return answered.unwrap_or_else(|| Err(elsewhere(partition, owner)));
            };
            Ok(Answer { read: vec![at], ..answer })
        }
        Question::Scan { .. } => scan(shared, &catalog, question, ask),
    }
}

/// What the job says of its states, by the first copy here that knows.
fn described(shared: &Shared) -> Result<(Catalog, ReadAt)> {
    for partition in 0..shared.partitions {
        if let Some(found) = shared.shown.read(partition, query::described)? {
            return Ok(found);
        }
    }
    Err(elsewhere(0, owner(shared, 0)))
}

/// The process that has a partition, if one has.
fn owner(shared: &Shared, partition: u16) -> Result<Option<String>> {
    Ok(shared.group()?.owners()?.remove(&partition))
}

/// There is no copy of a partition here, or none that can be read just now.
fn elsewhere(partition: u16, owner: Result<Option<String>>) -> Error {
    let who = match owner {
        Ok(Some(process)) => format!("the process {process:?} has it"),
        Ok(None) => "nobody has it just now".to_owned(),
        Err(error) => format!("who has it is not known: {error}"),
    };
    Error::user("QUERY_ELSEWHERE", format!("partition {partition} of the job cannot be read in this process: {who}"))
        .help("ask that process; right after a start or a move of partitions ask again in a moment")
}
