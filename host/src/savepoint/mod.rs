//! Savepoints: copies of what a job keeps, all of one moment, from which jobs can begin anywhere.
//!
//! In: a state directory that was copied or built, and where it is to go. Out: that directory beside a *manifest* that says what it is, written last: a
//! place without one, or with files that are not those it names, is no savepoint. And back: a savepoint that is checked, and copied into the state directory of a job that
//! begins. What stands in the state is the same whether the job ran in one process or in a cluster.

mod manifest;
mod place;

pub use manifest::Manifest;

use place::Place;
use std::path::{Path, PathBuf};
use thalweg_beam::job::{OptionDescriptor, OptionKind, PreparedJob};
use thalweg_core::engine::{stored_partitions, stored_shape};
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::Shape;
use thalweg_core::id::Epoch;
use thalweg_core::port::store::StateStore as _;
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
    let saving = Saving::begin(to)?;
    database.savepoint(saving.dir())?;
    saving.finish(&Subject { job, epochs: Vec::new() })
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
    /// Takes a place, where there is nothing yet. The state directory is made at [`Saving::dir`]; it must not be there when that begins.
    ///
    /// # Errors
    /// `STATE_NOT_OURS` when something is there already, `SAVEPOINT_PLACE` when it is no place, `SAVEPOINT_IO` for the disk.
    pub fn begin(to: &str) -> Result<Self> {
        let place = Place::read(to)?;
        let building = place.take()?;
        Ok(Self { place, building, finished: false })
    }

    /// Where the state directory is to be made.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.building
    }

    /// Puts the state directory where it belongs, the manifest last. Nobody may have it open any more.
    ///
    /// # Errors
    /// `SAVEPOINT_IO`; what is there then is no savepoint.
    pub fn finish(mut self, subject: &Subject<'_>) -> Result<()> {
        let (partitions, shape, last) = {
            let store = RocksStateStore::open(&self.building, &Options::default())?;
            let reader = store.reader();
            (stored_partitions(reader.as_ref())?, stored_shape(reader.as_ref())?, store.last_epoch()?)
        };
        let mut manifest = Manifest::new(subject.job, &shape.unwrap_or_default());
        let epochs = if subject.epochs.is_empty() { &[last][..] } else { &subject.epochs };
        manifest.epochs = epochs.iter().map(|epoch| epoch.0).collect();
        manifest.partitions = partitions.unwrap_or(epochs.len() as u16);
        manifest.files = place::files(&self.building)?;
        self.place.fill(&self.building, &manifest)?;
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
    /// a later version made it, `SAVEPOINT_PLACE`, `SAVEPOINT_IO`.
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

    /// Makes a state directory of it, which must not be there yet, or be empty.
    ///
    /// # Errors
    /// `SAVEPOINT_STATE_THERE` when something is in that directory, `SAVEPOINT_IO`, and `SAVEPOINT_INCOMPLETE` when a file is gone by now.
    pub fn copy_to(&self, dir: &Path) -> Result<()> {
        if place::is_taken(dir)? {
            let what = format!("the state directory {} holds something already", dir.display());
            return Err(Error::user("SAVEPOINT_STATE_THERE", what)
                .help("leave the savepoint out to go on with what is there, or give a directory that is empty or does not exist yet"));
        }
        self.place.copy(&self.manifest, dir)
    }
}

/// The savepoint that a job begins with, if its options name one.
///
/// # Errors
/// As for [`Savepoint::open`]; `OPTION_INVALID` for an update, which begins with the state of the job that runs.
pub fn wanted(job: &PreparedJob) -> Result<Option<Savepoint>> {
    let Some(place) = job.options.text(FROM_SAVEPOINT).filter(|place| !place.is_empty()) else { return Ok(None) };
    if job.options.boolean("update")?.unwrap_or_default() {
        return Err(Error::user(
            "OPTION_INVALID",
            "an update goes on with the state of the job that runs, not with a savepoint",
        )
        .help("cancel the job that runs, and submit this one with the savepoint and without an update"));
    }
    Savepoint::open(&place).map(Some)
}

/// The option, for clients that ask.
pub fn option() -> OptionDescriptor {
    OptionDescriptor {
        name: FROM_SAVEPOINT,
        kind: OptionKind::Text,
        description: "Begin with the state of this savepoint: a path on the server's machine, or a URL.",
        default: "",
    }
}

fn incomplete(place: &Place, why: &str) -> Error {
    Error::user("SAVEPOINT_INCOMPLETE", format!("{place} is not a whole savepoint: {why}"))
        .help("it was interrupted while it was made, or used as a state directory since: take another one")
}
