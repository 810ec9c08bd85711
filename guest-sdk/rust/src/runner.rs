//! A DoFn at work: its description, and the loop that runs it over the rows of a frame.

use crate::bundle::BundleContext;
use crate::capability;
use crate::context::Context;
use crate::dofn::{DoFn, Failure};
use crate::element::Element;
use crate::frame::{EXPIRES, Input};
use crate::host::Host;
use crate::instance::{Instance, bad_frame, no_operation};
use crate::timer::{Expired, Fired};
use crate::wire;

const PROCESS: u32 = 0;
const START_BUNDLE: u32 = 1;
const FINISH_BUNDLE: u32 = 2;

/// A list of objects with names; `rest` writes what follows the name.
fn list<T>(json: &mut String, title: &str, all: &[T], name: fn(&T) -> (&str, u32), rest: impl Fn(&T, &mut String)) {
    if all.is_empty() {
        return;
    }
    json.push_str(",\"");
    json.push_str(title);
    json.push_str("\":[");
    for (i, one) in all.iter().enumerate() {
        let (name, index) = name(one);
        debug_assert_eq!(index as usize, i, "{name} stands at another place of {title}");
        json.push_str(if i == 0 { r#"{"name":"# } else { r#",{"name":"# });
        wire::put_json_string(name, json);
        rest(one, json);
        json.push('}');
    }
    json.push(']');
}

pub fn describe<D: DoFn>(json: &mut String) {
    json.push_str(r#","kind":"dofn","input":"#);
    D::In::coder(json);
    list(
        json,
        "outputs",
        D::OUTPUTS,
        |o| (o.name(), o.index()),
        |output, json| {
            json.push_str(r#","coder":"#);
            output.coder(json);
        },
    );
    list(
        json,
        "slots",
        D::SLOTS,
        |s| (s.name(), s.index()),
        |slot, json| {
            json.push_str(r#","kind":""#);
            json.push_str(slot.kind());
            json.push_str(r#"","coder":"#);
            slot.coder(json);
            let mut key = String::new();
            if slot.key(&mut key) {
                json.push_str(r#","key":"#);
                json.push_str(&key);
            }
            if slot.eager() {
                json.push_str(r#","eager":true"#);
            }
        },
    );
    list(
        json,
        "timers",
        D::TIMERS,
        |t| (t.name(), t.index()),
        |timer, json| {
            json.push_str(r#","domain":""#);
            json.push_str(timer.domain());
            json.push('"');
        },
    );
    describe_reads::<D>(json);
    json.push_str(r#","pages":["values"]"#);
    for (wanted, text) in [(D::EXPIRES, r#","on_window_expiration":true"#), (D::BUNDLES, r#","bundles":true"#)] {
        if wanted {
            json.push_str(text);
        }
    }
    capability::describe(D::CAPABILITIES, json);
}

/// The side inputs and tables.
fn describe_reads<D: DoFn>(json: &mut String) {
    list(
        json,
        "side_inputs",
        D::SIDE_INPUTS,
        |s| (s.name(), s.index()),
        |side, json| {
            json.push_str(r#","access":""#);
            json.push_str(side.access());
            json.push_str(r#"","coder":"#);
            side.coder(json);
        },
    );
    list(
        json,
        "tables",
        D::TABLES,
        |t| (t.name(), t.index()),
        |table, json| {
            json.push_str(r#","key":"#);
            table.key(json);
            json.push_str(r#","value":"#);
            table.value(json);
            json.push_str(r#","lookup":""#);
            json.push_str(table.lookup());
            json.push('"');
        },
    );
}

/// A DoFn with its context.
pub struct Runner<D> {
    dofn: D,
    ctx: Context,
}

impl<D: DoFn> Runner<D> {
    pub fn open(config: &str, host: Host) -> Result<Self, Failure> {
        Ok(Self { dofn: D::open(config)?, ctx: Context::new(host, D::SLOTS) })
    }

    #[inline(always)]
    fn row(&mut self, row: usize, input: &Input<'_>) -> Result<Result<(), Failure>, Failure> {
        let (key, value) = input.element(row).map_err(|_| bad_frame("input frame"))?;
        Ok(match input.kind.get(row) {
            None | Some(0) => match D::In::decode_columns(key, value) {
                Ok(mut element) => {
                    if let Some(token) = input.rest(row)
                        && !D::In::attach(&mut element, self.ctx.rest(token))
                    {
                        return Err(bad_frame("list that goes on"));
                    }
                    self.dofn.process(element, &mut self.ctx)
                }
                Err(malformed) => Err(malformed.into()),
            },
            Some(kind) => self.due(*kind, key, value, input.fire(row)),
        })
    }

    #[cold]
    fn due(&mut self, kind: u8, key: &[u8], tag: &[u8], fire_ms: i64) -> Result<(), Failure> {
        if kind == EXPIRES {
            return self.dofn.on_window_expiration(Expired { key }, &mut self.ctx);
        }
        let tag = std::str::from_utf8(tag).map_err(|_| bad_frame("tag of a timer"))?;
        self.dofn.on_timer(Fired { family: u32::from(kind) - 1, tag, fire_ms, key }, &mut self.ctx)
    }
}

impl<D: DoFn> Instance for Runner<D> {
    fn call(&mut self, op: u32, input: &[u8]) -> Result<Vec<u8>, Failure> {
        let input = Input::parse(input).map_err(|_| bad_frame("input frame"))?;
        self.ctx.begin(&input);
        match op {
            PROCESS => {
                for row in 0..input.rows {
                    self.ctx.enter::<D>(row, &input);
                    if let Err(failure) = self.row(row, &input)? {
                        self.ctx.fail(failure);
                    }
                }
            }
            START_BUNDLE => self.dofn.start_bundle(&mut BundleContext(&mut self.ctx))?,
            FINISH_BUNDLE => self.dofn.finish_bundle(&mut BundleContext(&mut self.ctx))?,
            _ => return Err(no_operation("DoFn", op)),
        }
        Ok(self.ctx.finish::<D>())
    }

    fn close(&mut self) {
        self.dofn.teardown();
    }
}
