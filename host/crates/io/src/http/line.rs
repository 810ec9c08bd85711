//! One connection to a server, over TLS or not.

use super::{Failure, Trust};
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use openssl::ssl::SslConnector;
use openssl::x509::X509VerifyResult;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use tower_service::Service;

/// How long a connection may take to come about.
const WITHIN: Duration = Duration::from_secs(10);

/// What is read and written.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A connection.
pub(super) type Line = Pin<Box<dyn Duplex>>;

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Dial {
    tls: SslConnector,
    any_name: bool,
}

impl Dial {
    /// # Errors
    /// A sentence on the file that cannot be used.
    pub fn new(trust: &Trust) -> Result<Self, String> {
        Ok(Self { tls: trust.connector()?, any_name: trust.any_name })
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Line>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let connected = tokio::time::timeout(WITHIN, this.connect(&url)).await;
            connected
                .unwrap_or_else(|_| Err(Failure::Unreachable(format!("nobody answered for {} s", WITHIN.as_secs()))))
        })
    }
}

impl Dial {
    async fn connect(&self, url: &Uri) -> Result<TokioIo<Line>, Failure> {
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Failure::Unasked("the address is no http:// or https:// one".to_owned())),
        };
        let host = url.host().ok_or_else(|| Failure::Unasked("the address names no host".to_owned()))?;
        // as it stands in an address: [::1]
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let unreachable = |e: std::io::Error| Failure::Unreachable(e.to_string());
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let line: Line = if secure { self.greet(host, stream).await? } else { Box::pin(stream) };
        Ok(TokioIo::new(line))
    }

    async fn greet(&self, host: &str, stream: TcpStream) -> Result<Line, Failure> {
        let mut settings = self.tls.configure().map_err(|e| Failure::Tls(e.to_string()))?;
        settings.set_verify_hostname(!self.any_name);
        let ssl = settings.into_ssl(host).map_err(|e| Failure::Tls(e.to_string()))?;
        let mut stream = Box::pin(SslStream::new(ssl, stream).map_err(|e| Failure::Tls(e.to_string()))?);
        if let Err(error) = stream.as_mut().connect().await {
            let verified = stream.ssl().verify_result();
            return Err(Failure::Tls(if verified == X509VerifyResult::OK {
                error.to_string()
            } else {
                format!("the certificate of {host} is not trusted: {}", verified.error_string())
            }));
        }
        Ok(stream)
    }
}
