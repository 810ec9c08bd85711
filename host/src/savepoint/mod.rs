//! Savepoints: copies of what a job keeps, all of one moment, from which jobs can begin anywhere.
//!
//! In: a state directory that was copied or built, and where it is to go. Out: that directory beside a *manifest* that says what it is, written last: a
//! place without one, or with files that are not those it names, is no savepoint. And back: a savepoint that is checked, and copied into the state directory of a job that
//! begins. What stands in the state is the same whether the job ran in one process or in a cluster, and wherever the savepoint is.

mod allowed;
mod directory;
mod manifest;
mod place;
mod remote;

pub use allowed::{Places, Root, said};
pub use manifest::Manifest;

use bytes::Bytes;
use place::{Place, RESTORING, VERSION};
use std::path::{Path, PathBuf};
use thalweg_beam::job::{OptionDescriptor, OptionKind, PreparedJob};
use thalweg_core::engine::{stored_partitions, stored_shape};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::{Plan, Shape};
use thalweg_core::id::{Epoch, StateId};
use thalweg_core::port::sink::copied_mark;
use thalweg_core::port::store::{StateRead, StateStore as _};
use thalweg_core::state::layout::{CellKey, JOB_GROUP, Kind};
use thalweg_state::{Database, Options, RocksStateStore};

/// The option of a job that begins with a savepoint.
pub const FROM_SAVEPOINT: &str = "from_savepoint";

/// What is said of a job whose savepoint is made.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// What its user calls it.
    pub job: &'a str,
    /// Last epochs of its partitions, in order; empty for a job of one process, whose store has one.
    pub epochs: Vec<Epoch>,
}

/// Makes a savepoint of a database that is open, whoever writes to it. `job` is what the user calls the job, if that is known.
///
/// # Errors
/// As for [`Saving::begin`], [`Saving::finish`] and [`Database::savepoint`].
pub fn of_database(database: &Database, to: &str, job: &str) -> Result<()> {
    Saving::begin(to, database.dir())?.of_database(database, job)
}

/// A place as it is understood in any directory of this machine: a path is made whole.
///
/// # Errors
/// `SAVEPOINT_PLACE`.
pub fn whole(place: &str) -> Result<String> {
    Place::read(place).map(|place| place.to_string())
}

/// A savepoint that is being made. What is not finished is removed when this is dropped; if the process dies before, it is left, and taken for no savepoint.
#[derive(Debug)]
pub struct Saving {
    place: Place,
    building: PathBuf,
    finished: bool,
}

impl Drop for Saving {
    fn drop(&mut self) {
        if !self.finished {
            self.place.give_up(&self.building);
        }
    }
}

impl Saving {
    /// Takes a place, where there is nothing yet. The state directory is made at [`Saving::dir`]; it must not be there when that begins. What goes to
    /// another machine is made below `near`, a directory on the disk of the state that this process alone uses.
    ///
    /// # Errors
    /// `STATE_NOT_OURS` when something is there already, `SAVEPOINT_PLACE` when it is no place, `SAVEPOINT_IO` for the disk, `OBJECT_STORE_*`.
    pub fn begin(to: &str, near: &Path) -> Result<Self> {
        let place = Place::read(to)?;
        let building = place.take(near)?;
        Ok(Self { place, building, finished: false })
    }

    /// Where the state directory is to be made.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.building
    }

    /// Copies a database that is open, and finishes.
    ///
    /// # Errors
    /// As for [`Saving::finish`] and [`Database::savepoint`].
    pub fn of_database(self, database: &Database, job: &str) -> Result<()> {
        database.savepoint(&self.building)?;
        self.finish(&Subject { job, epochs: Vec::new() })
    }

    /// Puts the state directory where it belongs, the manifest last. Nobody may have it open any more.
    ///
    /// # Errors
    /// `SAVEPOINT_IO`, `OBJECT_STORE_*`; what is there then is no savepoint.
    pub fn finish(mut self, subject: &Subject<'_>) -> Result<()> {
        let (partitions, shape, last, deployed) = {
            let mut store = RocksStateStore::open(&self.building, &Options::default())?;
            note_copy(&mut store)?;
            let reader = store.reader();
            let (partitions, shape) = (stored_partitions(reader.as_ref())?, stored_shape(reader.as_ref())?);
            (partitions, shape, store.last_epoch()?, has_deployed(reader.as_ref())?)
        };
        let mut manifest = Manifest::new(subject.job, &shape.unwrap_or_default());
        let epochs = if subject.epochs.is_empty() { &[last][..] } else { &subject.epochs };
        manifest.epochs = epochs.iter().map(|epoch| epoch.0).collect();
        manifest.partitions = partitions.unwrap_or(epochs.len() as u16);
        manifest.deployed = deployed;
        manifest.files = directory::files(&self.building)?;
        self.place.fill(&self.building, &mut manifest)?;
        self.finished = true;
        Ok(())
    }
}

