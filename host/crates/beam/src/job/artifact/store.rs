//! The staging directory: files named by their digest, counted by the jobs that hold them, bounded in bytes.

use super::digest::Digest;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thalweg_core::error::{Error, Result};
use tokio::io::AsyncWriteExt;

/// Ending of files that are still being written.
const PART: &str = "part";

/// Artifacts on disk. One process per directory.
///
/// A file nobody holds any more stays until its room is needed, so that the next submission of the same program finds
/// it there. Files left by an earlier process are counted, and give way to a copy that is staged anew: whether they are what they
/// were nobody knows.
#[derive(Debug)]
pub struct ArtifactStore {
    dir: PathBuf,
    bytes_max: u64,
    parts: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default, Debug)]
struct Held {
    /// Bytes of all files, finished or being written.
    bytes: u64,
    files: BTreeMap<Digest, Kept>,
}

#[derive(Debug)]
struct Kept {
    bytes: u64,
    /// How often the file was stored and not released.
    holders: usize,
    /// This process wrote it, and waited until the disk had it. One of an earlier process may be cut off or full of zeros, if its
    /// host died before the disk had all.
    whole: bool,
}

impl ArtifactStore {
    /// Opens the store in `dir`, which is created, for at most `bytes_max` bytes. Files whose name is not ours are left
    /// alone; what an earlier process did not finish writing is removed.
    ///
    /// # Errors
    /// `ARTIFACT_STORE_FAILED` if the directory cannot be used.
    pub fn open(dir: impl Into<PathBuf>, bytes_max: u64) -> Result<Arc<Self>> {
        let dir = dir.into();
        let held = std::fs::create_dir_all(&dir).and_then(|()| found(&dir)).map_err(|e| failed(&dir, &e))?;
        Ok(Arc::new(Self { dir, bytes_max, parts: AtomicU64::new(0), held: Mutex::new(held) }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the bytes of a digest are kept, whether or not they are there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    /// The digest a path of this directory stands for; nothing for every other path.
    #[must_use]
    pub fn digest_of(&self, path: &Path) -> Option<Digest> {
        let digest = Digest::parse(path.file_name()?.to_str()?)?;
        (self.path(&digest) == path).then_some(digest)
    }

    /// Starts writing an artifact.
    ///
    /// # Errors
    /// `ARTIFACT_STORE_FAILED` if the directory cannot be written.
    pub async fn writer(self: &Arc<Self>) -> Result<ArtifactWriter> {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{}-{number}.{PART}", std::process::id()));
        let file = tokio::fs::File::create(&path).await.map_err(|e| failed(&path, &e))?;
        Ok(ArtifactWriter { store: self.clone(), path, file, hash: Sha256::new(), bytes: 0 })
    }

    /// Opens an artifact some job holds, for reading.
    ///
    /// # Errors
    /// `ARTIFACT_NOT_STAGED` if none does; `ARTIFACT_STORE_FAILED` if the file cannot be read.
    pub async fn read(&self, digest: &Digest) -> Result<tokio::fs::File> {
        if self.held().files.get(digest).is_none_or(|kept| kept.holders == 0) {
            let message = format!("no job has staged an artifact with the digest {digest}");
            return Err(Error::user("ARTIFACT_NOT_STAGED", message)
                .help("the job has ended long ago or was never staged here: submit the pipeline again"));
        }
        let path = self.path(digest);
        tokio::fs::File::open(&path).await.map_err(|e| failed(&path, &e))
    }

    /// All bytes of an artifact that some job holds. Blocks for a read of the file.
    ///
    /// # Errors
    /// As [`ArtifactStore::read`].
    pub fn bytes(&self, digest: &Digest) -> Result<Bytes> {
        let path = self.path(digest);
        std::fs::read(&path).map(Bytes::from).map_err(|e| failed(&path, &e))
    }

    /// Takes another hold of an artifact of which there is a copy to rely on: whole when it was written, and as long as it then was.
    fn hold(&self, digest: &Digest, bytes: u64) -> bool {
        let mut held = self.held();
        let Some(kept) = held.files.get_mut(digest).filter(|kept| kept.whole) else { return false };
        let as_written = std::fs::metadata(self.path(digest)).is_ok_and(|file| file.len() == bytes);
        kept.holders += usize::from(as_written);
        as_written
    }

    /// Lets go of artifacts, once for each time they were stored.
    pub fn release(&self, digests: &[Digest]) {
        let mut held = self.held();
        for digest in digests {
            if let Some(kept) = held.files.get_mut(digest) {
                kept.holders = kept.holders.saturating_sub(1);
            }
        }
    }

    /// Counts bytes about to be written; forgets files nobody holds if there is no room.
    fn reserve(&self, bytes: u64) -> Result<()> {
        let mut held = self.held();
        while held.bytes + bytes > self.bytes_max {
            let idle = held.files.iter().find(|(_, kept)| kept.holders == 0).map(|(digest, _)| *digest);
            let Some((digest, kept)) = idle.and_then(|digest| held.files.remove_entry(&digest)) else {
                return Err(self.full());
            };
            held.bytes -= kept.bytes;
            let path = self.path(&digest);
            std::fs::remove_file(&path).map_err(|e| failed(&path, &e))?;
        }
        held.bytes += bytes;
        Ok(())
    }

    fn full(&self) -> Error {
        let message = format!("the staged artifacts need more than the {} bytes allowed for them", self.bytes_max);
        Error::user("ARTIFACTS_TOO_LARGE", message)
            .help("stage less, cancel jobs that are no longer needed, or raise the limit for staged artifacts")
    }
}

/// The finished files of a directory; removes unfinished ones.
fn found(dir: &Path) -> std::io::Result<Held> {
    let mut held = Held::default();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == PART) {
            std::fs::remove_file(&path)?;
        } else if let Some(digest) = entry.file_name().to_str().and_then(Digest::parse) {
            let bytes = entry.metadata()?.len();
            held.bytes += bytes;
            held.files.insert(digest, Kept { bytes, holders: 0, whole: false });
        }
    }
    Ok(held)
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::external("ARTIFACT_STORE_FAILED", format!("{}: {error}", path.display()))
        .help("the staging directory must exist on a disk with room and be writable for the server")
}

/// An artifact being written. Dropped before [`ArtifactWriter::finish`], it leaves nothing behind.
pub struct ArtifactWriter {
    store: Arc<ArtifactStore>,
    path: PathBuf,
    file: tokio::fs::File,
    hash: Sha256,
    /// Bytes reserved and not yet accounted to a finished file.
    bytes: u64,
}

impl ArtifactWriter {
    /// Appends bytes.
    ///
    /// # Errors
    /// `ARTIFACTS_TOO_LARGE` if the store's limit is reached; `ARTIFACT_STORE_FAILED` if the disk fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let count = bytes.len() as u64;
        self.store.reserve(count)?;
        self.bytes += count;
        self.hash.update(bytes);
        self.file.write_all(bytes).await.map_err(|e| failed(&self.path, &e))
    }

