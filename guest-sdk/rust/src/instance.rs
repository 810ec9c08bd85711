//! The functions of a component: their description, and the loop that runs one of them over a frame. A guest reaches it
//! through its exports; a host that measures the same function natively calls it directly.

use crate::context::Context;
use crate::dofn::{DoFn, Failure};
use crate::element::Element;
use crate::frame::{Input, Sections, section};
use crate::host::Host;
use crate::wire;

/// Operation 0 of a DoFn: process the rows of the frame.
const PROCESS: u32 = 0;

/// An opened function.
pub trait Instance: Send {
    /// Runs an operation on a frame and gives the frame with the results.
    ///
    /// # Errors
    /// If the call as a whole could not be done: unknown operation, broken frame.
    fn call(&mut self, op: u32, input: &[u8]) -> Result<Vec<u8>, Failure>;
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
        Self { name, describe: describe_dofn::<D>, open: |config, host| Ok(Box::new(Runner::<D>::open(config, host)?)) }
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

fn bad_frame(what: &str) -> Failure {
    Failure::new("BAD_FRAME", format!("the {what} of the host is broken"))
}

fn describe_dofn<D: DoFn>(json: &mut String) {
    json.push_str(r#","kind":"dofn","input":"#);
    D::In::coder(json);
    json.push_str(r#","outputs":["#);
    for (i, output) in D::OUTPUTS.iter().enumerate() {
        debug_assert_eq!(output.index() as usize, i, "output {} stands at another place of OUTPUTS", output.name());
        json.push_str(if i == 0 { r#"{"name":"# } else { r#",{"name":"# });
        wire::put_json_string(output.name(), json);
        json.push_str(r#","coder":"#);
        output.coder(json);
        json.push('}');
    }
    json.push_str(r#"],"slots":["#);
    for (i, slot) in D::SLOTS.iter().enumerate() {
        debug_assert_eq!(slot.index() as usize, i, "slot {} stands at another place of SLOTS", slot.name());
        json.push_str(if i == 0 { r#"{"name":"# } else { r#",{"name":"# });
        wire::put_json_string(slot.name(), json);
        json.push_str(r#","kind":""#);
        json.push_str(slot.kind());
        json.push_str(r#"","coder":"#);
        slot.coder(json);
        json.push_str(if slot.eager() { r#","eager":true}"# } else { "}" });
    }
    json.push(']');
}

/// A DoFn with its context.
struct Runner<D> {
    dofn: D,
    ctx: Context,
}

impl<D: DoFn> Runner<D> {
    fn open(config: &str, host: Host) -> Result<Self, Failure> {
        Ok(Self { dofn: D::open(config)?, ctx: Context::new(host, D::SLOTS) })
    }
}

impl<D: DoFn> Instance for Runner<D> {
    fn call(&mut self, op: u32, input: &[u8]) -> Result<Vec<u8>, Failure> {
        if op != PROCESS {
            return Err(Failure::new("NO_OPERATION", format!("a DoFn has no operation {op}")));
        }
        let input = Input::parse(input).map_err(|_| bad_frame("input frame"))?;
        self.ctx.begin(&input);
        for row in 0..input.rows {
            self.ctx.enter::<D>(row, &input);
            let (key, value) = input.element(row).map_err(|_| bad_frame("input frame"))?;
            let done = match D::In::decode_columns(key, value) {
                Ok(element) => self.dofn.process(element, &mut self.ctx),
                Err(malformed) => Err(malformed.into()),
            };
            if let Err(failure) = done {
                self.ctx.fail(failure);
            }
        }
        Ok(self.ctx.finish::<D>())
    }
}
