//! The import table between crates: proto <- beam; core <- {state, wasm, beam, io} <- host <- tests.
//!
//! Read from the `[dependencies]` of every `Cargo.toml`; what tests alone need is free.

use crate::source::{Finding, Source};

/// A line of the table.
struct Row {
    /// The manifest of the crate.
    manifest: &'static str,
    /// Crates of the house it may import.
    ours: &'static [&'static str],
    /// Crates of others it must know nothing of; a name ends at a dash, so `wasmtime` covers `wasmtime-wasi`.
    never: &'static [&'static str],
}

const ENGINES: &[&str] = &["wasmtime", "rdkafka", "rocksdb"];

/// The table. A crate that is not in it must not exist.
const TABLE: [Row; 8] = [
    Row { manifest: "proto/Cargo.toml", ours: &[], never: ENGINES },
    Row {
        manifest: "host/crates/core/Cargo.toml",
        ours: &[],
        never: &["tokio", "prost", "tonic", "rocksdb", "wasmtime", "rdkafka", "tracing", "serde", "serde_json", "rand"],
    },
    Row {
        manifest: "host/crates/state/Cargo.toml",
        ours: &["thalweg-core"],
        never: &["tokio", "prost", "tonic", "wasmtime", "rdkafka"],
    },
    Row {
        manifest: "host/crates/wasm/Cargo.toml",
        ours: &["thalweg-core"],
        never: &["prost", "tonic", "rdkafka", "rocksdb"],
    },
    Row { manifest: "host/crates/beam/Cargo.toml", ours: &["thalweg-core", "thalweg-proto"], never: ENGINES },
    Row {
        manifest: "host/crates/io/Cargo.toml",
        ours: &["thalweg-core"],
        never: &["prost", "tonic", "wasmtime", "rocksdb"],
    },
    Row {
        manifest: "host/Cargo.toml",
        ours: &["thalweg-core", "thalweg-state", "thalweg-wasm", "thalweg-beam", "thalweg-io", "thalweg-proto"],
        never: ENGINES,
    },
    Row {
        manifest: "tests/Cargo.toml",
        ours: &[
            "thalweg",
            "thalweg-core",
            "thalweg-state",
            "thalweg-wasm",
            "thalweg-beam",
            "thalweg-io",
            "thalweg-proto",
        ],
        never: &[],
    },
];

/// What a guest must never link: the host.
const HOST_CRATES: [&str; 7] =
    ["thalweg", "thalweg-core", "thalweg-state", "thalweg-wasm", "thalweg-beam", "thalweg-io", "thalweg-proto"];

/// Every crate imports only what its row of the table allows. The subject of an exception is `manifest:dependency`.
pub fn crates(manifests: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in manifests {
        let path = manifest.path.as_str();
        let dependencies = dependencies(&manifest.text);
        if path.starts_with("guest-") {
            let linked = dependencies.iter().filter(|name| HOST_CRATES.contains(&name.as_str()));
            findings.extend(linked.map(|name| unwanted(path, name, "a guest never links the host")));
            continue;
        }
        let Some(row) = TABLE.iter().find(|row| row.manifest == path) else {
            if path.starts_with("host/") || path.starts_with("proto/") || path.starts_with("tests/") {
                let message = format!("{path}: a new crate needs a row in the table of tests/tests/tidy/imports.rs");
                findings.push(Finding::new(path, message));
            }
            continue;
        };
        for name in &dependencies {
            if HOST_CRATES.contains(&name.as_str()) && !row.ours.contains(&name.as_str()) {
                findings.push(unwanted(path, name, "the import table of the house does not allow it"));
            }
            if row.never.iter().any(|never| name == never || name.starts_with(&format!("{never}-"))) {
                findings.push(unwanted(path, name, "this crate knows nothing of it: put it behind a port"));
            }
        }
    }
    findings
}

fn unwanted(path: &str, name: &str, why: &str) -> Finding {
    Finding::new(format!("{path}:{name}"), format!("{path}: remove the dependency `{name}`: {why}"))
}

/// The names under `[dependencies]`, also those of one platform, and of build scripts.
fn dependencies(toml: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in toml.lines() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default().rsplit_once("dependencies");
            let (before, after) = section.unwrap_or(("", " "));
            inside = after.is_empty() && before != "dev-" && before != "workspace." && !before.ends_with(".dev-");
            if let Some(name) = after.strip_prefix('.').filter(|_| !before.ends_with("dev-") && before != "workspace.")
            {
                names.push(name.to_owned());
            }
        } else if inside
            && let Some(name) = line.split(['.', '=', ' ']).next().filter(|n| !n.is_empty() && !n.starts_with('#'))
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::subjects;

    #[test]
    fn dependencies_are_read_in_every_spelling() {
        let toml = "[package]\nname = \"x\"\n[dependencies]\n# why\na.workspace = true\nb = \"1\"\nc = { path = \"c\" }\n\
                    [dependencies.d]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\ne = \"1\"\n\
                    [build-dependencies]\nf = \"1\"\n[dev-dependencies]\ng = \"1\"\n[dev-dependencies.h]\nversion = \"1\"\n\
                    [workspace.dependencies]\ni = \"1\"\n[lints]\nworkspace = true\n";
        assert_eq!(dependencies(toml), ["a", "b", "c", "d", "e", "f"]);
    }

    #[test]
    fn imports_against_the_table_are_found() {
        let manifest = |path: &str, name: &str| Source::text(path, &format!("[dependencies]\n{name} = \"1\"\n"));
        let manifests = [
            manifest("host/crates/core/Cargo.toml", "tokio-stream"),
            manifest("host/crates/beam/Cargo.toml", "thalweg-state"),
            manifest("host/crates/beam/Cargo.toml", "thalweg-proto"),
            manifest("host/crates/new/Cargo.toml", "bytes"),
            manifest("guest-sdk/rust/Cargo.toml", "thalweg-core"),
            manifest("guest-examples/bench/Cargo.toml", "thalweg-udf"),
            manifest("bench/rust/Cargo.toml", "thalweg"),
        ];
        let expected = [
            "host/crates/core/Cargo.toml:tokio-stream",
            "host/crates/beam/Cargo.toml:thalweg-state",
            "host/crates/new/Cargo.toml",
            "guest-sdk/rust/Cargo.toml:thalweg-core",
        ];
        assert_eq!(subjects(&crates(&manifests)), expected);
    }
}
