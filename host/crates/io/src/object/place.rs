//! Where objects are: a kind of store, a bucket, a prefix.

use super::named;
use object_store::path::Path as Name;
use thalweg_core::error::{Error, Result};

/// A kind of store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Amazon S3, and what speaks like it.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage; a bucket is called a container there.
    Azure,
}

/// Schemes of addresses, and what they mean.
const SCHEMES: [(&str, Kind); 5] =
    [("s3", Kind::S3), ("s3a", Kind::S3), ("gs", Kind::Google), ("az", Kind::Azure), ("abfs", Kind::Azure)];

/// Whether a scheme is that of an object store.
///
/// ```
/// assert!(thalweg_io::object::is_scheme("s3") && !thalweg_io::object::is_scheme("file"));
/// ```
#[must_use]
pub fn is_scheme(scheme: &str) -> bool {
    SCHEMES.iter().any(|(known, _)| *known == scheme)
}

/// An address of objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    scheme: &'static str,
    pub kind: Kind,
    pub bucket: String,
    /// Without slashes around it; empty for the whole bucket.
    prefix: Name,
}

impl Place {
    /// Reads `scheme://bucket/prefix`.
    ///
    /// # Errors
    /// `OBJECT_STORE_CONFIG`.
    pub fn read(url: &str) -> Result<Self> {
        let refused = |why: &str| {
            Error::user("OBJECT_STORE_CONFIG", format!("{url:?} is no place in an object store: {why}"))
                .help("write s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; who and where else stands in the environment")
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refused("it has no scheme"))?;
        let known = SCHEMES.iter().find(|(known, _)| *known == scheme);
        let (scheme, kind) = known.ok_or_else(|| refused("its scheme is not known"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if bucket.is_empty() || !bucket.bytes().all(plain) {
            return Err(refused("what stands behind the scheme is no name of a bucket"));
        }
        let prefix = named(prefix.trim_end_matches('/')).map_err(|why| refused(&why))?;
        Ok(Self { scheme, kind: *kind, bucket: bucket.to_owned(), prefix })
    }

    /// What all names begin with.
    pub fn prefix(&self) -> Option<&Name> {
        Some(&self.prefix).filter(|prefix| !prefix.as_ref().is_empty())
    }

    /// The object of a name below the prefix.
    ///
    /// # Errors
    /// `OBJECT_STORE_CONFIG` for what cannot be a name.
    pub fn name(&self, below: &str) -> Result<Name> {
        let whole = if self.prefix.as_ref().is_empty() { below.to_owned() } else { format!("{}/{below}", self.prefix) };
        named(&whole).map_err(|why| {
            Error::user("OBJECT_STORE_CONFIG", format!("{below:?} is no name of an object: {why}"))
                .help("rename it: parts of a name are neither empty nor . nor ..")
        })
    }

    /// The name of an object below the prefix.
    pub fn below(&self, object: &Name) -> Option<String> {
        let mut parts = object.prefix_match(&self.prefix)?.peekable();
        parts.peek()?;
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }

    /// The address as it was given.
    pub fn url(&self) -> String {
        let (scheme, bucket) = (self.scheme, &self.bucket);
        if self.prefix.as_ref().is_empty() {
            format!("{scheme}://{bucket}")
        } else {
            format!("{scheme}://{bucket}/{}", self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() -> Result<()> {
        for (url, bucket, clean) in [
            ("s3://b/x/y/", "b", "s3://b/x/y"),
            ("s3a://b.c-d", "b.c-d", "s3a://b.c-d"),
            ("gs://b/", "b", "gs://b"),
            ("az://c/x y", "c", "az://c/x y"),
        ] {
            let place = Place::read(url)?;
            assert_eq!((place.bucket.as_str(), place.url().as_str()), (bucket, clean));
        }
        for url in ["s3://", "s3:///x", "b/x", "ftp://b/x", "s3://b/../x", "s3://b/x//y", "s3://a:b@c/x", "s3://b/./x"]
        {
            assert_eq!(Place::read(url).err().map(|e| e.code), Some("OBJECT_STORE_CONFIG"), "{url}");
        }
        Ok(())
    }

    #[test]
    fn names_are_those_below_the_prefix() -> Result<()> {
        let place = Place::read("s3://b/x")?;
        let name = place.name("db/1.sst")?;
        assert_eq!((name.as_ref(), place.below(&name).as_deref()), ("x/db/1.sst", Some("db/1.sst")));
        assert_eq!(place.below(&Name::from("xy/1")), None);
        assert_eq!(place.below(&Name::from("x")), None);
        assert_eq!(Place::read("s3://b")?.name("1")?.as_ref(), "1");
        assert_eq!(place.name("../y").err().map(|e| e.code), Some("OBJECT_STORE_CONFIG"));
        Ok(())
    }
}
