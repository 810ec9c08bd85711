//! A scan of a state of a job in a cluster: partition after partition, each by a process that has a copy of it.
//!
//! In: a question, the copies that are open here, and whom to ask for the rest. Out: one page of entries, in the order of partitions. A process that was asked by
//! another one answers for one partition and asks nobody; one that was silent once is not asked again for the same page.

use super::node::Shared;
use super::shown::Ask;
use crate::query::{self, Answer, Catalog, Found, Question, Room};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use thalweg_core::error::Result;
use thalweg_core::id::Partition;
use thalweg_core::port::store::StateRead;

/// A page is made for so long; what is not in it by then is in the next one.
const MADE_WITHIN: Duration = Duration::from_secs(5);

/// Answers a [`Question::Scan`]; without `ask` for the one partition in which the page begins.
pub fn scan(shared: &Shared, catalog: &Catalog, question: &Question, ask: Option<&Ask<'_>>) -> Result<Answer> {
    let Question::Scan { transform, state, limit, page, .. } = question else { return Ok(Answer::default()) };
    catalog.find(transform, state)?;
    let group = page.as_deref().and_then(query::group_of_page);
    let first = group.map_or(0, |group| group.partition(shared.partitions).0);
    let end = if ask.is_some() { shared.partitions } else { shared.partitions.min(first.saturating_add(1)) };
    let (mut answer, mut room, begun) = (Answer::default(), query::room(*limit), Instant::now());
    let mut others = ask.map(|ask| Others { ask, owners: None, silent: BTreeSet::new() });
    for partition in first..end {
        let begin = Partition(partition).first_group(shared.partitions);
        let begins_here = || query::page_at(catalog, transform, state, begin);
        if partition > first && (room.is_full() || begun.elapsed() > MADE_WITHIN) {
            answer.next = begins_here()?;
            return Ok(answer);
        }
        let groups = begin.0..Partition(partition + 1).first_group(shared.partitions).0;
        let read = |cells: &dyn StateRead| query::scan(cells, catalog, question, groups, &mut room);
        let found = match (shared.shown.read(partition, read)?, &mut others) {
            (Some((found, at)), _) => Some(Answer { read: vec![at], ..found }),
            (None, None) => None,
            (None, Some(others)) => {
                let page =
                    page.clone().filter(|_| partition == first).map_or_else(begins_here, |page| Ok(Some(page)))?;
                others.scan(shared, partition, &at_page(question, page, &room), &mut room)?
            }
        };
        let Some(found) = found else {
            answer.elsewhere.push(partition);
            continue;
        };
        answer.read.extend(found.read);
        answer.entries.extend(found.entries);
        if found.next.is_some() {
            answer.next = found.next;
            return Ok(answer);
        }
    }
    Ok(answer)
}

/// The same question for a page, and for as many entries as there is room for.
fn at_page(question: &Question, page: Option<String>, room: &Room) -> Question {
    let mut question = question.clone();
    if let Question::Scan { limit, page: at, .. } = &mut question {
        (*limit, *at) = (room.entries(), page);
    }
    question
}

/// The processes that have the other partitions.
struct Others<'a> {
    ask: &'a Ask<'a>,
    /// Who owns which partition, once that was asked.
    owners: Option<BTreeMap<u16, String>>,
    /// Who gave no answer.
    silent: BTreeSet<String>,
}

impl Others<'_> {
    /// A page of one partition, from whoever has it; nothing when there is no answer.
    fn scan(
        &mut self,
        shared: &Shared,
        partition: u16,
        question: &Question,
        room: &mut Room,
    ) -> Result<Option<Answer>> {
        let owners = match &self.owners {
            Some(owners) => owners,
            // who has a partition may not be known just now: it is elsewhere then
            None => self.owners.insert(shared.group()?.owners().unwrap_or_default()),
        };
        let Some(owner) = owners.get(&partition).filter(|owner| !self.silent.contains(*owner)) else { return Ok(None) };
        let Some(found) = (self.ask)(owner, question).transpose()? else {
            self.silent.insert(owner.clone());
            return Ok(None);
        };
        if !found.elsewhere.is_empty() {
            return Ok(None); // it has just given the partition away
        }
        let bytes = |entry: &Found| serde_json::to_vec(entry).map_or(0, |json| json.len());
        room.take(found.entries.len(), found.entries.iter().map(bytes).sum());
        Ok(Some(found))
    }
}
