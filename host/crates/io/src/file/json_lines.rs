//! The sink of JSON lines: one object a line, in one file whose length is part of the epoch.
//!
//! An epoch's lines are appended and synced before its commit; the commit carries the length. After a crash the file is cut to
//! the last committed length, so it never holds a line twice, or one that no epoch vouches for.
//!
//! The mark: `format (1) = 2 | length (8, big end) | hash of the absolute path (8)`.

use super::error::{changed, unwritable};
use crate::row::{RowToJson, Schema};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thalweg_core::batch::Batch;
use thalweg_core::error::{Error, Result};
use thalweg_core::id::Epoch;
use thalweg_core::port::sink::{Prepared, Sink};

const FORMAT: u8 = 2;
/// Bytes gathered before a write.
const BUFFER: usize = 1 << 20;

/// Options of a [`JsonLinesSink`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonLinesConfig {
    /// The file. Missing directories are made.
    pub path: PathBuf,
    /// Schema of the rows.
    pub schema: Schema,
    /// Whether an epoch's lines must survive the loss of power; a job in memory does not need it.
    #[serde(default)]
    pub durable: bool,
    /// Instead of a JSON object, a line holds this field of its row: text and bytes as they are, other types as JSON, a null as
    /// nothing.
    #[serde(default)]
    pub field: Option<String>,
}

/// Writes rows as JSON lines. URN `thalweg:sink:json_lines:v1`.
///
/// The file stays locked while the sink lives. It may be read at any time; lines of an epoch that was not committed yet
/// may be seen, and be taken back by a crash.
#[derive(Debug)]
pub struct JsonLinesSink {
    path: PathBuf,
    durable: bool,
    json: RowToJson,
    field: Option<String>,
    /// Open after [`Sink::recover`].
    file: Option<File>,
    /// Length that stands for all prepared epochs.
    len: u64,
    /// A prepare failed half way: the file may be longer than `len`.
    torn: bool,
    buffer: Vec<u8>,
}

impl JsonLinesSink {
    /// A sink; the file is touched by [`Sink::recover`] first.
    #[must_use]
    pub fn new(config: &JsonLinesConfig) -> Self {
        Self {
            path: config.path.clone(),
            durable: config.durable,
            json: RowToJson::new(&config.schema),
            field: config.field.clone(),
            file: None,
            len: 0,
            torn: false,
            buffer: Vec::new(),
        }
    }

    /// Writes the lines; returns the file's new length.
    fn append(&mut self, batches: &[Batch]) -> Result<u64> {
        let Some(file) = &mut self.file else {
            return Err(Error::internal("SINK_NOT_RECOVERED", "the sink was used before it was recovered"));
        };
        let fail = |e: io::Error| unwritable(&self.path, &e);
        if std::mem::replace(&mut self.torn, true) {
            cut(file, self.len).map_err(fail)?;
        }
        let mut len = self.len;
        self.buffer.clear();
        for batch in batches {
            for row in batch.rows() {
                match &self.field {
                    None => self.json.write(batch.value(row), &mut self.buffer)?,
                    Some(field) => {
                        self.json.write_line(batch.value(row), field, &mut self.buffer)?;
                    }
                }
                self.buffer.push(b'\n');
                if self.buffer.len() >= BUFFER {
                    file.write_all(&self.buffer).map_err(fail)?;
                    len += self.buffer.len() as u64;
                    self.buffer.clear();
                }
            }
        }
        file.write_all(&self.buffer).map_err(fail)?;
        len += self.buffer.len() as u64;
        if self.durable && len != self.len {
            file.sync_data().map_err(fail)?;
        }
        self.torn = false;
        Ok(len)
    }
}

impl Sink for JsonLinesSink {
    fn prepare(&mut self, _epoch: Epoch, batches: &[Batch]) -> Result<Prepared> {
        self.len = self.append(batches)?;
        let mut mark = vec![FORMAT];
        mark.extend_from_slice(&self.len.to_be_bytes());
        mark.extend_from_slice(&path_hash(&self.path).to_be_bytes());
        Ok(Prepared { mark: Some(Bytes::from(mark)), ..Prepared::default() })
    }

    fn recover(&mut self, mark: Option<&[u8]>) -> Result<Option<Epoch>> {
        let len = match mark {
            None => 0,
            Some(mark) => {
                let (len, path) = decode(mark).ok_or_else(|| changed(&self.path, "its stored mark is not readable"))?;
                if path != path_hash(&self.path) {
                    return Err(changed(&self.path, "the job has written another file so far"));
                }
                len
            }
        };
        let mut file = open(&self.path, len, self.durable)?;
        cut(&mut file, len).map_err(|e| unwritable(&self.path, &e))?;
        self.file = Some(file);
        self.len = len;
        self.torn = false;
        Ok(None)
    }

    fn finish(&mut self) -> Result<()> {
        self.file = None;
        Ok(())
    }
}

fn decode(mark: &[u8]) -> Option<(u64, u64)> {
    let (FORMAT, rest) = mark.split_first().map(|(f, rest)| (*f, rest))? else { return None };
    let (len, path) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*len), u64::from_be_bytes(path.try_into().ok()?)))
}

