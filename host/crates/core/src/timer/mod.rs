//! Room: timer. The timers of one keyed stage on one shard, in firing order, with the watermark holds they put.
//!
//! In: updates of applied bundles. Out: due timers for bundles, holds for the output watermark, writes at the seal.
//! A timer that is in a bundle is not here; it comes back if the bundle is dropped.

use crate::id::{KeyGroup, StateId};
use crate::port::store::CellWrite;
use crate::port::worker::{DueTimer, Group, TimeDomain, TimerSet};
use crate::progress::MinTimes;
use crate::short::ShortBytes;
use crate::state::layout::{CellKey, Kind};
use crate::stored::{read_pane, write_pane};
use crate::time::{EventTime, ProcessingTime};
use crate::window::Window;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which timer: of a key and window, a family, a dynamic tag.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TimerName {
    /// Key and window.
    pub group: Group,
    /// Index of the family in its stage.
    pub family: u32,
    /// The dynamic tag.
    pub tag: Bytes,
}

impl TimerName {
    fn order(&self) -> (&ShortBytes, &Window, u32, &Bytes) {
        (&self.group.key, &self.group.window, self.family, &self.tag)
    }
}

impl PartialOrd for TimerName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TimerName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// A timer taken out to be fired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Which.
    pub name: Arc<TimerName>,
    /// As it was set.
    pub set: TimerSet,
    /// How often bundles with it have failed.
    pub attempts: u32,
    /// How often bundles with it have lost their worker.
    pub losses: u32,
}

impl Taken {
    /// What the timer holds the watermark at while its bundle runs: what it writes must find its window alive, also where
    /// it was set without an output timestamp.
    #[must_use]
    pub fn hold(&self) -> EventTime {
        self.set.hold.min(self.name.group.window.max_timestamp())
    }

    /// As the worker sees it.
    #[must_use]
    pub fn due(&self) -> DueTimer {
        DueTimer {
            family: self.name.family,
            tag: self.name.tag.clone(),
            fire: self.set.fire,
            hold: self.set.hold,
            pane: self.set.pane,
        }
    }
}

/// What a waiting timer holds the watermark at. An event timer that comes up at `at` holds it there at the latest: the watermark
/// cannot get further anyhow before the timer fires.
fn hold_until(domain: TimeDomain, at: i64, set: &TimerSet) -> EventTime {
    match domain {
        TimeDomain::Event => set.hold.min(EventTime(at)),
        TimeDomain::Processing => set.hold,
    }
}

/// When a timer comes up, when it was set to fire, which. The first two differ for event timers behind their window's expiry.
type Place = (i64, i64, Arc<TimerName>);

/// The timers of a stage.
#[derive(Default, Debug)]
pub struct TimerRoom {
    /// Domain and stored name per family.
    families: Vec<(TimeDomain, StateId)>,
    set: BTreeMap<Arc<TimerName>, TimerSet>,
    event: BTreeSet<Place>,
    processing: BTreeSet<Place>,
    /// How long after its end a window lives, in milliseconds: then its event timers fire, however late they were set to.
    lateness: i64,
    holds: MinTimes,
    dirty: BTreeMap<Arc<TimerName>, Option<TimerSet>>,
    /// Failures and losses of timers whose bundles were dropped.
    tries: BTreeMap<Arc<TimerName>, (u32, u32)>,
}

impl TimerRoom {
    /// An empty room for a stage's families, in windows that live `lateness` milliseconds after their end.
    #[must_use]
    pub fn new(families: Vec<(TimeDomain, StateId)>, lateness: i64) -> Self {
        Self { families, lateness, ..Self::default() }
    }

    /// Adds families behind those there are.
    pub fn grow(&mut self, families: Vec<(TimeDomain, StateId)>) {
        self.families.extend(families);
    }

    /// The clock of a family.
    #[must_use]
    pub fn domain(&self, family: u32) -> TimeDomain {
        self.families.get(family as usize).map_or(TimeDomain::Event, |(domain, _)| *domain)
    }

    /// From when on a window does not exist any more.
    #[must_use]
    pub fn expiry(&self, window: &Window) -> EventTime {
        window.max_timestamp().plus(self.lateness)
    }

