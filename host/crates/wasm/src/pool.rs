//! Instances of one function, ready for calls. A pool belongs to one shard of one job, so an instance never serves two. It
//! keeps an instance until that fails a call, has made its number of calls, or has grown too large. One that did not fail is closed. A function that
//! gathers between START_BUNDLE and FINISH_BUNDLE keeps its instance from the one to the other, however worn that is.

use crate::component::Component;
use crate::describe::Function;
use crate::error::Result;
use crate::frame::Frame;
use crate::grant::Grants;
use crate::instance::Instance;
use crate::limits::Limits;
use crate::store::{Loan, Returned};
use crate::worker::FINISH_BUNDLE;
use std::sync::Arc;

/// A function of a component with its configuration, and its idle instances.
pub struct Pool {
    component: Component,
    function: Arc<str>,
    transform: Arc<str>,
    config: String,
    limits: Arc<Limits>,
    grants: Arc<Grants>,
    /// Whether the function is told where bundles begin and end.
    gathers: bool,
    idle: Option<Instance>,
    opened: u64,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("function", &self.function).field("opened", &self.opened).finish()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Pool {
    /// A pool for `function`, running as `transform` with `config` (JSON text, or empty); it is granted nothing.
    ///
    /// # Errors
    /// If the component has no such function, or this host cannot run it. The function itself is opened by the first call.
    pub fn new(component: &Component, function: &str, transform: &str, config: &str, limits: Limits) -> Result<Self> {
        Self::granted(component, function, transform, config, limits, &Grants::default())
    }

    /// The same for a function that is granted something of the machine.
    ///
    /// # Errors
    /// As [`Pool::new`], and [`Error::NotGranted`](crate::Error::NotGranted) if it describes more.
    pub fn granted(
        component: &Component,
        function: &str,
        transform: &str,
        config: &str,
        limits: Limits,
        grants: &Grants,
    ) -> Result<Self> {
        let described = component.function(function)?;
        let (granted, gathers) = (grants.of(described)?, described.bundles);
        Ok(Self {
            component: component.clone(),
            function: function.into(),
            transform: transform.into(),
            config: config.to_owned(),
            limits: Arc::new(limits),
            grants: Arc::new(granted),
            gathers,
            idle: None,
            opened: 0,
        })
    }

    /// What the function says of itself.
    ///
    /// # Errors
    /// None for a pool that could be made.
    pub fn describe(&self) -> Result<&Function> {
        self.component.function(&self.function)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Opens an instance now, so that a bad configuration shows before the first element.
    ///
    /// # Errors
    /// What the function says to its configuration, or a limit it reached.
    pub fn warm(&mut self) -> Result<()> {
        if self.idle.is_none() {
            let instance = self.open()?;
            self.idle = Some(instance);
        }
        Ok(())
    }

    /// How many instances were opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Processes a frame of elements without state and gives the frames that came back, unchecked: for measuring and tests.
    /// Bundles go through a [`WasmWorker`](crate::WasmWorker).
    ///
    /// # Errors
    /// What the guest or its limits say.
    pub fn call_stateless(&mut self, input: &Frame) -> Result<Vec<Vec<u8>>> {
        self.call(0, input, Loan::default()).0.map(|returned| returned.frames)
    }

    /// Runs an operation on a frame. What it was lent comes back, changed only if the call was ok.
    pub(crate) fn call(&mut self, op: u32, input: &Frame, loan: Loan) -> (Result<Returned>, Loan) {
        let mut instance = match self.idle.take().map_or_else(|| self.open(), Ok) {
            Ok(instance) => instance,
            Err(e) => return (Err(e), loan),
        };
        let (result, loan) = instance.call(op, input, loan);
        let spoiled = result.as_ref().err().is_some_and(crate::Error::spoils_instance);
        let gathers = self.gathers && op != FINISH_BUNDLE;
        match (spoiled, !gathers && instance.worn()) {
            (true, _) => drop(instance), // what is left of it is not asked anything
            (false, true) => instance.close(),
            (false, false) => self.idle = Some(instance),
        }
        (result, loan)
    }

    /// Closes the idle instance: what it has gathered is not to be seen again.
    pub(crate) fn forget(&mut self) {
        if let Some(instance) = self.idle.take() {
            instance.close();
        }
    }

    fn open(&mut self) -> Result<Instance> {
        self.opened += 1;
        Instance::open(&self.component, &self.function, &self.transform, &self.config, &self.limits, &self.grants)
    }
}