    /// Makes the file an artifact that the caller holds, until it is released.
    ///
    /// # Errors
    /// `ARTIFACT_DIGEST_MISMATCH` if the bytes are not those that were expected; `ARTIFACT_STORE_FAILED` if the disk
    /// fails.
    pub async fn finish(mut self, expected: Option<Digest>) -> Result<Digest> {
        self.file.flush().await.map_err(|e| failed(&self.path, &e))?;
        let digest = Digest(std::mem::take(&mut self.hash).finalize().into());
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            let message = format!("an artifact arrived with the digest {digest} instead of {expected}");
            return Err(Error::user("ARTIFACT_DIGEST_MISMATCH", message)
                .help("the file changed after the pipeline was built: build and submit it again"));
        }
        let store = self.store.clone();
        if store.hold(&digest, self.bytes) {
            return Ok(digest); // the copy just written is removed with the writer
        }
        // a name that outlived the bytes of its file would be taken for an artifact after a crash
        self.file.sync_all().await.map_err(|e| failed(&self.path, &e))?;
        let mut held = store.held();
        // who reads the copy that was there goes on with it: the file lives as long as it is open
        std::fs::rename(&self.path, store.path(&digest)).map_err(|e| failed(&self.path, &e))?;
        let bytes = std::mem::take(&mut self.bytes);
        let before = held.files.remove(&digest);
        held.bytes -= before.as_ref().map_or(0, |kept| kept.bytes);
        let holders = before.map_or(0, |kept| kept.holders) + 1;
        held.files.insert(digest, Kept { bytes, holders, whole: true });
        Ok(digest)
    }
}

impl Drop for ArtifactWriter {
    fn drop(&mut self) {
        // fails after a rename, as it should
        let _ = std::fs::remove_file(&self.path);
        let mut held = self.store.held();
        held.bytes = held.bytes.saturating_sub(self.bytes);
    }
}

