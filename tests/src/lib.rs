//! What the acceptance tests share. They drive the `thalweg` binary as its users do and look only at what users see: exit
//! codes, what is printed, files, topics. Nothing here knows the product's crates.
//!
//! `scripts/test.sh` says where things are (`THALWEG_BINARY`, `THALWEG_PYTHON`, `THALWEG_COMPONENTS`, `THALWEG_KAFKA`); without it the places
//! of `make build`, `make guests` and `make setup` are used.

pub mod broker;
pub mod child;
pub mod cluster;
pub mod diagnosis;
pub mod embedded;
pub mod flights;
mod http;
pub mod ledger;
pub mod lines;
pub mod network;
pub mod objects;
pub mod place;
pub mod python;
pub mod random;
pub mod registry;
pub mod server;
pub mod tokens;
pub mod watchdog;
