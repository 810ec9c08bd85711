//! W3: a JSON document in; those that are `ok` go out with twice their `amount`, as the pair of text and id.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use thalweg_udf::{Context, DoFn, Failure, Kv, Output, OutputSpec};

/// The documents.
pub const DOCUMENTS: Output<Kv<String, i64>> = Output::new(0, "documents");

/// A document. Texts without escapes are borrowed from the line.
#[derive(Serialize, Deserialize)]
struct Document<'a> {
    id: i64,
    #[serde(borrow)]
    user: Cow<'a, str>,
    ts: i64,
    #[serde(borrow)]
    page: Cow<'a, str>,
    amount: f64,
    ok: bool,
    #[serde(borrow)]
    tags: Vec<Cow<'a, str>>,
}

/// Changes documents.
pub struct Change {
    /// The text of a document; kept for its memory.
    text: Vec<u8>,
}

impl DoFn for Change {
    type In = String;
    const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&DOCUMENTS];

    fn open(_config: &str) -> Result<Self, Failure> {
        Ok(Self { text: Vec::new() })
    }

    fn process(&mut self, line: &str, ctx: &mut Context) -> Result<(), Failure> {
        let mut document: Document<'_> = serde_json::from_str(line).map_err(json)?;
        if !document.ok {
            return Ok(());
        }
        document.amount *= 2.0;
        self.text.clear();
        serde_json::to_writer(&mut self.text, &document).map_err(json)?;
        let text = str::from_utf8(&self.text).map_err(|_| Failure::new("JSON", "the document is no text"))?;
        ctx.emit(&DOCUMENTS, (text, document.id));
        Ok(())
    }
}

fn json(error: serde_json::Error) -> Failure {
    Failure::new("JSON", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_udf::{EventTime, testing::Kit};

    #[test]
    fn amounts_double_and_what_is_not_ok_or_no_document_does_not_go_on() -> Result<(), Failure> {
        let line = |id: i64, ok: bool| {
            format!(r#"{{"id":{id},"user":"u","ts":1,"page":"\/","amount":1.5,"ok":{ok},"tags":["t"]}}"#)
        };
        let lines = [line(7, true), line(8, false), "{".to_owned(), r#"{"ok": true}"#.to_owned()];
        let outcome = Kit::<Change>::open("")?.run(lines.iter().map(|line| (EventTime(0), line.as_str())))?;
        let documents: Vec<_> = outcome.elements(&DOCUMENTS)?.into_iter().map(|(_, kv)| kv).collect();
        assert_eq!(documents, [(r#"{"id":7,"user":"u","ts":1,"page":"/","amount":3.0,"ok":true,"tags":["t"]}"#, 7)]);
        let failed: Vec<_> = outcome.failures().into_iter().map(|(row, failure)| (row, failure.code)).collect();
        assert_eq!(failed, [(2, "JSON".into()), (3, "JSON".into())]);
        Ok(())
    }
}
