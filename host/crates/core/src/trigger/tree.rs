//! A trigger tree, compiled, and what it has to remember of one key and window.
//!
//! In: elements, merges, firings, as facts without data. Out: whether a pane is due, and when to ask again by the clock. Nodes stand in
//! pre-order; a node's memory is a few bits and a number. What is remembered follows Beam's trigger state machines (Source:
//! `runners/core-java`, package `triggers`, and `apache_beam/transforms/trigger.py`).

use crate::time::ProcessingTime;
use crate::window::{TimestampTransform, Trigger};
use smallvec::SmallVec;

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    All,
    Any,
    Each,
    /// Children: early, late, as far as there are.
    EndOfWindow {
        early: bool,
        late: bool,
    },
    Clock(Vec<TimestampTransform>),
    Synchronized,
    Always,
    Default,
    Count(i64),
    Never,
    OrFinally,
    Repeat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    kind: Kind,
    /// One past the last node of the subtree.
    end: usize,
}

/// A compiled tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Windows merge: what may come back to life is kept up to date.
    merging: bool,
}

/// What a node remembers.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct NodeMemory {
    /// It speaks no more.
    pub finished: bool,
    /// Of an end of window: it has passed.
    pub late: bool,
    /// Elements counted, or the processing time that was computed.
    pub value: Option<i64>,
}

/// What a tree remembers, a node each.
pub type Memory = SmallVec<[NodeMemory; 2]>;

/// The circumstances under which a tree is asked.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The watermark has passed the end of the window.
    pub ended: bool,
    /// The time on the clock.
    pub now: ProcessingTime,
    /// All that arrived together is in: synchronized processing time has come.
    pub settled: bool,
}

impl Tree {
    /// Compiles a trigger.
    #[must_use]
    pub fn new(trigger: &Trigger, merging: bool) -> Self {
        let mut tree = Self { nodes: Vec::new(), merging };
        tree.compile(trigger);
        tree
    }

    fn compile(&mut self, trigger: &Trigger) {
        let at = self.nodes.len();
        let mut parent = |kind: Kind, children: &mut dyn Iterator<Item = &Trigger>| {
            self.nodes.push(Node { kind, end: 0 });
            children.for_each(|child| self.compile(child));
        };
        match trigger {
            Trigger::AfterAll(parts) => parent(Kind::All, &mut parts.iter()),
            Trigger::AfterAny(parts) => parent(Kind::Any, &mut parts.iter()),
            Trigger::AfterEach(parts) => parent(Kind::Each, &mut parts.iter()),
            Trigger::AfterEndOfWindow { early, late } => {
                let kind = Kind::EndOfWindow { early: early.is_some(), late: late.is_some() };
                let repeated = |part: &Option<Box<Trigger>>| part.clone().map(Trigger::Repeat);
                let parts: Vec<Trigger> = [repeated(early), repeated(late)].into_iter().flatten().collect();
                parent(kind, &mut parts.iter());
            }
            Trigger::AfterProcessingTime(steps) => parent(Kind::Clock(steps.clone()), &mut [].iter()),
            Trigger::AfterSynchronizedProcessingTime => parent(Kind::Synchronized, &mut [].iter()),
            Trigger::Always => parent(Kind::Always, &mut [].iter()),
            Trigger::Default => parent(Kind::Default, &mut [].iter()),
            Trigger::ElementCount(n) => parent(Kind::Count(i64::from(*n)), &mut [].iter()),
            Trigger::Never => parent(Kind::Never, &mut [].iter()),
            Trigger::OrFinally { main, finally } => {
                parent(Kind::OrFinally, &mut [main.as_ref(), finally.as_ref()].into_iter());
            }
            Trigger::Repeat(part) => parent(Kind::Repeat, &mut std::iter::once(part.as_ref())),
        }
        let end = self.nodes.len();
        if let Some(node) = self.nodes.get_mut(at) {
            node.end = end;
        }
    }

