//! The YAML front door: a pipeline file in the format of Beam YAML, read without Python, becomes a Beam `Pipeline` proto.
//!
//! In: the text of a file, values for its `{{ names }}`, and a way to describe components. Out: a proto of native
//! and Wasm transforms, with row schemas inferred through the pipeline; or an error with file, line, column, the path of keys
//! and what to do. It opens no data and runs nothing.
//!
//! # What is read
//! | transform | configuration |
//! |---|---|
//! | `Create` | `elements`: rows of texts, numbers, true and false; plain values become rows `{element}` |
//! | `ReadFromText` | `path`, in any part of which `*`, `?` and `[...]` match names; beyond Beam `skip_header_lines`, and `row_number`, the name of a second field |
//! | `ReadFromKafka` | `topic`, `bootstrap_servers`, `format` RAW, STRING or JSON, `schema`, `consumer_config`, `auto_offset_reset_config`, `error_handling`; beyond Beam `stop_at: end_offsets` |
//! | `Wasm` (ours) | `component`, `function`, `config`, `error_handling`; named outputs are read as `Name.output`; `key` or `keys`, and `value`: fields that make pairs for functions with keys; inputs with the names of side inputs; `side_inputs`: key and value of a multimap; `tables` |
//! | `TableJoin` (ours) | `table`, `key` or `keys`, `how`: left or inner |
//! | `WindowInto` | `windowing`: global, fixed, sliding, sessions, wasm (ours: `component`, `function`, `config`); any transform takes `windowing`, too |
//! | `Combine` | `group_by`, `combine` with count, sum, mean, min, max |
//! | `MapToFields` | `fields` as far as they name fields, `append`, `drop` |
//! | `ExtractWindowingInfo` | timestamp, window_start, window_end, window_string, window_type |
//! | `Flatten`, `LogForTesting`, `chain`, `composite` | as in Beam |
//! | `WriteToText`, `WriteToJson` | `path`: one file, exactly there; a line of WriteToText is the text, the timestamp in RFC 3339, nothing for null, and of other values their JSON (`true` where Beam writes `True`) |
//! | `WriteToKafka` | `topic`, `bootstrap_servers`, `format` RAW, STRING or JSON, `producer_config_updates` |
//!
//! Beside `pipeline`, `tables` (ours) declares tables by name: `path` and `format` csv or jsonl, or `topic` and `bootstrap_servers`; `schema`,
//! `key` or `keys`, `value` (a column, or a list of columns).
//!
//! Other types, expressions and providers are refused by name. A day (`1d`) is 24 hours; Beam 2.77 takes it for 12.
//!
//! # Steps
//! `template` fills in values, `node` parses into a tree with places, `spec` writes short cuts out, `expand`
//! resolves names and windows, `transforms` know the types.
//!
//! Source: <https://beam.apache.org/documentation/sdks/yaml/>.

mod call;
pub(crate) mod duration;
mod expand;
mod node;
mod outputs;
mod scalar;
mod spec;
mod suggest;
mod tables;
mod template;
#[cfg(test)]
mod tests;
mod transforms;
mod windows;

pub(crate) use duration::parse as duration_millis;

use crate::pipeline::PipelineBuilder;
use crate::table::TableSpec;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_proto::pipeline::Pipeline;
use thalweg_wasm::describe::Description;

/// Describes components: what the front door must know of them to check a pipeline.
pub trait Components: std::fmt::Debug {
    /// The description of a component file.
    ///
    /// # Errors
    /// When the file is not there or not a component.
    fn describe(&self, component: &Path) -> Result<Arc<Description>>;
}

/// What a file stands in, and what it declares for all its transforms.
struct Around<'a> {
    components: &'a dyn Components,
    tables: BTreeMap<String, TableSpec>,
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around").field("tables", &self.tables).finish_non_exhaustive()
    }
}

/// Reads a pipeline file.
///
/// # Errors
/// `CONFIG_UNREADABLE` when the file cannot be read, else as [`load`].
pub fn load_file(path: &Path, values: &BTreeMap<String, String>, components: &dyn Components) -> Result<Pipeline> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::user("CONFIG_UNREADABLE", format!("cannot read {}: {e}", path.display()))
            .help("check the path and that you may read the file")
    })?;
    load(&path.to_string_lossy(), &text, values, components)
}

/// Reads a pipeline file's text; `file` is its name in messages.
///
/// # Errors
/// `YAML_*` and `SCHEMA_*`, each with line and column; errors about a component as `components` gives them.
///
/// ```
/// use thalweg::yaml::{Components, load};
/// # use thalweg_core::error::{Error, Result};
/// #[derive(Debug)]
/// struct None;
/// impl Components for None {
///     fn describe(&self, path: &std::path::Path) -> Result<std::sync::Arc<thalweg_wasm::describe::Description>> {
///         Err(Error::user("NO_COMPONENT", path.display().to_string()))
///     }
/// }
/// let text = "
/// pipeline:
///   type: chain
///   transforms:
///     - type: Create
///       config: {elements: [{word: a}, {word: b}]}
///     - type: WriteToText
///       config: {path: '{{ out }}'}
/// ";
/// let pipeline = load("words.yaml", text, &[("out".to_owned(), "words.txt".to_owned())].into(), &None)?;
/// assert_eq!(pipeline.root_transform_ids, ["Create", "WriteToText"]);
/// # Ok::<(), thalweg_core::error::Error>(())
/// ```
pub fn load(
    file: &str,
    text: &str,
    values: &BTreeMap<String, String>,
    components: &dyn Components,
) -> Result<Pipeline> {
    let file: Arc<str> = Arc::from(file);
    let filled = template::fill(&file, text, values)?;
    let top = node::parse(&file, &filled)?;
    let root = spec::pipeline(&top)?;
    let tables = tables::declared(&top)?;
    let mut build = PipelineBuilder::new();
    expand::expand(&root, &mut build, &Around { components, tables })?;
    Ok(build.finish())
}

/// Parses YAML or JSON that stands inside a text of the file. Everything in it is placed where the text stands.
fn parse_inline(text: &str, place: &node::Place) -> Result<node::Node> {
    let file: Arc<str> = Arc::from(format!("{}:{}", place.file, place.line));
    node::parse(&file, &template::fill(&file, text, &BTreeMap::new())?)
}
