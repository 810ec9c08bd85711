//! Which files a source reads: paths, and patterns with `*` in their last component.

use super::error::unreadable;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thalweg_core::error::Result;
use thalweg_core::id::SplitId;

/// The files of a text source. Each is one split, numbered in this order.
#[derive(Clone, Debug)]
pub struct FileList {
    files: Arc<[PathBuf]>,
    bytes: u64,
}

impl FileList {
    /// Finds the files: paths as they stand, patterns in the order of the names they match. Every file is opened once, so that
    /// one that cannot be read is found before the job starts.
    ///
    /// # Errors
    /// `FILE_UNREADABLE` for a file that is not there, is no regular file or may not be read, and for a pattern that matches
    /// nothing.
    pub fn find<P: AsRef<Path>>(paths: &[P]) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let pattern = path.file_name().and_then(|n| n.to_str()).filter(|n| n.contains('*'));
            match pattern {
                Some(pattern) if !path.exists() => files.extend(matches(path, pattern)?),
                _ => files.push(path.to_owned()),
            }
        }
        if files.is_empty() {
            return Err(unreadable(Path::new(""), "no path is given"));
        }
        let mut bytes = 0;
        for path in &files {
            let file = File::open(path).map_err(|e| unreadable(path, e))?;
            let found = file.metadata().map_err(|e| unreadable(path, e))?;
            if !found.is_file() {
                return Err(unreadable(path, "it is not a regular file"));
            }
            bytes += found.len();
        }
        Ok(Self { files: files.into(), bytes })
    }

    /// Size of all files when they were found: what a progress bar counts to.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The splits: one per file.
    #[must_use]
    pub fn splits(&self) -> Vec<SplitId> {
        (0..self.files.len() as u32).map(SplitId).collect()
    }

    /// The file of a split.
    #[must_use]
    pub fn path(&self, split: SplitId) -> Option<&Path> {
        self.files.get(split.0 as usize).map(PathBuf::as_path)
    }
}

/// The files in the pattern's directory whose names match, in the order of names.
fn matches(path: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory.unwrap_or(Path::new("."))).map_err(|e| unreadable(path, e))? {
        let entry = entry.map_err(|e| unreadable(path, e))?;
        let name = entry.file_name();
        let matched = name.to_str().is_some_and(|n| is_match(pattern.as_bytes(), n.as_bytes()));
        let hidden = name.as_encoded_bytes().starts_with(b".") && !pattern.starts_with('.');
        if matched && !hidden && entry.path().is_file() {
            found.push(directory.map_or_else(|| PathBuf::from(&name), |d| d.join(&name)));
        }
    }
    if found.is_empty() {
        return Err(unreadable(path, "no file matches the pattern (`*` counts in the last component only)"));
    }
    found.sort();
    Ok(found)
}

/// Whether a name matches a pattern in which `*` stands for any run of bytes. Cost: O(pattern times name).
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(c) if name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((after, taken)) => {
                    *taken += 1;
                    (p, n) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        for (pattern, name, yes) in [
            ("*", "", true),
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("part-*-of-*", "part-0-of-3", true),
            ("x", "xy", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_found_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["b.txt", "a.txt", ".hidden.txt", "c.csv"] {
            fs::write(dir.path().join(name), b"").expect("a file");
        }
        fs::create_dir(dir.path().join("d.txt")).expect("a directory");
        let list = FileList::find(&[dir.path().join("*.txt"), dir.path().join("c.csv")]).expect("three files");
        let names: Vec<_> = list.splits().into_iter().filter_map(|s| list.path(s)?.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.txt", "b.txt", "c.csv"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for path in [dir.path().join("nothing.csv"), dir.path().join("*.csv"), dir.path().to_owned()] {
            let error = FileList::find(&[&path]).expect_err("nothing there");
            assert_eq!(error.code, "FILE_UNREADABLE");
            assert!(error.message.contains(&path.display().to_string()) && !error.help.is_empty());
        }
        assert_eq!(FileList::find::<&Path>(&[]).err().map(|e| e.code), Some("FILE_UNREADABLE"));
    }
}