    /// The memory of a key and window that has seen nothing.
    #[must_use]
    pub fn memory(&self) -> Memory {
        SmallVec::from_elem(NodeMemory::default(), self.nodes.len())
    }

    /// An element has come. Cost: O(nodes).
    pub fn on_element(&self, memory: &mut Memory, moment: Moment) {
        self.element(0, memory, moment);
    }

    /// Whether a pane is due.
    #[must_use]
    pub fn should_fire(&self, memory: &Memory, moment: Moment) -> bool {
        self.due(0, memory, moment)
    }

    /// A pane has been fired.
    pub fn on_fire(&self, memory: &mut Memory, moment: Moment) {
        self.fire(0, memory, moment);
    }

    /// Whether nothing will be fired any more.
    #[must_use]
    pub fn is_finished(&self, memory: &Memory) -> bool {
        of(memory, 0).finished
    }

    /// The memory of a window that takes the place of several that have seen elements.
    #[must_use]
    pub fn merge(&self, parts: &[&Memory], moment: Moment) -> Memory {
        let mut memory = self.memory();
        self.merge_node(0, parts, &mut memory, moment);
        memory
    }

    /// The earliest time on the clock, behind `after`, that a trigger waits for.
    #[must_use]
    pub fn alarm(&self, memory: &Memory, after: ProcessingTime) -> Option<ProcessingTime> {
        let clocks = self.nodes.iter().zip(memory).filter(|(node, m)| node.kind.is_clock() && !m.finished);
        clocks.filter_map(|(_, m)| m.value).filter(|time| *time > after.0).min().map(ProcessingTime)
    }

