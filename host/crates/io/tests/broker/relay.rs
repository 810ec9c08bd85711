//! What stands between clients and a broker, and lets requests wait: as a network does that is slow to some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Broker;

/// API keys of requests. Source: the protocol guide of Kafka.
pub const PRODUCE: i16 = 0;
pub const END_TXN: i16 = 26;
/// From the coordinator to the brokers: what was decided is not written yet.
pub const WRITE_TXN_MARKERS: i16 = 27;
pub const TXN_OFFSET_COMMIT: i16 = 28;

/// A relay on a port of its own. It lives until the process ends.
pub struct Relay {
    listener: TcpListener,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What waits.
    held: BTreeSet<i16>,
    /// Requests that wait, each with where it is to go.
    waiting: Vec<(i16, Vec<u8>, TcpStream)>,
    /// Requests that came, by their kind.
    came: BTreeMap<i16, usize>,
}

impl Relay {
    pub(super) fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").expect("a port"), state: Arc::default() }
    }

    /// `bootstrap.servers` of who is to be relayed.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().expect("its port").port()
    }

    /// Relays to a broker from now on.
    pub(super) fn run(&self, broker: u16) {
        let (listener, state) = (self.listener.try_clone().expect("a listener"), Arc::clone(&self.state));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // one that is away has clients hung up on
                let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let (mut answers, mut to) =
                    (broker.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                thread::spawn(move || {
                    copy(&mut answers, &mut to).unwrap_or_default();
                    to.shutdown(Shutdown::Both).unwrap_or_default();
                });
                let state = Arc::clone(&state);
                thread::spawn(move || requests(client, broker, &state));
            }
        });
    }

    /// Lets requests of these kinds wait, and others overtake them.
    pub fn hold(&self, kinds: &[i16]) {
        self.lock().held.extend(kinds);
    }

    /// Sends on those of a kind that wait.
    pub fn release(&self, kind: i16) {
        let mut state = self.lock();
        state.held.remove(&kind);
        let (now, later) = std::mem::take(&mut state.waiting).into_iter().partition(|(of, ..)| *of == kind);
        state.waiting = later;
        let now: Vec<(i16, Vec<u8>, TcpStream)> = now;
        for (_, request, mut broker) in now {
            broker.write_all(&request).unwrap_or_default(); // who sent it may be gone
        }
    }

    /// Kills a broker while a request of this kind waits, which is lost, and starts it again; then none waits any more.
    pub fn kill_at(&self, kind: i16, broker: &Broker) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.waiting(kind) == 0 {
            assert!(Instant::now() < end, "no request of kind {kind} came");
            thread::sleep(Duration::from_millis(2));
        }
        broker.kill();
        let mut state = self.lock();
        (state.held, state.waiting) = Default::default();
        drop(state);
        broker.start_again();
    }

    /// How many of a kind wait.
    pub fn waiting(&self, kind: i16) -> usize {
        self.lock().waiting.iter().filter(|(of, ..)| *of == kind).count()
    }

    /// How many of a kind came so far.
    pub fn came(&self, kind: i16) -> usize {
        self.lock().came.get(&kind).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes requests one by one, until the client hangs up: `size (4), API key (2), ...`.
fn requests(mut client: TcpStream, mut broker: TcpStream, state: &Mutex<State>) -> Option<()> {
    loop {
        let mut size = [0; 4];
        client.read_exact(&mut size).ok()?;
        let mut request = size.to_vec();
        request.resize(4 + u32::from_be_bytes(size) as usize, 0);
        client.read_exact(request.get_mut(4..)?).ok()?;
        let kind = i16::from_be_bytes([*request.get(4)?, *request.get(5)?]);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        *state.came.entry(kind).or_default() += 1;
        if state.held.contains(&kind) {
            state.waiting.push((kind, request, broker.try_clone().ok()?));
        } else {
            broker.write_all(&request).ok()?;
        }
    }
}
