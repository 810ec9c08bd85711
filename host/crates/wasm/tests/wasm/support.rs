//! Builds the Rust guests of the repository once per test program, and gives their components; bundles for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{env, fs};
use thalweg_core::batch::{Batch, BatchBuilder};
use thalweg_core::id::{BundleId, CacheToken, StageId};
use thalweg_core::port::worker::{BundleStart, Group, Input, Item};
use thalweg_core::state::StateView;
use thalweg_core::time::{EventTime, ProcessingTime};
use thalweg_core::window::Window;
use thalweg_wasm::{Cache, Component, Engine, EngineLimits};

/// The languages whose guests pass the same tests, by the endings of their components' names.
const LANGUAGES: [&str; 4] = ["", "_go", "_python", "_js"];

/// Where the components of released versions stand in `wit/`, and those versions.
const RELEASES: &str = "released/";
const RELEASED: [&str; 1] = ["1.0.0"];

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The component of a guest, by the name of its crate with underscores: `flights_parse`, `bench_udfs`, `evil`; or of one that was released:
/// `released/1.0.0/conformance`.
pub fn guest(name: &str) -> PathBuf {
    if name.starts_with(RELEASES) {
        return root().join("wit").join(format!("{name}.wasm"));
    }
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).join(format!("{name}.wasm"))
}

/// Runs a test over a guest in every language as its SDK builds it today: for what the components of released versions do not use.
pub fn in_the_languages_of_today<E>(guest: &str, test: impl Fn(&str) -> Result<(), E>) -> Result<(), E> {
    LANGUAGES.iter().map(|language| format!("{guest}{language}")).try_for_each(|guest| {
        println!("{guest}"); // the last one is the one that failed
        test(&guest)
    })
}

/// Runs a test over a guest in every language: over `examples` and `examples_go` of `examples`; and over those of the versions of the
/// contract that were released, which this host has to run for ever.
pub fn in_every_language<E>(guest: &str, test: impl Fn(&str) -> Result<(), E>) -> Result<(), E> {
    in_the_languages_of_today(guest, &test)?;
    let released = RELEASED.iter().map(|version| format!("{RELEASES}{version}/{guest}"));
    released.filter(|name| self::guest(name).exists()).try_for_each(|guest| {
        println!("{guest}");
        test(&guest)
    })
}

/// A guest, loaded once per test program. What it was compiled to is kept: an engine of a language takes seconds.
pub fn component(name: &str) -> Component {
    static LOADED: Mutex<BTreeMap<String, Component>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let load = || {
        let path = guest(name);
        assert!(path.exists(), "{} is missing: run scripts/build-guests.sh, which says what it needs", path.display());
        let cache = Cache::open(&root().join("target/guests/compiled")).expect("a cache");
        Component::load(engine(), &path, Some(&cache)).expect("a component")
    };
    loaded.entry(name.to_owned()).or_insert_with(load).clone()
}

fn build() -> PathBuf {
    let (target, root) = (root().join("target/guests"), root());
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root.join("guest-examples"))
        .args(["build", "--release", "--locked", "--quiet", "--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "cargo could not build guest-examples");
    let components = target.join("components");
    fs::create_dir_all(&components).expect("a directory for components");
    for entry in fs::read_dir(target.join("wasm32-unknown-unknown/release")).expect("the build's output") {
        let module = entry.expect("an entry").path();
        if module.extension().is_some_and(|e| e == "wasm") {
            let bytes = thalweg_wasm::componentize(&fs::read(&module).expect("a module")).expect("a component");
            let component = components.join(module.file_name().unwrap_or_default());
            // Other test programs build at the same time: a component is replaced whole.
            let mine = component.with_extension(format!("new.{}", std::process::id()));
            fs::write(&mine, bytes).expect("a written component");
            fs::rename(&mine, &component).expect("a component in place");
        }
    }
    components
}

/// One engine for all tests of a program.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineLimits::default().instances(64)).expect("an engine"))
}

/// A bundle of stage 0.
pub fn bundle(input: Input, state: StateView) -> BundleStart {
    BundleStart {
        bundle: BundleId(1),
        stage: StageId(0),
        input,
        state,
        sides: Vec::new(),
        cache_token: CacheToken(0),
        watermark: EventTime::MIN,
        now: ProcessingTime(7),
        truncate: false,
    }
}

/// The values of a batch as texts.
pub fn texts(batch: &Batch) -> Vec<String> {
    batch.rows().iter().map(|row| String::from_utf8_lossy(batch.value(row)).into_owned()).collect()
}

/// A keyed input in the global window: rows of a key stand together in the list. Values are varints of one byte.
pub fn keyed(rows: &[(&str, u8)]) -> (Input, Arc<[Group]>) {
    let (mut builder, mut groups, mut items) = (BatchBuilder::new(), Vec::<Group>::new(), Vec::new());
    for (row, (key, value)) in rows.iter().enumerate() {
        builder.push(key.as_bytes(), &[*value], EventTime(0), &[Window::Global]);
        if groups.last().is_none_or(|group| *group.key != *key.as_bytes()) {
            groups.push(Group::new(key.as_bytes(), Window::Global));
        }
        items.push(Item::Row { group: groups.len() as u32 - 1, batch: 0, row: row as u32 });
    }
    let groups: Arc<[Group]> = groups.into();
    (Input::Keyed { groups: Arc::clone(&groups), batches: vec![builder.finish()], items }, groups)
}
