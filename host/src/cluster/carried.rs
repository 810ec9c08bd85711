//! The components of a job, which go with it to every process: a file need only be where the job is submitted.
//!
//! In: the components that a pipeline names by path, as they are when it is submitted. Out: the same ones in every process that takes part, also
//! in one that starts when the files have long changed. They stand once among the cluster's artifacts, under their digests.

use super::Inner;
use super::order::{Carried, Run};
use crate::compose::{Composer, pinned};
use std::path::PathBuf;
use thalweg_beam::job::JobOptions;
use thalweg_core::error::{Error, Result};
use thalweg_wasm::Digest;

impl Inner {
    /// The composer for a job, with the components it was submitted with, and its options.
    ///
    /// # Errors
    /// `CLUSTER_TOPIC` when one is not there any more, `KAFKA_UNREACHABLE`, and what is wrong with a component.
    pub(super) fn composer_of(&self, run: &Run) -> Result<Composer> {
        let fetch = |carried: &Carried| {
            let path = PathBuf::from(&carried.path);
            let is = |bytes: &[u8]| pinned(&Digest::of(bytes)) == carried.digest;
            // as usual the file is still here, too
            if let Some(bytes) = std::fs::read(&path).ok().filter(|bytes| is(bytes)) {
                return Ok((path, bytes));
            }
            let bytes = self.journal.wait().get(&carried.digest, carried.at)?.to_vec();
            if !is(&bytes) {
                let what = format!("what stands for the component {} among the artifacts is another", carried.path);
                return Err(Error::external("CLUSTER_RECORD", what).help(
                    "see who wrote the cluster's topics; submit the job again where its files are, as an update",
                ));
            }
            Ok((path, bytes))
        };
        let brought = run.carried().map(fetch).collect::<Result<_>>()?;
        self.composer.with_components(brought)?.with_options(&JobOptions::new(run.options.clone().unwrap_or_default()))
    }

    /// Puts the components that a job's composer has loaded among the artifacts.
    ///
    /// # Errors
    /// `WASM_DIGEST` for a file that changed meanwhile, `KAFKA_RECORD_TOO_LARGE`, `KAFKA_UNREACHABLE`.
    pub(super) fn carry(&self, composer: &Composer) -> Result<Vec<Carried>> {
        let put = |(path, digest): (PathBuf, Digest)| {
            let digest = pinned(&digest);
            let bytes = std::fs::read(&path).unwrap_or_default();
            if pinned(&Digest::of(&bytes)) != digest {
                let what = format!("{} was changed while the job was submitted", path.display());
                return Err(Error::user("WASM_DIGEST", what).help("submit the job again"));
            }
            self.put_aside(path.display().to_string(), digest, &bytes)
        };
        composer.components().opened().into_iter().map(put).collect()
    }

    /// Puts a component among the artifacts, unless it stands there for another job.
    ///
    /// # Errors
    /// `KAFKA_RECORD_TOO_LARGE`, `KAFKA_UNREACHABLE`.
    pub(super) fn put_aside(&self, path: String, digest: String, bytes: &[u8]) -> Result<Carried> {
        let at = self.known_at(&digest).map_or_else(|| self.journal.wait().put(&digest, bytes), Ok)?;
        Ok(Carried { path, digest, at })
    }

    fn known_at(&self, digest: &str) -> Option<i64> {
        let state = self.state();
        let mut carried = state.jobs.values().flat_map(|known| known.run.carried());
        carried.find(|carried| carried.digest == digest).map(|carried| carried.at)
    }
}
