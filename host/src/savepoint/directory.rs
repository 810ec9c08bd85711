//! A savepoint in a directory of this machine.
//!
//! While it is made, its state directory stands in a directory of its own below the place, so that nobody takes it for one.

use super::incomplete;
use super::manifest::{Manifest, NAME};
use super::place::{VERSION, taken};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use thalweg_core::error::{Error, Result};

/// What is made when a place is taken, and the state directory in it.
const BUILDING: &str = "building";
const STATE: &str = "state";
/// Bytes of a manifest: some hundred thousand files.
const MANIFEST_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a file that are read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory(PathBuf);

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.display(), f)
    }
}

impl Directory {
    /// A whole path.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes it, where there is nothing yet; gives where the state directory is made.
    pub(super) fn take(&self) -> Result<PathBuf> {
        if !entries(&self.0)?.is_empty() {
            return Err(taken(self));
        }
        fs::create_dir_all(&self.0).map_err(|e| failed(&self.0, &e))?;
        // of two that come at once one makes it
        let building = self.0.join(BUILDING);
        match fs::create_dir(&building) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(taken(self)),
            made => made.map_err(|e| failed(&building, &e))?,
        }
        if entries(&self.0)?.iter().any(|name| name != BUILDING) {
            let _ = fs::remove_dir(&building); // the other one has come to its end meanwhile
            return Err(taken(self));
        }
        Ok(building.join(STATE))
    }

    pub(super) fn give_up(&self) {
        let _ = fs::remove_dir_all(self.0.join(BUILDING));
        let _ = fs::remove_dir(&self.0);
    }

    /// Moves a state directory to the place, and says that it is whole, with the digests of its files. Cost: every byte of them is read.
    pub(super) fn fill(&self, building: &Path, manifest: &mut Manifest) -> Result<()> {
        for name in manifest.files.keys().cloned().collect::<Vec<_>>() {
            let file = building.join(&name);
            // what has this digest must be on the disk before the manifest says so
            let synced = File::open(&file).and_then(|file| file.sync_all().map(|()| file));
            let (bytes, digest) = synced.and_then(digest_of).map_err(|e| failed(&file, &e))?;
            manifest.note(&name, bytes, digest)?;
        }
        let fill = || -> io::Result<()> {
            sync_folders(building)?;
            move_up(building, &self.0)?;
            fs::remove_dir(self.0.join(BUILDING))
        };
        fill().and_then(|()| self.state(manifest)).map_err(|e| failed(&self.0, &e))
    }

    /// Writes the manifest, whole or not at all.
    fn state(&self, manifest: &Manifest) -> io::Result<()> {
        let new = self.0.join(format!("{NAME}.new"));
        fs::write(&new, manifest.encode())?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, self.0.join(NAME))?;
        sync_names(&self.0)
    }

    /// Reads the manifest, and checks that all is there.
    pub(super) fn manifest(&self) -> Result<Manifest> {
        if !self.0.is_dir() {
            return Err(Error::user("SAVEPOINT_UNKNOWN", format!("there is no savepoint {self}"))
                .help("check the path; with a server it is one of the server's machine"));
        }
        let read = |file: File| {
            let mut text = Vec::new();
            file.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map(|_| text)
        };
        let text = match File::open(self.0.join(NAME)).and_then(read) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(incomplete(self, &format!("it has no file {NAME}")));
            }
            Err(e) => return Err(failed(&self.0, &e)),
        };
        let manifest = Manifest::decode(&text, self)?.ok_or_else(|| incomplete(self, "its manifest is damaged"))?;
        for (name, size) in &manifest.files {
            match fs::metadata(self.0.join(name)) {
                Ok(found) if found.len() == *size => {}
                Ok(found) => {
                    return Err(incomplete(self, &format!("{name} has {} bytes, and had {size}", found.len())));
                }
                Err(e) => return Err(incomplete(self, &format!("{name}: {e}"))),
            }
        }
        Ok(manifest)
    }

    /// Copies a file; gives its size, and its digest if that is asked for.
    pub(super) fn copy(&self, name: &str, to: &Path, digest: bool) -> Result<(u64, Option<String>)> {
        let copy = || -> io::Result<(u64, Option<String>)> {
            let bytes = fs::copy(self.0.join(name), to)?;
            let file = File::open(to)?;
            file.sync_all()?;
            Ok((bytes, if digest { Some(digest_of(file)?.1) } else { None }))
        };
        match copy() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(incomplete(self, &format!("{name} is gone"))),
            copied => copied.map_err(|e| failed(to, &e)),
        }
    }
}

