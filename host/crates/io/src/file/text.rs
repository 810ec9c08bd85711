//! The source of lines.
//!
//! In: files of text in UTF-8, lines ended by LF or CRLF. Out: one element a line, all at the beginning of time in the global
//! window; the watermark stays at the beginning of time until the file ends, because a bounded file says nothing about its order.

use super::block::BlockReader;
use super::error::changed;
use super::list::FileList;
use super::position::{Position, file_id};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use thalweg_core::batch::{Batch, Pane, Row, Span};
use thalweg_core::coder::write_varint;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::SplitId;
use thalweg_core::port::source::{Read, Source};
use thalweg_core::time::EventTime;
use thalweg_core::window::{Window, WindowSet};

/// What a line becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineElement {
    /// A string: the line itself. Costs no copy.
    String,
    /// A row `{line: string}`.
    Row,
    /// A row `{line: string, row: int64}`; the first line after the header is row 1, in every file anew.
    #[default]
    NumberedRow,
}

/// What becomes of a line that is not UTF-8, which no string of Beam may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidUtf8 {
    /// The job fails and names the row and byte; Beam's own sources do the same.
    #[default]
    Fail,
    /// What is not UTF-8 is replaced by U+FFFD.
    Replace,
}

/// Options of a [`TextSource`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextConfig {
    /// Lines to pass over at the beginning of every file.
    pub skip_header_lines: u64,
    /// What a line becomes.
    pub element: LineElement,
    /// What becomes of lines that are not UTF-8.
    pub invalid_utf8: InvalidUtf8,
    /// Longest line, in bytes without its end. Default 16 MiB.
    pub line_bytes_max: usize,
    /// Bytes read at a time; a batch holds lines of one block. Default 512 KiB.
    pub block_bytes: usize,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            skip_header_lines: 0,
            element: LineElement::default(),
            invalid_utf8: InvalidUtf8::default(),
            line_bytes_max: 16 << 20,
            block_bytes: 512 << 10,
        }
    }
}

/// Reads text files line by line. URN `thalweg:source:text:v1`.
///
/// A split is a file, its position a byte offset and a row number. Reading is sequential at about the speed of a copy.
pub struct TextSource {
    config: TextConfig,
    files: FileList,
    open: BTreeMap<SplitId, BlockReader>,
}

impl std::fmt::Debug for TextSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextSource").field("config", &self.config).field("files", &self.files).finish()
    }
}

impl TextSource {
    /// A source over files; every shard has one of its own and opens its splits of [`FileList::splits`].
    #[must_use]
    pub fn new(config: TextConfig, files: FileList) -> Self {
        Self { config, files, open: BTreeMap::new() }
    }
}

fn no_split(split: SplitId) -> Error {
    Error::internal("SOURCE_NO_SPLIT", format!("the text source has no open split {}", split.0))
}

impl Source for TextSource {
    fn open(&mut self, split: SplitId, position: Option<&[u8]>) -> Result<()> {
        let path: &Path = self.files.path(split).ok_or_else(|| no_split(split))?;
        let c = &self.config;
        let reader = BlockReader::open(path, position, c.skip_header_lines, c.block_bytes.max(1), c.line_bytes_max)?;
        self.open.insert(split, reader);
        Ok(())
    }

    fn ended(&self, split: SplitId, position: &[u8]) -> Result<()> {
        match (self.files.path(split), Position::decode(position)) {
            (Some(path), Some(at)) if at.file != file_id(path) => {
                Err(changed(path, "where it stands in the list another file was read to its end"))
            }
            _ => Ok(()),
        }
    }

    fn poll(&mut self, split: SplitId, rows: usize) -> Result<Option<Read>> {
        let reader = self.open.get_mut(&split).ok_or_else(|| no_split(split))?;
        let batch = if reader.fill()? {
            read_lines(&self.config, reader, rows.max(1))?
        } else {
            batch_of(Bytes::new(), Vec::new())?
        };
        let finished = reader.finished();
        Ok(Some(Read {
            batch,
            position: Bytes::from(reader.position().encode()),
            watermark: if finished { EventTime::MAX } else { EventTime::MIN },
            finished,
        }))
    }
}

