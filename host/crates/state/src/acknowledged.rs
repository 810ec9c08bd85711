//! The last acknowledged epoch, beside the database: 18 bytes, overwritten in place after every commit.
//!
//! RocksDB takes a log that ends early for one that was torn by a crash. A torn record was never acknowledged; a
//! truncated or damaged log may have lost epochs that were. This file tells the two apart. It is written after the commit and not
//! synced itself, so it is never ahead of a synced log, and after a loss of power it may only be behind.
//!
//! `format (1) = 1 | synced (1) | epoch (8) | checksum (8)`, numbers big end first.

use crate::error::{corrupt, from_io};
use crate::options::FsyncPolicy;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, key_hash};

const NAME: &str = "ACKNOWLEDGED";
const FORMAT: u8 = 1;
const BODY: usize = 10;
const SIZE: usize = BODY + 8;

/// The open file.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    file: File,
    synced: bool,
}

impl Acknowledged {
    /// Creates the file of a new store.
    ///
    /// # Errors
    /// `STATE_IO`, `STATE_DISK_FULL`.
    pub(crate) fn create(dir: &Path) -> Result<()> {
        let written = (|| -> io::Result<()> {
            let mut file = File::create(path(dir))?;
            file.write_all(&encode(Epoch(0), true))?;
            file.sync_all()
        })();
        written.map_err(|e| from_io(dir, &e))
    }

    /// Opens the file of a store; returns it with the epoch the store must at least hold.
    ///
    /// # Errors
    /// `STATE_CORRUPT` when the file is missing or damaged.
    pub(crate) fn open(dir: &Path, policy: FsyncPolicy) -> Result<(Self, Epoch)> {
        let mut bytes = Vec::with_capacity(SIZE);
        let mut file = match File::options().read(true).write(true).open(path(dir)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(corrupt(dir, format!("its file {NAME} is missing")));
            }
            other => other.map_err(|e| from_io(dir, &e))?,
        };
        file.read_to_end(&mut bytes).map_err(|e| from_io(dir, &e))?;
        let (epoch, synced) =
            decode(&bytes).ok_or_else(|| corrupt(dir, format!("its file {NAME} does not match its checksum")))?;
        let least = if synced { epoch } else { Epoch(0) };
        Ok((Self { file, synced: policy == FsyncPolicy::EachEpoch }, least))
    }

    /// Notes a commit that is done. A failure is passed over: it only leaves the file behind the truth, which is safe.
    pub(crate) fn note(&mut self, epoch: Epoch) {
        let bytes = encode(epoch, self.synced);
        let _ = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&bytes));
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

fn encode(epoch: Epoch, synced: bool) -> Vec<u8> {
    let mut bytes = vec![FORMAT, u8::from(synced)];
    bytes.extend_from_slice(&epoch.0.to_be_bytes());
    bytes.extend_from_slice(&key_hash(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Epoch, bool)> {
    let (body, sum) = bytes.split_at_checked(BODY)?;
    if sum != key_hash(body).to_be_bytes() {
        return None;
    }
    let ([FORMAT, synced], rest) = body.split_first_chunk::<2>()? else { return None };
    let (epoch, _) = rest.split_first_chunk::<8>()?;
    Some((Epoch(u64::from_be_bytes(*epoch)), *synced == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = encode(Epoch(77), true);
        assert_eq!(decode(&good), Some((Epoch(77), true)));
        for i in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[i / 8] ^= 1 << (i % 8);
            assert_eq!(decode(&bad), None);
        }
    }
}
