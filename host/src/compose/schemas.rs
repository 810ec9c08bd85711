//! The schema registries that jobs may ask: those that whoever runs the process allows.
//!
//! In: the properties of the command line, and the address in a pipeline. Out: a client, one per registry, shared by all who ask it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thalweg_core::error::{Error, Result};
use thalweg_io::format::SchemaRegistry;

/// Registries by address.
#[derive(Debug)]
pub struct Schemas {
    allowed: Vec<String>,
    login: Option<String>,
    open: Mutex<BTreeMap<String, Arc<SchemaRegistry>>>,
}

fn clean(url: &str) -> &str {
    url.trim().trim_end_matches('/')
}

impl Schemas {
    /// `properties` are those of whoever runs the process: `schema.registry.url` (several with commas between them) and
    /// `basic.auth.user.info`.
    #[must_use]
    pub fn new(properties: &BTreeMap<String, String>) -> Self {
        let urls = properties.get("schema.registry.url").map_or("", String::as_str).split(',');
        let allowed = urls.map(|url| clean(url).to_owned()).filter(|url| !url.is_empty()).collect();
        Self { allowed, login: properties.get("basic.auth.user.info").cloned(), open: Mutex::default() }
    }

    /// The registry at an address, where one is named.
    ///
    /// # Errors
    /// As for [`Schemas::registry`].
    pub fn of(&self, url: Option<&str>) -> Result<Option<Arc<SchemaRegistry>>> {
        url.map(|url| self.registry(url)).transpose()
    }

    /// The registry at an address. Nothing is asked yet.
    ///
    /// # Errors
    /// `KAFKA_REGISTRY_REFUSED` for one that is not allowed, `KAFKA_REGISTRY_URL`.
    pub fn registry(&self, url: &str) -> Result<Arc<SchemaRegistry>> {
        let url = clean(url);
        if !self.allowed.iter().any(|allowed| allowed == url) {
            let what = format!("a pipeline may not have the schema registry {url:?} asked");
            let help = "allow it where the job runs: -X schema.registry.url=URL on the command line";
            return Err(Error::user("KAFKA_REGISTRY_REFUSED", what).help(help));
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = open.get(url) {
            return Ok(Arc::clone(registry));
        }
        let registry = Arc::new(SchemaRegistry::new(url, self.login.as_deref())?);
        open.insert(url.to_owned(), Arc::clone(&registry));
        Ok(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_of_the_command_line_are_asked() -> Result<()> {
        let properties = [("schema.registry.url".to_owned(), "http://a:1, http://b:2/".to_owned())];
        let schemas = Schemas::new(&properties.into());
        let first = schemas.registry("http://b:2")?;
        assert!(Arc::ptr_eq(&first, &schemas.registry("http://b:2/")?), "one client");
        let error = schemas.registry("http://c:3").expect_err("not allowed");
        assert!(error.code == "KAFKA_REGISTRY_REFUSED" && error.message.contains("http://c:3"), "{error}");
        Ok(())
    }
}