    fn place(&self, name: &Arc<TimerName>, fire: i64) -> (TimeDomain, Place) {
        let domain = self.domain(name.family);
        let at = match domain {
            TimeDomain::Event => fire.min(self.expiry(&name.group.window).0),
            TimeDomain::Processing => fire,
        };
        (domain, (at, fire, Arc::clone(name)))
    }

    fn order(&mut self, domain: TimeDomain) -> &mut BTreeSet<Place> {
        match domain {
            TimeDomain::Processing => &mut self.processing,
            TimeDomain::Event => &mut self.event,
        }
    }

    /// Sets or clears a timer, replacing an earlier one of the same name. Cost: O(log n).
    pub fn update(&mut self, name: TimerName, set: Option<TimerSet>) {
        let name = Arc::new(name);
        self.forget(&name);
        self.tries.remove(&name);
        if let Some(set) = set {
            self.insert(Arc::clone(&name), set);
        }
        self.dirty.insert(name, set);
    }

    fn insert(&mut self, name: Arc<TimerName>, set: TimerSet) {
        let (domain, place) = self.place(&name, set.fire);
        self.holds.add(hold_until(domain, place.0, &set));
        self.order(domain).insert(place);
        self.set.insert(name, set);
    }

    fn forget(&mut self, name: &Arc<TimerName>) {
        if let Some(old) = self.set.remove(name) {
            let (domain, place) = self.place(name, old.fire);
            self.holds.remove(hold_until(domain, place.0, &old));
            self.order(domain).remove(&place);
        }
    }

