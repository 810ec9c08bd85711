//! How long state lives that is not written, as people say it: `7d` for all transforms, `Dedup=1h` for one, `off` for ever.
//!
//! In: texts of the command line and of pipeline options. Out: a time in the graph, for each transform that keeps state. What becomes of the state is
//! the engine's business.

use crate::yaml::duration;
use thalweg_beam::job::{JobOptions, OptionDescriptor, OptionKind};
use thalweg_beam::translate::Translation;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Op, Plan, StageKind};

/// The option of submitted jobs.
pub const OPTION: &str = "state_ttl";
/// Who says so wants no end.
const OFF: &str = "off";
/// A hundred years: times beyond would leave the numbers in which they are reckoned.
const MILLIS_MAX: i64 = 100 * 365 * 86_400_000;

/// What was said of one transform, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// The transform, or a composite around it; all without it.
    name: Option<String>,
    /// Milliseconds; for ever without them.
    limit: Option<i64>,
    /// The pipeline must have such a transform.
    strict: bool,
}

/// How long state of each transform lives that is not written; for ever where nothing is said.
///
/// ```
/// use thalweg::compose::StateTtl;
/// let ttl = StateTtl::of(&["7d", "Orders/Dedup=1h", "Totals=off"])?;
/// assert_eq!(ttl.of_transform("Orders/Dedup/ParDo(Once)"), Some(3_600_000));
/// assert_eq!(ttl.of_transform("Totals"), None);
/// assert_eq!(ttl.of_transform("Else"), Some(7 * 86_400_000));
/// # Ok::<(), thalweg_core::error::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateTtl(Vec<Rule>);

impl StateTtl {
    /// Reads `TIME` or `TRANSFORM=TIME`, in any number; several may stand in one text, with commas between them. A transform is named as the
    /// pipeline names it; the name of a composite holds for all in it, and a longer name before a shorter one.
    ///
    /// # Errors
    /// `STATE_TTL_INVALID`.
    pub fn of<T: AsRef<str>>(texts: &[T]) -> Result<Self> {
        let mut rules = Vec::new();
        for text in texts {
            // names may have commas in them: a rule goes on until a time ends it
            let mut open = String::new();
            for part in text.as_ref().split(',') {
                open.push_str(part);
                match rule(&open) {
                    Some(rule) => {
                        rules.push(rule);
                        open.clear();
                    }
                    None => open.push(','),
                }
            }
            if !open.is_empty() {
                return Err(invalid(open.trim_end_matches(',')));
            }
        }
        Ok(Self(rules))
    }

    /// What a job says in its options.
    ///
    /// # Errors
    /// `STATE_TTL_INVALID`.
    pub fn of_options(options: &JobOptions) -> Result<Self> {
        Self::of(&options.list(OPTION))
    }

    /// The same for pipelines that nobody knows yet: they need not have the transforms that are named.
    #[must_use]
    pub fn for_any(mut self) -> Self {
        self.0.iter_mut().for_each(|rule| rule.strict = false);
        self
    }

    /// What is said here, and where nothing is, what is said there.
    #[must_use]
    pub fn over(self, there: &Self) -> Self {
        Self(there.0.iter().cloned().chain(self.0).collect())
    }

    /// How many milliseconds state of a transform lives; `None` is for ever.
    #[must_use]
    pub fn of_transform(&self, name: &str) -> Option<i64> {
        let held = self.0.iter().filter(|rule| rule.name.as_ref().is_none_or(|of| is_in(name, of)));
        // of equals the last one counts
        held.max_by_key(|rule| rule.name.as_ref().map_or(0, |name| name.len() + 1)).and_then(|rule| rule.limit)
    }

