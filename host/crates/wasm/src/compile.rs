//! Compiling a component, which is outside of all limits of a guest: in a process of its own, with limits of its own. In: the bytes of a
//! component. Out: compiled code as the cache keeps it, or why there is none.
//!
//! The child is the same program, started with arguments that make it call [`compile_child`] and nothing else. It takes its limits upon
//! itself before it reads a byte, reads the component from its standard input and writes code to its standard output; it opens no
//! file. Code is trusted as the compiler is: what a child writes is run.

use crate::engine;
use crate::error::{Error, Result};
use crate::limits::EngineLimits;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use wasmtime::component::Component as Compiled;

/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(2);
/// The child's exit code for a component that cannot be compiled; its standard error says why.
const INVALID: u8 = 65;
/// Longest reason that is taken from a child, in bytes.
const WHY_BYTES: usize = 4096;
/// Files a child may have open: its three streams and what the system's libraries look at.
const FILES_MAX: u64 = 32;

/// Bounds of compiling one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompileLimits {
    /// CPU time of the child, all threads together. Default 120 s: a Python component takes 10 to 30.
    pub cpu: Duration,
    /// Wall time. Default 300 s.
    pub wall: Duration,
    /// Address space of the child in bytes. Default 4 GiB.
    pub memory_bytes: u64,
    /// Compiled code in bytes. Default 512 MiB: 10 times a Python component.
    pub code_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        let (cpu, wall) = (Duration::from_secs(120), Duration::from_secs(300));
        Self { cpu, wall, memory_bytes: 4 << 30, code_bytes: 512 << 20 }
    }
}

impl CompileLimits {
    /// Sets [`CompileLimits::cpu`]; it counts in whole seconds.
    #[must_use]
    pub fn cpu(mut self, time: Duration) -> Self {
        self.cpu = time;
        self
    }

    /// Sets [`CompileLimits::wall`].
    #[must_use]
    pub fn wall(mut self, time: Duration) -> Self {
        self.wall = time;
        self
    }

    /// Sets [`CompileLimits::memory_bytes`].
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets [`CompileLimits::code_bytes`].
    #[must_use]
    pub fn code_bytes(mut self, bytes: u64) -> Self {
        self.code_bytes = bytes;
        self
    }
}

/// Where components are compiled.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Compiler {
    /// In this process, without limits: for components of one's own.
    #[default]
    Here,
    /// In a child process.
    Child {
        /// A program that calls [`compile_child`] when it is started with `args`.
        program: PathBuf,
        /// Its arguments.
        args: Vec<OsString>,
        /// The child's limits.
        limits: CompileLimits,
    },
}

impl Compiler {
    /// This very program, started with `argument`.
    ///
    /// # Errors
    /// What the system says when it does not know which program that is.
    pub fn this_program(argument: &str) -> std::io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self::Child { program, args: vec![argument.into()], limits: CompileLimits::default() })
    }

    /// The code of a component, as [`wasmtime::component::Component::serialize`] gives it.
    pub(crate) fn compile(&self, engine: &wasmtime::Engine, name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        let invalid = |why: String| Error::Invalid { name: name.to_owned(), why };
        match self {
            Self::Here => {
                let compiled = Compiled::from_binary(engine, bytes).and_then(|compiled| compiled.serialize());
                compiled.map_err(|e| invalid(format!("{e:#}")))
            }
            Self::Child { program, args, limits } => {
                let cannot = |e: std::io::Error| Error::Engine { why: format!("cannot start its compiler: {e}") };
                let started = Command::new(program)
                    .args(args)
                    .args([limits.cpu.as_secs().max(1).to_string(), limits.memory_bytes.to_string()])
                    .env_clear()
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn();
                let ended = wait(started.map_err(cannot)?, bytes, limits).map_err(cannot)?;
                ended.code(name, limits)
            }
        }
    }
}

/// How a child ended.
struct Ended {
    /// None if it was killed for taking too long.
    status: Option<ExitStatus>,
    code: Vec<u8>,
    why: Vec<u8>,
}

