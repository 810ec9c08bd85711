//! Clients that know no broker any more are told again where to begin.
//!
//! A broker that its controller takes for dead for a moment answers that there are none. librdkafka then forgets those it knew, and may never look for them
//! again (its issue 5301). In: clients, as they are made. Out: one thread for all of them asks each now and then whether it finds brokers; one that does not
//! is given its `bootstrap.servers` anew. The thread ends with the last client.

use super::native::{Native, begin_again, finds_brokers};
use super::thread::spawn;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long after a client has found brokers it is asked again.
const EVERY: Duration = Duration::from_secs(10);
/// How long an answer may take: others wait for it.
const WITHIN: Duration = Duration::from_millis(500);
/// How often it is looked who is to be asked.
const LOOK: Duration = Duration::from_secs(1);

/// A client, and where it begins.
struct Watched {
    client: Weak<dyn Native>,
    servers: CString,
    /// When it is asked next.
    due: Instant,
}

#[derive(Default)]
struct Clients {
    all: Vec<Watched>,
    /// Whether there is a thread that asks.
    asking: bool,
}

static CLIENTS: Mutex<Clients> = Mutex::new(Clients { all: Vec::new(), asking: false });

fn clients() -> MutexGuard<'static, Clients> {
    CLIENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks after a client as long as it lives.
pub(super) fn watch<T: Native + 'static>(client: &Arc<T>, servers: &str) {
    let Ok(servers) = CString::new(servers) else { return };
    let client: Weak<T> = Arc::downgrade(client);
    let mut clients = clients();
    clients.all.push(Watched { client, servers, due: Instant::now() + EVERY });
    if !clients.asking {
        // without a thread clients are as librdkafka has them; the next one tries again
        clients.asking = spawn("kafka-found", run).is_ok();
    }
}

/// Asks, until there are no clients left.
fn run() {
    loop {
        std::thread::sleep(LOOK);
        let Some(due) = due(Instant::now()) else { return };
        for (client, servers) in due {
            if !finds_brokers(client.as_ref(), WITHIN) {
                tracing::debug!(target: "kafka", "a client finds no broker, and begins anew at {servers:?}");
                begin_again(client.as_ref(), &servers);
            }
            // its owner may have let go of it meanwhile, and librdkafka may wait for its end
            if Arc::strong_count(&client) == 1 {
                drop(spawn("kafka-client-end", move || drop(client)));
            }
        }
    }
}

/// Who is to be asked now; `None` if nobody is left, and then the thread ends.
fn due(now: Instant) -> Option<Vec<(Arc<dyn Native>, CString)>> {
    let mut clients = clients();
    clients.all.retain(|watched| watched.client.strong_count() > 0);
    clients.asking = !clients.all.is_empty();
    let asked = clients.all.iter_mut().filter(|watched| watched.due <= now).filter_map(|watched| {
        watched.due = now + EVERY;
        Some((watched.client.upgrade()?, watched.servers.clone()))
    });
    let asked = asked.collect();
    clients.asking.then_some(asked)
}
