//! The crate's error: what can go wrong between a component file and a result, whose fault it is, and what to do.
//!
//! Every variant has a stable code `WASM_..`. A guest's trap, time-out or broken frame is the guest's error and never
//! an internal one.

use thalweg_core::error::{Domain, Error as CoreError};

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        why: String,
    },
    /// The bytes are no WebAssembly.
    #[error("{name} is not WebAssembly")]
    NotWasm {
        /// The component.
        name: String,
    },
    /// The bytes are a core module, the stage before a component.
    #[error("{name} is a core module, not a component")]
    CoreModule {
        /// The component.
        name: String,
    },
    /// The component imports something that the host does not offer.
    #[error("{name} imports {}, which is part of neither thalweg:udf nor WASI 0.2", .imports.join(", "))]
    ForbiddenImport {
        /// The component.
        name: String,
        /// The imports, in the component's order.
        imports: Vec<String>,
    },
    /// The component was built for another world, or for another version of the contract.
    #[error("{name} is a component of another world: {why}")]
    WrongWorld {
        /// The component.
        name: String,
        /// What is missing, or has another type.
        why: String,
    },
    /// The bytes are damaged, or use a proposal that is switched off.
    #[error("{name} cannot be compiled: {why}")]
    Invalid {
        /// The component.
        name: String,
        /// What the compiler said.
        why: String,
    },
    /// Compiling it takes more than a component may take.
    #[error("compiling {name} takes more than {what}")]
    CompileLimit {
        /// The component.
        name: String,
        /// The limit that was reached.
        what: String,
    },
    /// A core module could not be made into a component.
    #[error("no component can be made of the module: {why}")]
    Componentize {
        /// What the encoder said.
        why: String,
    },
    /// What `describe` returned makes no sense.
    #[error("{name} describes itself badly: {why}")]
    Description {
        /// The component.
        name: String,
        /// Where and why.
        why: String,
    },
    /// The component has no function of that name.
    #[error("{name} has no function {function:?}; it has {}", .known.join(", "))]
    NoFunction {
        /// The component.
        name: String,
        /// What was asked for.
        function: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The function needs what this host does not do.
    #[error("{function} needs {what}, which this version does not offer")]
    Unsupported {
        /// The function.
        function: String,
        /// What it needs.
        what: String,
    },
    /// The guest trapped.
    #[error("the function {function} trapped: {what}")]
    Trap {
        /// The function.
        function: String,
        /// The kind of trap.
        what: String,
        /// The guest's stack, innermost first.
        trace: String,
    },
    /// The call used more CPU time than allowed.
    #[error("{function} used more than {limit_ms} ms of CPU time in one call")]
    CpuLimit {
        /// The function.
        function: String,
        /// The limit.
        limit_ms: u64,
        /// The guest's stack, innermost first.
        trace: String,
    },
    /// The call took longer than allowed.
    #[error("{function} took longer than {limit_ms} ms in one call")]
    WallLimit {
        /// The function.
        function: String,
        /// The limit.
        limit_ms: u64,
        /// The guest's stack, innermost first.
        trace: String,
    },
    /// The guest wanted more memory than allowed, and trapped when it did not get it.
    #[error("{function} needs more than {limit_bytes} bytes of memory")]
    MemoryLimit {
        /// The function.
        function: String,
        /// The limit.
        limit_bytes: u64,
        /// The guest's stack, innermost first.
        trace: String,
    },
    /// The guest called itself too deeply.
    #[error("{function} used more than {limit_bytes} bytes of stack")]
    StackLimit {
        /// The function.
        function: String,
        /// The limit.
        limit_bytes: u64,
        /// The guest's stack, innermost first.
        trace: String,
    },
    /// One call gave more output than allowed.
    #[error("{function} put out more than {limit_bytes} bytes in one call")]
    OutputLimit {
        /// The function.
        function: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// One call wrote more state than allowed.
    #[error("{function} wrote more than {limit_bytes} bytes of state in one call")]
    StateLimit {
        /// The function.
        function: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The guest used a state slot that it does not describe, or a group that is not in the frame.
    #[error("{function} used state it may not use: {what}")]
    StateDenied {
        /// The function.
        function: String,
        /// What it did.
        what: String,
    },
    /// The guest used something of the world that it was not granted.
    #[error("{function} used what it was not granted: {what}")]
    Denied {
        /// The function.
        function: String,
        /// What it used.
        what: String,
    },
    /// The function describes capabilities that the pipeline does not grant.
    #[error("{function} needs {}, which the pipeline does not grant", .missing.join(", "))]
    NotGranted {
        /// The function.
        function: String,
        /// The capabilities, by name.
        missing: Vec<String>,
    },
    /// A frame of the guest breaks the layout.
    #[error("{function} gave a broken frame: section {section}: {what}")]
    Frame {
        /// The function.
        function: String,
        /// The section.
        section: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The guest said that the call as a whole failed.
    #[error("{function} refused the call: {code}: {message}")]
    Refused {
        /// The function.
        function: String,
        /// The guest's code.
        code: String,
        /// The guest's sentence.
        message: String,
        /// The guest's stack trace.
        trace: String,
        /// Whether the guest thinks the same call may succeed later.
        again: bool,
    },
    /// A pipeline asks for a limit that it may not have.
    #[error("the limit {name} is {asked}, but has to be from 1 to {most}")]
    LimitTooHigh {
        /// Its name in the pipeline.
        name: &'static str,
        /// What was asked for.
        asked: u64,
        /// The most there is.
        most: u64,
    },
    /// The guest could not process a row, and the pipeline has no place for failed rows.
    #[error("{function} failed on an element: {code}: {message} (element {element})")]
    RowFailed {
        /// The function.
        function: String,
        /// The guest's code.
        code: String,
        /// The guest's sentence.
        message: String,
        /// A shortened preview of the element.
        element: String,
    },
    /// All instances the engine may have are in use.
    #[error("no room for another instance: {why}")]
    Instances {
        /// What the allocator said.
        why: String,
    },
    /// The cache directory cannot be used.
    #[error("the cache of compiled components {path} cannot be used: {why}")]
    Cache {
        /// The directory.
        path: String,
        /// Why.
        why: String,
    },
    /// A state read or write failed on the host's side.
    #[error("state: {0}")]
    State(CoreError),
    /// The engine could not be set up, or broke one of its own rules.
    #[error("the Wasm engine: {why}")]
    Engine {
        /// What it said.
        why: String,
    },
}

impl Error {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "WASM_UNREADABLE",
            Self::NotWasm { .. } => "WASM_NOT_WASM",
            Self::CoreModule { .. } => "WASM_CORE_MODULE",
            Self::ForbiddenImport { .. } => "WASM_FORBIDDEN_IMPORT",
            Self::WrongWorld { .. } => "WASM_WRONG_WORLD",
            Self::Invalid { .. } => "WASM_INVALID",
            Self::CompileLimit { .. } => "WASM_COMPILE_LIMIT",
            Self::Componentize { .. } => "WASM_COMPONENTIZE",
            Self::Description { .. } => "WASM_DESCRIPTION",
            Self::NoFunction { .. } => "WASM_NO_FUNCTION",
            Self::Unsupported { .. } => "WASM_UNSUPPORTED",
            Self::Trap { .. } => "WASM_TRAP",
            Self::CpuLimit { .. } => "WASM_CPU_LIMIT",
            Self::WallLimit { .. } => "WASM_WALL_LIMIT",
            Self::MemoryLimit { .. } => "WASM_MEMORY_LIMIT",
            Self::StackLimit { .. } => "WASM_STACK_LIMIT",
            Self::OutputLimit { .. } => "WASM_OUTPUT_LIMIT",
            Self::StateLimit { .. } => "WASM_STATE_LIMIT",
            Self::StateDenied { .. } => "WASM_STATE_DENIED",
            Self::Denied { .. } => "WASM_DENIED",
            Self::NotGranted { .. } => "WASM_NOT_GRANTED",
            Self::LimitTooHigh { .. } => "WASM_LIMIT",
            Self::Frame { .. } => "WASM_FRAME",
            Self::Refused { .. } => "WASM_REFUSED",
            Self::RowFailed { .. } => "WASM_ROW_FAILED",
            Self::Instances { .. } => "WASM_INSTANCES",
            Self::Cache { .. } => "WASM_CACHE",
            Self::State(inner) => inner.code,
            Self::Engine { .. } => "WASM_ENGINE",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn domain(&self) -> Domain {
        match self {
            Self::Unreadable { .. }
            | Self::NotWasm { .. }
            | Self::CoreModule { .. }
            | Self::ForbiddenImport { .. }
            | Self::WrongWorld { .. }
            | Self::Invalid { .. }
            | Self::CompileLimit { .. }
            | Self::Componentize { .. }
            | Self::NoFunction { .. }
            | Self::NotGranted { .. }
            | Self::LimitTooHigh { .. }
            | Self::Unsupported { .. } => Domain::User,
            Self::Instances { .. } | Self::Cache { .. } => Domain::External,
            Self::State(inner) => inner.domain,
            Self::Engine { .. } => Domain::Internal,
            _ => Domain::Guest,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path of the component and that this user may read it",
            Self::NotWasm { .. } => "give the .wasm file that the build of the function made",
            Self::CoreModule { .. } => "make a component of it: thalweg udf build, or the SDK's build command",
            Self::ForbiddenImport { .. } => {
                "build the function without them: a component may import thalweg:udf and WASI 0.2"
            }
            Self::WrongWorld { .. } => "build the function with an SDK for thalweg:udf 1",
            Self::Invalid { .. } => "build the component again; it is damaged or uses a feature that is switched off",
            Self::CompileLimit { .. } => "build a smaller component; a usual one compiles in seconds",
            Self::Componentize { .. } => "build the module with an SDK for thalweg:udf 1",
            Self::Description { .. } => "build the component again with a released SDK",
            Self::NoFunction { .. } => "name one of the functions it has under `function:`",
            Self::Unsupported { .. } => "use a later version of Thalweg, or a function that does without",
            Self::Trap { .. } => {
                "a panic or abort in the function: return an error for bad input, and find the place in the trace below"
            }
            Self::CpuLimit { .. } | Self::WallLimit { .. } => {
                "look for an endless loop; if the work is real, raise the time limit of the component"
            }
            Self::MemoryLimit { .. } => "look for growth without end; if the need is real, raise memory_bytes",
            Self::StackLimit { .. } => "look for recursion without end",
            Self::OutputLimit { .. } => "put out less per element, or raise output_bytes",
            Self::StateLimit { .. } => "keep less state per key, or raise state_bytes",
            Self::StateDenied { .. } => "list the slot in SLOTS, and keep to the groups of the batch",
            Self::Denied { .. } => "do without it: a function has no files, no network and no processes",
            Self::LimitTooHigh { .. } => "ask for less under `limits`",
            Self::NotGranted { .. } => "grant them where the pipeline names the function: `grant: {clock: true}`",
            Self::Frame { .. } => "build the component again with a released SDK",
            Self::Refused { .. } => "the message is the function's own; see its documentation",
            Self::RowFailed { .. } => "mend the input or the function, or give the transform an error_handling output",
            Self::Instances { .. } => {
                "run fewer shards, or the jobs in more processes: each shard has an instance of each transform"
            }
            Self::Cache { .. } => "give a directory that belongs to this user alone (mode 0700)",
            Self::State(_) | Self::Engine { .. } => "",
        }
    }

    /// The guest's stack trace; empty if there is none.
    #[must_use]
    pub fn trace(&self) -> &str {
        match self {
            Self::Trap { trace, .. }
            | Self::CpuLimit { trace, .. }
            | Self::WallLimit { trace, .. }
            | Self::MemoryLimit { trace, .. }
            | Self::StackLimit { trace, .. }
            | Self::Refused { trace, .. } => trace,
            _ => "",
        }
    }

    /// Whether the same call ends so again: a guest is deterministic, and pays CPU time and memory for its own work alone.
    #[must_use]
    pub(crate) fn repeats(&self) -> bool {
        matches!(
            self,
            Self::CpuLimit { .. } | Self::StackLimit { .. } | Self::OutputLimit { .. } | Self::StateLimit { .. }
        )
    }

    /// Whether the store that the call ran in must not be used again.
    #[must_use]
    pub(crate) fn spoils_instance(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::RowFailed { .. } | Self::NoFunction { .. })
    }
}

impl From<Error> for CoreError {
    fn from(error: Error) -> Self {
        if let Error::State(inner) = error {
            return inner;
        }
        let core = Self::new(error.code(), error.domain(), error.to_string()).help(error.help()).trace(error.trace());
        if error.repeats() { core.permanent() } else { core }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_is_the_guests_error_and_keeps_its_trace() {
        let error = Error::Trap { function: "f".into(), what: "unreachable".into(), trace: "0: f".into() };
        let core = CoreError::from(error);
        assert_eq!((core.code, core.domain, core.trace.as_str()), ("WASM_TRAP", Domain::Guest, "0: f"));
        assert!(!core.help.is_empty());
    }
}
