//! Clients that were told of a cluster without brokers are told again where to begin.
//!
//! A broker that its controller takes for dead for a moment answers that there are no brokers. librdkafka then forgets those it knew, and may never look for
//! them again (its issue 5301). In: clients, as they are made. Out: one thread for all of them looks at what each was told last; one that knows nobody is given
//! its `bootstrap.servers` anew. Brokers that are merely away are librdkafka's business. The thread ends with the last client.

use super::native::{Native, begin_again, knows_brokers};
use super::thread::spawn;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often clients are looked at: so long a job may stand still.
const LOOK: Duration = Duration::from_secs(2);
/// How long a client that was given its servers is left to itself at most; it begins with [`LOOK`], and doubles. librdkafka keeps all that it was given.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// A client, and where it begins.
struct Watched {
    client: Weak<dyn Native>,
    servers: CString,
    /// When it is looked at next, and how long after that if it knows nobody then.
    due: Instant,
    pause: Duration,
}

#[derive(Default)]
struct Clients {
    all: Vec<Watched>,
    /// Whether there is a thread that looks.
    watched: bool,
}

static CLIENTS: Mutex<Clients> = Mutex::new(Clients { all: Vec::new(), watched: false });

fn clients() -> MutexGuard<'static, Clients> {
    CLIENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks after a client as long as it lives.
pub(super) fn watch<T: Native + 'static>(client: &Arc<T>, servers: &str) {
    let Ok(servers) = CString::new(servers) else { return };
    let client: Weak<T> = Arc::downgrade(client);
    let mut clients = clients();
    clients.all.push(Watched { client, servers, due: Instant::now() + LOOK, pause: LOOK });
    if !clients.watched {
        // without a thread clients are as librdkafka has them; the next one tries again
        clients.watched = spawn("kafka-found", run).is_ok();
    }
}

/// Looks, until there are no clients left.
fn run() {
    loop {
        std::thread::sleep(LOOK);
        let now = Instant::now();
        let mut clients = clients();
        clients.all.retain(|watched| watched.client.strong_count() > 0);
        clients.watched = !clients.all.is_empty();
        if !clients.watched {
            return;
        }
        let held: Vec<_> = clients.all.iter_mut().filter_map(|watched| watched.look(now)).collect();
        // their owners may have let go of them meanwhile: they end behind the lock
        drop(clients);
        held.into_iter().for_each(end);
    }
}

impl Watched {
    /// Looks at a client that is due, and gives it back.
    fn look(&mut self, now: Instant) -> Option<Arc<dyn Native>> {
        if self.due > now {
            return None;
        }
        let client = self.client.upgrade()?;
        if knows_brokers(client.as_ref()) {
            self.pause = LOOK;
        } else {
            tracing::debug!(target: "kafka", "a client knows no broker, and begins anew at {:?}", self.servers);
            begin_again(client.as_ref(), &self.servers);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        self.due = now + self.pause;
        Some(client)
    }
}

/// Lets go of a client; if nobody else has it, on a thread of its own, for librdkafka may wait for its end.
fn end(client: Arc<dyn Native>) {
    if Arc::strong_count(&client) == 1 {
        drop(spawn("kafka-client-end", move || drop(client)));
    }
}
