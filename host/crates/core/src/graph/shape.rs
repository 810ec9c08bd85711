//! The shape of a plan: what a job keeps from run to run, by name, so that another pipeline can take over its state.
//!
//! In: plans. Out: lines of text that are stored with the job, and a refusal by name where a plan cannot take over what an earlier one kept. Functions
//! without state, sinks and the way stages are fused are no part of it.

use super::plan::{Plan, Route, StageKind};
use crate::coder::Coder;
use crate::error::{Error, Result};
use crate::id::StateId;

/// What a line is about. Its word is stored.
const KEY: &str = "key";
const VALUES: &str = "values";
const WINDOWS: &str = "windows";
const ORDER: &str = "order";
const STATE: &str = "state";
const TIMER: &str = "timer";
const SIDE: &str = "side input";
const SOURCE: &str = "source";
const EDGE: &str = "input";
const EXCHANGE: &str = "exchange";

/// One thing that is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Line {
    kind: String,
    /// Under which it is stored.
    id: StateId,
    /// What people call it.
    name: String,
    /// How it looks. Neither holds a tab or an end of line.
    what: String,
}

/// What a job keeps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shape(Vec<Line>);

impl Shape {
    /// What a plan keeps. Cost: O(stages + edges).
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut lines = Vec::new();
        let mut line = |kind: &str, id: StateId, name: &str, what: String| {
            let (name, what) = (name.escape_debug().to_string(), what.escape_debug().to_string());
            lines.push(Line { kind: kind.to_owned(), id, name, what });
        };
        for stage in &plan.stages {
            match &stage.kind {
                StageKind::Worker(worker) if worker.keyed => {
                    let key = worker.input_coder.kv().map_or_else(String::new, |(key, _)| format!("{key:?}"));
                    line(KEY, stage.state, &stage.name, key);
                    line(WINDOWS, stage.state, &stage.name, format!("{:?}", worker.windowing));
                    line(
                        ORDER,
                        stage.state,
                        &stage.name,
                        format!("sorted {}, stable {}", worker.sorted, worker.stable),
                    );
                    for state in &worker.states {
                        line(STATE, state.id, &below(&stage.name, &state.name), state.kept.clone());
                    }
                    for timer in &worker.timers {
                        line(TIMER, timer.id, &below(&stage.name, &timer.name), format!("{:?}", timer.domain));
                    }
                }
                StageKind::Group(group) => {
                    line(KEY, stage.state, &stage.name, format!("{:?}", group.key));
                    line(VALUES, stage.state, &stage.name, format!("{:?}", group.value));
                    line(WINDOWS, stage.state, &stage.name, format!("{:?}", group.windowing));
                }
                StageKind::View(view) => {
                    line(SIDE, stage.state, &stage.name, format!("{:?}", view.coder));
                    line(WINDOWS, stage.state, &stage.name, format!("{:?}", view.windowing));
                }
                StageKind::Source(source) if !plan.is_exchange(*source) => {
                    let id = plan.sources.get(source.0 as usize).copied().unwrap_or(stage.state);
                    line(SOURCE, id, &stage.name, String::new());
                }
                _ => {}
            }
            if let StageKind::Worker(worker) = &stage.kind {
                // what running bundles gave back
                line(EDGE, stage.state, &stage.name, format!("{:?}", worker.input_coder));
            }
        }
        for edge in &plan.edges {
            let to = plan.stage(edge.to);
            line(EDGE, edge.state, &to.name, coder_of(&to.kind));
        }
        for exchange in &plan.exchanges {
            let reads = |stage: &&super::Stage| matches!(stage.kind, StageKind::Source(id) if id == exchange.source);
            let back = plan.stages.iter().find(reads).and_then(|stage| stage.outputs.first()?.edges.first());
            let to = back.map(|edge| plan.stage(plan.edge(*edge).to));
            let (name, coder) = to.map_or(("?", String::new()), |to| (to.name.as_str(), coder_of(&to.kind)));
            line(EXCHANGE, exchange.state, name, format!("{} {coder}", word(exchange.route)));
        }
        lines.sort();
        lines.dedup();
        Self(lines)
    }

    /// As it is stored: a line for each thing, its parts apart by tabs.
    #[must_use]
    pub fn encode(&self) -> String {
        let text = |l: &Line| format!("{}\t{:016x}\t{}\t{}", l.kind, l.id.0, l.name, l.what);
        self.0.iter().map(text).collect::<Vec<_>>().join("\n")
    }

    /// Reads what was stored; `None` if it is damaged.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let line = |text: &str| {
            let mut parts = text.split('\t');
            let (kind, id) = (parts.next()?.to_owned(), u64::from_str_radix(parts.next()?, 16).ok()?);
            let (name, what) = (parts.next()?.to_owned(), parts.next()?.to_owned());
            Some(Line { kind, id: StateId(id), name, what })
        };
        text.lines().map(line).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether what `old` keeps can be taken over: all of it is there again and looks the same. More may be new.
    ///
    /// # Errors
    /// `UPDATE_INCOMPATIBLE`, naming the first thing that is gone or has changed.
    pub fn takes_over(&self, old: &Self) -> Result<()> {
        for was in old.0.iter().filter(|line| line.kind != EDGE) {
            let same: Vec<&Line> = self.0.iter().filter(|l| l.kind == was.kind && l.id == was.id).collect();
            if same.iter().any(|line| line.what == was.what) {
                continue;
            }
            return Err(match same.first() {
                Some(is) => refused(
                    was,
                    &format!("the {} of {:?} was {}, and would be {}", was.kind, was.name, was.what, is.what),
                ),
                None => refused(was, &gone(was)),
            });
        }
        Ok(())
    }

    /// Whether input that waits under this name can be taken over by `new`.
    ///
    /// # Errors
    /// `UPDATE_INCOMPATIBLE`, naming the transform whose input it was.
    pub fn input_goes_on(&self, id: StateId, new: &Self) -> Result<()> {
        let Some(was) = self.0.iter().find(|l| l.kind == EDGE && l.id == id) else { return Ok(()) };
        if new.0.iter().any(|l| l.kind == EDGE && l.id == id && l.what == was.what) {
            return Ok(());
        }
        Err(refused(was, &format!("input of {:?} was read and not processed, and would have nowhere to go", was.name)))
    }
}

