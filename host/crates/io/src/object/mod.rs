//! Objects in stores like S3: whole files under names below an address.
//!
//! In: `s3://bucket/prefix` (`gs://`, `az://`), files, names. Out: objects that are whole or not there; files that are copied chunk by chunk, so that memory
//! is bounded whatever their size. Who may do that, where the store is and whose certificates count stand in the environment, under the names that each
//! store's users know. Every call blocks, and may be made anywhere but on an event loop's thread that must not be blocked. Knows nothing of what is in the files.

mod error;
mod hash;
mod heard;
mod place;
mod speaker;
mod transfer;

pub use place::is_scheme;

use error::Trouble;
use heard::Heard;
use object_store::path::Path as Name;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use place::Place;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use thalweg_core::error::Result;

/// Bytes of an object that is read in one piece.
const WHOLE_MAX: u64 = 16 << 20;

/// A store, and a prefix in it.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    place: Arc<Place>,
    heard: Arc<Heard>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Objects").field(&self.place.url()).finish()
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place.url())
    }
}

/// A file that was copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub digest: String,
}

impl Objects {
    /// The objects at an address. Nobody is asked yet.
    ///
    /// # Errors
    /// `OBJECT_STORE_CONFIG` for what is no such address, and for what the environment says and cannot be.
    pub fn open(url: &str) -> Result<Self> {
        let place = Arc::new(Place::read(url)?);
        let heard = Arc::new(Heard::default());
        let store = speaker::open(&place, &heard)?;
        Ok(Self { store, place, heard })
    }

    /// Whether there is nothing at the address. One page of a listing.
    ///
    /// # Errors
    /// `OBJECT_STORE_*`.
    pub fn is_empty(&self) -> Result<bool> {
        let this = self.clone();
        self.wait("list", async move {
            use futures_util::StreamExt as _;
            let mut found = this.store.list(this.place.prefix());
            Ok(found.next().await.transpose()?.is_none())
        })
    }

    /// Names below the address with their sizes.
    ///
    /// # Errors
    /// `OBJECT_STORE_*`.
    pub fn list(&self) -> Result<BTreeMap<String, u64>> {
        let this = self.clone();
        self.wait("list", async move {
            use futures_util::TryStreamExt as _;
            let mut found = this.store.list(this.place.prefix());
            let mut names = BTreeMap::new();
            while let Some(object) = found.try_next().await? {
                if let Some(name) = this.place.below(&object.location) {
                    names.insert(name, object.size);
                }
            }
            Ok(names)
        })
    }

    /// The content of a small object; `None` where there is none, or no bucket.
    ///
    /// # Errors
    /// `OBJECT_STORE_*`; `OBJECT_STORE_FAILED` also for one of more than 16 MiB.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let (this, at) = (self.clone(), self.place.name(name)?);
        self.wait(&format!("read {name} of"), async move {
            let found = match this.store.get(&at).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                found => found?,
            };
            if found.meta.size > WHOLE_MAX {
                return Err(Trouble::Other(format!("{} has {} bytes", at, found.meta.size)));
            }
            Ok(Some(found.bytes().await?.into()))
        })
    }

    /// Writes a small object, whole or not at all.
    ///
    /// # Errors
    /// `OBJECT_STORE_*`.
    pub fn write(&self, name: &str, content: Vec<u8>) -> Result<()> {
        let (this, at) = (self.clone(), self.place.name(name)?);
        self.wait(&format!("write {name} to"), async move {
            this.store.put(&at, PutPayload::from(content)).await?;
            Ok(())
        })
    }

    /// Makes an object of a file that nobody writes to: whole or not at all. Costs some chunks of memory (`transfer`).
    ///
    /// # Errors
    /// `OBJECT_STORE_*`, `OBJECT_STORE_FILE` for the file.
    pub fn send(&self, file: &Path, name: &str) -> Result<Copied> {
        let (this, at, file) = (self.clone(), self.place.name(name)?, file.to_owned());
        self.wait(&format!("write {name} to"), async move { transfer::send(&this.store, &at, &file).await })
    }

    /// Makes a file of an object of this size, and has the disk keep it. Costs some chunks of memory.
    ///
    /// # Errors
    /// `OBJECT_STORE_*`, `OBJECT_STORE_FILE` for the file. What is there then is not whole.
    pub fn fetch(&self, name: &str, size: u64, file: &Path) -> Result<Copied> {
        let (this, at, file) = (self.clone(), self.place.name(name)?, file.to_owned());
        self.wait(&format!("read {name} of"), async move { transfer::fetch(&this.store, &at, size, &file).await })
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// `OBJECT_STORE_*`.
    pub fn remove(&self, name: &str) -> Result<()> {
        let (this, at) = (self.clone(), self.place.name(name)?);
        self.wait(&format!("remove {name} from"), async move {
            match this.store.delete(&at).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Waits for the store; `what` was to be done with it.
    fn wait<T: Send + 'static>(
        &self,
        what: &str,
        work: impl Future<Output = std::result::Result<T, Trouble>> + Send + 'static,
    ) -> Result<T> {
        self.heard.forget();
        let done = crate::http::wait(work).unwrap_or_else(|e| Err(Trouble::Other(e.to_string())));
        done.map_err(|trouble| error::told(trouble, what, &self.place, &self.heard))
    }
}

/// The name of an object.
fn named(text: &str) -> std::result::Result<Name, String> {
    Name::parse(text).map_err(|e| e.to_string())
}
