//! How far RocksDB's list of its files is known to be whole.
//!
//! Of which files a database consists stands in its MANIFEST: edits, one behind the other. RocksDB takes one that ends early for one that a
//! crash tore. What the lost edits were about may be gone by then: a log that was flushed is deleted, and its table not known any more. So it
//! is noted beside the database, after each write, how far the manifest goes. What is added between two writes is a flush or a compaction whose files
//! RocksDB finds missing by itself: it keeps the synced logs in the manifest.
//!
//! Not covered are the few milliseconds of opening, in which RocksDB begins a manifest and nothing of it is noted yet.

use crate::error::{corrupt, from_io};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thalweg_core::error::Result;
use xxhash_rust::xxh3::Xxh3;

const PREFIX: &str = "MANIFEST-";

/// How far a manifest is known to be whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mark {
    /// The number in its name; later ones are greater.
    pub(crate) number: u64,
    /// Its bytes.
    pub(crate) len: u64,
    /// `xxh3_64` of these.
    pub(crate) digest: u64,
}

/// The manifest of a database that is open.
pub(crate) struct Manifest {
    db: PathBuf,
    file: File,
    hash: Xxh3,
    mark: Mark,
}

impl Manifest {
    /// Reads the manifest of the database in `db`. Cost: all of its bytes, a few kilobytes as a rule.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn open(db: &Path) -> io::Result<Self> {
        let number = current(db)?;
        let file = File::open(place(db, number))?;
        let mark = Mark { number, ..Mark::default() };
        let mut manifest = Self { db: db.to_owned(), file, hash: Xxh3::new(), mark };
        manifest.read()?;
        Ok(manifest)
    }

    /// How far it went when it was looked at last.
    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// Looks again, and whether there is more, or another one in its place. Cost: a few calls of the system when there is not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn grew(&mut self) -> io::Result<bool> {
        if current(&self.db)? != self.mark.number {
            *self = Self::open(&self.db)?;
            return Ok(true);
        }
        let grew = self.file.metadata()?.len() > self.mark.len;
        if grew {
            self.read()?;
        }
        Ok(grew)
    }

    /// Reads what was added since, and makes that lasting: a loss of power must not leave a mark behind the manifest's end.
    fn read(&mut self) -> io::Result<()> {
        self.mark.len += io::copy(&mut self.file, &mut self.hash)?;
        self.mark.digest = self.hash.digest();
        self.file.sync_data()
    }
}

/// Checks that the database in `dir` has all of the manifest that was noted. One that was begun since is taken as it is.
///
/// # Errors
/// `STATE_CORRUPT` when some of it is missing or not what was noted, `STATE_IO`.
pub(crate) fn check(dir: &Path, noted: Mark) -> Result<()> {
    let db = dir.join("db");
    let number = current(&db).map_err(|e| corrupt(dir, format!("its file CURRENT cannot be used: {e}")))?;
    if number > noted.number {
        return Ok(());
    }
    let found = if number < noted.number { Ok(false) } else { goes_as_far(&place(&db, number), noted) };
    match found {
        Ok(true) => Ok(()),
        Ok(false) => Err(corrupt(dir, format!("its list of files, {PREFIX}{number:06}, is not what was noted"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(corrupt(dir, format!("its list of files is missing: {e}")))
        }
        Err(e) => Err(from_io(dir, &e)),
    }
}

fn goes_as_far(file: &Path, noted: Mark) -> io::Result<bool> {
    let mut hash = Xxh3::new();
    let len = io::copy(&mut File::open(file)?.take(noted.len), &mut hash)?;
    Ok(len == noted.len && hash.digest() == noted.digest)
}

/// The number of the manifest that counts.
fn current(db: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(db.join("CURRENT"))?;
    let number = text.strip_suffix('\n').and_then(|name| name.strip_prefix(PREFIX)).and_then(|n| n.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not name a manifest"))
}

fn place(db: &Path, number: u64) -> PathBuf {
    db.join(format!("{PREFIX}{number:06}"))
}
