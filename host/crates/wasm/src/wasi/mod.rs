//! WASI 0.2, locked down: what the runtimes of Python and JavaScript link whether they use it or not. In: a component's imports. Out:
//! a linker that satisfies them. It knows no file, socket, variable or clock of the machine.
//!
//! A guest finds an empty environment, no files, no network, an end of input, and one line of the log per line of output. Its clock is
//! the call's processing time, its random numbers come from the frame's seed, and it never waits: a sleep moves its own
//! monotonic clock and returns. So the same frame gives the same bytes. What is not served ends the call by name when it is used.

mod serve;

use crate::frame::Moment;
use crate::store::GuestStore;
use crate::{clock, grant::Grants};
use bindings::Served;
use std::sync::Arc;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component as Compiled, HasSelf, Linker, ResourceType};

/// The packages of WASI 0.2.
const PACKAGES: [&str; 7] = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];
/// The version under which the host defines them. The linker gives it to a component that was built for any other 0.2.
const VERSION: &str = "0.2.0";
/// How far the monotonic clock goes with every look at it, in nanoseconds: a loop that waits for a second makes a million.
const STEP_NS: u64 = 1_000;
/// Random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// What wasmtime makes of `wasi/`.
mod bindings {
    wasmtime::component::bindgen!({
        path: "wasi",
        world: "thalweg:wasi/served",
        imports: { default: trappable },
    });
}

/// Whether a component may import an interface of this name although it is none of ours.
pub fn offers(import: &str) -> bool {
    parts(import).is_some()
}

/// Package with interface, and version.
fn parts(import: &str) -> Option<(&str, &str)> {
    let (interface, version) = import.split_once('@')?;
    let (package, _) = interface.strip_prefix("wasi:")?.split_once('/')?;
    let known = PACKAGES.contains(&package) && (version == "0.2" || version.starts_with("0.2."));
    known.then_some((interface, version))
}

/// Adds what a component imports of WASI. One that imports nothing of it costs nothing.
pub fn link(linker: &mut Linker<GuestStore>, engine: &wasmtime::Engine, compiled: &Compiled) -> wasmtime::Result<()> {
    let world = compiled.component_type();
    // an interface also shows the resources that it takes from others
    let mut resources: Vec<ResourceType> = Vec::new();
    let mut any = false;
    for (name, item) in world.imports(engine) {
        let (Some((interface, _)), ComponentItem::ComponentInstance(instance)) = (parts(name), item.ty) else {
            continue;
        };
        any = true;
        linker.allow_shadowing(true);
        let mut served = linker.instance(&format!("{interface}@{VERSION}"))?;
        for (item, kind) in instance.exports(engine) {
            match kind.ty {
                ComponentItem::ComponentFunc(_) => {
                    let what = format!("{interface}#{item}");
                    served.func_new(item, move |mut context, _, _, _| Err(context.data_mut().deny(what.clone())))?;
                }
                ComponentItem::Resource(resource) if !resources.contains(&resource) => {
                    resources.push(resource);
                    served.resource(item, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    if any {
        Served::add_to_linker::<_, HasSelf<_>>(linker, |data| data)?;
        linker.allow_shadowing(false);
    }
    Ok(())
}

/// What a guest sees of the world in a call.
#[derive(Debug, Default)]
pub struct World {
    /// What it was granted.
    grants: Arc<Grants>,
    /// Processing time of the call in milliseconds since the Unix epoch.
    now: i64,
    /// Nanoseconds that the monotonic clock went on in this call.
    passed: u64,
    /// State of the generator of random numbers.
    random: u64,
    /// Lines of standard output and standard error that have no end yet.
    lines: [Vec<u8>; 2],
}

impl World {
    /// Grants what stands in the list.
    pub fn grant(&mut self, grants: &Arc<Grants>) {
        self.grants = Arc::clone(grants);
    }

    /// Begins a call.
    pub fn begin(&mut self, moment: Moment) {
        (self.now, self.passed, self.random) = (moment.now.0, 0, moment.seed);
    }

    /// Fills bytes with random ones.
    fn fill(&mut self, bytes: &mut [u8]) -> wasmtime::Result<()> {
        if self.grants.random {
            return Ok(clock::entropy(bytes)?);
        }
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(self.seeded().to_le_bytes().get(..part.len()).unwrap_or_default());
        }
        Ok(())
    }

    fn number(&mut self) -> wasmtime::Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
    fn seeded(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Nanoseconds of the wall clock since the Unix epoch.
    fn wall(&self) -> u64 {
        if self.grants.clock {
            return clock::wall();
        }
        u64::try_from(self.now).unwrap_or_default().saturating_mul(1_000_000)
    }

    /// Nanoseconds of the monotonic clock: the call's time and what the guest waited since.
    fn monotonic(&mut self) -> u64 {
        if !self.grants.clock {
            self.passed = self.passed.saturating_add(STEP_NS);
        }
        self.instant()
    }

    fn instant(&self) -> u64 {
        let base = if self.grants.clock { clock::monotonic() } else { self.wall() };
        base.saturating_add(self.passed)
    }

    /// Waits until an instant, which takes no time.
    fn wait_until(&mut self, instant: u64) {
        self.passed = self.passed.saturating_add(instant.saturating_sub(self.instant()));
    }
}

/// One of the two streams that a guest writes lines to.
#[derive(Clone, Copy, Debug)]
struct Output {
    index: usize,
    level: u8,
}

const STDOUT: Output = Output { index: 0, level: 2 };
const STDERR: Output = Output { index: 1, level: 3 };

impl GuestStore {
    /// Takes bytes of a guest's output; every whole line of it goes to the log.
    fn print(&mut self, to: Output, bytes: &[u8]) {
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = self.limits.log_line_bytes;
            let Some(line) = self.world.lines.get_mut(to.index) else { return };
            let part = part.get(..room.saturating_sub(line.len())).unwrap_or(part);
            line.extend_from_slice(part);
            if parts.peek().is_some() {
                self.end_line(to);
            }
        }
    }

    fn end_line(&mut self, to: Output) {
        let Some(line) = self.world.lines.get_mut(to.index).map(std::mem::take) else { return };
        self.log_line(to.level, None, &String::from_utf8_lossy(&line));
    }

    /// Logs what a call left of its last lines.
    pub fn end_lines(&mut self) {
        for to in [STDOUT, STDERR] {
            if self.world.lines.get(to.index).is_some_and(|line| !line.is_empty()) {
                self.end_line(to);
            }
        }
    }
}
