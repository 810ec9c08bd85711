//! Where a savepoint is: a directory, or a prefix in an object store. Both are whole once the manifest is there, which comes last.

use super::directory::Directory;
use super::manifest::Manifest;
use super::remote::Remote;
use std::fmt;
use std::path::{Path, PathBuf};
use thalweg_core::error::{Error, Result};
use thalweg_io::object;

/// What says that a state directory is one: it comes last of its files.
pub(super) const VERSION: &str = "VERSION";

/// Where files stand below a directory until all of them are there.
pub(super) const RESTORING: &str = "restoring";

/// A place.
#[derive(Clone, Debug)]
pub enum Place {
    /// On this machine.
    Directory(Directory),
    /// In an object store.
    Remote(Remote),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => fmt::Display::fmt(directory, f),
            Self::Remote(remote) => fmt::Display::fmt(remote, f),
        }
    }
}

/// The error of what is no place.
pub(super) fn refused(text: &str, why: &str) -> Error {
    Error::user("SAVEPOINT_PLACE", format!("{text:?} is no place for a savepoint: {why}")).help(
        "give a path, or a URL like file:///directory, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
    )
}

/// The error of a place where there is something.
pub(super) fn taken(place: &dyn fmt::Display) -> Error {
    let what = format!("a savepoint needs a place of its own, and there is something at {place}");
    Error::user("STATE_NOT_OURS", what)
        .help("give a directory or prefix that is empty or does not exist yet; nothing was changed in this one")
}

impl Place {
    /// Reads a path, or a URL. A path that is not whole begins in the directory of this process.
    ///
    /// # Errors
    /// `SAVEPOINT_PLACE`, `OBJECT_STORE_CONFIG`.
    pub fn read(text: &str) -> Result<Self> {
        let path = match text.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => path,
            Some(("file", _)) => return Err(refused(text, "a file URL has three slashes and a whole path")),
            Some((scheme, _)) if object::is_scheme(scheme) => return Remote::open(text).map(Self::Remote),
            Some((scheme, _)) => return Err(refused(text, &format!("{scheme} is not known here"))),
            None => text,
        };
        if path.is_empty() {
            return Err(refused(text, "it is empty"));
        }
        let path = std::path::absolute(path).map_err(|e| refused(text, &e.to_string()))?;
        Ok(Self::Directory(Directory::new(path)))
    }

    /// Takes the place for a savepoint that is being made; gives where its state directory is made, which is not there yet. What goes elsewhere
    /// is made in `near`, a directory on the disk of the state.
    pub fn take(&self, near: &Path) -> Result<PathBuf> {
        match self {
            Self::Directory(directory) => directory.take(),
            Self::Remote(remote) if remote.is_taken()? => Err(taken(self)),
            Self::Remote(_) => super::remote::building(near),
        }
    }

    /// Gives up what was made so far. A place that cannot be emptied is no savepoint either way.
    pub fn give_up(&self, building: &Path) {
        match self {
            Self::Directory(directory) => directory.give_up(),
            Self::Remote(_) => drop(std::fs::remove_dir_all(building)),
        }
    }

    /// Puts a state directory at the place, and says that it is whole.
    pub fn fill(&self, building: &Path, manifest: &mut Manifest) -> Result<()> {
        match self {
            Self::Directory(directory) => directory.fill(building, manifest),
            Self::Remote(remote) => remote.fill(building, manifest),
        }
    }

    /// Reads the manifest, and checks that all is there.
    pub fn manifest(&self) -> Result<Manifest> {
        match self {
            Self::Directory(directory) => directory.manifest(),
            Self::Remote(remote) => remote.manifest(),
        }
    }

    /// Copies the files that the manifest names into a directory, and checks what it says of them.
    pub fn copy(&self, manifest: &Manifest, dir: &Path) -> Result<()> {
        for (name, size) in manifest.in_order() {
            let to = dir.join(name);
            let parent = to.parent().unwrap_or(dir);
            std::fs::create_dir_all(parent).map_err(|e| super::directory::failed(parent, &e))?;
            let (bytes, digest) = match self {
                Self::Directory(directory) => directory.copy(name, &to, manifest.digests.contains_key(name))?,
                Self::Remote(remote) => remote.copy(name, size, &to)?,
            };
            if bytes != size {
                return Err(self.incomplete(&format!("{name} has {bytes} bytes, and had {size}")));
            }
            if manifest.digests.get(name).is_some_and(|wanted| digest.as_ref() != Some(wanted)) {
                return Err(self.incomplete(&format!("{name} has another digest than when it was made")));
            }
        }
        Ok(())
    }

    fn incomplete(&self, why: &str) -> Error {
        super::incomplete(self, why)
    }
}