impl fmt::Debug for ArtifactWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArtifactWriter").field("path", &self.path).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store_bytes(store: &Arc<ArtifactStore>, bytes: &[u8]) -> Result<Digest> {
        let mut writer = store.writer().await?;
        writer.write(bytes).await?;
        writer.finish(None).await
    }

    fn names(dir: &Path) -> usize {
        std::fs::read_dir(dir).expect("directory").count()
    }

    #[tokio::test]
    async fn equal_bytes_are_kept_once() {
        let dir = tempfile::tempdir().expect("directory");
        let store = ArtifactStore::open(dir.path(), 100).expect("store");
        let a = store_bytes(&store, b"same").await.expect("stored");
        let b = store_bytes(&store, b"same").await.expect("stored");
        assert_eq!((a, names(dir.path()), store.held().bytes), (b, 1, 4));
        store.release(&[a]);
        assert!(store.read(&a).await.is_ok(), "still held once");
        store.release(&[a]);
        assert_eq!(store.read(&a).await.expect_err("nobody holds it").code, "ARTIFACT_NOT_STAGED");
    }

    #[tokio::test]
    async fn a_full_store_forgets_what_nobody_holds_and_then_refuses() {
        let dir = tempfile::tempdir().expect("directory");
        let store = ArtifactStore::open(dir.path(), 10).expect("store");
        let old = store_bytes(&store, b"123456").await.expect("stored");
        assert_eq!(store_bytes(&store, b"abcdef").await.expect_err("full").code, "ARTIFACTS_TOO_LARGE");
        assert_eq!((names(dir.path()), store.held().bytes), (1, 6), "a refused artifact leaves nothing behind");
        store.release(&[old]);
        store_bytes(&store, b"abcdef").await.expect("room was made");
        assert!(!store.path(&old).exists());
    }

    #[tokio::test]
    async fn a_wrong_digest_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let store = ArtifactStore::open(dir.path(), 10).expect("store");
        let mut writer = store.writer().await.expect("writer");
        writer.write(b"x").await.expect("written");
        let error = writer.finish(Some(Digest([0; 32]))).await.expect_err("another digest");
        assert_eq!((error.code, names(dir.path())), ("ARTIFACT_DIGEST_MISMATCH", 0));
    }

    #[tokio::test]
    async fn a_damaged_file_gives_way_to_the_copy_that_is_staged_anew() {
        let dir = tempfile::tempdir().expect("directory");
        let first = ArtifactStore::open(dir.path(), 100).expect("store");
        let digest = store_bytes(&first, b"12345678").await.expect("stored");
        for damaged in [&b"1234"[..], b"\0\0\0\0\0\0\0\0", b"123456789012"] {
            std::fs::write(first.path(&digest), damaged).expect("written");
            let next = ArtifactStore::open(dir.path(), 100).expect("store");
            assert_eq!(store_bytes(&next, b"12345678").await.expect("stored"), digest);
            assert_eq!(next.bytes(&digest).expect("read"), &b"12345678"[..]);
            assert_eq!((names(dir.path()), next.held().bytes), (1, 8));
            assert!(next.read(&digest).await.is_ok(), "its stager holds it");
        }
        // cut off, or gone, under a process that has written it, while it is held
        std::fs::write(first.path(&digest), b"12").expect("written");
        store_bytes(&first, b"12345678").await.expect("stored");
        assert_eq!(first.bytes(&digest).expect("read"), &b"12345678"[..]);
        std::fs::remove_file(first.path(&digest)).expect("removed");
        store_bytes(&first, b"12345678").await.expect("stored");
        assert_eq!(first.bytes(&digest).expect("read"), &b"12345678"[..]);
        assert_eq!((names(dir.path()), first.held().bytes), (1, 8));
        first.release(&[digest; 2]);
        assert!(first.read(&digest).await.is_ok(), "three have stored it");
        first.release(&[digest]);
        assert!(first.read(&digest).await.is_err());
    }

    #[tokio::test]
    async fn files_of_an_earlier_process_count_and_unfinished_ones_go() {
        let dir = tempfile::tempdir().expect("directory");
        std::fs::write(dir.path().join("1-2.part"), b"half").expect("written");
        std::fs::write(dir.path().join("notes.txt"), b"not ours").expect("written");
        let first = ArtifactStore::open(dir.path(), 10).expect("store");
        let digest = store_bytes(&first, b"12345678").await.expect("stored");
        let second = ArtifactStore::open(dir.path(), 10).expect("store");
        assert_eq!((names(dir.path()), second.held().bytes), (2, 8));
        assert!(second.read(&digest).await.is_err(), "nobody has staged it here");
        store_bytes(&second, b"abcdef").await.expect("room was made");
    }
}
