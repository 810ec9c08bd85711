//! The table of native functions: from URN to constructor.

use super::{NativeFn, combine, functions};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use thalweg_core::error::{Error, Result};
use thalweg_core::port::worker::TimeDomain;
use thalweg_core::window::Windowing;

/// What the engine must know of a function before it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    /// Elements of a key must meet: the function has state or timers.
    pub keyed: bool,
    /// Names of its states.
    pub states: Vec<String>,
    /// Names and clocks of its timer families.
    pub timers: Vec<(String, TimeDomain)>,
}

/// What a constructor gets.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// Unique name of the transform.
    pub name: &'a str,
    /// The transform's payload.
    pub payload: &'a [u8],
    /// Its outputs, in the order in which [`Outputs`](super::Outputs) numbers them.
    pub outputs: &'a [Port],
}

/// An output of a transform.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its tag.
    pub tag: String,
    /// Windowing of its collection.
    pub windowing: Arc<Windowing>,
}

impl Setup<'_> {
    /// The payload as JSON.
    ///
    /// # Errors
    /// `NATIVE_PAYLOAD` when it is not of this form.
    pub fn json<P: serde::de::DeserializeOwned>(&self) -> Result<P> {
        serde_json::from_slice(self.payload).map_err(|e| {
            Error::user("NATIVE_PAYLOAD", format!("the payload of {} cannot be read: {e}", self.name))
                .help("make the pipeline with the version of Thalweg that runs it")
        })
    }

    /// The number of the output with this tag.
    #[must_use]
    pub fn output(&self, tag: &str) -> Option<usize> {
        self.outputs.iter().position(|o| o.tag == tag)
    }

    /// The number of the output that is not called `other`: the main one of a function with an error output.
    #[must_use]
    pub fn main_output(&self, other: Option<&str>) -> usize {
        self.outputs.iter().position(|o| Some(o.tag.as_str()) != other).unwrap_or(usize::MAX)
    }
}

type Make = Arc<dyn Fn(&Setup<'_>) -> Result<Box<dyn NativeFn>> + Send + Sync>;

/// Native functions by URN. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    entries: BTreeMap<String, (Shape, Make)>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl Registry {
    /// The host's own functions.
    #[must_use]
    pub fn standard() -> Self {
        let mut registry = Self::default();
        functions::register(&mut registry);
        combine::register(&mut registry);
        registry
    }

    /// Adds a function, or replaces one. `make` is called once per transform and shard, on the shard's thread.
    pub fn register<F>(&mut self, urn: &str, shape: Shape, make: F)
    where
        F: Fn(&Setup<'_>) -> Result<Box<dyn NativeFn>> + Send + Sync + 'static,
    {
        self.entries.insert(urn.to_owned(), (shape, Arc::new(make)));
    }

    /// What the engine must know of a function.
    #[must_use]
    pub fn shape(&self, urn: &str) -> Option<&Shape> {
        self.entries.get(urn).map(|(shape, _)| shape)
    }

    /// Makes a function.
    ///
    /// # Errors
    /// `NATIVE_UNKNOWN` for a URN nobody registered, else what the constructor says.
    pub fn make(&self, urn: &str, setup: &Setup<'_>) -> Result<Box<dyn NativeFn>> {
        let (_, make) = self.entries.get(urn).ok_or_else(|| {
            Error::user(
                "NATIVE_UNKNOWN",
                format!("{} is a {urn:?}, which this version of Thalweg does not have", setup.name),
            )
            .help("check the name, or register the function before the pipeline is run")
        })?;
        make(setup).map_err(|e| e.in_transform(setup.name))
    }
}
