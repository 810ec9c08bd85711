//! What `process` does with maps, sets, multimaps and ordered lists of state: typed handles on the entries of a slot for the
//! element's key and window.

use crate::dofn::{EventTime, Failure};
use crate::element::{Element, View};
use crate::entries::At;
use crate::state::Items;
use crate::wire::Malformed;
use std::marker::PhantomData;

fn outer<T: Element>(view: &View<'_, T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    T::encode(view, &mut bytes);
    bytes
}

fn nested<T: Element>(view: &View<'_, T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    T::encode_nested(view, &mut bytes);
    bytes
}

/// Entries that were read, to walk over while the state is written.
pub struct Pairs<K, V> {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: Element, V: Element> Pairs<K, V> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Key and value of each, in the order of the encoded keys. An item is an error if what is stored is of another type.
    pub fn iter(&self) -> impl Iterator<Item = Result<(View<'_, K>, View<'_, V>), Malformed>> {
        self.entries.iter().map(|(key, value)| Ok((K::decode(key)?, V::decode(value)?)))
    }
}

/// The entries of a slot; nothing for a slot that the function does not list.
struct Handle<'a>(Option<At<'a>>);

impl<'a> Handle<'a> {
    fn each(&mut self, change: impl FnOnce(&mut At<'a>)) {
        if let Some(at) = &mut self.0 {
            change(at);
        }
    }

    fn get(&mut self, subkey: &[u8]) -> Option<[&[u8]; 2]> {
        self.0.as_mut()?.get(subkey)
    }

    fn scan(&mut self, from: &[u8], to: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.as_mut().map(|at| at.scan(from, to)).unwrap_or_default()
    }
}

/// A map of state.
pub struct MapState<'a, K, V> {
    at: Handle<'a>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<'a, K, V> MapState<'a, K, V> {
    pub(crate) fn new(at: Option<At<'a>>) -> Self {
        Self { at: Handle(at), of: PhantomData }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.at.each(At::clear);
    }
}

/// A set of state.
pub struct SetState<'a, T> {
    at: Handle<'a>,
    of: PhantomData<fn() -> T>,
}

impl<'a, T> SetState<'a, T> {
    pub(crate) fn new(at: Option<At<'a>>) -> Self {
        Self { at: Handle(at), of: PhantomData }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.at.each(At::clear);
    }
}

/// A multimap of state.
pub struct MultimapState<'a, K, V> {
    at: Handle<'a>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<'a, K, V> MultimapState<'a, K, V> {
    pub(crate) fn new(at: Option<At<'a>>) -> Self {
        Self { at: Handle(at), of: PhantomData }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.at.each(At::clear);
    }
}

/// Values of state by time.
pub struct OrderedListState<'a, T> {
    at: Handle<'a>,
    of: PhantomData<fn() -> T>,
}

impl<'a, T> OrderedListState<'a, T> {
    pub(crate) fn new(at: Option<At<'a>>) -> Self {
        Self { at: Handle(at), of: PhantomData }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.at.each(At::clear);
    }
}

impl<K: Element, V: Element> MapState<'_, K, V> {
    /// Fetches the values of several keys in one call to the host.
    pub fn prefetch<'k>(&mut self, keys: impl IntoIterator<Item = View<'k, K>>) {
        let keys: Vec<Vec<u8>> = keys.into_iter().map(|key| outer::<K>(&key)).collect();
        self.at.each(|at| at.fetch(&keys));
    }

    /// The value of a key.
    ///
    /// # Errors
    /// If what is stored is not of the slot's type: the element fails.
    pub fn get(&mut self, key: View<'_, K>) -> Result<Option<View<'_, V>>, Failure> {
        let stored = self.at.get(&outer::<K>(&key));
        Ok(stored.map(|[value, _]| V::decode(value)).transpose()?)
    }

    /// Whether a key has a value.
    pub fn contains(&mut self, key: View<'_, K>) -> bool {
        self.at.get(&outer::<K>(&key)).is_some()
    }

    /// Gives a key a value.
    pub fn put(&mut self, key: View<'_, K>, value: View<'_, V>) {
        self.at.each(|at| at.put(&outer::<K>(&key), outer::<V>(&value)));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: View<'_, K>) {
        self.at.each(|at| at.remove(&outer::<K>(&key)));
    }

    /// All keys and values.
    pub fn entries(&mut self) -> Pairs<K, V> {
        Pairs { entries: self.at.scan(&[], None), of: PhantomData }
    }
}

