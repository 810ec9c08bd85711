//! What a guest may use: one documented value per limit, each with its unit. The defaults are generous for honest functions
//! and small for a host: a guest that reaches one is stopped with a typed error.

use std::time::Duration;

/// Limits of one component in one pipeline.
///
/// ```
/// use std::time::Duration;
/// use thalweg_wasm::Limits;
/// let limits = Limits::default().memory_bytes(64 << 20).cpu_soft(Duration::from_millis(500));
/// assert_eq!(limits.memory_bytes, 64 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Linear memory of one instance in bytes, all its memories together. A guest that asks for more is refused the
    /// growth; most end with a trap, reported as `WASM_MEMORY_LIMIT`. Default 256 MiB.
    pub memory_bytes: usize,
    /// Elements of all tables of one instance. Default 100,000: a Python guest has about 20,000.
    pub table_elements: usize,
    /// CPU time of one call. Checked every 10 ms, so a call may overrun by that much. Not charged: time in which the
    /// thread does not run. Default 5 s.
    pub cpu_soft: Duration,
    /// Wall time of one call, whatever it does. Checked every 10 ms. Default 30 s.
    pub wall_hard: Duration,
    /// Bytes that one call may put out, early outputs included, in frames; also the most that one import call may
    /// take from the guest. Default 64 MiB: 256 times a full input frame.
    pub output_bytes: usize,
    /// Bytes of state that one call may write. Default 16 MiB.
    pub state_bytes: usize,
    /// Log lines of one instance per second; the first second's worth is there at once. Default 100.
    pub log_lines_per_second: u32,
    /// Longest log line in bytes; the rest is cut off. Default 4 KiB.
    pub log_line_bytes: usize,
    /// Bytes of rows in one input frame, columns included; a single larger row has a frame of its own. Default 256 KiB.
    pub frame_bytes: usize,
    /// Rows of one input frame. What a CombineFn merges has two at least. Default: as many as the bytes allow.
    pub frame_rows: usize,
    /// Bytes of a grouped value that reach the guest at a time, if its description says that it reads such values by page: a longer one
    /// has its beginning in the frame, and one element may be larger. Default 256 KiB.
    pub page_bytes: usize,
    /// Calls after which an instance is replaced, so that a slow leak ends. Default 100,000.
    pub recycle_calls: u64,
    /// Memory at which an instance is replaced after a call, in bytes: what once was needed is not kept for ever.
    /// Default 64 MiB.
    pub recycle_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            cpu_soft: Duration::from_secs(5),
            wall_hard: Duration::from_secs(30),
            output_bytes: 64 << 20,
            state_bytes: 16 << 20,
            log_lines_per_second: 100,
            log_line_bytes: 4096,
            frame_bytes: 256 << 10,
            frame_rows: usize::MAX,
            page_bytes: 256 << 10,
            recycle_calls: 100_000,
            recycle_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// Limits of what a component does before a pipeline's limits hold: it is instantiated once, and describes itself. The usual ones with
    /// 2 s of CPU time and 1 MiB of output.
    #[must_use]
    pub fn describing() -> Self {
        Self::default().cpu_soft(Duration::from_secs(2)).output_bytes(1 << 20)
    }

    /// Sets [`Limits::memory_bytes`].
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets [`Limits::table_elements`].
    #[must_use]
    pub fn table_elements(mut self, elements: usize) -> Self {
        self.table_elements = elements;
        self
    }

    /// Sets [`Limits::cpu_soft`].
    #[must_use]
    pub fn cpu_soft(mut self, time: Duration) -> Self {
        self.cpu_soft = time;
        self
    }

    /// Sets [`Limits::wall_hard`].
    #[must_use]
    pub fn wall_hard(mut self, time: Duration) -> Self {
        self.wall_hard = time;
        self
    }

    /// Sets [`Limits::output_bytes`].
    #[must_use]
    pub fn output_bytes(mut self, bytes: usize) -> Self {
        self.output_bytes = bytes;
        self
    }

    /// Sets [`Limits::state_bytes`].
    #[must_use]
    pub fn state_bytes(mut self, bytes: usize) -> Self {
        self.state_bytes = bytes;
        self
    }

    /// Sets [`Limits::log_lines_per_second`].
    #[must_use]
    pub fn log_lines_per_second(mut self, lines: u32) -> Self {
        self.log_lines_per_second = lines;
        self
    }

    /// Sets [`Limits::log_line_bytes`].
    #[must_use]
    pub fn log_line_bytes(mut self, bytes: usize) -> Self {
        self.log_line_bytes = bytes;
        self
    }

    /// Sets [`Limits::frame_bytes`].
    #[must_use]
    pub fn frame_bytes(mut self, bytes: usize) -> Self {
        self.frame_bytes = bytes;
        self
    }

    /// Sets [`Limits::frame_rows`].
    #[must_use]
    pub fn frame_rows(mut self, rows: usize) -> Self {
        self.frame_rows = rows;
        self
    }

    /// Sets [`Limits::page_bytes`].
    #[must_use]
    pub fn page_bytes(mut self, bytes: usize) -> Self {
        self.page_bytes = bytes;
        self
    }

    /// Sets [`Limits::recycle_calls`].
    #[must_use]
    pub fn recycle_calls(mut self, calls: u64) -> Self {
        self.recycle_calls = calls;
        self
    }

    /// Sets [`Limits::recycle_bytes`].
    #[must_use]
    pub fn recycle_bytes(mut self, bytes: usize) -> Self {
        self.recycle_bytes = bytes;
        self
    }
}

/// Limits of the whole engine, fixed when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineLimits {
    /// Instances alive at once, all jobs and shards together. Each reserves 8 GiB of address space (not memory) for two memories, which lets
    /// the compiler leave out bounds checks; fewer fit of components that have more than 2 memories or 4 tables. Default 256.
    pub instances: u32,
    /// The most that [`Limits::memory_bytes`] of any component may ask for, in bytes. Default 1 GiB.
    pub memory_bytes: usize,
    /// Stack of one call in bytes. Default 1 MiB.
    pub stack_bytes: usize,
    /// Largest component that is compiled, in bytes: compiling is outside of all other limits. Default 128 MiB; a Python
    /// component has 18 to 40.
    pub component_bytes: usize,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self { instances: 256, memory_bytes: 1 << 30, stack_bytes: 1 << 20, component_bytes: 128 << 20 }
    }
}

impl EngineLimits {
    /// Sets [`EngineLimits::instances`].
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = instances;
        self
    }

    /// Sets [`EngineLimits::memory_bytes`].
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets [`EngineLimits::stack_bytes`].
    #[must_use]
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// Sets [`EngineLimits::component_bytes`].
    #[must_use]
    pub fn component_bytes(mut self, bytes: usize) -> Self {
        self.component_bytes = bytes;
        self
    }
}
