//! The cache of compiled components: it is used, and nothing in it is trusted without its keyed digest.

use crate::handmade::Guest;
use crate::support::engine;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use thalweg_wasm::{Cache, Component, Engine, EngineLimits, Error};

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut files: Vec<_> = entries
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

fn opened() -> Result<(TempDir, PathBuf, Cache), Error> {
    let directory = tempfile::tempdir().expect("a directory");
    let inside = directory.path().join("cache");
    let cache = Cache::open(&inside)?;
    Ok((directory, inside, cache))
}

fn load(cache: &Cache) -> Result<Component, Error> {
    Component::from_bytes(engine(), "c", &Guest::default().build(), Some(cache))
}

#[test]
fn the_second_load_takes_the_file() -> Result<(), Error> {
    let (_guard, directory, cache) = opened()?;
    load(&cache)?;
    let written = files(&directory, "cwasm");
    assert_eq!(written.len(), 1);
    let before = fs::metadata(&written[0]).expect("a file").modified().expect("a time");
    let again = load(&Cache::open(&directory)?)?;
    assert_eq!(again.description().functions.len(), 1);
    assert_eq!(fs::metadata(&written[0]).expect("a file").modified().expect("a time"), before);
    Ok(())
}

#[test]
fn only_this_user_may_enter_the_directory() -> Result<(), Error> {
    let (_guard, directory, _cache) = opened()?;
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("key"))), (0o700, 0o600));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("a new mode");
    assert_eq!(Cache::open(&directory).expect_err("a refusal").code(), "WASM_CACHE");
    Ok(())
}

#[test]
fn a_changed_file_or_tag_is_compiled_again() -> Result<(), Error> {
    let (_guard, directory, cache) = opened()?;
    load(&cache)?;
    let code = files(&directory, "cwasm").remove(0);
    let sound = fs::read(&code).expect("a file");
    let mut changed = sound.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&code, &changed).expect("a changed file");
    load(&cache)?;
    assert_eq!(fs::read(&code).expect("a file"), sound, "written anew");
    fs::remove_file(files(&directory, "tag").remove(0)).expect("a tag");
    load(&cache)?;
    assert_eq!(files(&directory, "tag").len(), 1, "written anew");
    Ok(())
}

#[test]
fn a_sound_file_under_another_name_is_not_taken() -> Result<(), Error> {
    let (_guard, directory, cache) = opened()?;
    load(&cache)?;
    let other = Guest { description: r#"{"functions":[]}"#, ..Guest::default() }.build();
    Component::from_bytes(engine(), "other", &other, Some(&cache))?;
    let (code, tags) = (files(&directory, "cwasm"), files(&directory, "tag"));
    // swap the two: code and tag each fit together, but not to the name
    let swap = |pair: &[PathBuf]| {
        let (a, b) = (fs::read(&pair[0]).expect("a file"), fs::read(&pair[1]).expect("a file"));
        fs::write(&pair[0], b).and_then(|()| fs::write(&pair[1], a)).expect("swapped files");
    };
    swap(&code);
    swap(&tags);
    assert_eq!(load(&cache)?.description().functions.len(), 1);
    Ok(())
}

#[test]
fn another_configuration_does_not_take_the_file() -> Result<(), Error> {
    let (_guard, directory, cache) = opened()?;
    let wasm = Guest::default().build();
    Component::from_bytes(engine(), "c", &wasm, Some(&cache))?;
    let loaded = Component::from_bytes(&Engine::new(EngineLimits::default().instances(2))?, "c", &wasm, Some(&cache));
    assert!(loaded.is_ok() && !files(&directory, "cwasm").is_empty());
    Ok(())
}

#[test]
fn the_directory_stays_under_its_bound() -> Result<(), Error> {
    let (_guard, directory, cache) = opened()?;
    load(&cache)?;
    let size = |path: &PathBuf| fs::metadata(path).expect("a file").len();
    let one = files(&directory, "cwasm").iter().map(size).max().expect("a file");
    let small = cache.bytes_max(one * 3 / 2);
    for i in 0..3 {
        let frame = vec![0; 16 + i * 16];
        Component::from_bytes(engine(), "c", &Guest { frame, ..Guest::default() }.build(), Some(&small))?;
    }
    let kept: u64 = files(&directory, "cwasm").iter().map(size).sum();
    assert!(kept > 0 && kept <= one * 3 / 2, "{kept} of {one}");
    assert_eq!(files(&directory, "cwasm").len(), files(&directory, "tag").len());
    Ok(())
}