impl<T: Element> SetState<'_, T> {
    /// Adds an element.
    pub fn insert(&mut self, element: View<'_, T>) {
        self.at.each(|at| at.put(&outer::<T>(&element), Vec::new()));
    }

    /// Removes an element.
    pub fn remove(&mut self, element: View<'_, T>) {
        self.at.each(|at| at.remove(&outer::<T>(&element)));
    }

    /// Whether an element is there.
    pub fn contains(&mut self, element: View<'_, T>) -> bool {
        self.at.get(&outer::<T>(&element)).is_some()
    }

    /// All elements: the keys of the pairs.
    pub fn elements(&mut self) -> Pairs<T, Vec<u8>> {
        Pairs { entries: self.at.scan(&[], None), of: PhantomData }
    }
}

impl<K: Element, V: Element> MultimapState<'_, K, V> {
    /// The values of a key, in the order they were added.
    pub fn get(&mut self, key: View<'_, K>) -> Items<'_, V> {
        let parts = self.at.get(&outer::<K>(&key));
        Items::of(parts.unwrap_or_default())
    }

    /// Adds a value to a key.
    pub fn add(&mut self, key: View<'_, K>, value: View<'_, V>) {
        self.at.each(|at| at.append(&outer::<K>(&key), &nested::<V>(&value)));
    }

    /// Removes a key with all its values.
    pub fn remove(&mut self, key: View<'_, K>) {
        self.at.each(|at| at.remove(&outer::<K>(&key)));
    }

    /// All keys with their values.
    pub fn entries(&mut self) -> Groups<K, V> {
        Groups { entries: self.at.scan(&[], None), of: PhantomData }
    }
}

/// Keys with any number of values that were read.
pub struct Groups<K, V> {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: Element, V: Element> Groups<K, V> {
    /// Each key with its values, in the order of the encoded keys. An item is an error if what is stored is of another type.
    pub fn iter(&self) -> impl Iterator<Item = Result<(View<'_, K>, Items<'_, V>), Malformed>> {
        self.entries.iter().map(|(key, values)| Ok((K::decode(key)?, Items::of([values, &[]]))))
    }
}

/// A time as the key of an entry: its order is the order of time.
fn instant(time: EventTime) -> [u8; 8] {
    (time.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

impl<T: Element> OrderedListState<'_, T> {
    /// Adds a value at a time.
    pub fn add(&mut self, time: EventTime, value: View<'_, T>) {
        self.at.each(|at| at.append(&instant(time), &nested::<T>(&value)));
    }

    /// The values from a time to before another, in the order of time, and of one time in the order they were added.
    pub fn range(&mut self, from: EventTime, to: EventTime) -> Timed<T> {
        let (from, to) = (instant(from), instant(to));
        Timed { entries: self.at.scan(&from, Some(&to)), of: PhantomData }
    }

    /// All values.
    pub fn all(&mut self) -> Timed<T> {
        Timed { entries: self.at.scan(&[], None), of: PhantomData }
    }

    /// Removes the values from a time to before another.
    pub fn remove_range(&mut self, from: EventTime, to: EventTime) {
        self.at.each(|at| at.remove_range(&instant(from), &instant(to)));
    }
}

/// Values by time that were read.
pub struct Timed<T> {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    of: PhantomData<fn() -> T>,
}

impl<T: Element> Timed<T> {
    /// Time and value of each. An item is an error if what is stored is of another type.
    pub fn iter(&self) -> impl Iterator<Item = Result<(EventTime, View<'_, T>), Malformed>> {
        self.entries.iter().flat_map(|(time, values)| {
            let bits = time.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            let time = EventTime((bits ^ (1 << 63)).cast_signed());
            Items::<T>::of([values, &[]]).map(move |value| Ok((time, value?)))
        })
    }
}
