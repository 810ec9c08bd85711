//! What is said of a savepoint beside its state: a JSON text, for programs and people.

use super::place::{RESTORING, VERSION};
use crate::runtime::now_ms;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thalweg_core::error::{Error, Result};
use thalweg_core::graph::Shape;

/// Its file.
pub const NAME: &str = "SAVEPOINT.json";
/// The version of savepoints that this program makes; it reads this one and earlier ones.
const FORMAT: u32 = 1;

/// What is said of a savepoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the savepoint.
    pub format: u32,
    /// What the user calls the job.
    pub job: String,
    /// Partitions of the job.
    pub partitions: u16,
    /// Last epochs of its partitions, in order; one for a job of one process.
    pub epochs: Vec<u64>,
    /// When it was made, in milliseconds since 1970 UTC.
    pub taken_ms: i64,
    /// What the job keeps, by name: a line for each thing, its parts apart by tabs.
    pub shape: String,
    /// Whether versions of functions stand in the state that were deployed, which may keep more than those of the pipeline.
    #[serde(default)]
    pub deployed: bool,
    /// Its files, below the place, and their sizes in bytes.
    pub files: BTreeMap<String, u64>,
    /// SHA-256 of their contents in hexadecimal digits. Savepoints of early versions in directories have none: their files are checked by size, and by the
    /// database when it reads them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
}

impl Manifest {
    /// Of a savepoint that is made now.
    pub(super) fn new(job: &str, shape: &Shape) -> Self {
        Self {
            format: FORMAT,
            job: job.to_owned(),
            partitions: 0,
            epochs: Vec::new(),
            taken_ms: now_ms(),
            shape: shape.encode(),
            deployed: false,
            files: BTreeMap::new(),
            digests: BTreeMap::new(),
        }
    }

    /// Notes the digest of a file that was read.
    ///
    /// # Errors
    /// `SAVEPOINT_CHANGED` when it has another size by now.
    pub(super) fn note(&mut self, name: &str, bytes: u64, digest: String) -> Result<()> {
        let size = self.files.get(name).copied().unwrap_or_default();
        if bytes != size {
            let why = format!("{name} had {size} bytes, and then {bytes}");
            return Err(Error::internal("SAVEPOINT_CHANGED", format!("a savepoint changed while it was made: {why}"))
                .help("this is a fault of Thalweg: please report it"));
        }
        self.digests.insert(name.to_owned(), digest);
        Ok(())
    }

    /// Its files and their sizes, what says that they are a state directory last.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&str, u64)> {
        let (last, first): (Vec<_>, Vec<_>) = self.files.iter().partition(|(name, _)| *name == VERSION);
        first.into_iter().chain(last).map(|(name, size)| (name.as_str(), *size))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads a manifest; `None` when it is damaged.
    ///
    /// # Errors
    /// `SAVEPOINT_VERSION` for one of a later version.
    pub(super) fn decode(bytes: &[u8], place: &dyn std::fmt::Display) -> Result<Option<Self>> {
        /// What every version says.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        match serde_json::from_slice::<Versioned>(bytes) {
            Ok(Versioned { format }) if format > FORMAT => Err(Error::user(
                "SAVEPOINT_VERSION",
                format!("the savepoint {place} has format {format}, and this program reads up to {FORMAT}"),
            )
            .help("begin with the version of thalweg that made it, or a later one")),
            _ => Ok(serde_json::from_slice(bytes).ok().filter(Self::is_contained)),
        }
    }

    /// Whether all files are below the place: a manifest may come from anywhere.
    fn is_contained(&self) -> bool {
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
        let ours = |name: &str| !name.starts_with(RESTORING);
        self.files.keys().all(|name| ours(name) && name.split('/').all(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_back_and_a_later_or_strange_one_is_not() -> Result<()> {
        let mut manifest = Manifest::new("daily", &Shape::default());
        manifest.files.insert("db/000007.sst".to_owned(), 12);
        manifest.files.insert("VERSION".to_owned(), 1);
        manifest.files.insert("a/later/than/VERSION".to_owned(), 1);
        assert_eq!(manifest.in_order().last(), Some(("VERSION", 1)));
        assert!(!String::from_utf8_lossy(&manifest.encode()).contains("digests"), "earlier versions have none");
        manifest.digests.insert("VERSION".to_owned(), "00".to_owned());
        let read = |manifest: &Manifest| Manifest::decode(&manifest.encode(), &"here");
        assert_eq!(read(&manifest)?, Some(manifest.clone()));
        let later = Manifest { format: FORMAT + 1, ..manifest.clone() };
        assert_eq!(read(&later).err().map(|e| e.code), Some("SAVEPOINT_VERSION"));
        assert_eq!(
            Manifest::decode(b"{\"format\": 9, \"new\": []}", &"x").err().map(|e| e.code),
            Some("SAVEPOINT_VERSION")
        );
        for outside in ["../x", "/etc/x", "db/../../x", "", "restoring/x"] {
            let files = [(outside.to_owned(), 1)].into();
            assert_eq!(read(&Manifest { files, ..manifest.clone() })?, None, "{outside}");
        }
        assert_eq!(Manifest::decode(b"{\"format\": 1", &"x")?, None);
        Ok(())
    }
}