    /// Takes out up to `most` timers that are due, such that no key and window is taken at two timestamps. `free` says
    /// whether a group may be taken now with timers of this time.
    pub fn take_due(
        &mut self,
        watermark: EventTime,
        now: ProcessingTime,
        most: usize,
        free: &mut dyn FnMut(&Group, TimeDomain, i64) -> bool,
    ) -> Vec<Taken> {
        let mut first: BTreeMap<(ShortBytes, Window), (TimeDomain, i64)> = BTreeMap::new();
        let mut names = Vec::new();
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            let (order, limit) = match domain {
                TimeDomain::Event => (&self.event, event_limit(watermark)),
                TimeDomain::Processing => (&self.processing, now.0),
            };
            for (_, fire, name) in order.iter().take_while(|(at, ..)| *at <= limit) {
                if names.len() >= most {
                    break;
                }
                let key = (name.group.key.clone(), name.group.window.clone());
                match first.get(&key) {
                    Some(at) if *at == (domain, *fire) => names.push(Arc::clone(name)),
                    Some(_) => {}
                    None if free(&name.group, domain, *fire) => {
                        first.insert(key, (domain, *fire));
                        names.push(Arc::clone(name));
                    }
                    None => {}
                }
            }
        }
        names.into_iter().filter_map(|name| self.take(name)).collect()
    }

    fn take(&mut self, name: Arc<TimerName>) -> Option<Taken> {
        let set = *self.set.get(&name)?;
        self.forget(&name);
        let (attempts, losses) = self.tries.remove(&name).unwrap_or_default();
        Some(Taken { name, set, attempts, losses })
    }

    /// The bundle of a taken timer was dropped: it is due again, unless it was set anew. Its failures are remembered.
    pub fn put_back(&mut self, taken: Taken) {
        if !self.set.contains_key(&taken.name) {
            self.tries.insert(Arc::clone(&taken.name), (taken.attempts, taken.losses));
            self.insert(taken.name, taken.set);
        }
    }

    /// The bundle of a taken timer was applied: the stored timer goes.
    pub fn fired(&mut self, taken: &Taken) {
        if !self.set.contains_key(&taken.name) {
            self.dirty.insert(Arc::clone(&taken.name), None);
        }
    }

    /// The earliest hold; the end of time when there is none.
    #[must_use]
    pub fn hold(&self) -> EventTime {
        self.holds.min()
    }

    /// Whether an event-time timer is due at `watermark` or a processing-time one at `now`.
    #[must_use]
    pub fn has_due(&self, watermark: EventTime, now: ProcessingTime) -> bool {
        let due = |set: &BTreeSet<Place>, limit| set.first().is_some_and(|(at, ..)| *at <= limit);
        due(&self.event, event_limit(watermark)) || due(&self.processing, now.0)
    }

    /// When the next processing-time timer is due.
    #[must_use]
    pub fn next_alarm(&self) -> Option<ProcessingTime> {
        self.processing.first().map(|(fire, ..)| ProcessingTime(*fire))
    }

    /// Timers of a key and window that are set. Cost: O(log n) and their number.
    fn of<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = (&'a Arc<TimerName>, &'a TimerSet)> {
        let from = TimerName { group: group.clone(), family: 0, tag: Bytes::new() };
        self.set.range(Arc::new(from)..).take_while(move |(name, _)| name.group == *group)
    }

    /// When the earliest event timer of a key and window is to fire.
    #[must_use]
    pub fn earliest_event(&self, group: &Group) -> Option<i64> {
        let event = self.of(group).filter(|(name, _)| self.domain(name.family) == TimeDomain::Event);
        event.map(|(_, set)| set.fire).min()
    }

    /// Whether there is a family of this clock.
    #[must_use]
    pub fn has_family(&self, domain: TimeDomain) -> bool {
        self.families.iter().any(|(of, _)| *of == domain)
    }

    /// Whether a key and window has a timer of this clock.
    #[must_use]
    pub fn has(&self, group: &Group, domain: TimeDomain) -> bool {
        self.of(group).any(|(name, _)| self.domain(name.family) == domain)
    }

    /// Whether a key and window has a timer.
    #[must_use]
    pub fn has_any(&self, group: &Group) -> bool {
        self.of(group).next().is_some()
    }

    /// Clears all timers of a key and window that has expired.
    pub fn forget_group(&mut self, group: &Group) {
        let names: Vec<_> = self.of(group).map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            self.forget(&name);
            self.tries.remove(&name);
            self.dirty.insert(name, None);
        }
    }

    /// Whether there are no timers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Collects the writes of the epoch.
    pub fn seal(&mut self, out: &mut Vec<CellWrite>) {
        for (name, set) in std::mem::take(&mut self.dirty) {
            let Some((_, id)) = self.families.get(name.family as usize) else { continue };
            let key = CellKey::new(KeyGroup::of_hash(name.group.hash), Kind::Timer, *id)
                .part(&name.group.key)
                .window(&name.group.window)
                .last(&name.tag)
                .finish();
            out.push((key, set.map(|s| encode(&s))));
        }
    }

    /// Takes a stored timer back in; used when a partition is restored.
    pub fn restore(&mut self, family: u32, group: Group, tag: Bytes, value: &[u8]) -> Option<()> {
        let set = decode(value)?;
        self.insert(Arc::new(TimerName { group, family, tag }), set);
        Some(())
    }

    /// The family a stored timer belongs to.
    #[must_use]
    pub fn family_of(&self, id: StateId) -> Option<u32> {
        self.families.iter().position(|(_, f)| *f == id).map(|i| i as u32)
    }
}

/// The last millisecond whose timers are due: the watermark has passed it (see [`EventTime::is_passed_by`]).
fn event_limit(watermark: EventTime) -> i64 {
    if watermark == EventTime::MAX { i64::MAX } else { watermark.0 - 1 }
}

fn encode(set: &TimerSet) -> Bytes {
    let mut out = Vec::with_capacity(33);
    out.extend_from_slice(&set.fire.to_be_bytes());
    out.extend_from_slice(&set.hold.0.to_be_bytes());
    write_pane(&mut out, &set.pane);
    Bytes::from(out)
}

