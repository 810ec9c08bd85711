//! Grouped values: [`Many`], the element type of a list. In: the encoded list of a row, and a token for the values that did not fit into
//! the frame. Out: value after value, of which a function holds one page at most, however many there are.

use crate::element::{Element, View};
use crate::frame::Input;
use crate::host::Host;
use crate::owned::{count, iterable};
use crate::wire::{self, Malformed};
use std::fmt;
use std::marker::PhantomData;

/// Grouped values, `beam:coder:iterable:v1`. Never constructed: `process` sees [`Values`], an output takes them.
pub struct Many<T>(PhantomData<fn() -> T>);

impl<T: Element> Many<T> {
    /// The encoding of some values. `Many::<T>::decode` makes of it what an output takes, or a test gives to a function.
    pub fn encoded<'v>(values: impl IntoIterator<Item = View<'v, T>>) -> Vec<u8> {
        let (mut out, mut count) = (vec![0; 4], 0i32);
        for value in values {
            T::encode_nested(&value, &mut out);
            count += 1;
        }
        out[..4].copy_from_slice(&count.to_be_bytes());
        out
    }
}

/// Where values go on that did not fit into the frame.
pub struct Rest {
    token: Vec<u8>,
    host: Host,
}

impl Rest {
    pub(crate) fn new(token: &[u8], host: &Host) -> Self {
        Self { token: token.to_vec(), host: host.clone() }
    }
}

/// The values of a [`Many`], in their order. A value is lent until the next one is taken, so that memory holds one page of them:
///
/// ```
/// # use thalweg_udf::{Failure, Values};
/// fn longest(mut values: Values<'_, String>) -> Result<usize, Failure> {
///     let mut longest = 0;
///     while let Some(value) = values.next() {
///         longest = longest.max(value?.len());
///     }
///     Ok(longest)
/// }
/// ```
///
/// Values that borrow nothing (`i64`, `f64`, `bool`) are an iterator, too: `values.sum::<Result<i64, _>>()?`. To walk over them
/// twice, take [`again`](Self::again).
pub struct Values<'a, T> {
    first: Run<'a>,
    now: Run<'a>,
    pages: Option<Box<Pages>>,
    value: PhantomData<fn() -> T>,
}

/// The values that arrived with the element.
#[derive(Clone, Copy)]
struct Run<'a> {
    rest: &'a [u8],
    left: u64,
    blocks: bool,
}

impl Run<'_> {
    /// Whether there is a value where the rest begins.
    fn more(&mut self) -> Result<bool, Malformed> {
        if self.left == 0 && self.blocks {
            self.left = wire::get_varint(&mut self.rest)?;
            self.blocks = self.left != 0;
        }
        Ok(self.left != 0)
    }
}

/// The values behind them.
#[derive(Clone)]
struct Pages {
    host: Host,
    /// The token of the first page.
    first: Vec<u8>,
    /// The token of the page behind the one that is here.
    next: Option<Vec<u8>>,
    page: Vec<u8>,
    at: usize,
}

impl Pages {
    /// A value of the page, or of the next one. What is no value ends the list.
    fn next<T: Element>(&mut self) -> Option<Result<View<'_, T>, Malformed>> {
        while self.at >= self.page.len() {
            let (frame, next) = self.host.iterable(&self.next.take()?);
            match Input::parse(&frame).and_then(|page| Ok(page.element(0)?.1.to_vec())) {
                Ok(page) => (self.page, self.at, self.next) = (page, 0, next),
                Err(malformed) => return Some(Err(malformed)),
            }
        }
        let mut rest = self.page.get(self.at..).unwrap_or_default();
        let value = T::decode_nested(&mut rest);
        let at = self.page.len() - rest.len();
        if value.is_err() || at == self.at {
            self.next = None;
            self.at = self.page.len();
        } else {
            self.at = at;
        }
        Some(value)
    }
}

impl<T> Clone for Values<'_, T> {
    /// The same values from here on.
    fn clone(&self) -> Self {
        Self { first: self.first, now: self.now, pages: self.pages.clone(), value: PhantomData }
    }
}

impl<T> fmt::Debug for Values<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("bytes", &self.first.rest.len()).field("more", &self.pages.is_some()).finish()
    }
}

impl<T> Values<'_, T> {
    /// The same values from the first one on.
    #[must_use]
    pub fn again(&self) -> Self {
        let begun = |pages: &Pages| Pages {
            host: pages.host.clone(),
            first: pages.first.clone(),
            next: Some(pages.first.clone()),
            page: Vec::new(),
            at: 0,
        };
        let pages = self.pages.as_deref().map(|pages| Box::new(begun(pages)));
        Self { first: self.first, now: self.first, pages, value: PhantomData }
    }
}

impl<'a, T: Element> Values<'a, T> {
    fn read(input: &mut &'a [u8]) -> Result<Self, Malformed> {
        let count = count(input)?;
        let (left, blocks) = (count.unwrap_or_default() as u64, count.is_none());
        let run = Run { rest: input, left, blocks };
        Ok(Self { first: run, now: run, pages: None, value: PhantomData })
    }

