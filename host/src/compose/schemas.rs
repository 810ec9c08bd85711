//! The schema registries that jobs may ask: those that whoever runs the process allows.
//!
//! In: the properties of the command line, and the address in a pipeline. Out: a client, one per registry, shared by all who ask it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_core::error::{Error, Result};
use thalweg_io::format::{Access, Address, SchemaRegistry};

/// Registries by address.
#[derive(Debug)]
pub struct Schemas {
    allowed: Vec<Address>,
    access: Access,
    open: Mutex<Vec<(Vec<Address>, Arc<SchemaRegistry>)>>,
}

impl Schemas {
    /// `properties` are those of whoever runs the process: `schema.registry.url` (several with commas between them), and those of
    /// [`Access`].
    ///
    /// # Errors
    /// `KAFKA_REGISTRY_CONFIG`, `KAFKA_REGISTRY_URL`.
    pub fn new(properties: &BTreeMap<String, String>) -> Result<Self> {
        let urls = properties.get("schema.registry.url").filter(|urls| !urls.trim().is_empty());
        let allowed = urls.map(|urls| Address::list(urls)).transpose()?.unwrap_or_default();
        Ok(Self { allowed, access: Access::of(properties)?, open: Mutex::default() })
    }

    /// The registry at an address, where one is named.
    ///
    /// # Errors
    /// As for [`Schemas::registry`].
    pub fn of(&self, urls: Option<&str>) -> Result<Option<Arc<SchemaRegistry>>> {
        urls.map(|urls| self.registry(urls)).transpose()
    }

    /// The registry at an address, or at several with commas between them. Nothing is asked yet.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY_REFUSED` for one that is not allowed, `KAFKA_REGISTRY_URL`, `KAFKA_REGISTRY_CONFIG`.
    pub fn registry(&self, urls: &str) -> Result<Arc<SchemaRegistry>> {
        let addresses = Address::list(urls)?.into_iter().map(|address| self.allowed(address));
        let addresses = addresses.collect::<Result<Vec<_>>>()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, registry)) = open.iter().find(|(known, _)| *known == addresses) {
            return Ok(Arc::clone(registry));
        }
        let registry = Arc::new(SchemaRegistry::new(&addresses, &self.access)?);
        open.push((addresses, Arc::clone(&registry)));
        Ok(registry)
    }

    /// An address as it may be asked: with the login that was given with leave, if it has none of its own.
    fn allowed(&self, address: Address) -> Result<Address> {
        let Some(allowed) = self.allowed.iter().find(|allowed| allowed.url == address.url) else {
            let what = format!("a pipeline may not have the schema registry {:?} asked", address.url);
            let help = "allow it where the job runs: -X schema.registry.url=URL on the command line";
            return Err(Error::user("KAFKA_REGISTRY_REFUSED", what).help(help));
        };
        Ok(address.or_login_of(allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_of_the_command_line_are_asked() -> Result<()> {
        let properties = [("schema.registry.url".to_owned(), "http://a:1, http://b:2/".to_owned())];
        let schemas = Schemas::new(&properties.into())?;
        let first = schemas.registry("http://b:2")?;
        assert!(Arc::ptr_eq(&first, &schemas.registry("http://b:2/")?), "one client");
        assert!(schemas.registry("http://b:2,http://a:1").is_ok(), "one with two addresses");
        let error = schemas.registry("http://b:2,http://me:secret@c:3").expect_err("not allowed");
        assert!(error.code == "KAFKA_REGISTRY_REFUSED" && error.message.contains("http://c:3"), "{error}");
        assert!(!error.message.contains("secret"), "{error}");
        let wrong = [("basic.auth.user.info".to_owned(), "me".to_owned())];
        assert_eq!(Schemas::new(&wrong.into()).err().map(|e| e.code), Some("KAFKA_REGISTRY_CONFIG"));
        Ok(())
    }
}