/// A savepoint that is whole.
#[derive(Debug)]
pub struct Savepoint {
    place: Place,
    manifest: Manifest,
    shape: Shape,
}

impl Savepoint {
    /// Looks at a savepoint.
    ///
    /// # Errors
    /// `SAVEPOINT_UNKNOWN` when there is nothing, `SAVEPOINT_INCOMPLETE` when it was never finished, or has changed since, `SAVEPOINT_VERSION` when
    /// a later version made it, `SAVEPOINT_PLACE`, `SAVEPOINT_IO`, `OBJECT_STORE_*`.
    pub fn open(from: &str) -> Result<Self> {
        let place = Place::read(from)?;
        let manifest = place.manifest()?;
        let shape = Shape::decode(&manifest.shape).ok_or_else(|| incomplete(&place, "its manifest is damaged"))?;
        Ok(Self { place, manifest, shape })
    }

    /// What is said of it.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What its job kept.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Checks that a job with this plan can begin with it. Versions of functions that were deployed may keep more than those of the pipeline: then only the state
    /// itself can tell, once they have taken their places.
    ///
    /// # Errors
    /// `UPDATE_INCOMPATIBLE`, naming what the job cannot take over.
    pub fn begins(&self, plan: &Plan) -> Result<()> {
        if self.manifest.deployed { Ok(()) } else { Shape::of(plan).takes_over(&self.shape) }
    }

    /// Makes a state directory of it, which must not be there yet, or be empty, or be what an earlier call left that was killed. One that fails leaves
    /// nothing.
    ///
    /// # Errors
    /// `SAVEPOINT_STATE_THERE` when something is in that directory, `SAVEPOINT_IO`, `OBJECT_STORE_*`, and `SAVEPOINT_INCOMPLETE` when a file is gone
    /// by now or is not what it was.
    pub fn copy_to(&self, dir: &Path) -> Result<()> {
        let (there, existed) = (directory::entries(dir)?, dir.is_dir());
        if !there.iter().all(|name| self.may_be_half_of_it(name, &there)) {
            return Err(state_there(&format!("the state directory {} holds something already", dir.display())));
        }
        there.iter().try_for_each(|name| remove(&dir.join(name)))?;
        let restoring = dir.join(RESTORING);
        let copied = self
            .place
            .copy(&self.manifest, &restoring)
            .and_then(|()| directory::settle(&restoring, dir).map_err(|e| directory::failed(dir, &e)));
        if copied.is_err() {
            // what cannot be removed is taken for half of it when it is tried again
            let _ = remove(&restoring);
            let _ = if existed { Ok(()) } else { std::fs::remove_dir(dir) };
        }
        copied
    }

    /// Whether a name in a directory is that of a part of this savepoint which was not finished there.
    fn may_be_half_of_it(&self, name: &str, there: &[String]) -> bool {
        let begun = there.iter().any(|name| name == RESTORING) && !there.iter().any(|name| name == VERSION);
        let part = |file: &String| file.split('/').next() == Some(name);
        begun && (name == RESTORING || self.manifest.files.keys().any(part))
    }
}

/// Removes a file, or a directory with all that is in it.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(|e| directory::failed(path, &e))
}

/// Notes in a store that it is a copy: what is brought out under the marks in it from now on is not what the copy holds.
fn note_copy(store: &mut RocksStateStore) -> Result<()> {
    let front = |kind| CellKey::new(JOB_GROUP, kind, StateId(0)).finish();
    let mut marks = Vec::new();
    store.reader().scan(&front(Kind::SinkMark), &front(Kind::Outbox), &mut |key, mark| {
        marks.push((Bytes::copy_from_slice(key), Some(copied_mark(mark))));
        true
    })?;
    store.load(&marks)
}

/// Whether a state has versions of functions that were deployed.
fn has_deployed(state: &dyn StateRead) -> Result<bool> {
    let front = |kind| CellKey::new(JOB_GROUP, kind, StateId(0)).finish();
    let mut found = false;
    state.scan(&front(Kind::Deployed), &front(Kind::Copy), &mut |_, _| {
        found = true;
        false
    })?;
    Ok(found)
}

/// The savepoint that a job begins with, if its options name one.
///
/// # Errors
/// As for [`Places::meant`] and [`Savepoint::open`]; `OPTION_INVALID` for an update, which begins with the state of the job that runs.
pub fn wanted(job: &PreparedJob, places: &Places) -> Result<Option<Savepoint>> {
    let Some(place) = job.options.text(FROM_SAVEPOINT).filter(|place| !place.is_empty()) else { return Ok(None) };
    if job.options.boolean("update")?.unwrap_or_default() {
        return Err(Error::user(
            "OPTION_INVALID",
            "an update goes on with the state of the job that runs, not with a savepoint",
        )
        .help("cancel the job that runs, and submit this one with the savepoint and without an update"));
    }
    Savepoint::open(&places.meant(&place, None)?).map(Some)
}

