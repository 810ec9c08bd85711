//! W3: a JSON document in; those that are `ok` go out with twice their `amount`, as the pair of text and id.

use serde_json::Value;
use thalweg_udf::{Context, DoFn, Failure, Kv, Output, OutputSpec};

/// The documents.
pub const DOCUMENTS: Output<Kv<String, i64>> = Output::new(0, "documents");

/// Changes documents.
pub struct Change;

impl DoFn for Change {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&DOCUMENTS];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn process(&mut self, line: &str, ctx: &mut Context) -> Result<(), Failure> {
        let mut document: Value = serde_json::from_str(line).map_err(|e| Failure::new("JSON", e.to_string()))?;
        if document.get("ok") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        let id = document.get("id").and_then(Value::as_i64);
        let id = id.ok_or_else(|| Failure::new("DOCUMENT", "the document has no id"))?;
        let Some(amount) = document.get_mut("amount") else {
            return Err(Failure::new("DOCUMENT", "the document has no amount"));
        };
        *amount = (amount.as_f64().unwrap_or_default() * 2.0).into();
        let text = serde_json::to_string(&document).map_err(|e| Failure::new("JSON", e.to_string()))?;
        ctx.emit(&DOCUMENTS, (text.as_str(), id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::{EventTime, testing::Kit};

    #[test]
    fn amounts_double_and_what_is_not_ok_or_no_json_does_not_go_on() -> Result<(), Failure> {
        let lines = [
            r#"{"id": 7, "amount": 1.5, "ok": true}"#,
            r#"{"id": 8, "amount": 1, "ok": false}"#,
            "{",
            r#"{"ok": true}"#,
        ];
        let outcome = Kit::<Change>::open("")?.run(lines.map(|line| (EventTime(0), line)))?;
        let (text, id) = outcome.elements(&DOCUMENTS)?.into_iter().map(|(_, kv)| kv).next().unwrap_or_default();
        let document: Value = serde_json::from_str(text).map_err(|e| Failure::new("JSON", e.to_string()))?;
        assert_eq!((document, id), (serde_json::json!({"id": 7, "amount": 3.0, "ok": true}), 7));
        let failed: Vec<_> = outcome.failures().into_iter().map(|(row, failure)| (row, failure.code)).collect();
        assert_eq!(failed, [(2, "JSON".into()), (3, "DOCUMENT".into())]);
        Ok(())
    }
}