/// Tells files apart, so that a mark is never taken for that of another one.
fn path_hash(path: &Path) -> u64 {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    thalweg_core::id::key_hash(absolute.as_os_str().as_encoded_bytes())
}

/// Opens and locks the file, which must have at least `len` bytes.
fn open(path: &Path, len: u64, durable: bool) -> Result<File> {
    let fail = |e: io::Error| unwritable(path, &e);
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(directory) = directory {
        fs::create_dir_all(directory).map_err(fail)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(fail)?;
    let found = file.metadata().map_err(fail)?;
    if !found.is_file() {
        return Err(fail(io::Error::other("it is not a regular file, which alone can be cut back after a crash")));
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::user("FILE_IN_USE", format!("another sink is writing {}", path.display()))
                .help("stop the other job, or give this one a path of its own"));
        }
        Err(TryLockError::Error(e)) => return Err(fail(e)),
    }
    if found.len() < len {
        return Err(changed(path, format!("it has {} bytes, and {len} were committed", found.len())));
    }
    if durable {
        // a new file's name must be as lasting as its bytes
        File::open(directory.unwrap_or(Path::new("."))).and_then(|d| d.sync_all()).map_err(fail)?;
    }
    Ok(file)
}

/// Cuts the file and goes to its end.
fn cut(file: &mut File, len: u64) -> io::Result<()> {
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::FieldType;
    use thalweg_core::batch::BatchBuilder;
    use thalweg_core::time::EventTime;
    use thalweg_core::window::Window;

    fn batch(values: &[i64]) -> Batch {
        let mut b = BatchBuilder::new();
        for v in values {
            b.push(b"", &[1, 0, *v as u8], EventTime(0), &[Window::Global]);
        }
        b.finish()
    }

    fn sink(path: &Path) -> JsonLinesSink {
        let schema = Schema::of([("n", FieldType::Int64)]);
        JsonLinesSink::new(&JsonLinesConfig { path: path.to_owned(), schema, durable: true, field: None })
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("the file")
    }

    #[test]
    fn what_no_mark_covers_is_cut_away() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a/b/out.jsonl");
        let mut one = sink(&path);
        assert_eq!(one.recover(None), Ok(None));
        let first = one.prepare(Epoch(1), &[batch(&[1, 2]), batch(&[3])]).expect("prepared").mark.expect("a mark");
        let second = one.prepare(Epoch(2), &[batch(&[4])]).expect("prepared").mark;
        assert_eq!(one.prepare(Epoch(3), &[]).expect("prepared").mark, second);
        assert_eq!(text(&path), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n");
        drop(one);
        let mut two = sink(&path);
        two.recover(Some(&first)).expect("recovered");
        assert_eq!(text(&path), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
        two.prepare(Epoch(2), &[batch(&[5])]).expect("prepared");
        two.finish().expect("finished");
        assert_eq!(text(&path), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":5}\n");
        let mut anew = sink(&path);
        anew.recover(None).expect("a new job");
        assert_eq!(text(&path), "");
    }

    #[test]
    fn a_file_that_lost_committed_lines_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("out.jsonl");
        let mut one = sink(&path);
        one.recover(None).expect("new");
        let mark = one.prepare(Epoch(1), &[batch(&[1, 2])]).expect("prepared").mark.expect("a mark");
        drop(one);
        fs::write(&path, b"{}").expect("shorter");
        assert_eq!(sink(&path).recover(Some(&mark)).err().map(|e| e.code), Some("FILE_CHANGED"));
        fs::remove_file(&path).expect("gone");
        assert_eq!(sink(&path).recover(Some(&mark)).err().map(|e| e.code), Some("FILE_CHANGED"));
        assert_eq!(sink(&path).recover(Some(b"\x09")).err().map(|e| e.code), Some("FILE_CHANGED"));
    }

    #[test]
    fn a_failed_epoch_leaves_nothing_behind_when_it_is_tried_again() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("out.jsonl");
        let mut sink = sink(&path);
        sink.recover(None).expect("new");
        let mut b = BatchBuilder::new();
        let big = BUFFER / 8; // enough rows that some are written before the bad one
        for _ in 0..big {
            b.push(b"", &[1, 0, 7], EventTime(0), &[Window::Global]);
        }
        b.push(b"", &[1, 0], EventTime(0), &[Window::Global]);
        let error = sink.prepare(Epoch(1), &[b.finish()]).expect_err("a row that is cut off");
        assert_eq!(error.code, "CODER_MALFORMED");
        sink.prepare(Epoch(1), &[batch(&[1])]).expect("the next try");
        assert_eq!(text(&path), "{\"n\":1}\n");
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("file"), b"").expect("a file");
        for path in [dir.path().join("file/out"), dir.path().to_owned(), PathBuf::from("/dev/null")] {
            let error = sink(&path).recover(None).expect_err("not there");
            assert_eq!(error.code, "FILE_UNWRITABLE", "{path:?}");
        }
        let path = dir.path().join("out");
        let mut one = sink(&path);
        one.recover(None).expect("new");
        assert_eq!(sink(&path).recover(None).err().map(|e| e.code), Some("FILE_IN_USE"));
    }
}
