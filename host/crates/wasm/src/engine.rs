//! The engine: how guests are compiled and what all of them share. One per process is enough; it is cheap to clone.
//!
//! What makes a guest deterministic and bounded is fixed here: canonical NaNs, deterministic relaxed SIMD, no threads, epoch
//! interruption, a pooling allocator of fixed size. What differs per component is in [`Limits`](crate::Limits).

use crate::compile::Compiler;
use crate::error::{Error, Result};
use crate::limits::EngineLimits;
use crate::ticker::{Running, Ticker};
use std::sync::Arc;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, RegallocAlgorithm,
    WasmBacktraceDetails,
};

/// Core instances that one component may be made of. Rust guests have 3; componentized Python has about 40.
const CORE_INSTANCES_PER_COMPONENT: u32 = 100;
/// Memory of an instance slot that is zeroed in place instead of being given back to the system: what small guests touch.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// The shared part of all guests.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    limits: EngineLimits,
    compiler: Compiler,
    ticker: Ticker,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("limits", &self.0.limits).finish()
    }
}

impl Engine {
    /// Sets the engine up and starts its ticker thread. Components are compiled in this process.
    ///
    /// # Errors
    /// [`Error::Engine`] if the address space that the limits need cannot be reserved.
    pub fn new(limits: EngineLimits) -> Result<Self> {
        Self::compiling(limits, Compiler::Here)
    }

    /// The same with components compiled elsewhere.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn compiling(limits: EngineLimits, compiler: Compiler) -> Result<Self> {
        let wrong = |why: String| Error::Engine { why };
        let engine = wasmtime::Engine::new(&config(&limits)).map_err(|e| wrong(format!("{e:#}")))?;
        let ticker = Ticker::start(engine.clone()).map_err(|e| wrong(format!("cannot start its ticker: {e}")))?;
        Ok(Self(Arc::new(Inner { engine, limits, compiler, ticker })))
    }

    /// The limits it was made with.
    #[must_use]
    pub fn limits(&self) -> &EngineLimits {
        &self.0.limits
    }

    pub(crate) fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    /// Lets the epoch advance while the guard lives.
    pub(crate) fn running(&self) -> Running<'_> {
        self.0.ticker.running()
    }
}

fn config(limits: &EngineLimits) -> Config {
    let mut config = compiling(limits);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    config
}

/// How components are compiled. A process that only compiles reserves no memory for instances.
pub fn compiling(limits: &EngineLimits) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .consume_fuel(false)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        // Equal input gives equal bytes, on any machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        // Threads are not even compiled in; memory that could be shared with a host thread is refused, too.
        .shared_memory(false)
        .max_wasm_stack(limits.stack_bytes)
        // Traps name functions, and source lines where the component has them.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

fn pool(limits: &EngineLimits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits.instances)
        .max_component_instance_size(1 << 20)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        // a bound of what is counted, no room that is reserved: components of any language get their instances
        .total_core_instances(limits.instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .max_core_instance_size(1 << 20)
        .total_memories(limits.instances.saturating_mul(2))
        .total_tables(limits.instances.saturating_mul(4))
        .table_elements(1_000_000)
        .max_memory_size(limits.memory_bytes)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(1 << 16)
        .pagemap_scan(Enabled::Auto);
    pool
}
