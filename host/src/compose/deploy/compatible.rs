//! Whether a version of a function may take the place of another one in a running job.
//!
//! In: two descriptions. Out: what the new one keeps and sets besides, or a refusal that names both sides.

use crate::pipeline::Element;
use std::fmt::Debug;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::describe::{Coder, Function, Kind, Slot, Timer};

/// What a new version has besides what the old one has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beyond {
    /// State slots.
    pub slots: Vec<Slot>,
    /// Timer families.
    pub timers: Vec<Timer>,
}

impl Beyond {
    /// Whether both keep the same and set the same timers.
    pub fn is_nothing(&self) -> bool {
        self.slots.is_empty() && self.timers.is_empty()
    }
}

/// Compares what is there with what is to come: kind, coders, outputs, side inputs and tables are equal, every slot and timer family
/// is there again. New slots and families are what is given back. Windows that merge are refused: what merges those that are there would stay
/// with the old version.
///
/// # Errors
/// `DEPLOY_INCOMPATIBLE` with the first difference.
pub fn compatible(old: &Function, new: &Function) -> Result<Beyond> {
    equal("its kind", &old.kind, &new.kind)?;
    coder("what it takes", &old.input, &new.input)?;
    let names = |f: &Function| f.outputs.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
    equal("its outputs", &names(old), &names(new))?;
    for (a, b) in old.outputs.iter().zip(&new.outputs) {
        coder(&format!("its output `{}`", a.name), &a.coder, &b.coder)?;
    }
    match (&old.accumulator, &new.accumulator) {
        (Some(a), Some(b)) => coder("its accumulator", a, b)?,
        (a, b) => equal("its accumulator", a, b)?,
    }
    equal("whether its windows merge", &old.merges, &new.merges)?;
    if old.kind == Kind::WindowFn && old.merges {
        let message = format!(
            "`{}` runs and merges windows, as `{}` would: windows that one of them assigned would be merged by the other",
            old.name, new.name
        );
        return Err(refused(message));
    }
    equal("whether it looks at elements", &old.element, &new.element)?;
    equal("whether it hears of the end of windows", &old.on_window_expiration, &new.on_window_expiration)?;
    equal("its side inputs", &old.side_inputs, &new.side_inputs)?;
    equal("its tables", &old.tables, &new.tables)?;
    equal("the capabilities it asks for", &old.capabilities, &new.capabilities)?;
    for slot in &old.slots {
        let Some(again) = new.slots.iter().find(|s| s.name == slot.name) else {
            return Err(refused(format!("the running version keeps `{}`, the new one has no such state", slot.name)));
        };
        equal(&format!("the kind of its state `{}`", slot.name), &slot.kind, &again.kind)?;
        equal(&format!("the key of its state `{}`", slot.name), &slot.key, &again.key)?;
        coder(&format!("its state `{}`", slot.name), &slot.coder, &again.coder)?;
    }
    for timer in &old.timers {
        let Some(again) = new.timers.iter().find(|t| t.name == timer.name) else {
            return Err(refused(format!("the running version sets timers `{}`, the new one has none", timer.name)));
        };
        equal(&format!("the clock of its timers `{}`", timer.name), &timer.domain, &again.domain)?;
    }
    let beyond = Beyond {
        slots: new.slots.iter().filter(|s| old.slots.iter().all(|o| o.name != s.name)).cloned().collect(),
        timers: new.timers.iter().filter(|t| old.timers.iter().all(|o| o.name != t.name)).cloned().collect(),
    };
    if !old.is_keyed() && !beyond.is_nothing() {
        return Err(refused("the running version keeps no state, so keys do not meet; the new one does".to_owned()));
    }
    Ok(beyond)
}

fn refused(message: String) -> Error {
    Error::user("DEPLOY_INCOMPATIBLE", message)
        .help("build the new version so that it takes the place of the old one, or submit the pipeline as another job")
}

fn equal<T: PartialEq + Debug>(what: &str, old: &T, new: &T) -> Result<()> {
    if old == new {
        return Ok(());
    }
    Err(refused(format!("{what} differs: {old:?} in the running version, {new:?} in the new one")))
}