fn below(stage: &str, name: &str) -> String {
    if name.starts_with(stage) { name.to_owned() } else { format!("{stage}/{name}") }
}

fn coder_of(kind: &StageKind) -> String {
    let of = |coder: &Coder| format!("{coder:?}");
    match kind {
        StageKind::Worker(worker) => of(&worker.input_coder),
        StageKind::Group(group) => format!("{:?} {:?}", group.key, group.value),
        StageKind::View(view) => of(&view.coder),
        _ => String::new(),
    }
}

/// How elements of an exchange find their partition, as it is stored.
fn word(route: Route) -> &'static str {
    match route {
        Route::Local => "local",
        Route::Keyed => "by key",
        Route::Spread => "spread",
        Route::Broadcast => "to all",
        Route::Single => "to one",
    }
}

fn gone(was: &Line) -> String {
    let Line { kind, name, .. } = was;
    match kind.as_str() {
        SOURCE => format!("the source {name:?} is gone, and with it how far it was read"),
        EXCHANGE => {
            format!("what is sent to {name:?} between processes would be sent elsewhere, and what is under way be lost")
        }
        STATE | TIMER => format!("the {kind} {name:?} is gone"),
        _ => format!("{name:?} keeps state, and is gone"),
    }
}

fn refused(was: &Line, why: &str) -> Error {
    Error::user("UPDATE_INCOMPATIBLE", format!("the pipeline cannot take over the state of the one that runs: {why}"))
        .help("give the transform the name, coders and windows it had, or drain the old job and start this one with a state of its own")
        .in_transform(&was.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::worker::TimeDomain;
    use crate::window::Windowing;

    fn line(kind: &str, id: u64, name: &str, what: &str) -> Line {
        Line { kind: kind.to_owned(), id: StateId(id), name: name.to_owned(), what: what.to_owned() }
    }

    #[test]
    fn a_shape_is_read_back_whatever_stands_in_its_names() {
        let shape =
            Shape(vec![line(STATE, 7, &"a\tb\nc\"".escape_debug().to_string(), "Bag"), line(KEY, u64::MAX, "k", "")]);
        let text = shape.encode();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(Shape::decode(&text), Some(shape.clone()));
        assert_eq!(shape.takes_over(&shape), Ok(()));
        assert!(Shape::decode("state\tzz\tn\tw").is_none() && Shape::decode("state").is_none());
    }

    /// They stand in state directories and savepoints: another word for the same thing would refuse every one of them.
    #[test]
    fn the_words_for_coders_and_windows_are_frozen() {
        let pair = Coder::Kv(Coder::StringUtf8.into(), Coder::Iterable(Coder::VarInt.into()).into());
        let row = Coder::Row([crate::coder::Field::VarInt, crate::coder::Field::One].into());
        assert_eq!(format!("{pair:?}"), "Kv(StringUtf8, Iterable(VarInt))");
        assert_eq!(format!("{row:?}"), "Row([VarInt, One])");
        assert_eq!(
            format!("{:?}", Windowing::global()),
            "Windowing { window_fn: Global, trigger: Default, accumulation: Discarding, output_time: EndOfWindow, allowed_lateness: 0, \
             on_time: Always, closing: IfNonempty, after_finish: Drop }"
        );
        assert_eq!(format!("{:?} {:?}", TimeDomain::Event, TimeDomain::Processing), "Event Processing");
    }

    #[test]
    fn what_is_gone_or_has_changed_is_refused_by_name_and_what_is_new_is_not() {
        let old =
            Shape(vec![line(WINDOWS, 1, "Hourly", "Fixed"), line(STATE, 2, "Count/n", "Bag"), line(EDGE, 3, "X", "")]);
        let mut more = old.clone();
        more.0.push(line(STATE, 9, "New/n", "Bag"));
        assert_eq!(more.takes_over(&old), Ok(()));
        let why = |change: fn(&mut Shape)| {
            let mut new = old.clone();
            change(&mut new);
            let refused = new.takes_over(&old);
            refused.err().map(|e| (e.code, e.transform, e.message)).unwrap_or_default()
        };
        let (code, transform, message) = why(|s| s.0[0].what = "Sessions".to_owned());
        assert_eq!((code, transform.as_str()), ("UPDATE_INCOMPATIBLE", "Hourly"));
        assert!(message.contains("windows") && message.contains("Sessions") && message.contains("Fixed"), "{message}");
        assert!(why(|s| drop(s.0.remove(1))).2.contains("Count/n"));
        assert_eq!(why(|s| drop(s.0.remove(2))).0, "", "input is looked at where there is some");
        assert_eq!(old.input_goes_on(StateId(3), &Shape::default()).err().map(|e| e.transform), Some("X".to_owned()));
        assert_eq!(old.input_goes_on(StateId(3), &old), Ok(()));
    }
}
