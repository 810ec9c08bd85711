//! New projects: folders that build and whose tests pass at once.

use super::embedded;
use super::language::{Language, Project};
use std::fs;
use std::path::Path;
use thalweg_core::error::{Error, Result};

/// Makes a project in `dir`, which must not exist or be empty, with functions that can be built and tested at once. The name
/// of the project is that of the directory.
///
/// # Errors
/// `UDF_NEW` when the directory holds something, or its name is none for a package; `UDF_OUTPUT` when it cannot be written.
pub fn new(language: Language, dir: &Path) -> Result<Project> {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_name(&name) {
        return Err(Error::user("UDF_NEW", format!("{name:?} is no name for a package in every language"))
            .help("use a lower-case letter, then lower-case letters, digits and `-`"));
    }
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(Error::user("UDF_NEW", format!("{} is there already, and not empty", dir.display()))
            .help("give another name; nothing was changed"));
    }
    let broken = |e: std::io::Error| {
        Error::user("UDF_OUTPUT", format!("cannot write {}: {e}", dir.display())).help("check the path")
    };
    for (path, text) in files(language, &name) {
        let path = dir.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(broken)?;
        fs::write(path, text).map_err(broken)?;
    }
    embedded::put_sdk(language, dir)?;
    Ok(Project { dir: dir.to_owned(), language })
}

/// The files of a project: those of its template, with its name put in.
fn files(language: Language, name: &str) -> Vec<(String, String)> {
    let prefix = format!("templates/{}/", language.name());
    let files = embedded::below(&prefix).map(|(path, bytes)| {
        let text = String::from_utf8_lossy(bytes);
        let text = text.replace("{{name}}", name).replace("{{module}}", &name.replace('-', "_"));
        (path.strip_suffix(".in").unwrap_or(path).to_owned(), text)
    });
    files.collect()
}

/// Whether cargo, go, pip and npm all take it.
fn is_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(letters) && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_template_and_a_new_project_is_of_it() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        for language in Language::ALL {
            let dir = root.path().join(format!("my-{}", language.name()));
            let made = new(language, &dir)?;
            assert_eq!(Project::at(&dir)?, made);
            for file in ["README.md", ".gitignore", "examples/lines.jsonl", "examples/lines.expected.jsonl"] {
                assert!(dir.join(file).is_file(), "{} has no {file}", language.name());
            }
            let marker = fs::read_to_string(dir.join(language.toolchain().marker()))?;
            assert!(marker.contains(".thalweg") && !marker.contains("{{"), "{marker}");
            assert!(dir.join(".thalweg/wit/guest.wit").is_file());
            assert_eq!(new(language, &dir).err().map(|e| e.code), Some("UDF_NEW"));
        }
        for bad in ["", "My", "1st", "a_b", "a b", "a-"] {
            assert_eq!(new(Language::Rust, &root.path().join(bad)).err().map(|e| e.code), Some("UDF_NEW"), "{bad:?}");
        }
        Ok(())
    }

    #[test]
    fn an_sdk_that_was_changed_by_a_later_version_is_put_anew() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let dir = root.path().join("mine");
        let project = new(Language::Rust, &dir)?;
        let (mark, file) = (dir.join(".thalweg/SDK"), dir.join(".thalweg/guest-sdk/rust/src/lib.rs"));
        fs::write(&file, "mine")?;
        project.put_sdk()?;
        assert_eq!(fs::read_to_string(&file)?, "mine", "the mark says it is the same");
        fs::write(&mark, "of another version")?;
        project.put_sdk()?;
        assert!(fs::read_to_string(&file)?.len() > 100);
        Ok(())
    }
}
