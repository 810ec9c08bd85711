//! Compiled components on disk, by the digest of the component. A compiled component is native code that this process will
//! run, so the directory belongs to this user alone, and a file counts only with the keyed digest that this
//! installation wrote beside it. Whatever does not fit is compiled again, never trusted.

use crate::error::{Error, Result};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wasmtime::component::Component as Compiled;

/// What the directory may hold in bytes, by default: some twenty Python components.
const BYTES_MAX: u64 = 2 << 30;
const KEY_BYTES: usize = 32;

/// SHA-256 of a component: its identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A directory of compiled components. Several processes may share it.
#[derive(Clone)]
pub struct Cache {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
    bytes_max: u64,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("directory", &self.directory).finish() // never the key
    }
}

impl Cache {
    /// Opens a directory, made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// [`Error::Cache`] if it cannot be made, belongs to another user, or others may enter it.
    pub fn open(directory: &Path) -> Result<Self> {
        let wrong = |why: String| Error::Cache { path: directory.display().to_string(), why };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|e| wrong(e.to_string()))?;
        let meta = fs::metadata(directory).map_err(|e| wrong(e.to_string()))?;
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(wrong("it belongs to another user".into()));
        }
        if meta.mode() & 0o077 != 0 {
            return Err(wrong(format!("others may use it (mode {:o})", meta.mode() & 0o777)));
        }
        let key = key(directory).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { directory: directory.to_owned(), key, bytes_max: BYTES_MAX })
    }

    /// Sets how many bytes the directory may hold; the oldest files go first.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// The compiled form of a component for this engine, if it is there and sound. A file that is not sound is removed.
    pub(crate) fn get(&self, engine: &wasmtime::Engine, digest: &Digest) -> Option<Compiled> {
        let (code, tag) = self.paths(engine, digest);
        let bytes = fs::read(&code).ok()?;
        let expected = fs::read(&tag).unwrap_or_default();
        let sound = self.owned(&code) && equal(&self.tag(&code, &bytes), &expected);
        let loaded = if sound { deserialize(engine, &code) } else { None };
        if loaded.is_none() {
            tracing::warn!(path = %code.display(), "a compiled component in the cache is not sound; it is compiled again");
            let _ = fs::remove_file(&code);
            let _ = fs::remove_file(&tag);
        }
        loaded
    }

    /// Keeps the compiled form of a component. A full disk costs the next start its time and nothing else.
    pub(crate) fn put(&self, engine: &wasmtime::Engine, digest: &Digest, bytes: &[u8]) {
        let (code, tag) = self.paths(engine, digest);
        self.make_room(bytes.len() as u64);
        let sum = self.tag(&code, bytes);
        // The tag first: code without its tag would be thrown away, a tag without code harms nobody.
        if let Err(why) = write(&tag, &sum).and_then(|()| write(&code, bytes)) {
            tracing::warn!(path = %code.display(), %why, "a compiled component could not be cached");
        }
    }

    fn paths(&self, engine: &wasmtime::Engine, digest: &Digest) -> (PathBuf, PathBuf) {
        // Another version or configuration of the engine finds nothing here, and compiles.
        let mut compatibility = Fnv(0xcbf2_9ce4_8422_2325);
        engine.precompile_compatibility_hash().hash(&mut compatibility);
        let name = format!("{digest}-{:016x}", compatibility.finish());
        (self.directory.join(format!("{name}.cwasm")), self.directory.join(format!("{name}.tag")))
    }

    fn owned(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|m| m.uid() == rustix::process::geteuid().as_raw() && m.mode() & 0o022 == 0)
    }

    /// HMAC-SHA-256 of file name and contents under this installation's key.
    fn tag(&self, path: &Path, bytes: &[u8]) -> [u8; 32] {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let padded = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(self.key).for_each(|(b, k)| *b ^= k);
            block
        };
        let inner = Sha256::new().chain_update(padded(0x36)).chain_update(name).chain_update(bytes).finalize();
        Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
    }

    fn make_room(&self, bytes: u64) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter(|e| e.path().extension().is_some_and(|x| x == "cwasm"))
            .filter_map(|e| e.metadata().ok().map(|m| (m.mtime(), m.len(), e.path())))
            .collect();
        files.sort();
        let mut total: u64 = files.iter().map(|f| f.1).sum();
        for (_, length, path) in files {
            if total.saturating_add(bytes) <= self.bytes_max {
                break;
            }
            let _ = fs::remove_file(path.with_extension("tag"));
            if fs::remove_file(&path).is_ok() {
                total -= length;
            }
        }
    }
}

/// Maps a compiled component.
#[expect(unsafe_code, reason = "running compiled code from a file is the purpose; see SAFETY")]
fn deserialize(engine: &wasmtime::Engine, path: &Path) -> Option<Compiled> {
    // SAFETY: the file must be unchanged output of `Component::serialize`. Its keyed digest was checked just now, the key is
    // readable by this user alone, and so is the directory: only this user could have changed the file since, who
    // could as well change this process.
    unsafe { Compiled::deserialize_file(engine, path) }.ok()
}

/// Takes code that a compiler gave just now.
#[expect(unsafe_code, reason = "running compiled code is the purpose; see SAFETY")]
pub fn load(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Compiled> {
    // SAFETY: the bytes must be unchanged output of `Component::serialize`. They came from it in this process, or through a pipe
    // from a child of this program that does nothing else.
    unsafe { Compiled::deserialize(engine, code) }
}

/// The key of this installation, made at the first start.
fn key(directory: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let path = directory.join("key");
    if !path.exists() {
        let mut fresh = [0; KEY_BYTES];
        let got = rustix::rand::getrandom(&mut fresh, rustix::rand::GetRandomFlags::empty())?;
        if got != KEY_BYTES {
            return Err(std::io::Error::other("the system gave too few random bytes"));
        }
        let mine = directory.join(format!("key.{}", std::process::id()));
        write(&mine, &fresh)?;
        // Whoever links first wins; everybody then reads the same key.
        let _ = fs::hard_link(&mine, &path);
        fs::remove_file(&mine)?;
    }
    let bytes = fs::read(&path)?;
    bytes.try_into().map_err(|_| std::io::Error::other("its key is damaged; remove the directory"))
}

/// Writes a file whole or not at all, readable by this user alone.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mine = path.with_extension(format!("new.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&mine)?;
    file.write_all(bytes)?;
    fs::rename(&mine, path)
}

fn equal(a: &[u8; 32], b: &[u8]) -> bool {
    b.len() == a.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// FNV-1a: file names must not depend on the hasher of a compiler's release.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