fn coder(what: &str, old: &Coder, new: &Coder) -> Result<()> {
    if old == new {
        return Ok(());
    }
    let words = |coder: &Coder| Element::of_coder(coder).map_or_else(|| coder.urn.clone(), |e| e.to_string());
    let (old, new) = (words(old), words(new));
    Err(refused(format!("{what} differs: {old} in the running version, {new} in the new one")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn function(change: impl FnOnce(&mut Value)) -> Function {
        let text = json!({"urn": "beam:coder:string_utf8:v1"});
        let number = json!({"urn": "beam:coder:varint:v1"});
        let mut value = json!({
            "name": "f", "kind": "dofn",
            "input": {"urn": "beam:coder:kv:v1", "components": [text, number]},
            "outputs": [{"name": "main", "coder": text}],
            "slots": [{"name": "n", "kind": "value", "coder": number}],
            "timers": [{"name": "t", "domain": "event"}],
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    fn why(change: impl FnOnce(&mut Value)) -> String {
        let refused = compatible(&function(|_| ()), &function(change)).err();
        refused.map(|e| format!("{} {}", e.code, e.message)).unwrap_or_default()
    }

    #[test]
    fn new_slots_and_timers_are_found_and_old_ones_may_stand_in_another_order() {
        let new = function(|f| {
            f["slots"].as_array_mut().unwrap().insert(0, json!({"name": "m", "kind": "bag", "coder": f_text()}));
            f["timers"].as_array_mut().unwrap().push(json!({"name": "u", "domain": "processing"}));
        });
        let beyond = compatible(&function(|_| ()), &new).unwrap();
        assert_eq!((beyond.slots[0].name.as_str(), beyond.timers[0].name.as_str()), ("m", "u"));
        assert!(compatible(&function(|_| ()), &function(|_| ())).unwrap().is_nothing());
    }

    fn f_text() -> Value {
        json!({"urn": "beam:coder:string_utf8:v1"})
    }

    #[test]
    fn windows_that_merge_stay_with_the_version_that_runs() {
        let window_fn = |name: &str, merges: bool| {
            function(|f| {
                f["name"] = json!(name);
                f["kind"] = json!("windowfn");
                f["merges"] = json!(merges);
                (f["slots"], f["timers"]) = (json!([]), json!([]));
            })
        };
        let refused = compatible(&window_fn("sessions", true), &window_fn("longer", true)).unwrap_err();
        assert_eq!(refused.code, "DEPLOY_INCOMPATIBLE");
        assert!(refused.message.contains("`sessions`") && refused.message.contains("`longer`"), "{refused}");
        assert!(compatible(&window_fn("days", false), &window_fn("weeks", false)).is_ok());
    }

    #[test]
    fn every_difference_names_both_sides() {
        let both = |text: &str, old: &str, new: &str| text.contains(old) && text.contains(new);
        assert!(both(&why(|f| f["slots"][0]["coder"] = f_text()), "whole numbers", "texts"));
        assert!(why(|f| f["slots"] = json!([])).contains("keeps `n`"));
        assert!(both(&why(|f| f["slots"][0]["kind"] = json!("bag")), "Value", "Bag"));
        assert!(why(|f| f["timers"] = json!([])).contains("timers `t`"));
        assert!(both(&why(|f| f["timers"][0]["domain"] = json!("processing")), "Event", "Processing"));
        assert!(both(&why(|f| f["outputs"][0]["name"] = json!("other")), "main", "other"));
        assert!(both(&why(|f| f["outputs"][0]["coder"]["urn"] = json!("beam:coder:bytes:v1")), "texts", "bytes"));
        assert!(both(&why(|f| f["on_window_expiration"] = json!(true)), "false", "true"));
        assert!(why(|f| f["capabilities"] = json!(["clock"])).contains("clock"));
        assert!(why(|f| f["kind"] = json!("keyselector")).contains("kind"));
    }
}