    /// Tells the graph.
    ///
    /// # Errors
    /// `STATE_TTL_UNKNOWN`, naming the transforms that keep state.
    pub(super) fn put(&self, translation: &mut Translation) -> Result<()> {
        let mut keeping = Vec::new();
        for (info, transform) in translation.transforms.iter().zip(&mut translation.graph.transforms) {
            let Op::User(user) = &mut transform.op else { continue };
            if !user.states.is_empty() {
                user.ttl_ms = self.of_transform(&info.origin);
                keeping.push(info.origin.as_str());
            }
        }
        let strict = self.0.iter().filter(|rule| rule.strict).filter_map(|rule| rule.name.as_deref());
        let unknown = strict.into_iter().find(|name| !keeping.iter().any(|transform| is_in(transform, name)));
        match unknown {
            Some(name) => Err(unknown_name(name, &keeping)),
            None => Ok(()),
        }
    }
}

/// Whether a transform is that one, or in it.
pub fn is_in(transform: &str, name: &str) -> bool {
    transform.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn rule(text: &str) -> Option<Rule> {
    let (name, time) = match text.rsplit_once('=') {
        Some((name, time)) => (Some(name.trim().to_owned()).filter(|name| !name.is_empty()), time.trim()),
        None => (None, text.trim()),
    };
    if text.contains('=') && name.is_none() {
        return None;
    }
    let limit = match time {
        OFF => None,
        time => Some(duration::parse(time).filter(|ms| (1..=MILLIS_MAX).contains(ms))?),
    };
    Some(Rule { name, limit, strict: true })
}

fn invalid(text: &str) -> Error {
    Error::user("STATE_TTL_INVALID", format!("{text:?} does not say how long state lives"))
        .help("write a time, `7d`, a transform and a time, `Dedup=1h`, or `off`; units are ms, s, m, h and d")
}

fn unknown_name(name: &str, keeping: &[&str]) -> Error {
    let there = match keeping {
        [] => "no transform of the pipeline keeps state".to_owned(),
        names => format!("those that keep state are {}", names.join(", ")),
    };
    Error::user("STATE_TTL_UNKNOWN", format!("the state of {name:?} is to live so long, which keeps none: {there}"))
        .help("name one of them, or a composite around it, as `thalweg plan` shows it")
}

/// What is to be known of a plan in which state does not live for ever.
pub fn lines(plan: &Plan) -> Vec<String> {
    let said = plan.stages.iter().filter_map(|stage| match &stage.kind {
        StageKind::Worker(worker) if !worker.states.is_empty() => worker
            .ttl_ms
            .map(|ms| format!("state of {} is dropped when it was not written for {}", stage.name, duration::show(ms))),
        _ => None,
    });
    said.collect()
}

/// The option, for SDKs that ask what there is.
pub fn option() -> OptionDescriptor {
    OptionDescriptor {
        name: OPTION,
        kind: OptionKind::List,
        description: "How long state lives that is not written: a time such as 7d, TRANSFORM=TIME, or off.",
        default: "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts_and_of_equals_the_last() -> Result<()> {
        let ttl = StateTtl::of(&["1h,A=2s", "A/B=off", "A=3s"])?;
        let of = |name: &str| ttl.of_transform(name);
        assert_eq!(
            [of("A"), of("A/C"), of("A/B"), of("A/B/x"), of("AB")].map(|ms| ms.unwrap_or_default()),
            [3000, 3000, 0, 0, 3_600_000]
        );
        assert_eq!(StateTtl::default().of_transform("A"), None);
        let over = StateTtl::of(&["B=off"])?.over(&StateTtl::of(&["B=1s", "5s"])?.for_any());
        assert_eq!((over.of_transform("B"), over.of_transform("A")), (None, Some(5000)));
        Ok(())
    }

    #[test]
    fn names_may_have_commas_and_equals_signs() -> Result<()> {
        let ttl = StateTtl::of(&["Map(f, x=1)=2s, off"])?;
        assert_eq!((ttl.of_transform("Map(f, x=1)"), ttl.of_transform("B")), (Some(2000), None));
        for text in ["", "x", "=1h", "A=", "1h,", "0", "-1s", "A=0s", "40000d", "1h,x"] {
            assert_eq!(StateTtl::of(&[text]).map_err(|e| e.code), Err("STATE_TTL_INVALID"), "{text:?}");
        }
        Ok(())
    }
}
