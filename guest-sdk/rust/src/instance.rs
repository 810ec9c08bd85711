//! The functions of a component: their names, their description, and how one of them is opened. A guest reaches them
//! through its exports; a host that measures the same function natively calls it directly.

use crate::combine::{self, CombineFn};
use crate::dofn::{DoFn, Failure};
use crate::frame::{Sections, section};
use crate::host::Host;
use crate::runner;
use crate::select::{self, KeySelector};
use crate::window::{self, WindowFn};
use crate::wire;

/// An opened function.
pub trait Instance: Send {
    /// Runs an operation on a frame and gives the frame with the results.
    ///
    /// # Errors
    /// If the call as a whole could not be done: unknown operation, broken frame.
    fn call(&mut self, op: u32, input: &[u8]) -> Result<Vec<u8>, Failure>;

    /// The instance is dropped.
    fn close(&mut self) {}
}

/// A function under the name that pipelines use.
pub struct Function {
    name: &'static str,
    describe: fn(&mut String),
    open: Open,
}

/// Makes an instance with a configuration.
type Open = fn(&str, Host) -> Result<Box<dyn Instance>, Failure>;

impl Function {
    /// Names a DoFn.
    #[must_use]
    pub const fn of<D: DoFn>(name: &'static str) -> Self {
        Self {
            name,
            describe: runner::describe::<D>,
            open: |c, host| Ok(Box::new(runner::Runner::<D>::open(c, host)?)),
        }
    }

    /// Names a CombineFn.
    #[must_use]
    pub const fn combinefn<C: CombineFn>(name: &'static str) -> Self {
        Self {
            name,
            describe: combine::describe::<C>,
            open: |c, host| Ok(Box::new(combine::Runner::<C>::open(c, host)?)),
        }
    }

    /// Names a WindowFn.
    #[must_use]
    pub const fn windowfn<W: WindowFn>(name: &'static str) -> Self {
        Self {
            name,
            describe: window::describe::<W>,
            open: |c, host| Ok(Box::new(window::Runner::<W>::open(c, host)?)),
        }
    }

    /// Names a key selector.
    #[must_use]
    pub const fn keyselector<S: KeySelector>(name: &'static str) -> Self {
        Self {
            name,
            describe: select::describe::<S>,
            open: |c, host| Ok(Box::new(select::Runner::<S>::open(c, host)?)),
        }
    }

    /// Opens the function that is called `name`. `plan` is the frame of an open call.
    ///
    /// # Errors
    /// If there is none of that name, or it refuses the plan's configuration.
    pub fn open(functions: &[Self], name: &str, plan: &[u8], host: Host) -> Result<Box<dyn Instance>, Failure> {
        let function = functions.iter().find(|f| f.name == name);
        let function = function.ok_or_else(|| Failure::new("NO_FUNCTION", format!("there is no function {name:?}")))?;
        let mut config = "";
        for section in Sections(plan) {
            if let (section::CONFIG, text) = section.map_err(|_| bad_frame("plan"))? {
                config = std::str::from_utf8(text).map_err(|_| bad_frame("configuration"))?;
            }
        }
        (function.open)(config, host)
    }

    /// The description of a component with these functions: one JSON document.
    #[must_use]
    pub fn describe(functions: &[Self]) -> String {
        let mut json = String::from(concat!(r#"{"sdk":"rust "#, env!("CARGO_PKG_VERSION"), r#"","functions":["#));
        for (i, function) in functions.iter().enumerate() {
            json.push_str(if i == 0 { r#"{"name":"# } else { r#",{"name":"# });
            wire::put_json_string(function.name, &mut json);
            (function.describe)(&mut json);
            json.push('}');
        }
        json.push_str("]}");
        json
    }
}

pub(crate) fn bad_frame(what: &str) -> Failure {
    Failure::new("BAD_FRAME", format!("the {what} of the host is broken"))
}

pub(crate) fn no_operation(kind: &str, op: u32) -> Failure {
    Failure::new("NO_OPERATION", format!("a {kind} has no operation {op}"))
}
