//! Which files a source reads: paths, and patterns with `*`, `?` and `[...]` in any of their components.

use super::error::unreadable;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
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
            // a file whose own name has such a character is meant as it stands
            let pattern = path.components().any(|part| pattern(&part).is_some());
            if pattern && !path.exists() { files.extend(matches(path)?) } else { files.push(path.to_owned()) }
        }
        if files.is_empty() {
            return Err(unreadable(Path::new(""), "no path is given"));
        }
        let mut bytes = 0;
        for path in &files {
            // before it is opened: opening a pipe waits for who writes it
            let found = fs::metadata(path).map_err(|e| unreadable(path, e))?;
            if !found.is_file() {
                return Err(unreadable(path, "it is not a regular file"));
            }
            drop(File::open(path).map_err(|e| unreadable(path, e))?);
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

/// The text of a component that is a pattern.
fn pattern<'a>(part: &Component<'a>) -> Option<&'a str> {
    let Component::Normal(name) = part else { return None };
    name.to_str().filter(|name| name.contains(['*', '?', '[']))
}

/// The files that a pattern means, in the order of their names. Hidden ones (`.name`) are matched by their dot alone.
fn matches(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let Some(pattern) = pattern(&part) else {
            found.iter_mut().for_each(|before| before.push(part));
            continue;
        };
        if pattern.contains("**") {
            return Err(unreadable(path, "`**` is not read: `*`, `?` and `[...]` match within one folder"));
        }
        let mut next = Vec::new();
        for before in found {
            let literal = before.join(part);
            if literal.exists() {
                next.push(literal);
            } else {
                matches_in(&before, pattern, &mut next).map_err(|e| unreadable(path, e))?;
            }
        }
        found = next;
    }
    found.retain(|file| file.is_file());
    if found.is_empty() {
        return Err(unreadable(path, "no file matches the pattern"));
    }
    found.sort();
    Ok(found)
}

/// What in a folder matches a pattern. What is no folder, or is gone, holds nothing.
fn matches_in(folder: &Path, pattern: &str, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !here.is_dir() {
        return Ok(());
    }
    let pieces = pieces(pattern);
    for entry in fs::read_dir(here)? {
        let name = entry?.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".") && !pattern.starts_with('.');
        let letters: Option<Vec<char>> = name.to_str().map(|name| name.chars().collect());
        if !hidden && letters.is_some_and(|letters| is_match(&pieces, &letters)) {
            found.push(folder.join(&name));
        }
    }
    Ok(())
}

/// A part of a pattern.
#[derive(PartialEq, Eq, Debug)]
enum Piece {
    /// `*`: any run of characters.
    Run,
    /// `?`: one character.
    One,
    /// `[a-z]`: one character of these ranges; `[!a-z]`: one of no range.
    Set { not: bool, ranges: Vec<(char, char)> },
    /// A character for itself.
    Is(char),
}

impl Piece {
    fn takes(&self, letter: char) -> bool {
        match self {
            Self::Run => false,
            Self::One => true,
            Self::Set { not, ranges } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter)) != *not,
            Self::Is(own) => *own == letter,
        }
    }
}

/// The pieces of a pattern. A `[` that nothing closes is one of its characters, and so is a `]` right behind the `[`.
fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        pieces.push(match letter {
            '*' => Piece::Run,
            '?' => Piece::One,
            '[' => match set(rest) {
                Some((set, behind)) => {
                    rest = behind;
                    set
                }
                None => Piece::Is('['),
            },
            other => Piece::Is(other),
        });
    }
    pieces
}

/// Reads a set behind its `[`, and gives what follows its `]`.
fn set(text: &str) -> Option<(Piece, &str)> {
    let inside = text.strip_prefix(['!', '^']);
    let (not, inside) = (inside.is_some(), inside.unwrap_or(text));
    let first = inside.chars().next()?.len_utf8();
    let end = first + inside.get(first..)?.find(']')?;
    let letters: Vec<char> = inside.get(..end)?.chars().collect();
    let mut ranges = Vec::new();
    let mut left = letters.as_slice();
    while let Some((from, behind)) = left.split_first() {
        let (to, behind) = match behind {
            ['-', to, behind @ ..] => (to, behind),
            _ => (from, behind),
        };
        ranges.push((*from, *to));
        left = behind;
    }
    Some((Piece::Set { not, ranges }, inside.get(end + 1..)?))
}

/// Whether a name matches a pattern. Cost: O(pattern times name).
fn is_match(pattern: &[Piece], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut run: Option<(usize, usize)> = None;
    while let Some(letter) = name.get(n) {
        match pattern.get(p) {
            Some(Piece::Run) => {
                run = Some((p + 1, n));
                p += 1;
            }
            Some(piece) if piece.takes(*letter) => {
                p += 1;
                n += 1;
            }
            _ => match &mut run {
                Some((after, taken)) => {
                    *taken += 1;
                    (p, n) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|piece| *piece == Piece::Run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_question_marks_and_sets_match_as_in_a_shell() {
        for (pattern, name, yes) in [
            ("*", "", true),
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("part-*-of-*", "part-0-of-3", true),
            ("x", "xy", false),
            ("in-?.txt", "in-1.txt", true),
            ("in-?.txt", "in-é.txt", true),
            ("in-?.txt", "in-10.txt", false),
            ("in-[13-5].txt", "in-4.txt", true),
            ("in-[13-5].txt", "in-2.txt", false),
            ("[!a-c]*", "dog", true),
            ("[!a-c]*", "cat", false),
            ("[]-]x", "]x", true),
            ("[]-]x", "-x", true),
            ("a[b", "a[b", true),
        ] {
            let letters: Vec<char> = name.chars().collect();
            assert_eq!(is_match(&pieces(pattern), &letters), yes, "{pattern} {name}");
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
    fn patterns_stand_in_any_part_of_a_path() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in
            ["2024/01/a.txt", "2024/02/a.txt", "2024/02/b.csv", "2023/01/a.txt", ".old/01/a.txt", "x[1]/01/a.txt"]
        {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, b"").expect("a file");
        }
        fs::write(dir.path().join("20xx"), b"").expect("a file beside the folders");
        let found = |pattern: &str| -> Vec<String> {
            let list = FileList::find(&[dir.path().join(pattern)]).expect("files");
            let paths = list.splits().into_iter().filter_map(|s| list.path(s));
            paths.map(|p| p.strip_prefix(dir.path()).expect("below it").display().to_string()).collect()
        };
        assert_eq!(found("*/01/a.txt"), ["2023/01/a.txt", "2024/01/a.txt", "x[1]/01/a.txt"]);
        assert_eq!(found("20??/0[2-9]/*"), ["2024/02/a.txt", "2024/02/b.csv"]);
        assert_eq!(found("x[1]/*/?.txt"), ["x[1]/01/a.txt"], "a folder that is there is meant as it stands");
        let error = FileList::find(&[dir.path().join("**/a.txt")]).expect_err("not read");
        assert!(error.message.contains("`**` is not read"), "{}", error.message);
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
