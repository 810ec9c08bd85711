//! Scratch space in a file that has no name: it goes when the process does, however it ends.
//!
//! In: bytes to put away. Out: their place. Places are multiples of a block, and one that is given up is used again by what
//! fits it exactly; engines put away pieces of about one size, so the file is about as large as what is kept at once.
//! It lies where temporary files do (`TMPDIR`), and is made when something is put away for the first time.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_core::port::scratch::{Place, Scratch};

/// Places are multiples of so many bytes: small beside the pieces, large beside a page of the machine.
const BLOCK: u64 = 64 << 10;

/// Scratch space of one job.
///
/// ```
/// use thalweg_core::port::scratch::Scratch;
/// let scratch = thalweg_state::FileScratch::default();
/// let place = scratch.put(b"bytes")?;
/// assert_eq!(scratch.get(place)?, b"bytes"[..]);
/// scratch.free(place);
/// # Ok::<(), thalweg_core::error::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct FileScratch {
    file: OnceLock<File>,
    free: Mutex<Free>,
    /// It has been said that it cannot be used.
    told: AtomicBool,
}

/// Which places are free.
#[derive(Debug, Default)]
struct Free {
    /// Begins of free places by their number of blocks.
    places: BTreeMap<u64, Vec<u64>>,
    /// Where the file ends.
    end: u64,
}

fn failed(error: &std::io::Error) -> Error {
    Error::new("SCRATCH_IO", Domain::External, format!("scratch space cannot be used: {error}"))
        .help("check that the directory of temporary files (TMPDIR) exists, is writable and has room")
}

fn blocks(len: usize) -> u64 {
    (len as u64).div_ceil(BLOCK).max(1)
}

impl FileScratch {
    fn file(&self) -> Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let made = tempfile::tempfile().map_err(|e| failed(&e))?;
        Ok(self.file.get_or_init(|| made))
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes the file has grown to.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.lock().end
    }
}

impl Scratch for FileScratch {
    fn put(&self, bytes: &[u8]) -> Result<Place> {
        self.write(bytes).inspect_err(|error| {
            // the engine keeps the bytes in memory and tries again: said once, it explains why memory grows
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(code = error.code, "large values stay in memory: {error}");
            }
        })
    }

    fn get(&self, place: Place) -> Result<Bytes> {
        let mut bytes = vec![0; place.len];
        self.file()?.read_exact_at(&mut bytes, place.start).map_err(|e| failed(&e))?;
        Ok(bytes.into())
    }

    fn free(&self, place: Place) {
        self.lock().places.entry(blocks(place.len)).or_default().push(place.start);
    }
}

impl FileScratch {
    fn write(&self, bytes: &[u8]) -> Result<Place> {
        let file = self.file()?;
        let wanted = blocks(bytes.len());
        let start = {
            let mut free = self.lock();
            match free.places.get_mut(&wanted).and_then(Vec::pop) {
                Some(start) => start,
                None => {
                    free.end += wanted * BLOCK;
                    free.end - wanted * BLOCK
                }
            }
        };
        let place = Place { start, len: bytes.len() };
        file.write_all_at(bytes, start).map_err(|e| {
            self.free(place);
            failed(&e)
        })?;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_away_comes_back_and_its_place_is_used_again() -> Result<()> {
        let scratch = FileScratch::default();
        let piece = |n: u8| vec![n; 100_000];
        let places: Vec<Place> = (0..10).map(|n| scratch.put(&piece(n))).collect::<Result<_>>()?;
        for (n, place) in places.iter().enumerate() {
            assert_eq!(scratch.get(*place)?, piece(n as u8));
        }
        let size = scratch.size();
        places.iter().step_by(2).for_each(|place| scratch.free(*place));
        let again: Vec<Place> = (50..55).map(|n| scratch.put(&piece(n))).collect::<Result<_>>()?;
        assert_eq!(scratch.size(), size);
        assert_eq!(scratch.get(again[0])?, piece(50));
        assert_eq!(scratch.get(places[1])?, piece(1));
        Ok(())
    }
}
