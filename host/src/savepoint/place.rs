//! Where a savepoint is: a directory.
//!
//! While it is made, its state directory stands in a directory of its own below the place, so that nobody takes it for one.

use super::incomplete;
use super::manifest::{Manifest, NAME};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use thalweg_core::error::{Error, Result};

/// What is made when a place is taken, and the state directory in it.
const BUILDING: &str = "building";
const STATE: &str = "state";
/// Bytes of a manifest: some hundred thousand files.
const MANIFEST_BYTES_MAX: u64 = 32 << 20;
/// What says that a state directory is one: it comes last.
const VERSION: &str = "VERSION";

/// A place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place(PathBuf);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Place {
    /// Reads a path, or a URL.
    ///
    /// # Errors
    /// `SAVEPOINT_PLACE`.
    pub fn read(text: &str) -> Result<Self> {
        let refused = |why: &str| {
            Error::user("SAVEPOINT_PLACE", format!("{text:?} is no place for a savepoint: {why}"))
                .help("give a path, or a URL like file:///directory")
        };
        let path = match text.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => path,
            Some(("file", _)) => return Err(refused("a file URL has three slashes and a whole path")),
            Some((scheme, _)) => return Err(refused(&format!("{scheme} is not known here"))),
            None => text,
        };
        if path.is_empty() {
            return Err(refused("it is empty"));
        }
        std::path::absolute(path).map(Self).map_err(|e| refused(&e.to_string()))
    }

    /// Takes the place for a savepoint that is being made; gives where its state directory is made.
    pub fn take(&self) -> Result<PathBuf> {
        let taken = || {
            let what = format!("a savepoint needs a directory of its own, and there is something at {self}");
            Error::user("STATE_NOT_OURS", what)
                .help("give a directory that is empty or does not exist yet; nothing was changed in this one")
        };
        if is_taken(&self.0)? {
            return Err(taken());
        }
        fs::create_dir_all(&self.0).map_err(|e| failed(&self.0, &e))?;
        // of two that come at once one makes it
        let building = self.0.join(BUILDING);
        match fs::create_dir(&building) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(taken()),
            made => made.map_err(|e| failed(&building, &e))?,
        }
        let entries = fs::read_dir(&self.0).map_err(|e| failed(&self.0, &e))?;
        if entries.flatten().any(|entry| entry.file_name() != BUILDING) {
            let _ = fs::remove_dir(&building); // the other one has come to its end meanwhile
            return Err(taken());
        }
        Ok(building.join(STATE))
    }

    /// Gives up what was made so far. A place that cannot be emptied is no savepoint either way.
    pub fn give_up(&self) {
        let _ = fs::remove_dir_all(self.0.join(BUILDING));
        let _ = fs::remove_dir(&self.0);
    }

    /// Moves a state directory to the place, and says that it is whole.
    pub fn fill(&self, building: &Path, manifest: &Manifest) -> Result<()> {
        let fill = || -> io::Result<()> {
            sync_folders(building)?;
            let mut entries = fs::read_dir(building)?.collect::<io::Result<Vec<_>>>()?;
            entries.sort_by_key(|entry| entry.file_name() == VERSION);
            for entry in entries {
                fs::rename(entry.path(), self.0.join(entry.file_name()))?;
            }
            fs::remove_dir(building)?;
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
        File::open(&self.0)?.sync_all()?;
        // who may not read the directory above has to do without
        self.0.parent().and_then(|above| File::open(above).ok()).map_or(Ok(()), |above| above.sync_all())
    }

    /// Reads the manifest, and checks that all is there.
    pub fn manifest(&self) -> Result<Manifest> {
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

    /// Copies the files that the manifest names into a directory.
    pub fn copy(&self, manifest: &Manifest, dir: &Path) -> Result<()> {
        let (last, first): (Vec<_>, Vec<_>) = manifest.files.keys().partition(|name| *name == VERSION);
        for name in first.into_iter().chain(last) {
            let to = dir.join(name);
            let parent = to.parent().unwrap_or(dir);
            fs::create_dir_all(parent).map_err(|e| failed(parent, &e))?;
            match fs::copy(self.0.join(name), &to).and_then(|_| File::open(&to)?.sync_all()) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(incomplete(self, &format!("{name} is gone")));
                }
                copied => copied.map_err(|e| failed(&to, &e))?,
            }
        }
        Ok(())
    }
}

/// Whether there is something at a path.
pub fn is_taken(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Ok(true),
        Err(e) => Err(failed(path, &e)),
    }
}

/// The files of a state directory that nobody has open, by their path below it, with their sizes: all that is read again.
pub fn files(dir: &Path) -> Result<BTreeMap<String, u64>> {
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

fn failed(path: &Path, error: &io::Error) -> Error {
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
        let place = Place(root.path().join("place"));
        let (winner, code) = (place.take()?, || place.take().err().map(|e| e.code));
        assert_eq!(code(), Some("STATE_NOT_OURS"));
        fs::create_dir(&winner)?;
        fs::write(winner.join("file"), "x")?;
        assert_eq!(code(), Some("STATE_NOT_OURS"));
        place.fill(&winner, &Manifest::new("daily", &Shape::default()))?;
        assert_eq!(fs::read_dir(&place.0)?.count(), 2, "the file and the manifest");
        assert_eq!(code(), Some("STATE_NOT_OURS"));
        assert!(place.manifest().is_ok());
        Ok(())
    }

    #[test]
    fn many_that_come_at_once_have_one_winner() -> anyhow::Result<()> {
        for _ in 0..50 {
            let root = tempfile::tempdir()?;
            let place = Place(root.path().join("place"));
            let won = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| place.take().is_ok())).collect();
                all.into_iter().filter_map(|one| one.join().ok()).filter(|won| *won).count()
            });
            assert_eq!(won, 1);
        }
        Ok(())
    }
}
