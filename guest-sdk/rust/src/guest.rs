//! The component's side of the contract: the exports of the world `full`, over the functions that `export!` lists.

use crate::bindings::exports::thalweg::udf::guest::{Failure as Refusal, Guest};
use crate::dofn::Failure;
use crate::host::Host;
use crate::instance::{Function, Instance};
use std::cell::RefCell;
use std::marker::PhantomData;

/// The functions of a component; implemented by `export!`.
pub trait Functions {
    /// In the order of the description.
    const FUNCTIONS: &'static [Function];
}

/// Exports `F`.
pub struct Exports<F>(PhantomData<F>);

thread_local! {
    // A guest has one thread and is never re-entered, so a borrow never meets another.
    static INSTANCES: RefCell<Vec<Option<Box<dyn Instance>>>> = const { RefCell::new(Vec::new()) };
}

fn refusal(failure: Failure) -> Refusal {
    Refusal {
        code: failure.code.into_owned(),
        message: failure.message.into_owned(),
        trace: String::new(),
        again: false,
    }
}

impl<F: Functions> Guest for Exports<F> {
    fn describe() -> String {
        Function::describe(F::FUNCTIONS)
    }

    fn open(function: String, plan: Vec<u8>) -> Result<u32, Refusal> {
        let opened = Function::open(F::FUNCTIONS, &function, &plan, Host).map_err(refusal)?;
        INSTANCES.with_borrow_mut(|instances| {
            let free = instances.iter().position(Option::is_none).unwrap_or(instances.len());
            if free == instances.len() {
                instances.push(None);
            }
            instances[free] = Some(opened);
            Ok(free as u32)
        })
    }

    fn call(instance: u32, op: u32, input: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        INSTANCES.with_borrow_mut(|instances| match instances.get_mut(instance as usize) {
            Some(Some(opened)) => opened.call(op, &input).map_err(refusal),
            _ => Err(refusal(Failure::new("NO_INSTANCE", format!("instance {instance} is not open")))),
        })
    }

    fn close(instance: u32) {
        INSTANCES.with_borrow_mut(|instances| {
            if let Some(mut opened) = instances.get_mut(instance as usize).and_then(Option::take) {
                opened.close();
            }
        });
    }
}
