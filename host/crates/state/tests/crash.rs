//! What a store holds after the process died, the log was torn, or bytes on the disk changed.

use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use thalweg_core::id::{Epoch, key_hash};
use thalweg_core::port::store::{CellWrite, StateStore};
use thalweg_state::{FsyncPolicy, Options, RocksStateStore};

const CHILD: &str = "THALWEG_STATE_TEST_CHILD";

fn cell(epoch: u64, i: u64) -> CellWrite {
    let key = format!("cell {:04}", (epoch * 7 + i) % 500);
    (Bytes::from(key), Some(Bytes::from(format!("{epoch} {i} {}", "x".repeat(100)))))
}

fn commit(store: &mut RocksStateStore, epochs: std::ops::RangeInclusive<u64>) {
    for epoch in epochs {
        let mut writes: Vec<CellWrite> = (0..50).map(|i| cell(epoch, i)).collect();
        writes.push((Bytes::from("last"), Some(Bytes::from(epoch.to_string()))));
        store.commit(Epoch(epoch), &writes, &[]).expect("a commit");
    }
}

/// All cells as the committed epochs say.
fn expected(epochs: u64) -> Vec<(Bytes, Bytes)> {
    let mut cells = std::collections::BTreeMap::new();
    for epoch in 1..=epochs {
        cells.extend((0..50).map(|i| cell(epoch, i)).map(|(k, v)| (k, v.expect("a put"))));
        cells.insert(Bytes::from("last"), Bytes::from(epoch.to_string()));
    }
    cells.into_iter().collect()
}

fn contents(store: &RocksStateStore) -> thalweg_core::error::Result<Vec<(Bytes, Bytes)>> {
    let mut found = Vec::new();
    store.reader().scan(b"", b"", &mut |k, v| {
        found.push((Bytes::copy_from_slice(k), Bytes::copy_from_slice(v)));
        true
    })?;
    Ok(found)
}

fn open(dir: &Path) -> thalweg_core::error::Result<RocksStateStore> {
    RocksStateStore::open(dir, &Options::default())
}

fn code(dir: &Path) -> Option<&'static str> {
    open(dir).err().map(|e| e.code)
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir.join("db"))
        .expect("the database's directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    found
}

#[test]
fn what_was_committed_is_there_after_a_drop() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    commit(&mut open(dir.path()).expect("new"), 1..=20);
    let mut store = open(dir.path()).expect("again");
    assert_eq!(store.last_epoch(), Ok(Epoch(20)));
    assert_eq!(contents(&store).expect("cells"), expected(20));
    let late = store.commit(Epoch(20), &[], &[]).expect_err("an epoch is committed once");
    assert_eq!(late.code, "STATE_EPOCH_ORDER");
}

#[test]
fn what_was_committed_is_there_after_the_process_died() {
    if let Ok(dir) = std::env::var(CHILD) {
        let fsync = if dir.ends_with("relaxed") { FsyncPolicy::Relaxed } else { FsyncPolicy::EachEpoch };
        let mut store =
            RocksStateStore::open(&dir, &Options { fsync, write_buffer_bytes: 1 << 20, ..Options::default() })
                .expect("the child's store");
        commit(&mut store, 1..=300);
        std::process::abort();
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["synced", "relaxed"] {
        let dir = dir.path().join(name);
        let status = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "what_was_committed_is_there_after_the_process_died"])
            .env(CHILD, &dir)
            .output()
            .expect("the child")
            .status;
        assert!(!status.success());
        let store = open(&dir).expect("the dead child's store");
        assert_eq!(store.last_epoch(), Ok(Epoch(300)));
        assert_eq!(contents(&store).expect("cells"), expected(300));
    }
}

#[test]
fn a_second_store_on_the_directory_is_refused_until_the_last_reader_is_gone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).expect("new");
    assert_eq!(code(dir.path()), Some("STATE_LOCKED"));
    let reader = store.reader();
    drop(store);
    assert_eq!(code(dir.path()), Some("STATE_LOCKED"));
    drop(reader);
    assert_eq!(code(dir.path()), None);
}

