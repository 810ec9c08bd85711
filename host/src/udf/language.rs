//! The languages functions are written in, and the folders they are written in.
//!
//! In: a folder. Out: its [`Language`], told by the file that every project of that language has. What differs between
//! languages is behind [`Toolchain`]; one module each.

use super::go::Go;
use super::javascript::JavaScript;
use super::python::Python;
use super::rust::Rust;
use super::tool::Tool;
use std::path::{Path, PathBuf};
use std::process::Command;
use thalweg_core::error::{Error, Result};

/// A language.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Language {
    /// Rust, by cargo.
    Rust,
    /// Go, by its standard toolchain.
    Go,
    /// Python, by componentize-py.
    Python,
    /// JavaScript and TypeScript, by componentize-js.
    JavaScript,
}

/// What a language needs and does.
pub(super) trait Toolchain: Sync {
    /// The file that every project has.
    fn marker(&self) -> &'static str;

    /// What has to be installed.
    fn tools(&self) -> Vec<Tool>;

    /// Compiles a project to a component that has the whole contract to import from.
    ///
    /// # Errors
    /// `UDF_BUILD` with what to do; what the compiler said is on standard error already.
    fn compile(&self, dir: &Path) -> Result<Compiled>;

    /// The command that runs the project's own tests, in its own language.
    ///
    /// # Errors
    /// As for [`Toolchain::compile`], when a tool is missing.
    fn tests(&self, dir: &Path) -> Result<Command>;

    /// A file of the SDK in the form it has outside the repository, if that is another.
    fn standalone(&self, _name: &str, _bytes: &[u8]) -> Option<String> {
        None
    }
}

/// The name of a component after its folder.
pub(super) fn named_after(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    dir.file_name().map_or_else(|| "functions".to_owned(), |name| name.to_string_lossy().replace('-', "_"))
}

/// What a compiler made.
pub(super) struct Compiled {
    /// A core module that carries its world, or a component.
    pub bytes: Vec<u8>,
    /// File name of the component, without an ending.
    pub name: String,
}

impl Language {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Rust, Self::Go, Self::Python, Self::JavaScript];

    /// Its name on the command line, which is also the name of its SDK's folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Python => "python",
            Self::JavaScript => "js",
        }
    }

    /// The language of a name on the command line.
    ///
    /// # Errors
    /// `UDF_LANGUAGE` with the names there are.
    pub fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|language| language.name() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|language| language.name()).collect();
            Error::user("UDF_LANGUAGE", format!("{name:?} is no language of functions"))
                .help(format!("use one of {}", names.join(", ")))
        })
    }

    pub(super) fn toolchain(self) -> &'static dyn Toolchain {
        match self {
            Self::Rust => &Rust,
            Self::Go => &Go,
            Self::Python => &Python,
            Self::JavaScript => &JavaScript,
        }
    }

    /// What has to be installed to build functions.
    #[must_use]
    pub fn tools(self) -> Vec<Tool> {
        self.toolchain().tools()
    }

    pub(super) fn standalone(self, name: &str, bytes: &[u8]) -> Option<String> {
        self.toolchain().standalone(name, bytes)
    }
}

/// A folder with functions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Project {
    /// Where it is.
    pub dir: PathBuf,
    /// What it is written in.
    pub language: Language,
}

impl Project {
    /// The project in a folder.
    ///
    /// # Errors
    /// `UDF_BUILD` when no language knows the folder, `UDF_LANGUAGE` when two do.
    pub fn at(dir: &Path) -> Result<Self> {
        let is = |language: &Language| dir.join(language.toolchain().marker()).is_file();
        let found: Vec<Language> = Language::ALL.into_iter().filter(is).collect();
        match found.as_slice() {
            [language] => Ok(Self { dir: dir.to_owned(), language: *language }),
            [] => Err(nothing(dir)),
            [one, two, ..] => {
                let (one, two) = (one.toolchain().marker(), two.toolchain().marker());
                let message = format!("{} has a {one} and a {two}: it could be of either language", dir.display());
                Err(Error::user("UDF_LANGUAGE", message).help("keep functions of two languages in two folders"))
            }
        }
    }

    /// Puts the SDK where the project looks for it, if it looks beside itself and finds none or another one.
    pub(super) fn put_sdk(&self) -> Result<()> {
        let wants = std::fs::read_to_string(self.dir.join(self.language.toolchain().marker()));
        if wants.is_ok_and(|text| text.contains(super::embedded::DIR)) {
            return super::embedded::put_sdk(self.language, &self.dir);
        }
        Ok(())
    }

    /// The command that runs its tests in its own language.
    ///
    /// # Errors
    /// When the SDK cannot be put beside it, or a tool is missing.
    pub fn tests(&self) -> Result<Command> {
        self.put_sdk()?;
        self.language.toolchain().tests(&self.dir)
    }
}

fn nothing(dir: &Path) -> Error {
    let markers: Vec<&str> = Language::ALL.iter().map(|language| language.toolchain().marker()).collect();
    let why = if dir.is_dir() {
        format!("there is none of {} in it", markers.join(", "))
    } else {
        "there is no such directory".to_owned()
    };
    Error::user("UDF_BUILD", format!("{} is not the directory of a function: {why}", dir.display()))
        .help("give the directory of the function, or make one: `thalweg udf new rust my-function`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_of_the_language_whose_file_it_has() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        assert_eq!(Project::at(dir.path()).err().map(|e| e.code), Some("UDF_BUILD"));
        for language in Language::ALL {
            let marker = dir.path().join(language.toolchain().marker());
            std::fs::write(&marker, "")?;
            assert_eq!(Project::at(dir.path())?.language, language);
            assert_eq!(Language::parse(language.name())?, language);
            std::fs::remove_file(marker)?;
        }
        assert_eq!(Language::parse("cobol").err().map(|e| e.code), Some("UDF_LANGUAGE"));
        Ok(())
    }
}
