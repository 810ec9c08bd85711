//! Whose certificates are believed, and which is shown.
//!
//! The library is our own and does not know where this system keeps its authorities: they are looked for where systems have them, and where
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` say.

use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use std::path::{Path, PathBuf};

/// Whom a client trusts, and who it says it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trust {
    /// A file of certificates in PEM: those of the authorities that are believed, and no others. Without it the system's.
    pub authorities: Option<PathBuf>,
    /// The client's own certificate.
    pub keys: Option<Keys>,
    /// Whether a certificate may be that of another host.
    pub any_name: bool,
}

/// A certificate of one's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// A file in PEM: the certificate, and those between it and an authority.
    pub certificate: PathBuf,
    /// A file in PEM: its key.
    pub key: PathBuf,
    /// What the key is encrypted with.
    pub password: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // without the password
        f.debug_struct("Keys").field("certificate", &self.certificate).field("key", &self.key).finish()
    }
}

impl Trust {
    /// # Errors
    /// A sentence on the file that cannot be used.
    pub(super) fn connector(&self) -> Result<SslConnector, String> {
        let broken = |e: openssl::error::ErrorStack| format!("TLS cannot be used: {e}");
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(broken)?;
        match &self.authorities {
            Some(file) => believe(&mut builder, file)?,
            None => {
                let found = openssl_probe::probe();
                if let Some(file) = &found.cert_file {
                    believe(&mut builder, file)?;
                } else if let Some(dir) = found.cert_dir.iter().find(|dir| dir.to_str().is_some()) {
                    builder.load_verify_locations(None, Some(dir.as_path())).map_err(broken)?;
                }
            }
        }
        if let Some(keys) = &self.keys {
            show(&mut builder, keys)?;
        }
        Ok(builder.build())
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))
}

/// Has the authorities of a file believed, and nobody else.
fn believe(builder: &mut SslConnectorBuilder, file: &Path) -> Result<(), String> {
    let unusable = |e: openssl::error::ErrorStack| format!("cannot use {}: {e}", file.display());
    let certificates = X509::stack_from_pem(&read(file)?).map_err(unusable)?;
    if certificates.is_empty() {
        return Err(format!("there is no certificate in PEM in {}", file.display()));
    }
    let mut store = X509StoreBuilder::new().map_err(unusable)?;
    for certificate in certificates {
        store.add_cert(certificate).map_err(unusable)?;
    }
    builder.set_cert_store(store.build());
    Ok(())
}

fn show(builder: &mut SslConnectorBuilder, keys: &Keys) -> Result<(), String> {
    let file = &keys.certificate;
    let unusable = |e: openssl::error::ErrorStack| format!("cannot use {}: {e}", file.display());
    let mut chain = X509::stack_from_pem(&read(file)?).map_err(unusable)?.into_iter();
    let own = chain.next().ok_or_else(|| format!("there is no certificate in PEM in {}", file.display()))?;
    builder.set_certificate(&own).map_err(unusable)?;
    chain.try_for_each(|next| builder.add_extra_chain_cert(next)).map_err(unusable)?;
    let pem = read(&keys.key)?;
    // never asked for on a terminal: an empty one is given where there is none
    let key = PKey::private_key_from_pem_passphrase(&pem, keys.password.as_deref().unwrap_or_default().as_bytes());
    // what the library says of a key is left out
    let key = key.map_err(|_| format!("{} holds no key in PEM that can be read", keys.key.display()))?;
    let fits = builder.set_private_key(&key).and_then(|()| builder.check_private_key());
    fits.map_err(|_| format!("the key in {} is not that of the certificate in {}", keys.key.display(), file.display()))
}
