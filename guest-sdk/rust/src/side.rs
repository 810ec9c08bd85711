//! Side inputs and tables: named by constants, read in pages from the host, kept for the rest of the call.

use crate::dofn::Failure;
use crate::element::{Element, View};
use crate::entries::questions;
use crate::frame::{Answers, Input};
use crate::host::{Host, Page};
use crate::wire::Malformed;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// A side input that is read as a list.
pub struct SideList<T> {
    index: u32,
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

/// A side input that is read by key.
pub struct SideMultimap<K, V> {
    index: u32,
    name: &'static str,
    of: PhantomData<fn() -> (K, V)>,
}

/// A side input, whatever its type.
pub trait SideSpec {
    /// Place in [`DoFn::SIDE_INPUTS`](crate::DoFn::SIDE_INPUTS).
    fn index(&self) -> u32;
    /// Name in the pipeline.
    fn name(&self) -> &'static str;
    /// `iterable` or `multimap`.
    fn access(&self) -> &'static str;
    /// Appends the coder of the elements as JSON.
    fn coder(&self, json: &mut String);
}

impl<T: Element> SideList<T> {
    /// A side input. `index` is its place in [`DoFn::SIDE_INPUTS`](crate::DoFn::SIDE_INPUTS).
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Self {
        Self { index, name, of: PhantomData }
    }
}

impl<K: Element, V: Element> SideMultimap<K, V> {
    /// A side input. `index` is its place in [`DoFn::SIDE_INPUTS`](crate::DoFn::SIDE_INPUTS).
    #[must_use]
    pub const fn new(index: u32, name: &'static str) -> Self {
        Self { index, name, of: PhantomData }
    }
}

impl<T: Element> SideSpec for SideList<T> {
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn access(&self) -> &'static str {
        "iterable"
    }
    fn coder(&self, json: &mut String) {
        T::coder(json);
    }
}

impl<K: Element, V: Element> SideSpec for SideMultimap<K, V> {
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn access(&self) -> &'static str {
        "multimap"
    }
    fn coder(&self, json: &mut String) {
        crate::element::Kv::<K, V>::coder(json);
    }
}

/// A table: entries by key, which change while the job runs.
pub struct Table<K, V> {
    pub(crate) index: u32,
    name: &'static str,
    declared: bool,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: Element, V: Element> Table<K, V> {
    /// A table that is looked up by the element's key: what it has arrives with the batch.
    #[must_use]
    pub const fn by_key(index: u32, name: &'static str) -> Self {
        Self { index, name, declared: true, of: PhantomData }
    }

    /// A table that the function asks when it needs to.
    #[must_use]
    pub const fn on_demand(index: u32, name: &'static str) -> Self {
        Self { index, name, declared: false, of: PhantomData }
    }
}

/// A table, whatever its types.
pub trait TableSpec {
    /// Place in [`DoFn::TABLES`](crate::DoFn::TABLES).
    fn index(&self) -> u32;
    /// Name in the function's description; the pipeline says which table it is.
    fn name(&self) -> &'static str;
    /// `key` or `none`: what is looked up before the call.
    fn lookup(&self) -> &'static str;
    /// Appends the coder of the keys as JSON.
    fn key(&self, json: &mut String);
    /// Appends the coder of the values as JSON.
    fn value(&self, json: &mut String);
}

impl<K: Element, V: Element> TableSpec for Table<K, V> {
    fn index(&self) -> u32 {
        self.index
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn lookup(&self) -> &'static str {
        if self.declared { "key" } else { "none" }
    }
    fn key(&self, json: &mut String) {
        K::coder(json);
    }
    fn value(&self, json: &mut String) {
        V::coder(json);
    }
}

/// What a side input has: it does not borrow from the context, so outputs may be emitted while it is walked over.
pub struct Side<T> {
    pages: Arc<[Vec<u8>]>,
    of: PhantomData<fn() -> T>,
}

impl<T: Element> Side<T> {
    /// The elements. An item is an error if it is of another type.
    pub fn iter(&self) -> impl Iterator<Item = Result<View<'_, T>, Malformed>> {
        self.pages.iter().flat_map(|page| {
            let page = Input::parse(page).unwrap_or_default();
            (0..page.rows).map(move |row| {
                let (key, value) = page.element(row)?;
                T::decode_columns(key, value)
            })
        })
    }
}

