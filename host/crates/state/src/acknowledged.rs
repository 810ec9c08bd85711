//! What was acknowledged last, beside the database: 50 bytes, overwritten in place after every commit and append.
//!
//! RocksDB takes a log that ends early for one that was torn by a crash. A torn record was never acknowledged; a
//! truncated or damaged log may have lost epochs that were. This file tells the two apart. It is written after the commit and not
//! synced itself, so it is never ahead of a synced log, and after a loss of power it may only be behind.
//!
//! `format (1) = 3 | synced (1) | epoch (8) | number of RocksDB's last write (8) | number, bytes and digest of its manifest (8 each) |
//! checksum (8)`, numbers big end first. Earlier versions wrote format 2, without the manifest, and 1, without the number of a write as well.

use crate::error::{corrupt, from_io};
use crate::manifest::{self, Manifest, Mark};
use crate::options::FsyncPolicy;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thalweg_core::error::Result;
use thalweg_core::id::{Epoch, key_hash};

const NAME: &str = "ACKNOWLEDGED";
const FORMAT: u8 = 3;
const FORMAT_WRITE: u8 = 2;
const FORMAT_EPOCH: u8 = 1;

/// The open file.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    file: File,
    synced: bool,
    last: Last,
}

/// What it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Last {
    synced: bool,
    epoch: Epoch,
    write: u64,
    manifest: Option<Mark>,
}

impl Acknowledged {
    /// Creates the file of a new store, whose database nobody has open.
    ///
    /// # Errors
    /// `STATE_IO`, `STATE_DISK_FULL`.
    pub(crate) fn create(dir: &Path) -> Result<()> {
        let written = (|| -> io::Result<()> {
            let manifest = Some(Manifest::open(&dir.join("db"))?.mark());
            let mut file = File::create(path(dir))?;
            file.write_all(&encode(Last { synced: true, manifest, ..Last::default() }))?;
            file.sync_all()
        })();
        written.map_err(|e| from_io(dir, &e))
    }

    /// Opens the file of a store; returns it with the number of the write that the store must at least hold.
    ///
    /// # Errors
    /// `STATE_CORRUPT` when the file is missing or damaged, or the database has less of its manifest than was noted.
    pub(crate) fn open(dir: &Path, policy: FsyncPolicy) -> Result<(Self, u64)> {
        let (file, last) = read(dir, File::options().write(true))?;
        Ok((Self { file, synced: policy == FsyncPolicy::EachEpoch, last }, last.write))
    }

    /// The last epoch of the directory's own job and the number of the write that the store must at least hold; nothing is opened to be
    /// written.
    ///
    /// # Errors
    /// As for [`Acknowledged::open`].
    pub(crate) fn look(dir: &Path) -> Result<(Epoch, u64)> {
        read(dir, &mut File::options()).map(|(_, last)| (last.epoch, last.write))
    }

    /// The last epoch of the directory's own job.
    pub(crate) fn epoch(&self) -> Epoch {
        self.last.epoch
    }

    /// Notes a write that is done. A failure is passed over: it only leaves the file behind the truth, which is safe.
    pub(crate) fn note(&mut self, epoch: Option<Epoch>, write: u64) {
        self.last.synced = self.synced;
        self.last.epoch = self.last.epoch.max(epoch.unwrap_or_default());
        self.last.write = self.last.write.max(write);
        self.write();
    }

    /// Notes how far the database's manifest goes. A failure is passed over, as above.
    pub(crate) fn note_manifest(&mut self, mark: Mark) {
        self.last.manifest = Some(mark);
        self.write();
    }

    fn write(&mut self) {
        let bytes = encode(self.last);
        let _ = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&bytes));
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

fn read(dir: &Path, how: &mut OpenOptions) -> Result<(File, Last)> {
    let mut file = match how.read(true).open(path(dir)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(corrupt(dir, format!("its file {NAME} is missing")));
        }
        other => other.map_err(|e| from_io(dir, &e))?,
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| from_io(dir, &e))?;
    let found = decode(&bytes).ok_or_else(|| corrupt(dir, format!("its file {NAME} does not match its checksum")))?;
    if let Some(noted) = found.manifest {
        manifest::check(dir, noted)?;
    }
    // what was not synced may be gone
    Ok((file, if found.synced { found } else { Last::default() }))
}

fn encode(last: Last) -> Vec<u8> {
    // no manifest has the number 0: each that is opened is newer than none
    let Mark { number, len, digest } = last.manifest.unwrap_or_default();
    let mut bytes = vec![FORMAT, u8::from(last.synced)];
    for word in [last.epoch.0, last.write, number, len, digest] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(&key_hash(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Last> {
    let (body, sum) = bytes.split_last_chunk::<8>()?;
    if *sum != key_hash(body).to_be_bytes() {
        return None;
    }
    let ([format, synced], rest) = body.split_first_chunk::<2>()?;
    let (words, []) = rest.as_chunks::<8>() else { return None };
    let (epoch, write, manifest) = match (*format, words) {
        (FORMAT_EPOCH, &[epoch]) => (epoch, [0; 8], None),
        (FORMAT_WRITE, &[epoch, write]) => (epoch, write, None),
        (FORMAT, &[epoch, write, number, len, digest]) => {
            (epoch, write, Some([number, len, digest].map(u64::from_be_bytes)))
        }
        _ => return None,
    };
    let (epoch, write) = (Epoch(u64::from_be_bytes(epoch)), u64::from_be_bytes(write));
    let manifest = manifest.map(|[number, len, digest]| Mark { number, len, digest });
    Some(Last { synced: *synced == 1, epoch, write, manifest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Last =
        Last { synced: true, epoch: Epoch(77), write: 1000, manifest: Some(Mark { number: 5, len: 400, digest: 9 }) };

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = encode(LAST);
        assert_eq!(decode(&good), Some(LAST));
        for i in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[i / 8] ^= 1 << (i % 8);
            assert_eq!(decode(&bad), None);
        }
    }

    #[test]
    fn what_earlier_versions_noted_is_read() {
        let earlier = |format: u8, words: &[u64]| {
            let mut bytes = vec![format, 1];
            words.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
            bytes.extend_from_slice(&key_hash(&bytes).to_be_bytes());
            decode(&bytes)
        };
        let without = Last { manifest: None, ..LAST };
        assert_eq!(earlier(2, &[77, 1000]), Some(without));
        assert_eq!(earlier(1, &[77]), Some(Last { write: 0, ..without }));
        assert_eq!(earlier(2, &[77]), None);
    }
}
