//! Files that pipelines and clients name, opened with care: whoever names a device or a pipe keeps no thread waiting, and what is read whole
//! is bounded. And directories of this process alone.

use std::collections::hash_map::RandomState;
use std::fs::{DirBuilder, File, metadata};
use std::hash::BuildHasher as _;
use std::io::{Error, Read as _, Result};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Opens a regular file for reading. Anything else is refused before it is opened, for opening a pipe waits for who writes it.
///
/// # Errors
/// What the system says, or that it is no regular file.
pub fn open(path: &Path) -> Result<File> {
    if !metadata(path)?.is_file() {
        return Err(Error::other("it is no regular file"));
    }
    File::open(path)
}

/// The beginning of a regular file, at most so many bytes.
///
/// # Errors
/// As for [`open`].
pub fn beginning(path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let file = open(path)?;
    // known files are read into one piece
    let known = usize::try_from(file.metadata()?.len()).unwrap_or(bytes_max).min(bytes_max);
    let mut bytes = Vec::with_capacity(known);
    file.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes a directory whose name begins so. Nobody else may enter it or guess its name.
///
/// # Errors
/// What the system says.
pub fn own_dir(parent: &Path, prefix: &str) -> Result<PathBuf> {
    // a hash under keys that the system's randomness gave this process
    let random = || RandomState::new().hash_one(std::process::id());
    let path = parent.join(format!("{prefix}{:016x}{:016x}", random(), random()));
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_opened_and_no_more_is_read_than_was_asked_for() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        for path in [Path::new("/dev/zero"), &pipe, dir.path()] {
            let refused = open(path).err().map(|e| e.to_string());
            assert_eq!(refused.as_deref(), Some("it is no regular file"), "{}", path.display());
        }
        let file = dir.path().join("file");
        std::fs::write(&file, "abcdef")?;
        std::os::unix::fs::symlink(&file, dir.path().join("link"))?;
        assert_eq!(beginning(&dir.path().join("link"), 4)?, b"abcd");
        assert_eq!(beginning(&file, 9)?, b"abcdef");
        Ok(())
    }
}
