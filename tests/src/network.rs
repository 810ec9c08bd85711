//! A network of its own for one process, whose cable can be pulled.

use crate::broker::Broker;
use crate::child::{Run, Running};
use crate::{place, python};
use anyhow::{Context as _, Result};

/// A network namespace, joined to the machine by a pair of devices, with the broker at its usual address.
#[derive(Debug)]
pub struct Network {
    name: String,
    device: String,
    _forwarders: Vec<Running>,
}

impl Network {
    /// A network from which a broker can be reached; `None` where the system does not allow to make one.
    ///
    /// # Errors
    /// When it could be made, and not be set up.
    pub fn new(broker: &Broker) -> Result<Option<Self>> {
        let id = std::process::id();
        let (name, device) = (format!("thalweg-{id}"), format!("tw{id}"));
        if !ip(&["netns", "add", &name])? {
            return Ok(None);
        }
        let (inside, subnet) = (format!("tx{id}"), format!("10.{}.{}", 128 + id / 256 % 100, id % 256));
        let (here, there) = (format!("{subnet}.1"), format!("{subnet}.2"));
        let mut network = Self { name, device, _forwarders: Vec::new() };
        let name = network.name.clone();
        for words in [
            vec!["link", "add", &network.device, "type", "veth", "peer", "name", &inside],
            vec!["link", "set", &inside, "netns", &name],
            vec!["addr", "add", &format!("{here}/24"), "dev", &network.device],
            vec!["link", "set", &network.device, "up"],
            vec!["-n", &name, "addr", "add", &format!("{there}/24"), "dev", &inside],
            vec!["-n", &name, "link", "set", &inside, "up"],
            vec!["-n", &name, "link", "set", "lo", "up"],
        ] {
            anyhow::ensure!(ip(&words)?, "ip {}", words.join(" "));
        }
        let (host, port) = broker.bootstrap().split_once(':').context("a port")?;
        let program = place::file("tests/programs/forward.py");
        let outside = python::program("forward.py")?.args([&here, port, host, port]).limit(3600).start()?;
        let inside =
            network.run(&place::python()?)?.arg(program).args([host, port, &here, port]).limit(3600).start()?;
        network._forwarders = vec![outside, inside];
        Ok(Some(network))
    }

    /// A program in this network.
    ///
    /// # Errors
    /// Never now.
    pub fn run(&self, program: &std::path::Path) -> Result<Run> {
        Ok(Run::new("ip").args(["netns", "exec", &self.name]).arg(program))
    }

    /// Pulls the cable.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn cut(&self) -> Result<()> {
        anyhow::ensure!(ip(&["link", "set", &self.device, "down"])?, "the cable could not be pulled");
        Ok(())
    }

    /// Puts it back.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn heal(&self) -> Result<()> {
        anyhow::ensure!(ip(&["link", "set", &self.device, "up"])?, "the cable could not be put back");
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // what is left goes with the machine
        drop(ip(&["link", "del", &self.device]));
        drop(ip(&["netns", "del", &self.name]));
    }
}

/// Whether `ip` did it; where there is none, it did not.
fn ip(words: &[&str]) -> Result<bool> {
    Ok(Run::new("ip").args(words).end().is_ok_and(|ended| ended.code == Some(0)))
}
