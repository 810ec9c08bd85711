//! The client's side.

use super::service::{CODE, HELP, TRACE};
use super::{DeployRequest, Deployed, RollBackRequest, StatusRequest};
use thalweg_core::error::{Domain, Error, Result};
use thalweg_proto::deploy::deploy_service_client::DeployServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Asks a server.
#[derive(Clone, Debug)]
pub struct DeployClient(DeployServiceClient<Channel>);

impl DeployClient {
    /// Connects to a server, `host:port`.
    ///
    /// # Errors
    /// `DEPLOY_SERVER` when nobody answers there.
    pub async fn connect(server: &str) -> Result<Self> {
        let failed = |why: String| {
            Error::external("DEPLOY_SERVER", format!("cannot reach a server at {server}: {why}"))
                .help("start one by `thalweg serve`, or say where it is by --server HOST:PORT")
        };
        let endpoint = Endpoint::from_shared(format!("http://{server}")).map_err(|e| failed(e.to_string()))?;
        let channel = endpoint.connect().await.map_err(|e| failed(e.to_string()))?;
        Ok(Self(DeployServiceClient::new(channel)))
    }

    /// Deploys; gives the epoch behind which the version runs.
    ///
    /// # Errors
    /// What the server says; `DEPLOY_SERVER` when it is gone.
    pub async fn deploy(&mut self, request: DeployRequest) -> Result<u64> {
        self.0.deploy(request).await.map(|answer| answer.into_inner().epoch).map_err(|s| error(&s))
    }

    /// Rolls back; gives the epoch behind which the old version runs alone.
    ///
    /// # Errors
    /// As for [`DeployClient::deploy`].
    pub async fn roll_back(&mut self, request: RollBackRequest) -> Result<u64> {
        self.0.roll_back(request).await.map(|answer| answer.into_inner().epoch).map_err(|s| error(&s))
    }

    /// What runs.
    ///
    /// # Errors
    /// As for [`DeployClient::deploy`].
    pub async fn status(&mut self, request: StatusRequest) -> Result<Vec<Deployed>> {
        self.0.status(request).await.map(|answer| answer.into_inner().deployed).map_err(|s| error(&s))
    }
}

/// The server's error. Its code is a part of the message: codes of ours are known at build time, those of another version are not.
fn error(status: &Status) -> Error {
    let text = |name: &str| {
        let value = status.metadata().get_bin(name).and_then(|value| value.to_bytes().ok());
        value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    let code = status.metadata().get(CODE).and_then(|code| code.to_str().ok());
    match code {
        Some(code) => {
            let domain = if status.code() == Code::FailedPrecondition { Domain::User } else { Domain::External };
            let message = format!("{code}: {}", status.message());
            Error::new("DEPLOY_REFUSED", domain, message).help(text(HELP)).trace(text(TRACE))
        }
        None => Error::external("DEPLOY_SERVER", format!("the server does not deploy: {}", status.message()))
            .help("the server's version must be that of this program"),
    }
}
