//! Ordered list state: entries sorted by a number, read and cleared by range.
//!
//! In: operations on the state of one key and window. Out: entries as the worker encodes them: the number as a varint, then
//! the value behind its length. Each entry is a cell whose sub-key orders as the numbers do; entries of the same number
//! stay in the order of their arrival. Source: `StateKey.OrderedListUserState`.

use super::bundle::{Bundle, Cells};
use super::chunks::Chunks;
use super::state::{appended, cleared};
use thalweg_core::coder::{read_varint, take_prefixed};
use thalweg_core::error::Result;
use thalweg_core::id::StateId;
use thalweg_core::state::CellValue;
use thalweg_proto::fn_execution::{OrderedListRange, state_request, state_response};

/// Numbers as bytes of the same order.
fn ordered(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// One operation. Without a range, a read or clear concerns everything.
pub(super) fn serve(
    cells: &mut Cells,
    bundle: &Bundle,
    (group, id): (u32, StateId),
    range: Option<OrderedListRange>,
    request: state_request::Request,
    page_bytes: usize,
) -> Result<state_response::Response> {
    let bounds = range.map(|range| (ordered(range.start), ordered(range.end)));
    let of_range = |cells: &mut Cells| match bounds {
        Some((from, to)) => cells.view.range(group, id, &from, Some(&to)),
        None => cells.view.list(group, id),
    };
    Ok(match request {
        state_request::Request::Get(get) => {
            let range = match &bounds {
                Some((from, to)) => (&from[..], Some(&to[..])),
                None => (&[][..], None),
            };
            Chunks { of: (group, id), range, page_bytes }.read(&mut cells.view, &get.continuation_token)?
        }
        state_request::Request::Append(append) => {
            let mut rest = append.data.as_ref();
            while !rest.is_empty() {
                let (number, after) = read_varint(rest)?;
                let (_, after) = take_prefixed(after)?;
                let entry = rest.get(..rest.len() - after.len()).unwrap_or_default();
                let sub =
                    [&ordered(number.cast_signed())[..], &bundle.id.0.to_be_bytes(), &cells.appended.to_be_bytes()]
                        .concat();
                cells.appended += 1;
                cells.view.put(group, id, &sub, Some(CellValue::copy(entry)))?;
                rest = after;
            }
            appended()
        }
        state_request::Request::Clear(_) => {
            for (sub, _) in of_range(cells)? {
                cells.view.put(group, id, &sub, None)?;
            }
            cleared()
        }
    })
}
