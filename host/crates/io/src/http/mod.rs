//! Questions to HTTP servers, over TLS or not: as much of a client as schema registries, object stores and token endpoints need.
//!
//! In: a request, and bounds for its answer. Out: the whole answer whatever its status, or why there is none. Connections are kept for the next
//! question. No redirects, no proxies, no HTTP/2. Knows nothing of what is asked.

mod line;
#[cfg(test)]
pub(crate) mod testing;
mod trust;

pub use trust::{Keys, Trust};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use line::Dial;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a connection is kept that nobody uses: less than servers and what stands between do.
const IDLE: Duration = Duration::from_secs(20);
/// Connections to one host that are kept.
const IDLE_MAX: usize = 8;
/// Threads that move bytes; who waits for an answer waits elsewhere.
const THREADS: usize = 2;

/// Why there is no answer. What it says holds no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// No connection came about.
    Unreachable(String),
    /// The other side is not who it should be, or speaks no TLS.
    Tls(String),
    /// There was no whole answer in this time.
    Slow(Duration),
    /// The connection broke, or what came was no HTTP.
    Cut(String),
    /// The answer is larger than so many bytes.
    TooLarge(usize),
    /// The question cannot be asked.
    Unasked(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Slow(within) => write!(f, "there was no answer for {} s", within.as_secs()),
            Self::Cut(why) => write!(f, "the connection broke: {why}"),
            Self::TooLarge(most) => write!(f, "the answer has more than {most} bytes"),
            Self::Unasked(why) => f.write_str(why),
        }
    }
}

impl StdError for Failure {}

/// What an answer may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time from the question, with the connection if there is none yet, to the last byte.
    pub within: Duration,
    /// Bytes of its body.
    pub bytes_max: usize,
}

/// A client. Copies share their connections.
///
/// It works in [`wait`], whose threads keep its connections.
#[derive(Clone)]
pub struct Client(legacy::Client<Dial, Full<Bytes>>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// A client that trusts these authorities. Nothing is asked yet.
    ///
    /// # Errors
    /// A sentence on the file that cannot be used.
    pub fn new(trust: &Trust) -> Result<Self, String> {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_MAX);
        Ok(Self(builder.build(Dial::new(trust)?)))
    }

    /// Asks. A status that tells of a failure is an answer, without its body if that is too large: what matters is who refuses.
    ///
    /// # Errors
    /// Why there is no answer. If the connection broke, the question may have been obeyed.
    pub async fn ask(&self, question: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, Failure> {
        let talk = async {
            let answer = self.0.request(question.map(Full::new)).await.map_err(|e| failure(&e))?;
            let (head, body) = answer.into_parts();
            let body = match Limited::new(body, bounds.bytes_max).collect().await {
                Ok(body) => body.to_bytes(),
                Err(e) if !e.is::<http_body_util::LengthLimitError>() => return Err(Failure::Cut(causes(e.as_ref()))),
                Err(_) if head.status.is_success() => return Err(Failure::TooLarge(bounds.bytes_max)),
                Err(_) => Bytes::new(),
            };
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(bounds.within, talk).await.unwrap_or(Err(Failure::Slow(bounds.within)))
    }
}

/// What the client says, in our words if they are behind it.
fn failure(error: &legacy::Error) -> Failure {
    let mut cause = StdError::source(error);
    while let Some(found) = cause {
        if let Some(failure) = found.downcast_ref::<Failure>() {
            return failure.clone();
        }
        cause = found.source();
    }
    Failure::Cut(causes(error))
}

/// An error with what is behind it.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let all: Vec<String> =
        std::iter::successors(Some(error), |error| StdError::source(*error)).map(ToString::to_string).collect();
    all.join(": ")
}

/// Waits for something that talks to servers. May be called anywhere but inside of `work` itself: it blocks the thread, and needs none of
/// an event loop's.
///
/// # Errors
/// When there are no threads for it, or it panicked.
pub fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Failure> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("http").enable_all().build().map_err(|e| e.to_string())
    });
    let runtime = runtime.as_ref().map_err(|why| Failure::Unasked(format!("there is no event loop: {why}")))?;
    let (done, result) = sync_channel(1);
    runtime.spawn(async move {
        // whoever waits does so until this is told
        drop(done.send(work.await));
    });
    result.recv().map_err(|_| Failure::Unasked("the client panicked".to_owned()))
}

