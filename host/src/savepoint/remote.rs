//! A savepoint in an object store: an object per file below a prefix, the manifest last.
//!
//! Its state directory is made on this machine, on the disk of the state, where that costs next to nothing; then it is sent.

use super::directory::failed;
use super::incomplete;
use super::manifest::{Manifest, NAME};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use thalweg_core::error::{Error, Result};
use thalweg_io::object::Objects;

/// What directories begin with whose content is sent.
const BUILDING: &str = "saving-";

/// A prefix in an object store.
#[derive(Clone, Debug)]
pub struct Remote(Objects);

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A name for a directory below `near` that is not there. What processes left there that were killed is removed.
pub(super) fn building(near: &Path) -> Result<PathBuf> {
    static OWN: OnceLock<String> = OnceLock::new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    // the number of a process may come again, in a container it always does
    let own = OWN.get_or_init(|| format!("{BUILDING}{:016x}", RandomState::new().hash_one(std::process::id())));
    std::fs::create_dir_all(near).map_err(|e| failed(near, &e))?;
    for name in super::directory::entries(near)? {
        if name.starts_with(BUILDING) && !name.starts_with(own.as_str()) {
            let left = near.join(name);
            std::fs::remove_dir_all(&left).map_err(|e| failed(&left, &e))?;
        }
    }
    Ok(near.join(format!("{own}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))))
}

impl Remote {
    pub(super) fn open(url: &str) -> Result<Self> {
        Objects::open(url).map(Self)
    }

    pub(super) fn is_taken(&self) -> Result<bool> {
        self.0.is_empty().map(|empty| !empty)
    }

    /// Sends a state directory, then the manifest, and removes the directory. What was sent of one that cannot be sent is removed.
    pub(super) fn fill(&self, building: &Path, manifest: &mut Manifest) -> Result<()> {
        let mut sent = Vec::new();
        let filled = self.send(building, manifest, &mut sent);
        if let Err(error) = &filled {
            self.take_back(&sent, error);
            return filled;
        }
        std::fs::remove_dir_all(building).map_err(|e| failed(building, &e))
    }

    fn send(&self, building: &Path, manifest: &mut Manifest, sent: &mut Vec<String>) -> Result<()> {
        let files: Vec<String> = manifest.in_order().map(|(name, _)| name.to_owned()).collect();
        for name in files {
            sent.push(name.clone());
            let copied = self.0.send(&building.join(&name), &name)?;
            manifest.note(&name, copied.bytes, copied.digest)?;
        }
        sent.push(NAME.to_owned());
        self.0.write(NAME, manifest.encode())
    }

    fn take_back(&self, sent: &[String], why: &Error) {
        // a store that cannot be reached would only be waited for once more
        let unreachable = why.code == "OBJECT_STORE_UNREACHABLE";
        // backwards: as long as anything of it is there, it is no whole one
        let removed =
            if unreachable { Err(why.clone()) } else { sent.iter().rev().try_for_each(|name| self.0.remove(name)) };
        if let Err(error) = removed {
            tracing::warn!(place = %self, %error, "what was sent of a savepoint stays, without a manifest: remove it");
        }
    }

    pub(super) fn manifest(&self) -> Result<Manifest> {
        let Some(text) = self.0.read(NAME)? else {
            return Err(if self.0.is_empty()? {
                Error::user("SAVEPOINT_UNKNOWN", format!("there is no savepoint {self}"))
                    .help("check bucket and prefix, and the endpoint if the store is not Amazon's")
            } else {
                incomplete(self, &format!("it has no object {NAME}"))
            });
        };
        let manifest = Manifest::decode(&text, self)?.ok_or_else(|| incomplete(self, "its manifest is damaged"))?;
        let found = self.0.list()?;
        for (name, size) in &manifest.files {
            match found.get(name) {
                Some(there) if there == size => {}
                Some(there) => return Err(incomplete(self, &format!("{name} has {there} bytes, and had {size}"))),
                None => return Err(incomplete(self, &format!("{name} is not there"))),
            }
        }
        Ok(manifest)
    }

    /// Copies a file; gives its size and its digest.
    pub(super) fn copy(&self, name: &str, size: u64, to: &Path) -> Result<(u64, Option<String>)> {
        let copied = self.0.fetch(name, size, to)?;
        Ok((copied.bytes, Some(copied.digest)))
    }
}
