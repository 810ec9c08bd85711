//! The version file: what the bytes in a store mean. A store that means something else is refused, never reinterpreted.
//!
//! Text, one `name value` a line, the checksum of all before it in the last line. Written once, before the first commit.

use crate::error::{corrupt, from_io};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::{KEY_GROUPS, key_hash};
use thalweg_core::state::layout::LAYOUT_VERSION;

const NAME: &str = "VERSION";
const TITLE: &str = "thalweg state";
/// The function behind `core::id::key_hash`.
const KEY_HASH: &str = "xxh3_64";

/// The file as this program writes it.
fn ours() -> String {
    let body = format!("{TITLE}\nlayout {LAYOUT_VERSION}\nkey_groups {KEY_GROUPS}\nkey_hash {KEY_HASH}\n");
    let last = checksum(&body);
    format!("{body}{last}\n")
}

/// The last line, of all before it.
fn checksum(body: &str) -> String {
    format!("checksum {:016x}", key_hash(body.as_bytes()))
}

/// Whether the directory has a version file.
pub(crate) fn exists(dir: &Path) -> bool {
    dir.join(NAME).exists()
}

/// Writes the version file, whole or not at all.
///
/// # Errors
/// `STATE_IO`, `STATE_DISK_FULL`.
pub(crate) fn write(dir: &Path) -> Result<()> {
    let new = dir.join("VERSION.new");
    let written = (|| -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(ours().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, dir.join(NAME))?;
        File::open(dir)?.sync_all()
    })();
    written.map_err(|e| from_io(dir, &e))
}

/// Checks that the store in the directory is one of ours.
///
/// # Errors
/// `STATE_VERSION` when it was written by another version, `STATE_CORRUPT` when the file is damaged.
pub(crate) fn check(dir: &Path) -> Result<()> {
    let bytes = fs::read(dir.join(NAME)).map_err(|e| from_io(dir, &e))?;
    let facts = parse(&bytes).ok_or_else(|| corrupt(dir, "its file VERSION does not match its checksum"))?;
    let expected = [
        ("layout", LAYOUT_VERSION.to_string()),
        ("key_groups", KEY_GROUPS.to_string()),
        ("key_hash", KEY_HASH.to_owned()),
    ];
    for (name, ours) in expected {
        let theirs = facts.iter().find(|(n, _)| *n == name).map_or("nothing", |(_, value)| *value);
        if theirs != ours {
            return Err(Error::user(
                "STATE_VERSION",
                format!("the state directory {} has {name} {theirs}, this program {ours}", dir.display()),
            )
            .help("run the version of thalweg that wrote it, or start the job anew with an empty directory"));
        }
    }
    Ok(())
}

/// The facts of a version file, whatever version wrote it: title and checksum never change.
fn parse(bytes: &[u8]) -> Option<Vec<(&str, &str)>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (body, last) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let body = text.get(..body.len() + 1)?;
    let facts = body.strip_prefix(TITLE)?.strip_prefix('\n')?;
    // as text: a number could be written in more than one way, and a damaged digit go unnoticed
    (last == checksum(body)).then(|| facts.lines().filter_map(|l| l.split_once(' ')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = ours();
        assert!(parse(good.as_bytes()).is_some());
        for i in 0..good.len() * 8 {
            let mut bad = good.clone().into_bytes();
            bad[i / 8] ^= 1 << (i % 8);
            assert!(parse(&bad).is_none(), "bit {i}");
        }
        for n in 0..good.len() {
            assert!(parse(&good.as_bytes()[..n]).is_none());
        }
    }

    #[test]
    fn facts_of_a_later_version_can_still_be_read() {
        let body = format!("{TITLE}\nlayout 9\nshiny yes\n");
        let text = format!("{body}{}\n", checksum(&body));
        assert_eq!(parse(text.as_bytes()), Some(vec![("layout", "9"), ("shiny", "yes")]));
    }
}
