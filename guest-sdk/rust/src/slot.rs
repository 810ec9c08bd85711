//! State slots, named by constants: what each holds, and how the description calls it.

use crate::combine::CombineFn;
use crate::element::Element;
use crate::owned::Owned;
use std::marker::PhantomData;

/// A slot, whatever its type.
pub trait SlotSpec {
    /// Place in [`DoFn::SLOTS`](crate::DoFn::SLOTS).
    fn index(&self) -> u32;
    /// Name in the pipeline; it is part of where the state is stored.
    fn name(&self) -> &'static str;
    /// `value`, `bag`, `map`, `set`, `multimap` or `orderedlist`.
    fn kind(&self) -> &'static str;
    /// Whether the cells arrive with the batch.
    fn eager(&self) -> bool {
        false
    }
    /// Whether it is a value or a bag: it has one cell, and no entries.
    fn is_plain(&self) -> bool {
        matches!(self.kind(), "value" | "bag")
    }
    /// Appends the coder of the keys as JSON; gives false if there are none.
    fn key(&self, _json: &mut String) -> bool {
        false
    }
    /// Appends the coder of the values as JSON.
    fn coder(&self, json: &mut String);
    /// Of a bag, what tells how long the first of some values is: for the test kit.
    #[doc(hidden)]
    #[cfg(not(target_arch = "wasm32"))]
    fn first(&self) -> Option<FirstLength> {
        None
    }
}

/// Tells how long the first of some encoded values is; `None` where there is none.
#[doc(hidden)]
#[cfg(not(target_arch = "wasm32"))]
pub type FirstLength = fn(&[u8]) -> Option<usize>;

/// A slot that holds one value or none.
pub struct ValueSlot<T> {
    pub(crate) index: u32,
    name: &'static str,
    eager: bool,
    value: PhantomData<fn() -> T>,
}

impl<T: Element> ValueSlot<T> {
    /// A slot whose values arrive with the batch: right for small values that nearly every element needs.
    #[must_use]
    pub const fn eager(index: u32, name: &'static str) -> Self {
        Self { index, name, eager: true, value: PhantomData }
    }

    /// A slot whose values are fetched when first needed.
    #[must_use]
    pub const fn lazy(index: u32, name: &'static str) -> Self {
        Self { index, name, eager: false, value: PhantomData }
    }
}

impl<T: Element> SlotSpec for ValueSlot<T> {
    #[inline]
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn kind(&self) -> &'static str {
        "value"
    }
    fn eager(&self) -> bool {
        self.eager
    }
    fn coder(&self, json: &mut String) {
        T::coder(json);
    }
}

/// A slot that holds an accumulator of a [`CombineFn`]; it is a value slot of accumulators.
pub struct CombiningSlot<C> {
    pub(crate) index: u32,
    name: &'static str,
    eager: bool,
    combine: PhantomData<fn() -> C>,
}

impl<C: CombineFn> CombiningSlot<C> {
    /// A slot whose accumulators arrive with the batch: right for small ones.
    #[must_use]
    pub const fn eager(index: u32, name: &'static str) -> Self {
        Self { index, name, eager: true, combine: PhantomData }
    }

    /// A slot whose accumulators are fetched when first needed.
    #[must_use]
    pub const fn lazy(index: u32, name: &'static str) -> Self {
        Self { index, name, eager: false, combine: PhantomData }
    }
}

impl<C: CombineFn> SlotSpec for CombiningSlot<C> {
    #[inline]
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn kind(&self) -> &'static str {
        "value"
    }
    fn eager(&self) -> bool {
        self.eager
    }
    fn coder(&self, json: &mut String) {
        <C::Accumulator as Owned>::coder(json);
    }
}

/// A slot that holds any number of values, in the order they were added. Adding does not read it.
pub struct BagSlot<T> {
    pub(crate) index: u32,
    name: &'static str,
    holds: PhantomData<fn() -> T>,
}

impl<T: Element> BagSlot<T> {
    /// A slot. `index` is its place in [`DoFn::SLOTS`](crate::DoFn::SLOTS).
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Self {
        Self { index, name, holds: PhantomData }
    }
}

impl<T: Element> SlotSpec for BagSlot<T> {
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn kind(&self) -> &'static str {
        "bag"
    }
    fn coder(&self, json: &mut String) {
        T::coder(json);
    }
    #[cfg(not(target_arch = "wasm32"))]
    fn first(&self) -> Option<FirstLength> {
        Some(|bytes| {
            let mut rest = bytes;
            T::decode_nested(&mut rest).ok().map(|_| bytes.len() - rest.len())
        })
    }
}

/// A slot that holds a value per key.
pub struct MapSlot<K, V> {
    pub(crate) index: u32,
    name: &'static str,
    holds: PhantomData<fn() -> (K, V)>,
}

impl<K: Element, V: Element> MapSlot<K, V> {
    /// A slot. `index` is its place in [`DoFn::SLOTS`](crate::DoFn::SLOTS).
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Self {
        Self { index, name, holds: PhantomData }
    }
}

impl<K: Element, V: Element> SlotSpec for MapSlot<K, V> {
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn kind(&self) -> &'static str {
        "map"
    }
    fn key(&self, json: &mut String) -> bool {
        K::coder(json);
        true
    }
    fn coder(&self, json: &mut String) {
        V::coder(json);
    }
}

/// A slot that holds elements, each once.
pub struct SetSlot<T> {
    pub(crate) index: u32,
    name: &'static str,
    holds: PhantomData<fn() -> T>,
}

impl<T: Element> SetSlot<T> {
    /// A slot. `index` is its place in [`DoFn::SLOTS`](crate::DoFn::SLOTS).
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Self {
        Self { index, name, holds: PhantomData }
    }
}

impl<T: Element> SlotSpec for SetSlot<T> {
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn kind(&self) -> &'static str {
        "set"
    }
    fn coder(&self, json: &mut String) {
        T::coder(json);
    }
}

/// A slot that holds any number of values per key, in the order they were added.
pub struct MultimapSlot<K, V> {
    pub(crate) index: u32,
    name: &'static str,
    holds: PhantomData<fn() -> (K, V)>,
}

impl<K: Element, V: Element> MultimapSlot<K, V> {
    /// A slot. `index` is its place in [`DoFn::SLOTS`](crate::DoFn::SLOTS).
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Self {
        Self { index, name, holds: PhantomData }
    }
}

impl<K: Element, V: Element> SlotSpec for MultimapSlot<K, V> {
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn kind(&self) -> &'static str {
        "multimap"
    }
    fn key(&self, json: &mut String) -> bool {
        K::coder(json);
        true
    }
    fn coder(&self, json: &mut String) {
        V::coder(json);
    }
}

/// A slot that holds values by time.
pub struct OrderedListSlot<T> {
    pub(crate) index: u32,
    name: &'static str,
    holds: PhantomData<fn() -> T>,
}

impl<T: Element> OrderedListSlot<T> {
    /// A slot. `index` is its place in [`DoFn::SLOTS`](crate::DoFn::SLOTS).
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Self {
        Self { index, name, holds: PhantomData }
    }
}

impl<T: Element> SlotSpec for OrderedListSlot<T> {
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn kind(&self) -> &'static str {
        "orderedlist"
    }
    fn coder(&self, json: &mut String) {
        T::coder(json);
    }
}
