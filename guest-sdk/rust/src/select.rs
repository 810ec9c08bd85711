//! Key selectors: every element gets a key.

use crate::capability::{self, Capability};
use crate::context::failed_section;
use crate::dofn::Failure;
use crate::element::{Element, View};
use crate::frame::{FrameWriter, Input, pack, section};
use crate::host::Host;
use crate::instance::{Instance, bad_frame, no_operation};

/// Gives elements their key.
///
/// ```
/// use thalweg_udf::{Failure, KeySelector};
///
/// /// The first word of a line.
/// struct FirstWord;
///
/// impl KeySelector for FirstWord {
///     type In = String;
///     type Key = String;
///
///     fn open(_config: &str) -> Result<Self, Failure> {
///         Ok(Self)
///     }
///     fn key<'a>(&'a mut self, line: &'a str) -> Result<&'a str, Failure> {
///         line.split_whitespace().next().ok_or(Failure::new("EMPTY", "the line has no word"))
///     }
/// }
///
/// thalweg_udf::export!(keyselector "first_word" => FirstWord);
/// # fn main() {}
/// ```
pub trait KeySelector: Sized + Send + 'static {
    /// What comes in.
    type In: Element;
    /// The keys.
    type Key: Element;

    /// What of the machine it wants to see; nothing without it.
    const CAPABILITIES: &'static [Capability] = &[];

    /// Makes an instance. `config` is the JSON text of `config:` in the pipeline, empty if there is none.
    fn open(config: &str) -> Result<Self, Failure>;

    /// The key of an element.
    ///
    /// # Errors
    /// An element that has none fails the bundle.
    fn key<'a>(&'a mut self, element: View<'a, Self::In>) -> Result<View<'a, Self::Key>, Failure>;
}

pub fn describe<S: KeySelector>(json: &mut String) {
    json.push_str(r#","kind":"keyselector","input":"#);
    S::In::coder(json);
    json.push_str(r#","outputs":[{"name":"key","coder":"#);
    S::Key::coder(json);
    json.push_str("}]");
    capability::describe(S::CAPABILITIES, json);
}

/// A key selector that is open.
pub struct Runner<S>(S);

impl<S: KeySelector> Runner<S> {
    pub fn open(config: &str, _host: Host) -> Result<Self, Failure> {
        S::open(config).map(Self)
    }
}

impl<S: KeySelector> Instance for Runner<S> {
    fn call(&mut self, op: u32, input: &[u8]) -> Result<Vec<u8>, Failure> {
        if op != 0 {
            return Err(no_operation("key selector", op));
        }
        let input = Input::parse(input).map_err(|_| bad_frame("input frame"))?;
        let (mut values, mut arena, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..input.rows {
            let (key, value) = input.element(row).map_err(|_| bad_frame("input frame"))?;
            let start = arena.len();
            let element = S::In::decode_columns(key, value).map_err(Failure::from);
            match element.and_then(|element| self.0.key(element)) {
                Ok(key) => S::Key::encode(&key, &mut arena),
                Err(failure) => failed.push((row as u32, failure)),
            }
            values.push(pack(start, arena.len()));
        }
        let mut frame = FrameWriter::new(values.len(), values.len() * 8 + arena.len());
        frame.section(section::VALUE, &[values.as_flattened()]);
        frame.section(section::ARENA, &[&arena]);
        failed_section(&failed, &mut frame);
        Ok(frame.finish())
    }
}
