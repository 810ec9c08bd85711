//! What a job's state holds of a version that was deployed: which function with which configuration, in place of which component,
//! and the component itself, so that a job that is started again has it whatever became of the file.
//!
//! Cells of the kind `Deployed` under the transform: number 0 is the record as JSON, 1 and up the component in pieces.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_core::error::{Error, Result};
use thalweg_core::id::StateId;
use thalweg_core::port::store::{CellWrite, StateRead};
use thalweg_core::state::layout::{CellKey, JOB_GROUP, Kind};

/// Bytes of a piece: a component of 32 MB is no single cell.
const PIECE_BYTES: usize = 1 << 20;

/// A deployed version.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Digest of the component that the pipeline names. If it names another one, whoever submitted it means that one.
    pub replaces: String,
    /// Its own digest.
    pub digest: String,
    /// The function.
    pub function: String,
    /// What the function is opened with.
    pub config: Option<serde_json::Value>,
    /// Pieces of the component.
    pub pieces: u64,
}

fn key(transform: &str, number: u64) -> Bytes {
    CellKey::new(JOB_GROUP, Kind::Deployed, StateId::derive(transform, "deployed")).number(number).finish()
}

/// The writes that store a version; `before` are the pieces of the one that stands there.
pub fn store(transform: &str, record: &Record, component: &[u8], before: u64) -> Vec<CellWrite> {
    let json = serde_json::to_vec(record).unwrap_or_default();
    let mut writes = vec![(key(transform, 0), Some(Bytes::from(json)))];
    let pieces = component.chunks(PIECE_BYTES).map(Bytes::copy_from_slice);
    writes.extend((1..).zip(pieces).map(|(number, piece)| (key(transform, number), Some(piece))));
    writes.extend((record.pieces + 1..=before).map(|number| (key(transform, number), None)));
    writes
}

/// The writes that delete one.
pub fn delete(transform: &str, before: u64) -> Vec<CellWrite> {
    (0..=before).map(|number| (key(transform, number), None)).collect()
}

/// Pieces of a component of this size.
pub fn pieces(component: &[u8]) -> u64 {
    component.len().div_ceil(PIECE_BYTES) as u64
}

/// The version of a transform, if one was deployed, and its component.
///
/// # Errors
/// `STATE_CORRUPT` when it cannot be read, else the store's errors.
pub fn read(transform: &str, state: &dyn StateRead) -> Result<Option<(Record, Vec<u8>)>> {
    let Some(json) = state.get(&key(transform, 0))? else { return Ok(None) };
    let corrupt = || Error::external("STATE_CORRUPT", format!("what was deployed for {transform} cannot be read"));
    let record: Record = serde_json::from_slice(&json).map_err(|_| corrupt())?;
    let mut component = Vec::new();
    for number in 1..=record.pieces {
        component.extend_from_slice(&state.get(&key(transform, number))?.ok_or_else(corrupt)?);
    }
    Ok(Some((record, component)))
}
