//! One file, read in blocks of whole lines.

use super::error::{changed, unreadable};
use super::position::{Position, file_id};
use bytes::Bytes;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use thalweg_core::error::{Error, Result};

/// A file and the block of it that is being read.
pub(super) struct BlockReader {
    path: PathBuf,
    file: File,
    file_id: u64,
    block_bytes: usize,
    line_bytes_max: usize,
    /// The block; shared with batches that point into it.
    block: Bytes,
    /// Offset of the block in the file.
    offset: u64,
    /// First byte of the block that was not taken.
    next: usize,
    /// End of the last whole line of the block.
    end: usize,
    /// The file has no more bytes behind the block.
    eof: bool,
    /// The whole lines of the block are valid UTF-8.
    pub valid: bool,
    /// Number of the next row.
    pub row: u64,
    /// Header lines yet to be passed over.
    header: u64,
}

impl BlockReader {
    /// Opens a file at a stored position, or at its beginning.
    ///
    /// # Errors
    /// `FILE_UNREADABLE`; `FILE_CHANGED` when the position is of another file or behind the end of this one.
    pub(super) fn open(
        path: &Path,
        position: Option<&[u8]>,
        header: u64,
        block_bytes: usize,
        line_bytes_max: usize,
    ) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| unreadable(path, e))?;
        let file_id = file_id(path);
        let at = match position {
            None => Position { file: file_id, offset: 0, row: 1 },
            Some(bytes) => Position::decode(bytes)
                .filter(|at| at.file == file_id)
                .ok_or_else(|| changed(path, "the stored position is of another file"))?,
        };
        let size = file.metadata().map_err(|e| unreadable(path, e))?.len();
        if size < at.offset {
            return Err(changed(path, format!("it has {size} bytes, and {} were read", at.offset)));
        }
        file.seek(SeekFrom::Start(at.offset)).map_err(|e| unreadable(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            file_id,
            block_bytes,
            line_bytes_max,
            block: Bytes::new(),
            offset: at.offset,
            next: 0,
            end: 0,
            eof: false,
            valid: true,
            row: at.row,
            header: if position.is_none() { header } else { 0 },
        })
    }

    /// Where to go on.
    pub(super) fn position(&self) -> Position {
        Position { file: self.file_id, offset: self.offset + self.next as u64, row: self.row }
    }

    /// Whether the last line was taken.
    pub(super) fn finished(&self) -> bool {
        self.eof && self.next == self.end
    }

    /// The block: lines are ranges of it.
    pub(super) fn block(&self) -> &Bytes {
        &self.block
    }

    /// The bytes of the block's whole lines that were not taken.
    pub(super) fn pending(&self) -> usize {
        self.end - self.next
    }

    /// Makes sure that there is a line to take, reading the next block if need be; `false` at the end of the file.
    ///
    /// # Errors
    /// `FILE_UNREADABLE`, `FILE_LINE_TOO_LONG`.
    pub(super) fn fill(&mut self) -> Result<bool> {
        loop {
            while self.header > 0 && self.next < self.end {
                self.take()?;
                self.row -= 1; // a header line has no number
                self.header -= 1;
            }
            if self.next < self.end {
                return Ok(true);
            }
            if self.eof {
                return Ok(false);
            }
            self.read()?;
        }
    }

    /// Reads the next block behind what is left of this one.
    fn read(&mut self) -> Result<()> {
        let rest = self.block.get(self.next..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(rest.len() + self.block_bytes);
        bytes.extend_from_slice(rest);
        self.offset += self.next as u64;
        self.next = 0;
        self.end = loop {
            let known = bytes.len();
            let limit = self.block_bytes as u64;
            let got = (&self.file).take(limit).read_to_end(&mut bytes).map_err(|e| unreadable(&self.path, e))?;
            if got == 0 {
                self.eof = true;
                break bytes.len();
            }
            if let Some(last) = memchr::memrchr(b'\n', bytes.get(known..).unwrap_or_default()) {
                break known + last + 1;
            }
            if bytes.len() > self.line_bytes_max {
                return Err(self.too_long());
            }
        };
        if self.offset == 0 && bytes.starts_with(b"\xef\xbb\xbf") {
            self.next = 3.min(self.end); // a byte order mark is no text
        }
        self.valid = std::str::from_utf8(bytes.get(self.next..self.end).unwrap_or_default()).is_ok();
        self.block = Bytes::from(bytes);
        Ok(())
    }

    /// Takes a line: its range in the block without its end (LF or CRLF), or `None` when the block has no more.
    ///
    /// # Errors
    /// `FILE_LINE_TOO_LONG`.
    pub(super) fn take(&mut self) -> Result<Option<(usize, usize)>> {
        let lines = self.block.get(self.next..self.end).unwrap_or_default();
        if lines.is_empty() {
            return Ok(None);
        }
        let start = self.next;
        let (mut end, next) = match memchr::memchr(b'\n', lines) {
            Some(at) => (start + at, start + at + 1),
            None => (self.end, self.end),
        };
        if next > end && end > start && self.block.get(end - 1) == Some(&b'\r') {
            end -= 1;
        }
        if end - start > self.line_bytes_max {
            return Err(self.too_long());
        }
        self.next = next;
        self.row += 1;
        Ok(Some((start, end)))
    }

    fn too_long(&self) -> Error {
        let what = format!(
            "line {} of {} (at byte {}) is longer than {} bytes",
            self.row,
            self.path.display(),
            self.offset + self.next as u64,
            self.line_bytes_max
        );
        Error::user("FILE_LINE_TOO_LONG", what)
            .help("check that it is a text file with line ends, or raise line_bytes_max")
    }

    /// The error for a line that is no text, which [`BlockReader::take`] has just given.
    pub(super) fn not_utf8(&self, line: (usize, usize)) -> Error {
        let bytes = self.block.get(line.0..line.1).unwrap_or_default();
        let good = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len);
        let at = self.offset + (line.0 + good) as u64;
        let packed = self.offset == 0
            && [&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd", b"PK\x03\x04"].iter().any(|magic| self.block.starts_with(magic));
        let help = if packed {
            "the file is compressed: unpack it first"
        } else {
            "convert the file (`iconv -f latin1 -t utf-8`), or set invalid_utf8 to replace"
        };
        let what = format!("row {} of {} is not UTF-8 at byte {at}", self.row - 1, self.path.display());
        Error::user("FILE_NOT_UTF8", what).help(help)
    }
}
