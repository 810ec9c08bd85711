//! One question to an HTTP server, and its answer: as much of a client as a schema registry needs.
//!
//! No TLS, no redirects, a bound on the time and on the size of the answer. Runs on a thread of its own, so that whoever asks
//! may be anywhere.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// How long a question may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Size of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What a registry speaks.
const KIND: &str = "application/vnd.schemaregistry.v1+json";

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// `http://host:port/path`.
    pub url: String,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// What is posted; without it the question is a GET.
    pub body: Option<String>,
}

/// Asks; gives the status and the answer.
///
/// # Errors
/// A sentence on why there is no answer.
pub(super) fn ask(question: Question) -> Result<(u16, Vec<u8>), String> {
    let thread = std::thread::Builder::new().name("schema-registry".to_owned());
    let asking = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("there is no event loop: {e}"))?;
        runtime.block_on(async {
            let answer = tokio::time::timeout(TIMEOUT, answer(&question)).await;
            answer.unwrap_or_else(|_| Err(format!("there was no answer for {} s", TIMEOUT.as_secs())))
        })
    });
    let asking = asking.map_err(|e| format!("a thread could not be started: {e}"))?;
    asking.join().unwrap_or_else(|_| Err("the client panicked".to_owned()))
}

async fn answer(question: &Question) -> Result<(u16, Vec<u8>), String> {
    let url: Uri = question.url.parse().map_err(|e| format!("{:?} is no URL: {e}", question.url))?;
    let host = url.host().ok_or_else(|| format!("{:?} names no host", question.url))?;
    let port = url.port_u16().unwrap_or(80);
    let stream = tokio::net::TcpStream::connect((host, port)).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let method = if question.body.is_some() { Method::POST } else { Method::GET };
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request =
        Request::builder().method(method).uri(path).header(HOST, format!("{host}:{port}")).header(ACCEPT, KIND);
    if let Some(authorization) = &question.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if question.body.is_some() {
        request = request.header(CONTENT_TYPE, KIND);
    }
    let body = Full::new(Bytes::from(question.body.clone().unwrap_or_default()));
    let request = request.body(body).map_err(|e| e.to_string())?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
        Ok((status, body.to_bytes().to_vec()))
    };
    // the connection moves only while it is asked to
    let mut connection = std::pin::pin!(connection);
    let mut talk = std::pin::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        ended = &mut connection => match ended {
            Ok(()) => talk.await,
            Err(e) => Err(e.to_string()),
        },
    }
}