/// The option, for clients that ask.
pub fn option() -> OptionDescriptor {
    OptionDescriptor {
        name: FROM_SAVEPOINT,
        kind: OptionKind::Text,
        description: "Begin with the state of this savepoint: a path on the server's machine, a name below its --savepoint-dir, or a URL.",
        default: "",
    }
}

/// A job that was to begin with a savepoint has state already.
pub fn state_there(what: &str) -> Error {
    Error::user("SAVEPOINT_STATE_THERE", what).help(
        "leave the savepoint out to go on with what is there, or give the job another state_name, or another state directory",
    )
}

fn incomplete(place: &dyn std::fmt::Display, why: &str) -> Error {
    Error::user("SAVEPOINT_INCOMPLETE", format!("{place} is not a whole savepoint: {why}"))
        .help("it was interrupted while it was made, or used as a state directory since: take another one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use thalweg_core::id::KeyGroup;

    /// Positions of bytes in a file that are damaged, one at a time.
    const PLACES: usize = 12;

    type Cells = Vec<(Vec<u8>, Vec<u8>)>;

    /// What stands in a state directory that is made of a savepoint.
    fn begun(saved: &Path) -> Result<(Epoch, Cells)> {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("state");
        Savepoint::open(&saved.display().to_string())?.copy_to(&dir)?;
        let (store, mut cells) = (RocksStateStore::open(&dir, &Options::default())?, Vec::new());
        store.reader().scan(&[], &[], &mut |key, value| {
            cells.push((key.to_vec(), value.to_vec()));
            true
        })?;
        Ok((store.last_epoch()?, cells))
    }

    /// Damages each file of a savepoint but its manifest, a byte at a time. Tells how often nothing could begin with it, why, and how often no cell was
    /// another one.
    fn damaged(saved: &Path, whole: &(Epoch, Cells)) -> anyhow::Result<(Vec<Error>, usize)> {
        let (mut refused, mut harmless) = (Vec::new(), 0);
        for name in directory::files(saved)?.keys().filter(|name| *name != manifest::NAME) {
            let (file, good) = (saved.join(name), fs::read(saved.join(name))?);
            for at in (0..PLACES.min(good.len())).map(|n| n * (good.len() - 1) / PLACES.min(good.len())) {
                let mut bad = good.clone();
                bad[at] ^= 0x10;
                fs::write(&file, bad)?;
                match begun(saved) {
                    Err(error) => refused.push(error),
                    Ok(found) => {
                        assert!(found == *whole, "{name} at {at}: other cells");
                        harmless += 1;
                    }
                }
            }
            fs::write(&file, &good)?;
        }
        Ok((refused, harmless))
    }

    #[test]
    fn what_is_damaged_in_a_savepoint_is_refused_by_its_digest() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let (state, saved) = (root.path().join("state"), root.path().join("saved"));
        let mut store = RocksStateStore::open(&state, &Options::default())?;
        let mark = CellKey::new(JOB_GROUP, Kind::SinkMark, StateId(7)).finish();
        for epoch in 1..4_u64 {
            let cell = |n: u64| {
                let key = CellKey::new(KeyGroup(n as u16), Kind::User, StateId(1)).number(n).finish();
                (key, Some(Bytes::copy_from_slice(&(n * epoch).to_be_bytes())))
            };
            let marked = (mark.clone(), Some(Bytes::from_static(b"\x01mine")));
            store.commit(Epoch(epoch), &(0..2000).map(cell).chain([marked]).collect::<Vec<_>>(), &[])?;
        }
        of_database(store.database(), &saved.display().to_string(), "daily")?;
        let whole = begun(&saved)?;
        assert_eq!((whole.0, whole.1.len()), (Epoch(3), 2001));
        let found = whole.1.iter().find(|(key, _)| *key == mark).map(|(_, value)| value.clone());
        assert_eq!(found.as_deref(), Some(copied_mark(b"\x01mine").as_ref()), "sinks are told that it is a copy");
        assert_eq!(store.reader().get(&mark)?.as_deref(), Some(&b"\x01mine"[..]), "the job's own are left alone");
        let (refused, harmless) = damaged(&saved, &whole)?;
        assert!(refused.len() > 20 && harmless == 0, "{} were refused, {harmless} were not", refused.len());
        for error in refused {
            assert!(error.code == "SAVEPOINT_INCOMPLETE" && error.message.contains("digest"), "{error}");
        }
        assert!(begun(&saved)? == whole);
        // one of an early version
        let mut manifest = Savepoint::open(&saved.display().to_string())?.manifest;
        assert_eq!(std::mem::take(&mut manifest.digests).len(), manifest.files.len());
        fs::write(saved.join(manifest::NAME), manifest.encode())?;
        let (refused, harmless) = damaged(&saved, &whole)?;
        assert!(refused.len() > harmless, "{} were refused, {harmless} did no harm", refused.len());
        assert!(begun(&saved)? == whole);
        Ok(())
    }
}