/// A copy of a store that died with all of its epochs in the log.
fn dead_store(dir: &Path, epochs: u64) -> PathBuf {
    let copy = dir.join("copy");
    let store = dir.join("store");
    let mut live = open(&store).expect("new");
    commit(&mut live, 1..=epochs);
    copy_dir(&store, &copy);
    copy
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

#[test]
fn what_was_loaded_past_the_log_is_there_once_it_is_settled_and_may_be_gone_before() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut live = open(&dir.path().join("store")).expect("new");
    let cells: Vec<CellWrite> = (0..50).map(|i| cell(1, i)).collect();
    live.load_unlogged(&cells).expect("room");
    let [early, late] = ["early", "late"].map(|name| dir.path().join(name));
    copy_dir(&dir.path().join("store"), &early);
    live.settle().expect("room");
    live.commit(Epoch(9), &[(Bytes::from("label"), Some(Bytes::from("all")))], &[]).expect("a commit");
    copy_dir(&dir.path().join("store"), &late);
    // who died before begins anew, in the same directory
    let mut store = open(&early).expect("a store that died without a commit");
    assert_eq!((store.last_epoch(), contents(&store)), (Ok(Epoch(0)), Ok(Vec::new())));
    store.load_unlogged(&cells).expect("room");
    let store = open(&late).expect("a store that died after its commit");
    assert_eq!(store.last_epoch(), Ok(Epoch(9)));
    assert_eq!(contents(&store).expect("cells").len(), 51);
}

#[test]
fn a_record_torn_before_its_acknowledgement_is_dropped_whole() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copy = dead_store(dir.path(), 10);
    let log = files(&copy, ".log").pop().expect("a log");
    let whole = fs::read(&log).expect("the log");
    // an eleventh epoch that the machine died in: the log grew, the acknowledgement did not
    let mut store = open(&copy).expect("the copy");
    drop(contents(&store));
    commit(&mut store, 11..=11);
    drop(store);
    let log = files(&copy, ".log").pop().expect("a log");
    let grown = fs::read(&log).expect("the log");
    let acknowledged = fs::read(dir.path().join("store/ACKNOWLEDGED")).expect("ten");
    for cut in [1, grown.len() / 2, grown.len() - 1] {
        let torn = dir.path().join(format!("torn-{cut}"));
        copy_dir(&copy, &torn);
        fs::write(torn.join("ACKNOWLEDGED"), &acknowledged).expect("ten again");
        fs::write(torn.join("db").join(log.file_name().expect("a name")), &grown[..cut]).expect("a torn log");
        let store = open(&torn).expect("a torn end is what a crash leaves");
        assert_eq!(store.last_epoch(), Ok(Epoch(10)));
        assert_eq!(contents(&store).expect("cells"), expected(10));
    }
    assert!(!whole.is_empty());
}

#[test]
fn a_log_that_lost_an_acknowledged_epoch_is_noticed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copy = dead_store(dir.path(), 10);
    let log = files(&copy, ".log").pop().expect("a log");
    let whole = fs::read(&log).expect("the log");
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        let torn = dir.path().join(format!("torn-{cut}"));
        copy_dir(&copy, &torn);
        fs::write(torn.join("db").join(log.file_name().expect("a name")), &whole[..cut]).expect("a torn log");
        assert_eq!(code(&torn), Some("STATE_CORRUPT"), "cut at {cut}");
    }
    for at in (0..whole.len()).step_by(whole.len() / 13) {
        let bad = dir.path().join(format!("flipped-{at}"));
        copy_dir(&copy, &bad);
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(bad.join("db").join(log.file_name().expect("a name")), bytes).expect("a flipped log");
        assert_eq!(code(&bad), Some("STATE_CORRUPT"), "flipped at {at}");
    }
}

/// Commits what later epochs do not write again, and then so much that it is flushed, again and again.
fn commit_and_flush(dir: &Path) -> RocksStateStore {
    let small = Options { write_buffer_bytes: 1 << 20, ..Options::default() };
    let mut store = RocksStateStore::open(dir, &small).expect("the child's store");
    commit(&mut store, 1..=10);
    for epoch in 11..=60 {
        store.commit(Epoch(epoch), &[filler(epoch)], &[]).expect("a commit");
    }
    // what one commit leaves in memory too much, the next one has flushed
    let much: Vec<CellWrite> = (61..=75).map(filler).collect();
    store.commit(Epoch(61), &much, &[]).expect("a commit");
    store.commit(Epoch(62), &[filler(76)], &[]).expect("a commit");
    store
}

fn filler(epoch: u64) -> CellWrite {
    (Bytes::from(format!("filler {epoch}")), Some(Bytes::from(epoch.to_string().repeat(100_000))))
}

