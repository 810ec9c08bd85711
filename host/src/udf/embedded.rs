//! The SDKs and templates that are a part of this binary, so that a project can be made and built without the repository.
//!
//! In: the table that the build script made. Out: files below a project's `.thalweg/`, written anew when this binary carries
//! other ones than those found there.

use super::language::Language;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::{fs, io};
use thalweg_core::error::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The folder of a project that holds its SDK. Made by us, never to be edited, ignored by git.
pub const DIR: &str = ".thalweg";
/// Says which files stand in it.
const MARK: &str = "SDK";

/// Embedded files whose names begin with `prefix`, by the rest of their names.
pub fn below(prefix: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> + use<'_> {
    FILES.iter().filter_map(move |(name, bytes)| Some((name.strip_prefix(prefix)?, *bytes)))
}

/// Puts the SDK of a language and the contract below the project's [`DIR`]. Cost: a hash over the SDK if they are there.
///
/// # Errors
/// `UDF_OUTPUT` when they cannot be written.
pub fn put_sdk(language: Language, project: &Path) -> Result<()> {
    let sdk = format!("guest-sdk/{}/", language.name());
    let wanted = || FILES.iter().filter(|(name, _)| name.starts_with(&sdk) || name.starts_with("wit/"));
    let mut digest = Sha256::new();
    for (name, bytes) in wanted() {
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    let mark: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let dir = project.join(DIR);
    if fs::read_to_string(dir.join(MARK)).is_ok_and(|found| found == mark) {
        return Ok(());
    }
    let write = || -> io::Result<()> {
        for old in ["guest-sdk", "wit"] {
            match fs::remove_dir_all(dir.join(old)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        for (name, bytes) in wanted() {
            let path = dir.join(name);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            match language.standalone(name, bytes) {
                Some(text) => fs::write(&path, text)?,
                None => fs::write(&path, bytes)?,
            }
        }
        fs::write(dir.join(MARK), &mark)
    };
    write().map_err(|e| {
        Error::user("UDF_OUTPUT", format!("cannot write the SDK to {}: {e}", dir.display()))
            .help("the folder of a project must be writable: its SDK is kept in it")
    })
}