/// Bytes of the rest of a file, and their SHA-256 in hexadecimal digits.
fn digest_of(mut file: File) -> io::Result<(u64, String)> {
    let (mut hash, mut chunk, mut bytes) = (Sha256::new(), vec![0; CHUNK_BYTES], 0);
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            return Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()));
        }
        bytes += n as u64;
        hash.update(chunk.get(..n).unwrap_or_default());
    }
}

/// Moves a copied state directory to where its job looks for it. Afterwards it is there whatever happens: what the job commits must not be lost with
/// the names of its files.
pub(super) fn settle(copied: &Path, dir: &Path) -> io::Result<()> {
    sync_folders(copied)?;
    move_up(copied, dir)?;
    sync_names(dir)
}

/// Makes the names in a directory lasting, and its own.
fn sync_names(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    // who may not read the directory above has to do without
    dir.parent().and_then(|above| File::open(above).ok()).map_or(Ok(()), |above| above.sync_all())
}

/// Moves what is in a directory to another one on the same disk, what says that it is a state directory last, and removes it.
pub(super) fn move_up(from: &Path, to: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(|entry| entry.file_name() == VERSION);
    for entry in entries {
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    fs::remove_dir(from)
}

/// The names in a directory, none if there is nothing; a file is its own.
pub(super) fn entries(path: &Path) -> Result<Vec<String>> {
    match fs::read_dir(path) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .map_err(|e| failed(path, &e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Ok(vec![path.display().to_string()]),
        Err(e) => Err(failed(path, &e)),
    }
}

/// The files of a state directory that nobody has open, by their path below it, with their sizes: all that is read again.
pub(super) fn files(dir: &Path) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(dir.to_owned(), String::new())];
    while let Some((folder, below)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| failed(&folder, &e))? {
            let entry = entry.map_err(|e| failed(&folder, &e))?;
            let metadata = entry.metadata().map_err(|e| failed(&entry.path(), &e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if metadata.is_dir() {
                folders.push((entry.path(), format!("{below}{name}/")));
            } else if metadata.is_file() && !is_passing(&name) {
                found.insert(format!("{below}{name}"), metadata.len());
            }
        }
    }
    Ok(found)
}

/// Locks, and what the database tells people.
fn is_passing(name: &str) -> bool {
    name == "LOCK" || name == "LOG" || name.starts_with("LOG.")
}

/// Has the disk know what is in a directory and those below it.
fn sync_folders(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}

pub(super) fn failed(path: &Path, error: &io::Error) -> Error {
    Error::external("SAVEPOINT_IO", format!("cannot use {}: {error}", path.display()))
        .help("check that it is there and writable and that its disk has room and is healthy, then try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::graph::Shape;

    #[test]
    fn a_place_is_taken_by_one() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let place = Directory::new(root.path().join("place"));
        let (winner, code) = (place.take()?, || place.take().err().map(|e| e.code));
        assert_eq!(code(), Some("STATE_NOT_OURS"));
        fs::create_dir(&winner)?;
        fs::write(winner.join("file"), "x")?;
        assert_eq!(code(), Some("STATE_NOT_OURS"));
        place.fill(&winner, &mut Manifest::new("daily", &Shape::default()))?;
        assert_eq!(fs::read_dir(&place.0)?.count(), 2, "the file and the manifest");
        assert_eq!(code(), Some("STATE_NOT_OURS"));
        assert!(place.manifest().is_ok());
        Ok(())
    }

    #[test]
    fn many_that_come_at_once_have_one_winner() -> anyhow::Result<()> {
        for _ in 0..50 {
            let root = tempfile::tempdir()?;
            let place = Directory::new(root.path().join("place"));
            let won = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| place.take().is_ok())).collect();
                all.into_iter().filter_map(|one| one.join().ok()).filter(|won| *won).count()
            });
            assert_eq!(won, 1);
        }
        Ok(())
    }
}
