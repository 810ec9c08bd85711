//! What of the machine a function wants to see. Without it a function sees none of it: the clock stands at the call's processing time,
//! random numbers come from the call's seed, the environment is empty.

use crate::wire;

/// One thing of the machine, for `CAPABILITIES`. The pipeline has to grant it, and the server to allow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Capability {
    /// The time of day and a monotonic clock, as they pass: `wasi:clocks`.
    Clock,
    /// Entropy of the system: `wasi:random`.
    Random,
    /// A variable of the environment, by its name: `wasi:cli/environment`. The pipeline says its value.
    Env(&'static str),
}

/// Adds what a function wants to its description.
pub fn describe(all: &[Capability], json: &mut String) {
    for (i, capability) in all.iter().enumerate() {
        json.push_str(if i == 0 { r#","capabilities":["# } else { "," });
        match capability {
            Capability::Clock => json.push_str(r#""clock""#),
            Capability::Random => json.push_str(r#""random""#),
            Capability::Env(name) => wire::put_json_string(&format!("env:{name}"), json),
        }
    }
    if !all.is_empty() {
        json.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named_as_the_contract_names_them() {
        let mut json = String::new();
        describe(&[], &mut json);
        describe(&[Capability::Clock, Capability::Random, Capability::Env("A\"B")], &mut json);
        assert_eq!(json, r#","capabilities":["clock","random","env:A\"B"]"#);
    }
}
