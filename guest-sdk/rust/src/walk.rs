//! A bag of state that is read by page. In: the host's pages of it and what the elements of the call added. Out: value after value, of which a
//! function holds one page at most, however large the bag is.

use crate::element::{Element, View};
use crate::frame::Input;
use crate::host::{Host, PAGE_BYTES};
use crate::wire::Malformed;
use std::fmt;
use std::marker::PhantomData;

/// The values of a bag in the order they were added, as they were when the walk began. It borrows nothing of the context: outputs may be emitted and
/// state written on the way. A value is lent until the next one is taken, so that memory holds one page of them:
///
/// ```
/// # use thalweg_udf::{BagSlot, Context, Failure};
/// const SEEN: BagSlot<String> = BagSlot::new(0, "seen");
///
/// fn longest(ctx: &mut Context) -> Result<usize, Failure> {
///     let (mut walk, mut longest) = (ctx.walk(&SEEN), 0);
///     while let Some(value) = walk.next() {
///         longest = longest.max(value?.len());
///     }
///     Ok(longest)
/// }
/// ```
///
/// Values that borrow nothing (`i64`, `f64`, `bool`) are an iterator, too: `ctx.walk(&NUMBERS).sum::<Result<i64, _>>()?`. A walk is good for
/// the element that began it.
pub struct Walk<T> {
    host: Host,
    slot: u32,
    group: u32,
    /// Where the host's next page begins, if there is one.
    next: Option<Vec<u8>>,
    /// The values that are here, and how far they are read.
    page: Vec<u8>,
    at: usize,
    /// What the elements of the call added: the last page.
    added: Vec<u8>,
    value: PhantomData<fn() -> T>,
}

impl<T> Walk<T> {
    /// Over `page`, what the host has of the bag if `more`, and what was added.
    pub(crate) fn new(host: Host, (slot, group): (u32, u32), page: Vec<u8>, more: bool, added: Vec<u8>) -> Self {
        Self { host, slot, group, next: more.then(Vec::new), page, at: 0, added, value: PhantomData }
    }

    /// Puts the next page in the place of this one. False if there is none.
    fn turn(&mut self) -> Result<bool, Malformed> {
        self.at = 0;
        self.page.clear();
        if let Some(start) = self.next.take() {
            let (frame, next) = self.host.scan(self.slot, self.group, &start, None, PAGE_BYTES);
            let rows = Input::parse(&frame)?;
            for row in 0..rows.rows {
                self.page.extend_from_slice(rows.element(row)?.1);
            }
            self.next = next;
            return Ok(true);
        }
        self.page = std::mem::take(&mut self.added);
        Ok(!self.page.is_empty())
    }

    fn end(&mut self) {
        self.next = None;
        self.added.clear();
        self.at = self.page.len();
    }
}

impl<T> fmt::Debug for Walk<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("bytes", &(self.page.len() - self.at)).field("more", &self.next.is_some()).finish()
    }
}

impl<T: Element> Walk<T> {
    /// The next value, which is lent until the one after it is taken. Reads a page from the host where one ends.
    ///
    /// An item is an error if what stands there is not of the type; it is the last one.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its items")]
    pub fn next(&mut self) -> Option<Result<View<'_, T>, Malformed>> {
        while self.at >= self.page.len() {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(malformed) => {
                    self.end();
                    return Some(Err(malformed));
                }
            }
        }
        let (mut rest, length) = (self.page.get(self.at..).unwrap_or_default(), self.page.len());
        let value = T::decode_nested(&mut rest);
        let at = length - rest.len();
        if value.is_err() || at == self.at {
            self.next = None;
            self.added.clear();
            self.at = length;
        } else {
            self.at = at;
        }
        Some(value)
    }
}

impl<T, V> Iterator for Walk<T>
where
    T: for<'v> Element<View<'v> = V>,
{
    type Item = Result<V, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        Walk::next(self)
    }
}
