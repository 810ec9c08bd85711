//! Embeds what `thalweg udf new` and `build` write beside a user's project: the SDKs of `guest-sdk/`, the contract in `wit/`, and
//! the project templates. In: those directories. Out: `embedded.rs`, a table of relative paths and contents.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Directories inside an SDK that are made by tools, or that only its own development needs.
const LEFT_OUT: [&str; 10] =
    ["target", "node_modules", "__pycache__", "build", "dist", "tests", "test", "testdata", "golden", "released"];

fn main() -> io::Result<()> {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let top = host.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut files = Vec::new();
    for (base, dir) in [(&top, "guest-sdk"), (&top, "wit"), (&host, "templates")] {
        println!("cargo::rerun-if-changed={}", base.join(dir).display());
        walk(base, Path::new(dir), &mut files)?;
    }
    files.sort();
    let mut text = String::from("pub static FILES: &[(&str, &[u8])] = &[\n");
    for (name, path) in files {
        writeln!(text, "    ({name:?}, include_bytes!({:?})),", path.display().to_string())
            .map_err(io::Error::other)?;
    }
    text.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("embedded.rs"), text)
}

/// Files below a directory, with their names relative to `base` and `/` between parts.
fn walk(base: &Path, dir: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(base.join(dir))? {
        let entry = entry?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), dir.join(entry.file_name()));
        let kind = entry.file_type()?;
        let tests = name.starts_with("test_") || name.ends_with("_test.go") || name.ends_with(".test.js");
        let left_out = name.starts_with('.') || LEFT_OUT.contains(&name.as_str()) || tests;
        if left_out && !dir.starts_with("templates") {
            continue;
        }
        if kind.is_dir() {
            walk(base, &path, files)?;
        } else if kind.is_file() {
            let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            files.push((parts.join("/"), entry.path()));
        }
    }
    Ok(())
}
