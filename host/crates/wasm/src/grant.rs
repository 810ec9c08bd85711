//! What of the machine a function may see. In: what it describes, what the pipeline grants, what the server allows. Out: what it gets, or
//! the name of what is missing. Nothing is granted by default.

use crate::describe::Function;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One thing of the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Capability {
    /// `clock`: the time of day and a monotonic clock, as they pass. Without it the clock stands at the call's processing time.
    Clock,
    /// `random`: entropy of the system. Without it random numbers come from the frame's seed.
    Random,
    /// `env:NAME`: a variable of the environment, whose value the pipeline gives.
    Env(String),
}

impl Capability {
    /// The capability of a name as descriptions have it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "clock" => Some(Self::Clock),
            "random" => Some(Self::Random),
            _ => name.strip_prefix("env:").filter(|name| !name.is_empty()).map(|name| Self::Env(name.to_owned())),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock => f.write_str("clock"),
            Self::Random => f.write_str("random"),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

/// What a pipeline grants a function, in the form of its payload: `{"clock": true, "env": {"REGION": "eu"}}`.
///
/// ```
/// use thalweg_wasm::Grants;
/// let grants: Grants = serde_json::from_str(r#"{"clock": true, "env": {"REGION": "eu"}}"#)?;
/// assert_eq!(grants.to_string(), "clock, env:REGION");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Whether it may see time pass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clock: bool,
    /// Whether it gets entropy of the system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub random: bool,
    /// Its environment: name and value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

impl Grants {
    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is granted.
    pub fn iter(&self) -> impl Iterator<Item = Capability> {
        let clock = self.clock.then_some(Capability::Clock);
        let random = self.random.then_some(Capability::Random);
        clock.into_iter().chain(random).chain(self.env.keys().cloned().map(Capability::Env))
    }

    /// What `function` gets: what it describes. What it does not describe it does not get, even if it is granted.
    ///
    /// # Errors
    /// [`Error::NotGranted`] with all that it describes and is not granted.
    pub fn of(&self, function: &Function) -> Result<Self> {
        let wanted: BTreeSet<Capability> = function.capabilities.iter().filter_map(|c| Capability::parse(c)).collect();
        let granted: BTreeSet<Capability> = self.iter().collect();
        let missing: Vec<String> = wanted.difference(&granted).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(Error::NotGranted { function: function.name.clone(), missing });
        }
        let env = self.env.iter().filter(|(name, _)| wanted.contains(&Capability::Env((*name).clone())));
        Ok(Self {
            clock: wanted.contains(&Capability::Clock),
            random: wanted.contains(&Capability::Random),
            env: env.map(|(name, value)| (name.clone(), value.clone())).collect(),
        })
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|c| c.to_string()).collect();
        f.write_str(if names.is_empty() { "nothing" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

/// What pipelines may grant at all: the decision of whoever runs the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Whatever there is: pipelines come from the user himself.
    Everything,
    /// These; `env` stands for every variable.
    Only(BTreeSet<String>),
}

impl Allowed {
    /// The list of these names.
    ///
    /// # Errors
    /// The name that is none.
    pub fn only<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let known = |name: &str| name == "env" || Capability::parse(name).is_some();
        let list = names.into_iter().map(|name| if known(name) { Ok(name.to_owned()) } else { Err(name.to_owned()) });
        list.collect::<Result<_, _>>().map(Self::Only)
    }

    /// The first thing of what a pipeline grants that it may not grant.
    #[must_use]
    pub fn refuses(&self, grants: &Grants) -> Option<Capability> {
        let Self::Only(names) = self else { return None };
        let allowed = |capability: &Capability| {
            names.contains(&capability.to_string())
                || (matches!(capability, Capability::Env(_)) && names.contains("env"))
        };
        grants.iter().find(|capability| !allowed(capability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::Description;

    fn function(capabilities: &str) -> Result<Function> {
        let bytes = r#"{"urn":"beam:coder:bytes:v1"}"#;
        let json = format!(
            r#"{{"functions":[{{"name":"f","kind":"dofn","input":{bytes},"outputs":[{{"name":"main","coder":{bytes}}}],
                "capabilities":{capabilities}}}]}}"#
        );
        let description = Description::parse("c", &json)?;
        description.functions.into_iter().next().ok_or_else(|| Error::Engine { why: "no function".into() })
    }

    #[test]
    fn what_is_missing_is_named_and_what_is_not_described_is_not_given() -> Result<()> {
        let grants = Grants { random: true, env: [("B".into(), "2".into())].into(), ..Grants::default() };
        let error = grants.of(&function(r#"["clock","random","env:A"]"#)?).err();
        let missing = vec!["clock".to_owned(), "env:A".to_owned()];
        assert_eq!(error, Some(Error::NotGranted { function: "f".into(), missing }));
        assert_eq!(grants.of(&function("[]")?)?, Grants::default());
        assert_eq!(grants.of(&function(r#"["env:B"]"#)?)?.to_string(), "env:B");
        Ok(())
    }

    #[test]
    fn a_server_allows_what_is_on_its_list() -> Result<(), String> {
        let grants = Grants { clock: true, env: [("A".into(), "1".into())].into(), ..Grants::default() };
        assert_eq!(Allowed::Everything.refuses(&grants), None);
        assert_eq!(Allowed::only(["clock", "env"])?.refuses(&grants), None);
        assert_eq!(Allowed::only(["clock", "env:A"])?.refuses(&grants), None);
        assert_eq!(Allowed::only(["clock", "env:B"])?.refuses(&grants), Some(Capability::Env("A".into())));
        assert_eq!(Allowed::only([])?.refuses(&grants), Some(Capability::Clock));
        assert_eq!(Allowed::only(["http"]), Err("http".to_owned()));
        Ok(())
    }

    #[test]
    fn a_grant_of_something_unknown_is_refused_by_name() {
        let wrong = serde_json::from_str::<Grants>(r#"{"files": true}"#);
        assert!(wrong.is_err_and(|e| e.to_string().contains("files")));
    }
}
