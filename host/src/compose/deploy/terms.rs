//! Whether a version may be tried on the terms that are asked for.
//!
//! In: the terms, the function, and what it keeps besides. Out: nothing, or a refusal that says what cannot be.

use super::compatible::Beyond;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::Terms;
use thalweg_wasm::describe::{Function, Kind};

/// Checks terms. A canary has to be a DoFn, with state or without: there each key, or each bundle, is one version's alone. The parts of a
/// CombineFn meet in a key wherever they were made, and so do windows that merge.
///
/// # Errors
/// `DEPLOY_CANARY`.
pub fn check_terms(terms: Terms, function: &Function, beyond: &Beyond) -> Result<()> {
    let refused = |message: String, help: &str| Err(Error::user("DEPLOY_CANARY", message).help(help));
    let share = |x: f64| x.is_finite() && (0.0..=1.0).contains(&x);
    if !share(terms.share) || terms.share == 0.0 || !share(terms.failures_max) {
        return refused("shares are above 0 and at most 1".to_owned(), "write 0.1 for a tenth");
    }
    if terms.share < 1.0 && function.kind != Kind::DoFn {
        let message = format!(
            "`{}` is a {:?}, and only DoFns can be canaries: others would mix with the old version inside a key",
            function.name, function.kind
        );
        return refused(message, "deploy it for all");
    }
    if terms.share < 1.0 && !beyond.is_nothing() {
        return refused(
            "a canary keeps the same state and timers as the running version, and this one has more".to_owned(),
            "deploy it for all keys; it is rolled back if it fails",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn function(kind: &str) -> Function {
        let number = json!({"urn": "beam:coder:varint:v1"});
        let pair = json!({"urn": "beam:coder:kv:v1", "components": [number, number]});
        let (input, slots, accumulator) = match kind {
            "stateful" => (pair, json!([{"name": "n", "kind": "value", "coder": number}]), None),
            "combinefn" => (number.clone(), json!([]), Some(number.clone())),
            _ => (number.clone(), json!([]), None),
        };
        let kind = if kind == "stateful" { "dofn" } else { kind };
        let outputs = json!([{"name": "main", "coder": number}]);
        let all = json!({"name": "f", "kind": kind, "input": input, "outputs": outputs, "slots": slots, "accumulator": accumulator});
        serde_json::from_value(all).unwrap()
    }

    fn why(share: f64, kind: &str, beyond: &Beyond) -> String {
        let terms = Terms { share, failures_max: 0.01, bundles: 10 };
        check_terms(terms, &function(kind), beyond)
            .err()
            .map(|e| format!("{} {}", e.code, e.message))
            .unwrap_or_default()
    }

    #[test]
    fn a_canary_is_a_dofn_with_state_or_without() {
        let same = Beyond::default();
        assert_eq!((why(0.1, "dofn", &same), why(0.1, "stateful", &same)), (String::new(), String::new()));
        for (kind, named) in [("combinefn", "CombineFn"), ("windowfn", "WindowFn"), ("keyselector", "KeySelector")] {
            let refused = why(0.1, kind, &same);
            assert!(refused.starts_with("DEPLOY_CANARY `f` is a ") && refused.contains(named), "{refused}");
            assert_eq!(why(1.0, kind, &same), "", "for all it is deployed");
        }
    }

    #[test]
    fn a_canary_keeps_no_more_than_the_running_version_and_its_share_is_one() {
        let more = Beyond { slots: function("stateful").slots, ..Beyond::default() };
        assert!(why(0.1, "stateful", &more).contains("this one has more"));
        assert_eq!(why(1.0, "stateful", &more), "");
        for share in [0.0, -0.1, 1.1, f64::NAN] {
            assert!(why(share, "dofn", &Beyond::default()).starts_with("DEPLOY_CANARY"), "{share}");
        }
    }
}
