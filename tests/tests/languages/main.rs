//! Stock Beam programs in Python, Go and Java and a Beam YAML file on one server. What they must give is worked out in `oracle`, or stands
//! in the test.
//!
//! `scripts/setup.sh languages` fetches the SDKs and builds the programs of `tests/languages`.

mod go;
mod java;
mod oracle;
mod python;
mod yaml;

use acceptance::server::Server;
use anyhow::Result;

/// The server that all these tests share, in as much as they are in one process.
fn endpoint() -> Result<String> {
    Server::shared().map(Server::endpoint)
}
