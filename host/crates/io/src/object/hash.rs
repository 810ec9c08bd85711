//! Digests and signatures of requests, by the OpenSSL that is here already: the library that makes requests brings none.

use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer as Sign, SigningAlgorithm,
};
use openssl::error::ErrorStack;
use openssl::hash::{DigestBytes, Hasher, MessageDigest};
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

type Made<T> = object_store::Result<T>;

/// What requests are signed with.
#[derive(Debug)]
pub(super) struct Hashes;

fn failed(error: ErrorStack) -> object_store::Error {
    object_store::Error::Generic { store: "OpenSSL", source: Box::new(error) }
}

fn unknown() -> object_store::Error {
    object_store::Error::NotSupported { source: "a digest or signature that is not known here".into() }
}

fn digest(algorithm: &DigestAlgorithm) -> Made<MessageDigest> {
    match algorithm {
        DigestAlgorithm::Sha256 => Ok(MessageDigest::sha256()),
        _ => Err(unknown()),
    }
}

impl CryptoProvider for Hashes {
    fn digest(&self, algorithm: DigestAlgorithm) -> Made<Box<dyn DigestContext>> {
        let hasher = Hasher::new(digest(&algorithm)?).map_err(failed)?;
        Ok(Box::new(Digest { hasher, broken: None, made: None }))
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Made<Box<dyn HmacContext>> {
        let key = PKey::hmac(secret).map_err(failed)?;
        Ok(Box::new(Hmac { key, digest: digest(&algorithm)?, text: Vec::new(), made: Vec::new() }))
    }

    fn sign(&self, algorithm: SigningAlgorithm, pem: &[u8]) -> Made<Box<dyn Sign>> {
        match algorithm {
            SigningAlgorithm::RS256 => Ok(Box::new(Key(PKey::private_key_from_pem(pem).map_err(failed)?))),
            _ => Err(unknown()),
        }
    }
}

struct Digest {
    hasher: Hasher,
    broken: Option<ErrorStack>,
    made: Option<DigestBytes>,
}

impl DigestContext for Digest {
    fn update(&mut self, data: &[u8]) {
        if let Err(error) = self.hasher.update(data) {
            self.broken = Some(error);
        }
    }

    fn finish(&mut self) -> Made<&[u8]> {
        if let Some(error) = self.broken.take() {
            return Err(failed(error));
        }
        Ok(self.made.insert(self.hasher.finish().map_err(failed)?))
    }
}

/// What is signed so is short: the texts of requests, not their bodies.
struct Hmac {
    key: PKey<Private>,
    digest: MessageDigest,
    text: Vec<u8>,
    made: Vec<u8>,
}

impl HmacContext for Hmac {
    fn update(&mut self, data: &[u8]) {
        self.text.extend_from_slice(data);
    }

    fn finish(&mut self) -> Made<&[u8]> {
        let mut signer = Signer::new(self.digest, &self.key).map_err(failed)?;
        self.made = signer.sign_oneshot_to_vec(&self.text).map_err(failed)?;
        self.text.clear();
        Ok(&self.made)
    }
}

struct Key(PKey<Private>);

impl Sign for Key {
    fn sign(&self, text: &[u8]) -> Made<Vec<u8>> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.0).map_err(failed)?;
        signer.sign_oneshot_to_vec(text).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::rsa::Rsa;
    use openssl::sign::Verifier;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn digests_and_codes_are_those_of_the_standards() -> Made<()> {
        let mut digest = Hashes.digest(DigestAlgorithm::Sha256)?;
        digest.update(b"a");
        digest.update(b"bc");
        // FIPS 180-2, appendix B.1
        assert_eq!(hex(digest.finish()?), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        // RFC 4231, test case 2
        let mut code = Hashes.hmac(DigestAlgorithm::Sha256, b"Jefe")?;
        code.update(b"what do ya want ");
        code.update(b"for nothing?");
        assert_eq!(hex(code.finish()?), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        Ok(())
    }

    #[test]
    fn what_is_signed_is_verified_with_the_other_key() -> Made<()> {
        let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
        let pem = key.private_key_to_pem_pkcs8().expect("PEM");
        let signature = Hashes.sign(SigningAlgorithm::RS256, &pem)?.sign(b"claims")?;
        let mut verifier = Verifier::new(MessageDigest::sha256(), &key).expect("a verifier");
        assert_eq!(verifier.verify_oneshot(&signature, b"claims").ok(), Some(true));
        assert!(Hashes.sign(SigningAlgorithm::RS256, b"no key").is_err());
        Ok(())
    }
}
