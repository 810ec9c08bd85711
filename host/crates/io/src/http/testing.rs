//! A server in this process, for tests, over TLS or not, and an authority that signs its certificate.

use super::Keys;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509NameBuilder};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

/// An authority, with a certificate for this machine.
pub(crate) struct Authority {
    dir: TempDir,
    own: X509,
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let signer = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
        let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
        let own = certificate("an authority", &signer, None);
        let certificate = certificate("this machine", &key, Some((&own, &signer)));
        std::fs::write(dir.path().join("ca.pem"), own.to_pem().expect("PEM")).expect("a file");
        std::fs::write(dir.path().join("own.pem"), certificate.to_pem().expect("PEM")).expect("a file");
        std::fs::write(dir.path().join("own.key"), key.private_key_to_pem_pkcs8().expect("PEM")).expect("a file");
        Self { dir, own, certificate, key }
    }

    /// Its certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The certificate that it signed.
    pub fn keys(&self) -> Keys {
        Keys { certificate: self.dir.path().join("own.pem"), key: self.dir.path().join("own.key"), password: None }
    }
}

fn certificate(name: &str, key: &PKey<Private>, signed: Option<(&X509, &PKey<Private>)>) -> X509 {
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    let subject = subject.build();
    let mut number = BigNum::new().expect("a number");
    number.rand(64, MsbOption::ONE, false).expect("a number");
    let mut made = X509::builder().expect("a certificate");
    made.set_version(2).expect("a version");
    made.set_serial_number(&number.to_asn1_integer().expect("a number")).expect("a number");
    made.set_subject_name(&subject).expect("a name");
    made.set_issuer_name(signed.map_or(&*subject, |(by, _)| by.subject_name())).expect("a name");
    made.set_not_before(&Asn1Time::days_from_now(0).expect("a day")).expect("a day");
    made.set_not_after(&Asn1Time::days_from_now(2).expect("a day")).expect("a day");
    made.set_pubkey(key).expect("a key");
    if signed.is_none() {
        made.append_extension(BasicConstraints::new().critical().ca().build().expect("words")).expect("words");
    } else {
        let names =
            SubjectAlternativeName::new().dns("localhost").ip("127.0.0.1").build(&made.x509v3_context(None, None));
        made.append_extension(names.expect("names")).expect("names");
    }
    made.sign(signed.map_or(key, |(_, by)| by), MessageDigest::sha256()).expect("signed");
    made.build()
}

type Answer = dyn Fn(&str) -> (u16, String) + Send + Sync;

/// A server. It lives until the process ends.
pub(crate) struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Server {
    /// One that answers paths.
    pub fn start(
        authority: Option<&Authority>,
        answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self::begin(authority.map(|authority| acceptor(authority, false)), Some(Arc::new(answer)))
    }

    /// One that answers who shows a certificate of the authority.
    pub fn start_for_known(
        authority: &Authority,
        answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self::begin(Some(acceptor(authority, true)), Some(Arc::new(answer)))
    }

    /// One whose answers end in the middle.
    pub fn start_cutting() -> Self {
        Self::begin(None, None)
    }

    fn begin(tls: Option<SslAcceptor>, answer: Option<Arc<Answer>>) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let this =
            Self { url: format!("{scheme}://localhost:{port}"), asked: Arc::default(), connections: Arc::default() };
        let (asked, connections) = (Arc::clone(&this.asked), Arc::clone(&this.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, answer, asked) = (tls.clone(), answer.clone(), Arc::clone(&asked));
                connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let stream = greeted(tls.as_ref(), stream)?;
                    serve(stream, answer.as_deref(), &asked)
                });
            }
        });
        this
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Paths in their order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn acceptor(authority: &Authority, known: bool) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
    builder.set_certificate(&authority.certificate).expect("a certificate");
    builder.set_private_key(&authority.key).expect("a key");
    if known {
        let mut store = X509StoreBuilder::new().expect("a store");
        store.add_cert(authority.own.clone()).expect("a certificate");
        builder.set_cert_store(store.build());
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    builder.build()
}

fn greeted(tls: Option<&SslAcceptor>, stream: TcpStream) -> Option<Box<dyn Stream>> {
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    let mut stream = SslStream::new(Ssl::new(tls.context()).ok()?, stream).ok()?;
    stream.accept().ok()?;
    Some(Box::new(stream))
}

/// Answers questions without a body until the other side goes.
fn serve(stream: Box<dyn Stream>, answer: Option<&Answer>, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let path = line.split_whitespace().nth(1)?.to_owned();
        while !line.trim_end().is_empty() {
            line.clear();
            reader.read_line(&mut line).ok()?;
        }
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        let Some(answer) = answer else {
            return reader.get_mut().write_all(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf").ok();
        };
        let (status, body) = answer(&path);
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        reader.get_mut().write_all(text.as_bytes()).ok()?;
    }
}