/// Feeds a child and reads what it gives, until its end or its limit.
fn wait(mut child: Child, bytes: &[u8], limits: &CompileLimits) -> std::io::Result<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let end = Instant::now() + limits.wall;
    thread::scope(|scope| {
        scope.spawn(move || {
            // a child that ended early has said why
            let _ = stdin.map(|mut stdin| stdin.write_all(bytes));
        });
        let read = |from: Option<Box<dyn Read + Send>>, most: u64| {
            scope.spawn(move || {
                let mut found = Vec::new();
                let read = from.map_or(Ok(0), |from| from.take(most).read_to_end(&mut found));
                read.map(|_| found)
            })
        };
        let code = read(stdout.map(|out| Box::new(out) as Box<dyn Read + Send>), limits.code_bytes.saturating_add(1));
        let why = read(stderr.map(|err| Box::new(err) as Box<dyn Read + Send>), WHY_BYTES as u64);
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() >= end => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                None => thread::sleep(POLL),
            }
        };
        let lost = || std::io::Error::other("what it gave could not be read");
        let code = code.join().map_err(|_| lost())??;
        Ok(Ended { status, code, why: why.join().map_err(|_| lost())?? })
    })
}

impl Ended {
    fn code(self, name: &str, limits: &CompileLimits) -> Result<Vec<u8>> {
        let limit = |what: String| Error::CompileLimit { name: name.to_owned(), what };
        let why = String::from_utf8_lossy(&self.why).trim().to_owned();
        let Some(status) = self.status else {
            return Err(limit(format!("{} s of wall time", limits.wall.as_secs())));
        };
        if self.code.len() as u64 > limits.code_bytes {
            return Err(limit(format!("{} bytes of code", limits.code_bytes)));
        }
        match (status.code(), status.signal()) {
            (Some(0), _) if !self.code.is_empty() => Ok(self.code),
            (Some(code), _) if code == i32::from(INVALID) => Err(Error::Invalid { name: name.to_owned(), why }),
            (_, Some(signal))
                if signal == rustix::process::Signal::XCPU.as_raw()
                    || signal == rustix::process::Signal::KILL.as_raw() =>
            {
                Err(limit(format!("{} s of CPU time", limits.cpu.as_secs())))
            }
            // memory that is not there ends a program by an abort or a fault
            (_, Some(_)) => Err(limit(format!("{} bytes of memory ({why})", limits.memory_bytes))),
            _ => Err(Error::Engine { why: format!("its compiler ended with {status}: {why}") }),
        }
    }
}

/// The whole life of a child: `args` are its limits, a component comes by standard input, code goes to standard output.
#[must_use]
pub fn compile_child(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut number = || args.next().and_then(|arg| arg.to_str().and_then(|text| text.parse::<u64>().ok()));
    let (Some(cpu), Some(memory)) = (number(), number()) else { return refuse("it was started without limits") };
    let limits = [
        (Resource::Cpu, cpu, cpu.saturating_add(1)),
        (Resource::As, memory, memory),
        (Resource::Nofile, FILES_MAX, FILES_MAX),
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
    ];
    for (resource, current, maximum) in limits {
        if let Err(e) = setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) }) {
            return refuse(&format!("a limit could not be set: {e}"));
        }
    }
    let mut bytes = Vec::new();
    let compiled = std::io::stdin().read_to_end(&mut bytes).map_err(|e| e.to_string()).and_then(|_| {
        let engine =
            wasmtime::Engine::new(&engine::compiling(&EngineLimits::default())).map_err(|e| format!("{e:#}"))?;
        engine.precompile_component(&bytes).map_err(|e| format!("{e:#}"))
    });
    match compiled {
        Ok(code) => match std::io::stdout().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE, // nobody reads it any more
        },
        Err(why) => refuse(&why),
    }
}

fn refuse(why: &str) -> ExitCode {
    // nobody may be there to read it
    let _ = std::io::stderr().write_all(why.as_bytes());
    ExitCode::from(INVALID)
}