    /// Whether the end of a window is something it speaks at, even if there is nothing new.
    #[must_use]
    pub fn ends_windows(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.kind, Kind::Default | Kind::EndOfWindow { .. }))
    }

    fn kind(&self, at: usize) -> &Kind {
        self.nodes.get(at).map_or(&Kind::Never, |node| &node.kind)
    }

    fn end(&self, at: usize) -> usize {
        self.nodes.get(at).map_or(at + 1, |node| node.end)
    }

    fn children(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let (mut next, end) = (at + 1, self.end(at));
        std::iter::from_fn(move || {
            let child = (next < end).then_some(next)?;
            next = self.end(child);
            Some(child)
        })
    }

    fn active(&self, at: usize, memory: &Memory) -> Option<usize> {
        self.children(at).find(|child| !of(memory, *child).finished)
    }

    /// The trigger for early firings and the one for late firings of an end of window.
    fn sides(&self, at: usize) -> (Option<usize>, Option<usize>) {
        let mut children = self.children(at);
        match self.kind(at) {
            Kind::EndOfWindow { early: true, .. } => (children.next(), children.next()),
            Kind::EndOfWindow { late: true, .. } => (None, children.next()),
            _ => (None, None),
        }
    }

    fn element(&self, at: usize, memory: &mut Memory, moment: Moment) {
        if of(memory, at).finished {
            return;
        }
        match self.kind(at) {
            Kind::Count(_) => set(memory, at, |m| m.value = Some(m.value.unwrap_or_default() + 1)),
            Kind::Clock(steps) => set(memory, at, |m| m.value = m.value.or(Some(transform(moment.now, steps)))),
            Kind::Synchronized => set(memory, at, |m| m.value = m.value.or(Some(moment.now.0))),
            Kind::Each if !self.merging => {
                if let Some(child) = self.active(at, memory) {
                    self.element(child, memory, moment);
                }
            }
            Kind::EndOfWindow { .. } if !self.merging => {
                let (early, late) = self.sides(at);
                let side = if of(memory, at).late { late } else { early };
                if let Some(side) = side {
                    self.element(side, memory, moment);
                }
            }
            // where windows merge, a part that is not yet or no longer asked may be asked again
            Kind::All | Kind::Any | Kind::Each | Kind::OrFinally | Kind::Repeat | Kind::EndOfWindow { .. } => {
                self.children(at).for_each(|child| self.element(child, memory, moment));
            }
            Kind::Always | Kind::Default | Kind::Never => {}
        }
    }

    fn due(&self, at: usize, memory: &Memory, moment: Moment) -> bool {
        let own = of(memory, at);
        if own.finished {
            return false;
        }
        match self.kind(at) {
            Kind::Count(n) => own.value.unwrap_or_default() >= *n,
            Kind::Clock(_) => own.value.is_some_and(|time| time <= moment.now.0),
            Kind::Synchronized => moment.settled && own.value.is_some_and(|time| time <= moment.now.0),
            Kind::Always => true,
            Kind::Never => false,
            Kind::Default => moment.ended,
            Kind::All => self.children(at).all(|child| of(memory, child).finished || self.due(child, memory, moment)),
            Kind::Any | Kind::OrFinally | Kind::Repeat => {
                self.children(at).any(|child| self.due(child, memory, moment))
            }
            Kind::Each => self.active(at, memory).is_some_and(|child| self.due(child, memory, moment)),
            Kind::EndOfWindow { .. } => {
                let (early, late) = self.sides(at);
                let side = |side: Option<usize>| side.is_some_and(|child| self.due(child, memory, moment));
                if own.late { side(late) } else { moment.ended || side(early) }
            }
        }
    }

    fn fire(&self, at: usize, memory: &mut Memory, moment: Moment) {
        let children = || self.children(at);
        match self.kind(at) {
            Kind::Count(_) | Kind::Clock(_) | Kind::Synchronized => {
                set(memory, at, |m| *m = NodeMemory { finished: true, ..NodeMemory::default() });
            }
            Kind::Always | Kind::Default | Kind::Never => {}
            Kind::All => {
                children().for_each(|child| self.fire_active(child, memory, moment));
                self.finish_if(at, memory, children().all(|c| of(memory, c).finished));
            }
            Kind::Any => {
                for child in children() {
                    if self.due(child, memory, moment) {
                        self.fire(child, memory, moment);
                    } else {
                        self.clear(child, memory); // the pane that it was tracking is gone
                    }
                }
                self.finish_if(at, memory, children().any(|c| of(memory, c).finished));
            }
            Kind::Each => {
                if let Some(child) = self.active(at, memory) {
                    self.fire(child, memory, moment);
                }
                if self.merging {
                    children().for_each(|child| self.clear(child, memory));
                }
                self.finish_if(at, memory, children().all(|c| of(memory, c).finished));
            }
            Kind::OrFinally => {
                let (main, finally) = (children().next(), children().nth(1));
                if let Some(finally) = finally.filter(|f| self.due(*f, memory, moment)) {
                    self.fire(finally, memory, moment);
                    self.finish_if(at, memory, true);
                } else if let Some(main) = main {
                    self.fire(main, memory, moment);
                }
                self.finish_if(at, memory, children().any(|c| of(memory, c).finished));
            }
            Kind::Repeat => {
                for child in children() {
                    self.fire(child, memory, moment);
                    if of(memory, child).finished {
                        self.reset(child, memory);
                    }
                }
            }
            Kind::EndOfWindow { .. } => self.fire_end_of_window(at, memory, moment),
        }
    }

    fn fire_active(&self, at: usize, memory: &mut Memory, moment: Moment) {
        if !of(memory, at).finished {
            self.fire(at, memory, moment);
        }
    }

    fn fire_end_of_window(&self, at: usize, memory: &mut Memory, moment: Moment) {
        let (early, late) = self.sides(at);
        let own = of(memory, at);
        let side = if own.late { late } else { early };
        if own.late || !moment.ended {
            if let Some(side) = side.filter(|s| self.due(*s, memory, moment)) {
                self.fire(side, memory, moment);
            }
            return;
        }
        set(memory, at, |m| m.late = true);
        self.children(at).for_each(|child| self.reset(child, memory));
        self.finish_if(at, memory, late.is_none());
    }

    fn merge_node(&self, at: usize, parts: &[&Memory], memory: &mut Memory, moment: Moment) {
        let all_finished = parts.iter().all(|part| of(part, at).finished);
        match self.kind(at) {
            // enough elements in one of the windows are enough for all
            Kind::Count(_) if parts.iter().any(|part| of(part, at).finished) => self.finish_if(at, memory, true),
            Kind::Count(_) => {
                let sum = parts.iter().filter_map(|part| of(part, at).value).sum();
                set(memory, at, |m| m.value = Some(sum));
            }
            Kind::Clock(_) | Kind::Synchronized if all_finished => self.finish_if(at, memory, true),
            Kind::Clock(_) | Kind::Synchronized => {
                let first = parts.iter().filter_map(|part| of(part, at).value).min();
                set(memory, at, |m| m.value = first);
            }
            Kind::Always | Kind::Default | Kind::Never => {}
            Kind::All => {
                self.children(at).for_each(|child| self.merge_node(child, parts, memory, moment));
                self.finish_if(at, memory, self.children(at).all(|c| of(memory, c).finished));
            }
            Kind::Any | Kind::OrFinally => {
                self.children(at).for_each(|child| self.merge_node(child, parts, memory, moment));
                self.finish_if(at, memory, self.children(at).any(|c| of(memory, c).finished));
            }
            Kind::Repeat => self.children(at).for_each(|child| self.merge_node(child, parts, memory, moment)),
            Kind::Each => {
                let mut before_finished = true;
                for child in self.children(at) {
                    if before_finished {
                        self.merge_node(child, parts, memory, moment);
                        before_finished = of(memory, child).finished;
                    }
                }
                self.finish_if(at, memory, before_finished);
            }
            Kind::EndOfWindow { .. } => {
                let (early, late) = self.sides(at);
                // what one of the windows still had to say at its end, the merged one says
                let over = moment.ended && parts.iter().all(|part| of(part, at).late);
                set(memory, at, |m| m.late = over);
                if let Some(side) = if over { late } else { early } {
                    self.merge_node(side, parts, memory, moment);
                }
                self.finish_if(at, memory, over && late.is_none());
            }
        }
    }

    fn finish_if(&self, at: usize, memory: &mut Memory, finished: bool) {
        set(memory, at, |m| m.finished |= finished);
    }

    /// Forgets what was counted.
    fn clear(&self, at: usize, memory: &mut Memory) {
        (at..self.end(at)).for_each(|i| set(memory, i, |m| m.value = None));
    }

    /// Forgets everything.
    fn reset(&self, at: usize, memory: &mut Memory) {
        (at..self.end(at)).for_each(|i| set(memory, i, |m| *m = NodeMemory::default()));
    }
}

impl Kind {
    fn is_clock(&self) -> bool {
        matches!(self, Self::Clock(_) | Self::Synchronized)
    }
}

fn of(memory: &Memory, at: usize) -> NodeMemory {
    memory.get(at).copied().unwrap_or_default()
}

fn set(memory: &mut Memory, at: usize, change: impl FnOnce(&mut NodeMemory)) {
    if let Some(node) = memory.get_mut(at) {
        change(node);
    }
}

fn transform(now: ProcessingTime, steps: &[TimestampTransform]) -> i64 {
    steps.iter().fold(now.0, |time, step| match *step {
        TimestampTransform::Delay(ms) => time.saturating_add(ms),
        TimestampTransform::AlignTo { period, offset } => {
            let past = time.saturating_sub(offset).rem_euclid(period.max(1));
            if past == 0 { time } else { time.saturating_add(period.max(1) - past) }
        }
    })
}

#[cfg(test)]
mod tests;