/// Makes a batch of the next lines of the reader's block.
fn read_lines(config: &TextConfig, reader: &mut BlockReader, rows: usize) -> Result<Batch> {
    if reader.valid && config.element == LineElement::String {
        let mut table = Vec::with_capacity(rows.min(reader.pending() / 16 + 1));
        while table.len() < rows {
            let Some((start, end)) = reader.take()? else { break };
            table.push(row(start, end));
        }
        return batch_of(reader.block().clone(), table);
    }
    let mut arena = Vec::new();
    let mut table = Vec::with_capacity(rows.min(reader.pending() / 16 + 1));
    while table.len() < rows {
        let number = reader.row;
        let Some((start, end)) = reader.take()? else { break };
        if arena.capacity() == 0 {
            // lines of a file are alike: the first says how much the others may need
            let expected = (end - start + 16).saturating_mul(rows).min(reader.pending() + reader.pending() / 8);
            arena.reserve(end - start + 16 + expected);
        }
        let line = reader.block().get(start..end).unwrap_or_default();
        let begin = arena.len();
        if reader.valid {
            write_line(config.element, line, number, &mut arena);
        } else {
            match (String::from_utf8_lossy(line), config.invalid_utf8) {
                (std::borrow::Cow::Owned(_), InvalidUtf8::Fail) => return Err(reader.not_utf8((start, end))),
                (text, _) => write_line(config.element, text.as_bytes(), number, &mut arena),
            }
        }
        table.push(row(begin, arena.len()));
    }
    batch_of(Bytes::from(arena), table)
}

/// Appends one element.
fn write_line(element: LineElement, line: &[u8], number: u64, out: &mut Vec<u8>) {
    match element {
        LineElement::String => return out.extend_from_slice(line),
        LineElement::Row => out.extend_from_slice(&[1, 0]),
        LineElement::NumberedRow => out.extend_from_slice(&[2, 0]),
    }
    write_varint(out, line.len() as u64);
    out.extend_from_slice(line);
    if element == LineElement::NumberedRow {
        write_varint(out, number);
    }
}

/// An element without key at the beginning of time.
fn row(start: usize, end: usize) -> Row {
    Row {
        key: Span::default(),
        value: Span { start: start as u32, end: end as u32 },
        time: EventTime::MIN,
        hash: 0,
        windows: 0,
        pane: 0,
    }
}

