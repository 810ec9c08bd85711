//! A sink that adds up what it gets, and keeps nothing.

use super::pipelines::functions;
use crate::compose::Connectors;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thalweg_core::batch::Batch;
use thalweg_core::coder::read_varint;
use thalweg_core::error::Result;
use thalweg_core::id::Epoch;
use thalweg_core::port::sink::{Prepared, Sink};

/// Number of elements and sum of their counts. Clones share both.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    rows: Arc<AtomicU64>,
    check: Arc<AtomicU64>,
}

impl Tally {
    /// Rows and checksum.
    #[must_use]
    pub fn total(&self) -> (u64, u64) {
        (self.rows.load(Ordering::SeqCst), self.check.load(Ordering::SeqCst))
    }

    pub(super) fn register(&self, connectors: &mut Connectors) {
        let tally = self.clone();
        connectors.register_sink(functions::TALLY, move |_| Ok(Box::new(tally.clone())));
    }
}

impl Sink for Tally {
    fn prepare(&mut self, _: Epoch, batches: &[Batch]) -> Result<Prepared> {
        let mut check = 0;
        for batch in batches {
            for row in batch.rows() {
                check += read_varint(batch.value(row))?.0;
            }
            self.rows.fetch_add(batch.len() as u64, Ordering::SeqCst);
        }
        self.check.fetch_add(check, Ordering::SeqCst);
        Ok(Prepared::default())
    }
}