/// A text as part of a path or a form. Source: RFC 3986 (2.3).
pub fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::testing::{Authority, Server};
    use super::*;

    const BOUNDS: Bounds = Bounds { within: Duration::from_secs(10), bytes_max: 1000 };

    fn ask(client: &Client, url: &str, bounds: Bounds) -> Result<String, Failure> {
        let question = Request::get(url).body(Bytes::new()).expect("a question");
        let client = client.clone();
        let answer = wait(async move { client.ask(question, bounds).await }).expect("threads")?;
        Ok(format!("{} {}", answer.status().as_u16(), String::from_utf8_lossy(answer.body())))
    }

    fn trusting(authority: &Authority) -> Client {
        Client::new(&Trust { authorities: Some(authority.file()), ..Trust::default() }).expect("a client")
    }

    #[test]
    fn a_server_whose_authority_is_trusted_is_asked_over_one_connection() {
        let authority = Authority::new();
        let server = Server::start(Some(&authority), |path| (200, path.to_owned()));
        let client = trusting(&authority);
        for path in ["/one", "/two"] {
            assert_eq!(ask(&client, &format!("{}{path}", server.url()), BOUNDS), Ok(format!("200 {path}")));
        }
        assert_eq!(server.connections(), 1);
        let by_number = server.url().replace("localhost", "127.0.0.1");
        assert_eq!(ask(&client, &format!("{by_number}/ip"), BOUNDS), Ok("200 /ip".to_owned()));
    }

    #[test]
    fn a_server_is_asked_without_tls_where_the_address_says_so() {
        let server = Server::start(None, |path| (404, path.to_owned()));
        let client = Client::new(&Trust::default()).expect("a client");
        assert_eq!(ask(&client, &format!("{}/x", server.url()), BOUNDS), Ok("404 /x".to_owned()));
    }

    #[test]
    fn who_is_not_who_it_should_be_is_told_nothing() {
        let (authority, other) = (Authority::new(), Authority::new());
        let server = Server::start(Some(&authority), |path| (200, path.to_owned()));
        let tls = |answer: Result<String, Failure>| match answer {
            Err(Failure::Tls(why)) => why,
            other => panic!("{other:?}"),
        };
        let unknown = tls(ask(&trusting(&other), &server.url(), BOUNDS));
        assert!(unknown.contains("certificate"), "{unknown}");
        let system = tls(ask(&Client::new(&Trust::default()).expect("a client"), &server.url(), BOUNDS));
        assert!(system.contains("certificate"), "{system}");
        // the certificate is of localhost and 127.0.0.1
        let elsewhere = server.url().replace("localhost", "127.0.0.2");
        let name = tls(ask(&trusting(&authority), &elsewhere, BOUNDS));
        assert!(name.contains("mismatch"), "{name}");
        let trust = Trust { authorities: Some(authority.file()), any_name: true, ..Trust::default() };
        assert!(ask(&Client::new(&trust).expect("a client"), &elsewhere, BOUNDS).is_ok());
        let plain = Server::start(None, |path| (200, path.to_owned()));
        let no_tls = tls(ask(&trusting(&authority), &plain.url().replace("http://", "https://"), BOUNDS));
        assert!(!no_tls.is_empty());
        assert_eq!(server.asked(), ["/"], "the one whose name was not asked for");
    }

    #[test]
    fn a_client_shows_its_certificate_where_it_has_one() {
        let authority = Authority::new();
        let server = Server::start_for_known(&authority, |path| (200, path.to_owned()));
        assert!(ask(&trusting(&authority), &server.url(), BOUNDS).is_err());
        let keys = Some(authority.keys());
        let trust = Trust { authorities: Some(authority.file()), keys, ..Trust::default() };
        let client = Client::new(&trust).expect("a client");
        assert_eq!(ask(&client, &format!("{}/me", server.url()), BOUNDS), Ok("200 /me".to_owned()));
    }

    #[test]
    fn time_and_size_of_an_answer_are_bounded() {
        let server = Server::start(None, |path| {
            if path == "/slow" {
                std::thread::sleep(Duration::from_millis(1500));
            }
            (if path == "/gone" { 404 } else { 200 }, "x".repeat(2000))
        });
        let client = Client::new(&Trust::default()).expect("a client");
        let within = Duration::from_millis(300);
        assert_eq!(
            ask(&client, &format!("{}/slow", server.url()), Bounds { within, ..BOUNDS }),
            Err(Failure::Slow(within))
        );
        assert_eq!(ask(&client, &server.url(), BOUNDS), Err(Failure::TooLarge(1000)));
        assert_eq!(ask(&client, &format!("{}/gone", server.url()), BOUNDS), Ok("404 ".to_owned()));
        let nobody = ask(&client, "http://127.0.0.1:1/", BOUNDS);
        assert!(matches!(&nobody, Err(Failure::Unreachable(why)) if why.contains("refused")), "{nobody:?}");
        let nowhere = ask(&client, "ftp://127.0.0.1/", BOUNDS);
        assert!(matches!(nowhere, Err(Failure::Unasked(_))), "{nowhere:?}");
    }

    #[test]
    fn an_answer_that_is_cut_off_is_none() {
        let server = Server::start_cutting();
        let client = Client::new(&Trust::default()).expect("a client");
        let answer = ask(&client, &server.url(), BOUNDS);
        assert!(matches!(answer, Err(Failure::Cut(_))), "{answer:?}");
    }

    #[test]
    fn texts_are_written_as_paths_and_forms_have_them() {
        assert_eq!(encoded("a b:%+&=é~"), "a%20b%3A%25%2B%26%3D%C3%A9~");
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let missing = Trust { authorities: Some("/no/ca.pem".into()), ..Trust::default() };
        assert!(Client::new(&missing).expect_err("no file").contains("/no/ca.pem"));
        let file = tempfile::NamedTempFile::new().expect("a file");
        let empty = Trust { authorities: Some(file.path().to_owned()), ..Trust::default() };
        assert!(Client::new(&empty).expect_err("no certificate").contains("no certificate"));
    }
}