fn batch_of(arena: Bytes, rows: Vec<Row>) -> Result<Batch> {
    Batch::from_parts(arena, rows, vec![WindowSet::from_iter([Window::Global])], vec![Pane::NO_FIRING])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn source(config: TextConfig, text: &[u8]) -> (TempDir, TextSource) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("text");
        fs::write(&path, text).expect("a file");
        let files = FileList::find(&[path]).expect("one file");
        (dir, TextSource::new(config, files))
    }

    /// Reads to the end, `rows` at a time; after each poll the source is opened anew at its position if `reopen`.
    fn read(source: &mut TextSource, rows: usize, reopen: bool) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        source.open(SplitId(0), None)?;
        loop {
            let read = source.poll(SplitId(0), rows)?.expect("a file is always ready");
            assert!(read.batch.len() <= rows);
            found.extend(read.batch.rows().iter().map(|r| read.batch.value(r).to_vec()));
            assert_eq!(read.watermark, if read.finished { EventTime::MAX } else { EventTime::MIN });
            if read.finished {
                return Ok(found);
            }
            if reopen {
                source.open(SplitId(0), Some(&read.position))?;
            }
        }
    }

    fn config(element: LineElement, block_bytes: usize) -> TextConfig {
        TextConfig { element, block_bytes, ..TextConfig::default() }
    }

    #[test]
    fn lines_are_the_same_whatever_the_blocks_and_stops() {
        let text = "\u{feff}header\none\r\ntwo\n\nfour ü\r\r\nlast\r".as_bytes();
        let expected = ["one", "two", "", "four ü\r", "last\r"];
        for block in [1, 2, 3, 7, 16, 1000] {
            for rows in [1, 2, 100] {
                for reopen in [false, true] {
                    let mut c = config(LineElement::String, block);
                    c.skip_header_lines = 1;
                    let (_dir, mut source) = source(c.clone(), text);
                    let found = read(&mut source, rows, reopen).expect("lines");
                    assert_eq!(found, expected.map(|l| l.as_bytes().to_vec()), "block {block}, rows {rows}");
                    source.config.element = LineElement::NumberedRow;
                    let found = read(&mut source, rows, reopen).expect("rows");
                    for (i, (bytes, line)) in found.iter().zip(expected).enumerate() {
                        let row = [&[2, 0, line.len() as u8], line.as_bytes(), &[i as u8 + 1]].concat();
                        assert_eq!(bytes, &row);
                    }
                }
            }
        }
    }

    #[test]
    fn empty_files_and_headers_alone_have_no_lines() {
        for text in [&b""[..], b"h", b"h\n", b"\xef\xbb\xbf"] {
            let mut c = config(LineElement::Row, 4);
            c.skip_header_lines = 2;
            let (_dir, mut source) = source(c, text);
            assert_eq!(read(&mut source, 10, true), Ok(vec![]));
        }
    }

    #[test]
    fn an_ended_split_stays_ended_after_a_restart() {
        let (_dir, mut source) = source(TextConfig::default(), b"a\nb\n");
        source.open(SplitId(0), None).expect("open");
        let first = source.poll(SplitId(0), 10).expect("lines").expect("ready");
        let end = if first.finished { first } else { source.poll(SplitId(0), 10).expect("end").expect("ready") };
        source.open(SplitId(0), Some(&end.position)).expect("again");
        let again = source.poll(SplitId(0), 10).expect("end").expect("ready");
        assert!(again.finished && again.batch.is_empty());
    }

    #[test]
    fn long_lines_are_refused_with_their_place() {
        for block in [4, 1000] {
            let c = TextConfig { line_bytes_max: 10, ..config(LineElement::Row, block) };
            let (_dir, mut source) = source(c, b"0123456789\n01234567890\n");
            let error = read(&mut source, 1, false).expect_err("eleven bytes");
            assert_eq!(error.code, "FILE_LINE_TOO_LONG");
            assert!(error.message.contains("line 2") && error.message.contains("byte 11"), "{error}");
        }
    }

    #[test]
    fn lines_that_are_not_utf8_fail_with_their_place_or_are_replaced() {
        for element in [LineElement::String, LineElement::Row] {
            let text = b"good\nb\xfcd\ngood\n";
            let (_dir, mut failing) = source(config(element, 1000), text);
            let error = read(&mut failing, 10, false).expect_err("latin-1");
            assert_eq!(error.code, "FILE_NOT_UTF8");
            assert!(error.message.contains("row 2") && error.message.contains("byte 6"), "{error}");
            let c = TextConfig { invalid_utf8: InvalidUtf8::Replace, ..config(element, 1000) };
            let (_dir, mut replacing) = source(c, text);
            let found = read(&mut replacing, 10, false).expect("lines");
            assert!(found[1].ends_with("b\u{fffd}d".as_bytes()) && found.len() == 3);
        }
        let (_dir, mut packed) = source(TextConfig::default(), b"\x1f\x8b\x08\0\0\0\0\0\0\x03\n");
        assert!(read(&mut packed, 1, false).expect_err("gzip").help.contains("unpack"));
    }

    #[test]
    fn a_position_of_another_or_a_shorter_file_is_refused() {
        let (dir, mut source) = source(config(LineElement::Row, 1000), b"one\ntwo\n");
        source.open(SplitId(0), None).expect("open");
        let position = source.poll(SplitId(0), 2).expect("lines").expect("ready").position;
        fs::write(dir.path().join("text"), b"one\n").expect("a shorter file");
        assert_eq!(source.open(SplitId(0), Some(&position)).err().map(|e| e.code), Some("FILE_CHANGED"));
        assert_eq!(source.open(SplitId(0), Some(b"junk")).err().map(|e| e.code), Some("FILE_CHANGED"));
        let end = Position { file: file_id(&dir.path().join("text")), offset: 4, row: 2 };
        assert_eq!(source.ended(SplitId(0), &end.encode()), Ok(()));
        let other = Position { file: file_id(Path::new("other")), ..end };
        assert_eq!(source.ended(SplitId(0), &other.encode()).err().map(|e| e.code), Some("FILE_CHANGED"));
        fs::remove_file(dir.path().join("text")).expect("gone");
        assert_eq!(source.open(SplitId(0), None).err().map(|e| e.code), Some("FILE_UNREADABLE"));
    }
}
