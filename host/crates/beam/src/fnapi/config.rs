//! The Fn API server's limits: one typed value each, with its unit and the reason for its default.

use super::environment::Allowed;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Limits and addresses of an [`FnApiServer`](super::FnApiServer).
#[derive(Clone, Debug)]
pub struct FnApiConfig {
    /// Where to listen. Default: any free port of the loopback interface.
    pub listen: SocketAddr,
    /// The address workers are told, `host:port`; empty (the default) means the one listened on. A worker in a container
    /// or on another machine may have to use another name for it.
    pub advertise: String,
    /// Largest message taken from a worker, in bytes. A Python worker flushes an output at 10 MiB but never splits one
    /// element, so this bounds the largest element. Default: 256 MiB.
    pub message_bytes_max: usize,
    /// Input is sent in messages that are closed once they hold so many bytes. Default: 2 MiB: SDKs set no limit of their
    /// own, and a Python worker keeps at most five unread messages of a bundle.
    pub chunk_bytes: usize,
    /// A reply to a state request is closed once it holds so many bytes; the worker asks for the rest. Default: 1 MiB.
    pub state_page_bytes: usize,
    /// A grouped value with more bytes is sent page by page to a worker that can take it so: the first page goes with the
    /// element. Default: 4 MiB: below, asking costs more than the bytes do.
    pub iterable_inline_bytes: usize,
    /// Bundles of one stage and shard that a worker may have at once. Default: 8: the Python SDK runs 2 to 3 times as many
    /// small bundles with 8 in flight as with one, and its threads are unlimited.
    pub bundles_in_flight: u32,
    /// Events that may wait for one shard before the worker's stream is no longer read. Default: 256.
    pub events_max: usize,
    /// Bytes of outputs that may wait for one shard before the worker's stream is no longer read; a single larger output
    /// still passes. Default: 64 MiB.
    pub event_bytes_max: usize,
    /// Bytes of state and timers that the bundles of one shard may have written before they are over; they are in memory until then. A cell that is written
    /// again counts once. Default: 1 GiB: several times what a bundle of the usual size writes, and what a machine can spare.
    pub state_bytes_max: usize,
    /// How long a worker may take from the order to start until it is connected. Default: 120 s: importing a large model
    /// library takes a minute on a busy machine.
    pub start_timeout: Duration,
    /// How long a worker pool that does not answer is tried. Default: 10 s: it runs before its address is known.
    pub pool_timeout: Duration,
    /// How many times in a row a lost worker is started again; one that has finished a bundle, or stayed up for
    /// `restart_window`, is forgiven: what of its input kills it, the engine finds out by bundle. Default: 3.
    pub restarts_max: u32,
    /// See `restarts_max`. Default: 60 s.
    pub restart_window: Duration,
    /// How often a worker that has metrics of its own is asked for them. Default: 2 s: nobody looks more often.
    pub harness_metrics_every: Duration,
    /// A bundle that has taken no element for so long is reported once, with what its worker says of itself. Default: 5 min,
    /// as long as SDKs take to complain themselves.
    pub stuck_after: Duration,
    /// How long the worker pool may take to stop a worker, and a worker's process to end. Default: 5 s.
    pub stop_timeout: Duration,
    /// What of this machine may be used for workers. Default: nothing.
    pub allowed: Allowed,
    /// Whether messages about failed bundles show the element that failed, cut short. Default: yes.
    pub show_elements: bool,
}

impl Default for FnApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: String::new(),
            message_bytes_max: 256 << 20,
            chunk_bytes: 2 << 20,
            state_page_bytes: 1 << 20,
            iterable_inline_bytes: 4 << 20,
            bundles_in_flight: 8,
            events_max: 256,
            event_bytes_max: 64 << 20,
            state_bytes_max: 1 << 30,
            start_timeout: Duration::from_secs(120),
            pool_timeout: Duration::from_secs(10),
            restarts_max: 3,
            restart_window: Duration::from_secs(60),
            harness_metrics_every: Duration::from_secs(2),
            stuck_after: Duration::from_secs(300),
            stop_timeout: Duration::from_secs(5),
            allowed: Allowed::default(),
            show_elements: true,
        }
    }
}
