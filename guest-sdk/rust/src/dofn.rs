//! What a user writes: a [`DoFn`], and the constants that name its outputs.

use crate::bundle::BundleContext;
use crate::capability::Capability;
use crate::context::Context;
use crate::element::{Element, View};
use crate::timer::{Expired, Fired, Timer};
use crate::wire::Malformed;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Why an element, or an instance, could not be dealt with.
///
/// For an element it is not the end of anything: what the element did to state, timers and metrics is taken back, its outputs are dropped, and the
/// runner reports the element (or sends it to a dead-letter output). A panic, in contrast, ends the whole call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Stable, short, upper case: what programs and counters look at.
    pub code: Cow<'static, str>,
    /// One sentence for a person.
    pub message: Cow<'static, str>,
}

impl Failure {
    /// A failure with its code and sentence.
    #[must_use]
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::new("DECODE", format!("the encoded value is {malformed}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

/// When something happened, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EventTime(pub i64);

/// A function from one element to any number of outputs.
///
/// One value of the type lives as long as its instance and sees many batches, on one thread. What it keeps in its own
/// fields is a cache: only state slots survive and are correct after a retry.
///
/// ```
/// use thalweg_udf::{Context, DoFn, Failure, Output, OutputSpec, View};
///
/// const WORDS: Output<String> = Output::new(0, "words");
///
/// struct Split;
///
/// impl DoFn for Split {
///     type In = String;
///     const OUTPUTS: &'static [&'static dyn OutputSpec] = &[&WORDS];
///
///     fn open(_config: &str) -> Result<Self, Failure> {
///         Ok(Split)
///     }
///
///     fn process(&mut self, line: &str, ctx: &mut Context) -> Result<(), Failure> {
///         for word in line.split_whitespace() {
///             ctx.emit(&WORDS, word);
///         }
///         Ok(())
///     }
/// }
///
/// thalweg_udf::export!("split" => Split);
/// # fn main() {}
/// ```
pub trait DoFn: Sized + Send + 'static {
    /// What comes in.
    type In: Element;

    /// The outputs, each at the place of its index. The first is the main output.
    const OUTPUTS: &'static [&'static dyn OutputSpec];

    /// The state slots, each at the place of its index. A function with slots needs a keyed input.
    const SLOTS: &'static [&'static dyn crate::SlotSpec] = &[];

    /// The timer families, each at the place of its index. A function with timers needs a keyed input.
    const TIMERS: &'static [Timer] = &[];

    /// The side inputs, each at the place of its index.
    const SIDE_INPUTS: &'static [&'static dyn crate::SideSpec] = &[];

    /// The tables, each at the place of its index.
    const TABLES: &'static [&'static dyn crate::TableSpec] = &[];

    /// Whether [`start_bundle`](Self::start_bundle) and [`finish_bundle`](Self::finish_bundle) are called.
    const BUNDLES: bool = false;

    /// Whether [`on_window_expiration`](Self::on_window_expiration) is called. Needs a keyed input.
    const EXPIRES: bool = false;

    /// What of the machine it wants to see; nothing without it.
    const CAPABILITIES: &'static [Capability] = &[];

    /// Makes an instance: Beam's setup. `config` is the JSON text of `config:` in the pipeline, empty if there is none.
    fn open(config: &str) -> Result<Self, Failure>;

    /// Handles one element.
    ///
    /// # Errors
    /// Bad input: this element fails, and what it did is taken back.
    fn process(&mut self, element: View<'_, Self::In>, ctx: &mut Context) -> Result<(), Failure>;

    /// Handles a timer that has come due; state and outputs are those of its key and window.
    ///
    /// # Errors
    /// Fails the bundle.
    fn on_timer(&mut self, timer: Fired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let _ = (timer, ctx);
        Ok(())
    }

    /// Handles the end of a window of a key that kept something: the last chance to read it.
    ///
    /// # Errors
    /// Fails the bundle.
    fn on_window_expiration(&mut self, expired: Expired<'_>, ctx: &mut Context) -> Result<(), Failure> {
        let _ = (expired, ctx);
        Ok(())
    }

    /// Begins a bundle.
    ///
    /// # Errors
    /// Fails the bundle.
    fn start_bundle(&mut self, ctx: &mut BundleContext<'_>) -> Result<(), Failure> {
        let _ = ctx;
        Ok(())
    }

    /// Ends a bundle: what was gathered in fields since it began has to leave now.
    ///
    /// # Errors
    /// Fails the bundle.
    fn finish_bundle(&mut self, ctx: &mut BundleContext<'_>) -> Result<(), Failure> {
        let _ = ctx;
        Ok(())
    }

    /// Drops the instance: Beam's teardown. It is not called after a trap.
    fn teardown(&mut self) {}
}

/// Whether elements of a key have to meet.
pub(crate) fn is_keyed<D: DoFn>() -> bool {
    !D::SLOTS.is_empty() || !D::TIMERS.is_empty() || D::EXPIRES
}

/// Names an output and the type of its elements.
pub struct Output<T> {
    index: u32,
    name: &'static str,
    element: PhantomData<fn() -> T>,
}

impl<T: Element> Output<T> {
    /// An output. `index` is its place in [`DoFn::OUTPUTS`].
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Self {
        Self { index, name, element: PhantomData }
    }
}

/// An output, whatever its type.
pub trait OutputSpec {
    /// Place in [`DoFn::OUTPUTS`].
    fn index(&self) -> u32;
    /// Name in the pipeline.
    fn name(&self) -> &'static str;
    /// Appends the coder as JSON.
    fn coder(&self, json: &mut String);
}

impl<T: Element> OutputSpec for Output<T> {
    #[inline]
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn coder(&self, json: &mut String) {
        T::coder(json);
    }
}