/// Side input, window set and key.
type Question = (u32, u32, Option<Vec<u8>>);

/// What was read in a call.
#[derive(Default)]
pub struct Reads {
    sides: BTreeMap<Question, Arc<[Vec<u8>]>>,
    keys: BTreeMap<(u32, u32), Arc<[Vec<u8>]>>,
    /// Answers of tables, by table and key.
    entries: BTreeMap<(u32, Vec<u8>), Option<Vec<u8>>>,
}

fn all(mut read: impl FnMut(Option<&[u8]>) -> Page) -> Arc<[Vec<u8>]> {
    let (mut pages, mut start) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let (page, next) = read(start.as_deref());
        pages.push(page);
        start = next;
        if start.is_none() {
            return pages.into();
        }
    }
}

impl Reads {
    /// Begins a call.
    pub fn begin(&mut self) {
        self.sides.clear();
        self.keys.clear();
        self.entries.clear();
    }

    /// A side input that is a list, for a window set of the frame.
    pub fn list<T: Element>(&mut self, side: &SideList<T>, windows: u32, host: &mut Host) -> Side<T> {
        let read = || all(|start| host.side(side.index, windows, None, start));
        let pages = self.sides.entry((side.index, windows, None)).or_insert_with(read);
        Side { pages: Arc::clone(pages), of: PhantomData }
    }

    /// The values of a key.
    pub fn values<K: Element, V: Element>(
        &mut self,
        side: &SideMultimap<K, V>,
        windows: u32,
        key: &View<'_, K>,
        host: &mut Host,
    ) -> Side<V> {
        let mut bytes = Vec::new();
        K::encode(key, &mut bytes);
        let pages = self.sides.entry((side.index, windows, Some(bytes)));
        let pages = pages
            .or_insert_with_key(|question| all(|start| host.side(side.index, windows, question.2.as_deref(), start)));
        Side { pages: Arc::clone(pages), of: PhantomData }
    }

    /// The keys.
    pub fn keys<K: Element, V: Element>(
        &mut self,
        side: &SideMultimap<K, V>,
        windows: u32,
        host: &mut Host,
    ) -> Side<K> {
        let read = || all(|start| host.side_keys(side.index, windows, start));
        let pages = self.keys.entry((side.index, windows)).or_insert_with(read);
        Side { pages: Arc::clone(pages), of: PhantomData }
    }

    /// Asks a table for several keys in one call to the host.
    pub fn fetch(&mut self, table: u32, keys: &[Vec<u8>], host: &mut Host) {
        let missing = |key: &&Vec<u8>| !self.entries.contains_key(&(table, (*key).clone()));
        let wanted: Vec<&Vec<u8>> = keys.iter().filter(missing).collect();
        if wanted.is_empty() {
            return;
        }
        let answer = host.table(table, &questions(0, wanted.iter().map(|key| key.as_slice())));
        let answers = Answers::find(&answer).unwrap_or_default();
        for (i, key) in wanted.into_iter().enumerate() {
            self.entries.insert((table, key.clone()), answers.get(i).map(<[u8]>::to_vec));
        }
    }

    /// What a table has for a key.
    pub fn lookup<K: Element, V: Element>(
        &mut self,
        table: &Table<K, V>,
        key: &View<'_, K>,
        host: &mut Host,
    ) -> Result<Option<View<'_, V>>, Failure> {
        let mut bytes = Vec::new();
        K::encode(key, &mut bytes);
        self.fetch(table.index, std::slice::from_ref(&bytes), host);
        let entry = self.entries.get(&(table.index, bytes)).and_then(Option::as_deref);
        Ok(entry.map(V::decode).transpose()?)
    }
}
