//! CombineFns: values of a key become an accumulator, accumulators become one, and that one an output. One call has the values
//! of many keys.

use crate::capability::{self, Capability};
use crate::context::failed_section;
use crate::dofn::Failure;
use crate::element::{Element, View};
use crate::frame::{FrameWriter, Input, pack, section};
use crate::host::Host;
use crate::instance::{Instance, bad_frame, no_operation};
use crate::owned::Owned;

/// Sums up the values of a key, in any order and in parts.
///
/// ```
/// use thalweg_udf::{CombineFn, Failure};
///
/// /// The mean of numbers.
/// #[derive(Default)]
/// struct Mean;
///
/// impl CombineFn for Mean {
///     type In = i64;
///     type Accumulator = (i64, i64); // count and sum
///     type Out = f64;
///
///     fn open(_config: &str) -> Result<Self, Failure> {
///         Ok(Self)
///     }
///     fn create(&self) -> (i64, i64) {
///         (0, 0)
///     }
///     fn add(&self, (count, sum): &mut (i64, i64), value: i64) -> Result<(), Failure> {
///         (*count, *sum) = (*count + 1, *sum + value);
///         Ok(())
///     }
///     fn merge(&self, into: &mut (i64, i64), (count, sum): (i64, i64)) {
///         (into.0, into.1) = (into.0 + count, into.1 + sum);
///     }
///     fn extract(&self, (count, sum): (i64, i64)) -> f64 {
///         sum as f64 / count as f64
///     }
/// }
///
/// thalweg_udf::export!(combinefn "mean" => Mean);
/// # fn main() {}
/// ```
pub trait CombineFn: Sized + Send + 'static {
    /// The values.
    type In: Element;
    /// What is known of the values so far.
    type Accumulator: Owned;
    /// The result.
    type Out: Owned;

    /// What of the machine it wants to see; nothing without it.
    const CAPABILITIES: &'static [Capability] = &[];

    /// Makes an instance. `config` is the JSON text of `config:` in the pipeline, empty if there is none.
    fn open(config: &str) -> Result<Self, Failure>;

    /// The accumulator of no values.
    fn create(&self) -> Self::Accumulator;

    /// Adds a value.
    ///
    /// # Errors
    /// A value that cannot be added fails the bundle.
    fn add(&self, accumulator: &mut Self::Accumulator, value: View<'_, Self::In>) -> Result<(), Failure>;

    /// Adds what another accumulator knows.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: Self::Accumulator);

    /// The result.
    fn extract(&self, accumulator: Self::Accumulator) -> Self::Out;

    /// An accumulator that means the same and is smaller, before it is stored or sent.
    fn compact(&self, accumulator: Self::Accumulator) -> Self::Accumulator {
        accumulator
    }
}

const ADD: u32 = 16;
const MERGE: u32 = 17;
const EXTRACT: u32 = 18;
const COMPACT: u32 = 19;

pub fn describe<C: CombineFn>(json: &mut String) {
    json.push_str(r#","kind":"combinefn","input":"#);
    C::In::coder(json);
    json.push_str(r#","accumulator":"#);
    C::Accumulator::coder(json);
    json.push_str(r#","outputs":[{"name":"main","coder":"#);
    C::Out::coder(json);
    json.push_str("}]");
    capability::describe(C::CAPABILITIES, json);
}

/// A CombineFn that is open.
pub struct Runner<C>(C);

impl<C: CombineFn> Runner<C> {
    pub fn open(config: &str, _host: Host) -> Result<Self, Failure> {
        C::open(config).map(Self)
    }

    /// One accumulator per group of the frame.
    fn groups(
        &self,
        input: &Input<'_>,
        rows: &mut Rows,
        mut add: impl FnMut(&mut C::Accumulator, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut next = 0;
        for group in 0..input.groups() {
            let mut accumulator = self.0.create();
            while next < input.rows && input.group_of(next) as usize == group {
                let (_, value) = input.element(next).map_err(|_| bad_frame("input frame"))?;
                if let Err(failure) = add(&mut accumulator, value) {
                    rows.failed.push((next as u32, failure));
                }
                next += 1;
            }
            rows.push(|out| self.0.compact(accumulator).encode(out));
        }
        if next < input.rows { Err(bad_frame("order of the rows")) } else { Ok(()) }
    }
}

/// Output rows that have values alone.
#[derive(Default)]
struct Rows {
    values: Vec<[u8; 8]>,
    arena: Vec<u8>,
    failed: Vec<(u32, Failure)>,
}

impl Rows {
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        self.values.push(pack(start, self.arena.len()));
    }
}

impl<C: CombineFn> Instance for Runner<C> {
    fn call(&mut self, op: u32, input: &[u8]) -> Result<Vec<u8>, Failure> {
        let input = Input::parse(input).map_err(|_| bad_frame("input frame"))?;
        let mut rows = Rows::default();
        match op {
            ADD => {
                self.groups(&input, &mut rows, |accumulator, value| self.0.add(accumulator, C::In::decode(value)?))?
            }
            MERGE => self.groups(&input, &mut rows, |accumulator, value| {
                self.0.merge(accumulator, C::Accumulator::decode(value)?);
                Ok(())
            })?,
            EXTRACT | COMPACT => {
                for row in 0..input.rows {
                    let (_, value) = input.element(row).map_err(|_| bad_frame("input frame"))?;
                    match C::Accumulator::decode(value) {
                        Ok(found) if op == EXTRACT => rows.push(|out| self.0.extract(found).encode(out)),
                        Ok(found) => rows.push(|out| self.0.compact(found).encode(out)),
                        Err(malformed) => {
                            rows.failed.push((row as u32, malformed.into()));
                            rows.push(|_| {});
                        }
                    }
                }
            }
            _ => return Err(no_operation("CombineFn", op)),
        }
        let mut frame = FrameWriter::new(rows.values.len(), rows.values.len() * 8 + rows.arena.len());
        frame.section(section::VALUE, &[rows.values.as_flattened()]);
        frame.section(section::ARENA, &[&rows.arena]);
        failed_section(&rows.failed, &mut frame);
        Ok(frame.finish())
    }
}