fn decode(bytes: &[u8]) -> Option<TimerSet> {
    let (fire, rest) = bytes.split_first_chunk::<8>()?;
    let (hold, rest) = rest.split_first_chunk::<8>()?;
    let (pane, _) = read_pane(rest).ok()?;
    Some(TimerSet { fire: i64::from_be_bytes(*fire), hold: EventTime(i64::from_be_bytes(*hold)), pane })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Pane;

    fn name(key: &'static [u8], family: u32) -> TimerName {
        let group = Group::new(key, Window::Global);
        TimerName { group, family, tag: Bytes::new() }
    }

    fn at(fire: i64) -> Option<TimerSet> {
        Some(TimerSet { fire, hold: EventTime(fire), pane: Pane::NO_FIRING })
    }

    fn room() -> TimerRoom {
        TimerRoom::new(vec![(TimeDomain::Event, StateId(1)), (TimeDomain::Processing, StateId(2))], 0)
    }

    #[test]
    fn a_key_gives_only_its_earliest_timestamp() {
        let mut room = room();
        room.update(TimerName { tag: Bytes::from_static(b"x"), ..name(b"a", 0) }, at(1));
        room.update(name(b"a", 0), at(5));
        room.update(name(b"b", 0), at(5));
        let fires: Vec<_> = room
            .take_due(EventTime(9), ProcessingTime(0), 10, &mut |_, _, _| true)
            .iter()
            .map(|t| (t.name.group.key.clone(), t.set.fire))
            .collect();
        assert_eq!(fires, vec![(ShortBytes::copy(b"a"), 1), (ShortBytes::copy(b"b"), 5)]);
        assert_eq!(room.hold(), EventTime(5));
    }

    #[test]
    fn setting_again_replaces_and_a_dropped_bundle_gives_back() {
        let mut room = room();
        room.update(name(b"a", 0), at(5));
        room.update(name(b"a", 0), at(7));
        assert!(!room.has_due(EventTime(6), ProcessingTime(0)));
        assert!(!room.has_due(EventTime(7), ProcessingTime(0)), "what happened at 7 may still come");
        let taken = room.take_due(EventTime(8), ProcessingTime(0), 10, &mut |_, _, _| true);
        assert_eq!((taken.len(), room.hold()), (1, EventTime::MAX));
        taken.into_iter().for_each(|t| room.put_back(t));
        assert_eq!(room.hold(), EventTime(7));
    }

    #[test]
    fn a_timer_behind_the_end_of_its_window_comes_up_when_the_window_expires() {
        let mut room = room();
        let window = Window::Interval { start: EventTime(0), end: EventTime(60) };
        let of = |name: TimerName| TimerName { group: Group { window: window.clone(), ..name.group }, ..name };
        room.update(of(name(b"a", 0)), at(60));
        room.update(of(name(b"a", 1)), at(900));
        assert!(!room.has_due(EventTime(59), ProcessingTime(0)));
        let group = of(name(b"a", 0)).group;
        assert_eq!(room.earliest_event(&group), Some(60));
        let taken = room.take_due(EventTime(60), ProcessingTime(0), 10, &mut |_, _, _| true);
        assert_eq!(taken.iter().map(|t| t.set.fire).collect::<Vec<_>>(), [60]);
        assert!(!room.has(&group, TimeDomain::Event) && room.has(&group, TimeDomain::Processing));
        room.forget_group(&group);
        assert!(room.is_empty() && room.next_alarm().is_none());
    }

    #[test]
    fn processing_time_has_its_own_clock() {
        let mut room = room();
        room.update(name(b"a", 1), at(100));
        assert!(!room.has_due(EventTime::MAX, ProcessingTime(99)));
        assert_eq!(room.next_alarm(), Some(ProcessingTime(100)));
        assert!(room.has_due(EventTime::MIN, ProcessingTime(100)));
    }

    #[test]
    fn a_sealed_timer_restores() {
        let mut before = room();
        before.update(name(b"a", 0), at(5));
        let mut writes = Vec::new();
        before.seal(&mut writes);
        let (key, value) = &writes[0];
        let (_, _, id, mut rest) = crate::state::layout::KeyReader::open(key).expect("key");
        let (user, window) = (rest.part().expect("part"), rest.window().expect("window"));
        let mut after = room();
        let group = Group::new(user, window);
        after.restore(
            after.family_of(id).expect("family"),
            group,
            Bytes::copy_from_slice(rest.rest()),
            value.as_ref().expect("set"),
        );
        assert_eq!(after.hold(), EventTime(5));
    }
}