#[test]
fn a_list_of_files_that_lost_its_end_is_noticed_or_the_end_is_not_needed() {
    if let Ok(dir) = std::env::var(CHILD) {
        let _store = commit_and_flush(Path::new(&dir));
        // the last flush ends when no commit notes it any more
        std::thread::sleep(std::time::Duration::from_millis(500));
        std::process::abort();
    }
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dead = temporary.path().join("dead");
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", "a_list_of_files_that_lost_its_end_is_noticed_or_the_end_is_not_needed"]);
    assert!(!child.env(CHILD, &dead).output().expect("the child").status.success());
    let mut wanted = expected(10);
    wanted.extend((11..=76).map(filler).map(|(k, v)| (k, v.expect("a put"))));
    wanted.sort();
    let mut noticed = 0;
    let manifest = fs::read_to_string(dead.join("db/CURRENT")).expect("its name");
    let whole = fs::read(dead.join("db").join(manifest.trim_end())).expect("the manifest");
    for cut in (0..=whole.len()).step_by(3) {
        let bad = temporary.path().join("cut");
        copy_dir(&dead, &bad);
        fs::write(bad.join("db").join(manifest.trim_end()), &whole[..cut]).expect("a manifest that is cut");
        match open(&bad).and_then(|store| contents(&store)) {
            Ok(cells) => assert!(cells == wanted, "cut to {cut} of {} bytes", whole.len()),
            Err(e) => {
                assert_eq!(e.code, "STATE_CORRUPT", "cut to {cut}: {e}");
                noticed += 1;
            }
        }
        fs::remove_dir_all(bad).expect("room");
    }
    assert!(noticed > whole.len() / 6, "only {noticed} of {} were noticed", whole.len() / 3);
}

#[test]
fn a_changed_byte_of_any_table_is_noticed_and_never_served() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = dir.path().join("store");
    commit(&mut open(&store).expect("new"), 1..=50);
    drop(open(&store).expect("opening moves the log into a table"));
    let table = files(&store, ".sst").pop().expect("a table");
    let whole = fs::read(&table).expect("the table");
    let mut noticed = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let bad = dir.path().join(format!("flipped-{at}"));
        copy_dir(&store, &bad);
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        fs::write(bad.join("db").join(table.file_name().expect("a name")), bytes).expect("a flipped table");
        match open(&bad).and_then(|store| contents(&store)) {
            Ok(cells) => assert_eq!(cells, expected(50), "flipped at {at}"), // a byte that reads do not need
            Err(e) => {
                assert_eq!(e.code, "STATE_CORRUPT", "flipped at {at}: {e}");
                noticed += 1;
            }
        }
        fs::remove_dir_all(bad).expect("room");
    }
    assert!(noticed > 20, "only {noticed} of 40 were noticed");
}

#[test]
fn missing_and_damaged_files_are_noticed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = dir.path().join("store");
    commit(&mut open(&store).expect("new"), 1..=5);
    drop(open(&store).expect("opening moves the log into a table"));
    let names = ["VERSION", "ACKNOWLEDGED", "db/CURRENT", "MANIFEST", ".sst", "db"];
    for (i, name) in names.into_iter().enumerate() {
        for damage in ["remove", "empty", "flip"] {
            let bad = dir.path().join(format!("bad-{i}-{damage}"));
            copy_dir(&store, &bad);
            let path = match name {
                "MANIFEST" => fs::read_dir(bad.join("db"))
                    .expect("a directory")
                    .map(|e| e.expect("an entry").path())
                    .find(|p| p.to_string_lossy().contains("MANIFEST"))
                    .expect("a manifest"),
                ".sst" => files(&bad, ".sst").pop().expect("a table"),
                other => bad.join(other),
            };
            match damage {
                "remove" if path.is_dir() => fs::remove_dir_all(&path).expect("removed"),
                "remove" => fs::remove_file(&path).expect("removed"),
                _ if path.is_dir() => continue,
                "empty" => fs::write(&path, b"").expect("emptied"),
                _ => {
                    let mut bytes = fs::read(&path).expect("bytes");
                    bytes[3] ^= 0x01;
                    fs::write(&path, bytes).expect("flipped");
                }
            }
            let outcome = open(&bad).and_then(|store| Ok((store.last_epoch()?, contents(&store)?)));
            assert_eq!(outcome.err().map(|e| e.code), Some("STATE_CORRUPT"), "{damage} {name}");
        }
    }
}

#[test]
fn a_store_of_a_later_version_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(open(dir.path()).expect("new"));
    for (from, to) in [("layout 1", "layout 2"), ("4096", "8192"), ("xxh3_64", "murmur2")] {
        let path = dir.path().join("VERSION");
        let text = fs::read_to_string(&path).expect("the version file");
        let body = text[..text.find("checksum").expect("a checksum")].replace(from, to);
        fs::write(&path, format!("{body}checksum {:016x}\n", key_hash(body.as_bytes()))).expect("another version");
        assert_eq!(code(dir.path()), Some("STATE_VERSION"), "{to}");
        fs::write(&path, text).expect("the old one");
    }
    assert_eq!(code(dir.path()), None);
}

#[test]
fn an_interrupted_creation_is_completed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(open(dir.path()).expect("new"));
    fs::remove_file(dir.path().join("VERSION")).expect("as if the process died before writing it");
    let mut store = open(dir.path()).expect("completed");
    commit(&mut store, 1..=1);
}
