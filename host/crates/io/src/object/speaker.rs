//! Speaks with a store over our own client: the library makes requests and understands answers, and has no transport of its own here.

use super::hash::Hashes;
use super::heard::Heard;
use super::place::{Kind, Place};
use crate::http::{Bounds, Client, Failure, Trust};
use async_trait::async_trait;
use http_body_util::BodyExt as _;
use hyper::Request;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;
use thalweg_core::error::{Error, Result};

/// How long a store that does not answer, or says that it is overloaded, is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest pause in between.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take beside the time that its bytes need.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Bytes a second of the slowest way to a store that is taken for one.
const BYTES_PER_SECOND: u64 = 128 << 10;
/// Bytes of an answer: a chunk of an object, or a page of names.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A file of authorities, as Amazon's own tools call it.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The store of a place, as the environment says.
///
/// # Errors
/// `OBJECT_STORE_CONFIG`.
pub(super) fn open(place: &Place, heard: &Arc<Heard>) -> Result<Arc<dyn ObjectStore>> {
    let unusable = |why: String| {
        Error::user("OBJECT_STORE_CONFIG", format!("{} cannot be used: {why}", place.url()))
            .help("check what the environment says of the store: AWS_*, GOOGLE_* or AZURE_*")
    };
    let authorities =
        std::env::var_os(CA_BUNDLE).filter(|file| !file.is_empty() && place.kind == Kind::S3).map(Into::into);
    let client = Client::new(&Trust { authorities, ..Trust::default() }).map_err(&unusable)?;
    let speaker = Speaker { client, heard: Arc::clone(heard), plain: false };
    let mut retry = RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() };
    retry.backoff = BackoffConfig { max_backoff: PAUSE_MAX, ..retry.backoff };
    let hashes = Arc::new(Hashes);
    let made: object_store::Result<Arc<dyn ObjectStore>> = match place.kind {
        Kind::S3 => {
            let store = AmazonS3Builder::from_env().with_bucket_name(&place.bucket).with_retry(retry);
            store.with_crypto_provider(hashes).with_http_connector(speaker).build().map(|store| Arc::new(store) as _)
        }
        Kind::Google => {
            let store = GoogleCloudStorageBuilder::from_env().with_bucket_name(&place.bucket).with_retry(retry);
            store.with_crypto_provider(hashes).with_http_connector(speaker).build().map(|store| Arc::new(store) as _)
        }
        Kind::Azure => {
            let store = MicrosoftAzureBuilder::from_env().with_container_name(&place.bucket).with_retry(retry);
            store.with_crypto_provider(hashes).with_http_connector(speaker).build().map(|store| Arc::new(store) as _)
        }
    };
    made.map_err(|e| unusable(e.to_string()))
}

/// Makes requests.
#[derive(Clone, Debug)]
struct Speaker {
    client: Client,
    heard: Arc<Heard>,
    /// Whether it speaks without TLS.
    plain: bool,
}

impl HttpConnector for Speaker {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|allowed| allowed == "true");
        Ok(HttpClient::new(Self { plain, ..self.clone() }))
    }
}

#[async_trait]
impl HttpService for Speaker {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let host = head.uri.authority().map(ToString::to_string).unwrap_or_default();
        let body = body.collect().await?.to_bytes();
        let told = if head.uri.scheme_str() == Some("http") && !self.plain {
            Err(Failure::Unasked("it is no https:// address, and speaking without TLS is not allowed".to_owned()))
        } else {
            let seconds = (body.len() as u64).max(super::transfer::CHUNK_BYTES) / BYTES_PER_SECOND;
            let bounds = Bounds { within: ANSWER_WITHIN + Duration::from_secs(seconds), bytes_max: ANSWER_BYTES_MAX };
            self.client.ask(Request::from_parts(head, body), bounds).await
        };
        match told {
            Ok(answer) => {
                self.heard.answer(&answer);
                Ok(answer.map(Into::into))
            }
            Err(why) => {
                self.heard.silence(&host, &why);
                Err(HttpError::new(kind(&why), why))
            }
        }
    }
}

/// What may be tried again: what was surely not sent, or does no harm twice.
fn kind(why: &Failure) -> HttpErrorKind {
    match why {
        Failure::Unreachable(_) => HttpErrorKind::Connect,
        Failure::Slow(_) => HttpErrorKind::Timeout,
        Failure::Cut(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}
