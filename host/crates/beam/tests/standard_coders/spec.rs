//! Beam's `standard_coders.yaml`: found in the installed package, parsed into sections.
//!
//! Byte strings stand there as text whose characters are the bytes.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The coders that the file is to have examples of. Of the other standard ones, a length prefix is tested wherever a
/// coder is unknown, and a schema is the payload of a row.
pub const STANDARD: [&str; 17] = [
    "beam:coder:bytes:v1",
    "beam:coder:string_utf8:v1",
    "beam:coder:kv:v1",
    "beam:coder:bool:v1",
    "beam:coder:varint:v1",
    "beam:coder:double:v1",
    "beam:coder:iterable:v1",
    "beam:coder:timer:v1",
    "beam:coder:interval_window:v1",
    "beam:coder:global_window:v1",
    "beam:coder:windowed_value:v1",
    "beam:coder:param_windowed_value:v1",
    "beam:coder:state_backed_iterable:v1",
    "beam:coder:custom_window:v1",
    "beam:coder:row:v1",
    "beam:coder:sharded_key:v1",
    "beam:coder:nullable:v1",
];

#[derive(Deserialize)]
pub struct Coder {
    pub urn: String,
    #[serde(default)]
    pub payload: String,
    #[serde(default)]
    pub components: Vec<Coder>,
    /// Tokens of the state API and the encoded elements behind them.
    #[serde(default)]
    pub state: BTreeMap<String, String>,
    #[serde(default)]
    pub non_deterministic: bool,
}

#[derive(Deserialize)]
struct Raw {
    coder: Coder,
    nested: Option<bool>,
    examples: BTreeMap<String, Value>,
}

pub struct Example {
    pub bytes: Vec<u8>,
    pub value: Value,
}

pub struct Section {
    pub coder: Coder,
    /// In which context; both if it makes no difference.
    pub nested: Option<bool>,
    pub examples: Vec<Example>,
}

/// The bytes that a text of the file stands for.
pub fn bytes(text: &str) -> Result<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).with_context(|| format!("{c:?} is no byte"))).collect()
}

fn python() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let named = std::env::var_os("THALWEG_PYTHON").filter(|v| !v.is_empty());
    named.map_or_else(|| top.join(".venv/bin/python"), |path| top.join(path))
}

/// The sections of the file.
pub fn read() -> Result<Vec<Section>> {
    let asked = "import apache_beam.portability as p, os; print(os.path.dirname(p.__file__))";
    let answer = Command::new(python()).args(["-c", asked]).output().context("Python is missing: run `make setup`")?;
    let folder = String::from_utf8(answer.stdout)?;
    let file = Path::new(folder.trim()).join("api/standard_coders.yaml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} is missing", file.display()))?;
    let documents: Vec<Raw> = serde_saphyr::from_multiple(&text)?;
    let section = |raw: Raw| -> Result<Section> {
        let examples = raw.examples.into_iter().map(|(text, value)| Ok(Example { bytes: bytes(&text)?, value }));
        Ok(Section { coder: raw.coder, nested: raw.nested, examples: examples.collect::<Result<_>>()? })
    };
    documents.into_iter().map(section).collect()
}
