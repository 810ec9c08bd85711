//! The rows of an output frame as rows of batches: what they do not inherit from the row they come from is checked here.

use super::decode::{OutputFrame, RowSet, Rows, Shape, number, own_time};
use super::{FrameError, INHERIT, NONE, bad};
use thalweg_core::batch::{Row, Span};
use thalweg_core::id::key_hash;
use thalweg_core::time::EventTime;

impl OutputFrame<'_> {
    /// The rows by output, leaving out those that come from a failed row.
    ///
    /// # Errors
    /// If a source, output, range, window or time is not one.
    pub fn rows(&self, shape: &Shape<'_>, failed: &RowSet) -> Result<Rows, FrameError> {
        let window_sets = self.own_windows()?;
        let inherits = self.time.is_none() && self.windows.is_none();
        let outputs = match (shape.outputs, self.output, self.source, self.value) {
            ([false], None, Some(sources), Some(values)) if inherits && failed.is_empty() => {
                vec![self.plain(shape, sources, values)?]
            }
            _ => self.mixed(shape, failed, window_sets.len())?,
        };
        Ok(Rows { outputs, window_sets })
    }

    /// Rows of one output without keys that inherit all they can: what most functions put out.
    fn plain(&self, shape: &Shape<'_>, sources: &[[u8; 4]], values: &[[u8; 8]]) -> Result<Vec<Row>, FrameError> {
        let mut rows = Vec::with_capacity(values.len());
        for (source, value) in sources.iter().zip(values) {
            let source = u32::from_le_bytes(*source);
            let from = shape.sources.get(source as usize).ok_or_else(|| no_source(source))?;
            let value = self.inside(*value).ok_or(bad("VALUE", "a range lies outside of the arena"))?;
            rows.push(Row { key: Span::default(), value, hash: 0, ..*from });
        }
        Ok(rows)
    }

    fn mixed(&self, shape: &Shape<'_>, failed: &RowSet, own_sets: usize) -> Result<Vec<Vec<Row>>, FrameError> {
        let mut outputs = vec![Vec::new(); shape.outputs.len()];
        let skip = !failed.is_empty();
        if let ([only], None) = (outputs.as_mut_slice(), self.output) {
            only.reserve(self.rows);
        }
        for i in 0..self.rows {
            let output = number(self.output, i).unwrap_or(0) as usize;
            let keyed = *shape.outputs.get(output).ok_or(bad("OUTPUT", "names an output that is not described"))?;
            let source = number(self.source, i).unwrap_or(i as u32);
            let own = number(self.windows, i).filter(|own| *own != NONE);
            if own.is_some_and(|own| own as usize >= own_sets) {
                return Err(bad("WINDOWS", "names a window set that is not in the frame"));
            }
            let mut row = match shape.sources.get(source as usize) {
                Some(from) => Row { time: self.time(i, Some(from.time))?, ..*from },
                None if source == NONE && own.is_some() => Row {
                    key: Span::default(),
                    value: Span::default(),
                    time: self.time(i, None)?,
                    hash: 0,
                    windows: 0,
                    pane: shape.pane,
                },
                None => return Err(no_source(source)),
            };
            if skip && failed.contains(source) {
                continue;
            }
            if let Some(own) = own {
                row.windows = shape.window_sets + own;
            }
            row.value = self.span(self.value, i).ok_or(bad("VALUE", "a range lies outside of the arena"))?;
            (row.key, row.hash) = if keyed {
                let key = self.span(self.key, i).ok_or(bad("KEY", "a range lies outside of the arena"))?;
                (key, key_hash(self.arena.get(key.start as usize..key.end as usize).unwrap_or_default()))
            } else {
                (Span::default(), 0)
            };
            if let Some(list) = outputs.get_mut(output) {
                list.push(row);
            }
        }
        Ok(outputs)
    }

    fn time(&self, i: usize, inherited: Option<EventTime>) -> Result<EventTime, FrameError> {
        match (self.time.and_then(|column| column.get(i)), inherited) {
            (None, Some(inherited)) => Ok(inherited),
            (Some(own), Some(inherited)) if i64::from_le_bytes(*own) == INHERIT => Ok(inherited),
            (Some(own), _) => own_time(*own),
            (None, None) => Err(bad("TIME", "a row that comes from no row has none")),
        }
    }
}

/// What is wrong with a row whose source is no row of the input.
fn no_source(source: u32) -> FrameError {
    match source {
        NONE => bad("WINDOWS", "a row that comes from no row has none"),
        _ => bad("SOURCE", "names a row that is not in the input"),
    }
}
