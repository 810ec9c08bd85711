//! Which places the clients of a server may name: it writes and reads them with its own rights.

use super::Place;
use super::place::refused;
use std::path::{Component, Path};
use thalweg_core::error::{Error, Result};
use thalweg_io::object::is_scheme;

/// Places that clients may name.
#[derive(Clone, Debug, Default)]
pub enum Places {
    /// All of them: clients are who runs the server, or could read and write them anyway through pipelines.
    #[default]
    Anywhere,
    /// Those below a directory or prefix.
    Below(Root),
    /// None: nobody said which, and clients may be anybody.
    Nowhere,
}

/// What places must be below.
#[derive(Clone, Debug)]
pub struct Root {
    text: String,
    place: Place,
}

impl Places {
    /// Those below a directory or prefix alone; a path that is not whole begins there.
    ///
    /// # Errors
    /// `SAVEPOINT_PLACE`, `OBJECT_STORE_CONFIG`.
    pub fn below(root: &str) -> Result<Self> {
        let place = Place::read(root)?;
        Ok(Self::Below(Root { text: place.to_string(), place }))
    }

    /// The place that a client means, whole. Without a root a path that is not whole begins in the client's `directory`, or in that of this process.
    ///
    /// # Errors
    /// `SAVEPOINT_REFUSED` for one that is not below the root, `SAVEPOINT_PLACE`, `OBJECT_STORE_CONFIG`.
    pub fn meant(&self, text: &str, directory: Option<&str>) -> Result<String> {
        let relative = is_relative(text);
        let root = match self {
            Self::Below(root) => root,
            Self::Anywhere => {
                let from = directory.filter(|directory| relative && !text.is_empty() && !directory.is_empty());
                let text =
                    from.map_or_else(|| text.to_owned(), |from| Path::new(from).join(text).display().to_string());
                return super::whole(&text);
            }
            Self::Nowhere => {
                let what =
                    "clients of this server may use no savepoints: it listens to other machines, and nobody said where";
                return Err(Error::user("SAVEPOINT_REFUSED", what).help("start the server with --savepoint-dir"));
            }
        };
        let text = if relative && !text.is_empty() { format!("{}/{text}", root.text) } else { text.to_owned() };
        let place = Place::read(&text)?;
        if root.holds(&place) {
            return Ok(place.to_string());
        }
        let what = format!("clients of this server may not use the savepoint {text:?}: it is not below {}", root.text);
        Err(Error::user("SAVEPOINT_REFUSED", what)
            .help("give a name without a slash in front, which is meant there, or start the server with another --savepoint-dir"))
    }
}

/// Whether it is a path that is not whole.
fn is_relative(text: &str) -> bool {
    !text.contains("://") && !text.starts_with('/')
}

impl Root {
    fn holds(&self, place: &Place) -> bool {
        match (&self.place, place) {
            (Place::Directory(root), Place::Directory(place)) => {
                let plain = |part: Component<'_>| part != Component::ParentDir;
                let path = place.path();
                path.starts_with(root.path()) && path != root.path() && path.components().all(plain)
            }
            (Place::Remote(root), Place::Remote(place)) => {
                place.to_string().strip_prefix(&root.to_string()).is_some_and(|rest| rest.starts_with('/'))
            }
            _ => false,
        }
    }
}

/// What a client says for a place: a path of this machine is made whole if there is something, or if it says so by a dot in front; what else is no
/// URL is left to the server.
///
/// # Errors
/// `SAVEPOINT_PLACE`.
pub fn said(text: &str) -> Result<String> {
    if text.is_empty() {
        return Err(refused(text, "it is empty"));
    }
    let dotted = Path::new(text)
        .components()
        .next()
        .is_some_and(|part| matches!(part, Component::CurDir | Component::ParentDir));
    // stores are the server's to know, with its environment
    let remote = text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme));
    let name = is_relative(text) && !dotted && !Path::new(text).exists();
    if remote || name { Ok(text.to_owned()) } else { super::whole(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(meant: Result<String>) -> &'static str {
        meant.err().map_or("", |e| e.code)
    }

    #[test]
    fn what_is_not_below_the_root_is_refused() -> Result<()> {
        let places = Places::below("/saved/here/")?;
        for (text, meant) in [
            ("daily", "/saved/here/daily"),
            ("a/b", "/saved/here/a/b"),
            ("/saved/here/x", "/saved/here/x"),
            ("file:///saved/here/x", "/saved/here/x"),
        ] {
            assert_eq!(places.meant(text, Some("/else/where"))?, meant);
        }
        for text in [
            "..",
            ".",
            "../x",
            "a/../../x",
            "/saved/here",
            "/saved/hereafter/x",
            "/etc/x",
            "/saved/here/../x",
            "file:///etc/x",
            "s3://saved/here/x",
        ] {
            assert_eq!(code(places.meant(text, Some("/saved/here"))), "SAVEPOINT_REFUSED", "{text}");
        }
        assert_eq!(code(places.meant("", None)), "SAVEPOINT_PLACE");
        Ok(())
    }

    #[test]
    fn a_prefix_of_a_store_is_a_root_as_well() -> Result<()> {
        let places = Places::below("s3://bucket/team")?;
        assert_eq!(places.meant("daily", None)?, "s3://bucket/team/daily");
        assert_eq!(places.meant("s3://bucket/team/a/b", None)?, "s3://bucket/team/a/b");
        for text in
            ["s3://bucket/team", "s3://bucket/teams/x", "s3://other/team/x", "gs://bucket/team/x", "/bucket/team/x"]
        {
            assert_eq!(code(places.meant(text, None)), "SAVEPOINT_REFUSED", "{text}");
        }
        assert_eq!(code(places.meant("../x", None)), "OBJECT_STORE_CONFIG");
        Ok(())
    }

    #[test]
    fn nowhere_is_nowhere() {
        assert_eq!(code(Places::Nowhere.meant("daily", None)), "SAVEPOINT_REFUSED");
    }

    #[test]
    fn without_a_root_paths_begin_where_the_client_is() -> Result<()> {
        let places = Places::default();
        assert_eq!(places.meant("daily", Some("/else/where"))?, "/else/where/daily");
        assert_eq!(places.meant("/x/y", Some("/else/where"))?, "/x/y");
        assert!(places.meant("daily", None)?.starts_with('/'));
        Ok(())
    }

    #[test]
    fn a_client_leaves_names_to_the_server() -> Result<()> {
        assert_eq!(said("no-such-thing-here")?, "no-such-thing-here");
        assert_eq!(said("s3://b/x")?, "s3://b/x");
        for text in ["./x", "../x", "/x", "Cargo.toml"] {
            assert!(said(text)?.starts_with('/'), "{text}");
        }
        assert_eq!(code(said("")), "SAVEPOINT_PLACE");
        Ok(())
    }
}