    fn attach(&mut self, rest: Rest) {
        let Rest { token, host } = rest;
        self.pages = Some(Box::new(Pages { host, first: token.clone(), next: Some(token), page: Vec::new(), at: 0 }));
    }

    /// The next value, which is lent until the one after it is taken. Reads a page from the host where one ends.
    ///
    /// An item is an error if what stands there is not of the type; it is the last one.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its items")]
    pub fn next(&mut self) -> Option<Result<View<'_, T>, Malformed>> {
        let value = match self.now.more() {
            Ok(false) => return self.pages.as_mut()?.next::<T>(),
            Ok(true) => {
                // decoded for as long as it is lent, and not for as long as the frame lives
                let (all, mut rest) = (self.now.rest, self.now.rest);
                let value = T::decode_nested(&mut rest);
                self.now.left -= 1;
                self.now.rest = all.get(all.len() - rest.len()..).unwrap_or_default();
                value
            }
            Err(malformed) => Err(malformed),
        };
        if value.is_err() {
            (self.now.left, self.now.blocks, self.pages) = (0, false, None);
        }
        Some(value)
    }
}

impl<T, V> Iterator for Values<'_, T>
where
    T: for<'v> Element<View<'v> = V>,
{
    type Item = Result<V, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        Values::next(self)
    }
}

impl<T: Element> Element for Many<T> {
    type View<'a> = Values<'a, T>;

    fn coder(json: &mut String) {
        iterable(json, T::coder);
    }
    fn decode(mut bytes: &[u8]) -> Result<Values<'_, T>, Malformed> {
        Values::read(&mut bytes)
    }
    fn decode_nested<'a>(input: &mut &'a [u8]) -> Result<Values<'a, T>, Malformed> {
        let values = Values::<T>::read(input)?;
        let mut walk = values.now;
        while walk.more()? {
            walk.left -= 1;
            T::decode_nested(&mut walk.rest)?;
        }
        *input = walk.rest;
        Ok(values)
    }
    fn encode(view: &Values<'_, T>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 4]);
        let (mut count, mut values) = (0i32, view.clone());
        // what cannot be read ends the list
        while let Some(Ok(value)) = values.next() {
            T::encode_nested(&value, out);
            count += 1;
        }
        out[start..start + 4].copy_from_slice(&count.to_be_bytes());
    }
    fn encode_nested(view: &Values<'_, T>, out: &mut Vec<u8>) {
        Self::encode(view, out);
    }
    fn attach(view: &mut Values<'_, T>, rest: Rest) -> bool {
        view.attach(rest);
        true
    }
    #[cfg(not(target_arch = "wasm32"))]
    fn pages(encoded: &[u8], bytes: usize) -> Vec<Vec<u8>> {
        let (mut pages, mut run, mut head) = (vec![vec![0; 4]], encoded, 0i32);
        let Ok(Values { now: mut walk, .. }) = Values::<T>::read(&mut run) else { return Vec::new() };
        while let Ok(true) = walk.more() {
            let before = walk.rest;
            walk.left -= 1;
            if T::decode_nested(&mut walk.rest).is_err() {
                break;
            }
            let taken = before.len() - walk.rest.len();
            if pages.last().is_none_or(|page| page.len() >= bytes) {
                pages.push(Vec::new());
            }
            head += i32::from(pages.len() == 1);
            pages.last_mut().into_iter().for_each(|page| page.extend_from_slice(&before[..taken]));
        }
        pages[0][..4].copy_from_slice(&head.to_be_bytes());
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouped_values_are_read_with_a_count_and_in_blocks() {
        let counted = Many::<i64>::decode(&[0, 0, 0, 2, 1, 2]).map(|values| values.collect::<Result<Vec<_>, _>>());
        assert_eq!(counted, Ok(Ok(vec![1, 2])));
        let bytes = [255, 255, 255, 255, 2, 1, 2, 1, 3, 0];
        let blocks = Many::<i64>::decode(&bytes).map(|values| values.collect::<Result<Vec<_>, _>>());
        assert_eq!(blocks, Ok(Ok(vec![1, 2, 3])));
        assert_eq!(<Vec<i64> as crate::Owned>::decode(&bytes), Ok(vec![1, 2, 3]));
        let mut rest = [&bytes[..], &[9]].concat();
        let mut input = rest.as_mut_slice() as &[u8];
        assert!(Many::<i64>::decode_nested(&mut input).is_ok());
        assert_eq!(input, [9]);
        let broken =
            Many::<i64>::decode(&[0, 0, 0, 2, 1]).map(|mut v| (v.next(), v.next().map(|r| r.is_err()), v.next()));
        assert_eq!(broken, Ok((Some(Ok(1)), Some(true), None)));
    }

    #[test]
    fn values_that_borrow_are_lent_and_walked_over_again() -> Result<(), Malformed> {
        let mut values = Many::<String>::decode(&[0, 0, 0, 2, 1, b'a', 2, b'b', b'c'])?;
        assert_eq!(values.next(), Some(Ok("a")));
        assert_eq!((values.clone().next(), values.again().next()), (Some(Ok("bc")), Some(Ok("a"))));
        assert_eq!(values.next(), Some(Ok("bc")));
        assert_eq!(values.next(), None);
        Ok(())
    }
}
