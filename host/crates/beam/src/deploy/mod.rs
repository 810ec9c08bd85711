//! Replacing functions of running jobs over gRPC: a service of ours, beside Beam's services on their port, and its client.
//!
//! In: requests. Out: calls of a [`Deployer`], whose errors travel with their code, message and help. It does not know what a
//! component is.

mod client;
mod service;

pub use client::DeployClient;
pub use service::{Deployer, add_to};

pub use thalweg_proto::deploy::{DeployRequest, Deployed, RollBackRequest, StatusRequest, Trial};
