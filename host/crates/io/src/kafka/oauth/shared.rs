//! One token for all clients of the same login.
//!
//! In: clients, as they are made. Out: each has a token, and is given the next one before that ends, whether anybody polls it or not; the
//! endpoint is asked once for all of them. A thread per login renews, and ends with the last client.

use super::super::native::{Native, give};
use super::super::thread::spawn;
use super::endpoint::Endpoint;
use super::settings::Settings;
use super::token::Token;
use crate::kafka::source::clock_ms;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use thalweg_core::error::{Error, Result};

/// Logins that are kept: a process has as many as it has configurations.
const LOGINS_MAX: usize = 64;
/// How long a refusal stands for whoever asks next: clients are made one behind the other.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// How often it is looked whether there are clients left.
const LOOK_MS: i64 = 1000;
/// How long after a token could not be renewed that is tried again.
const AGAIN_MS: i64 = 5000;
/// Nobody begins with a token that ends sooner.
const LEFT_MS: i64 = 1000;

/// The login with these settings, for all that have them.
///
/// # Errors
/// `KAFKA_CONFIG`.
pub(in super::super) fn login(settings: &Settings) -> Result<Arc<Login>> {
    static LOGINS: Mutex<Vec<Arc<Login>>> = Mutex::new(Vec::new());
    let mut logins = locked(&LOGINS);
    if let Some(login) = logins.iter().find(|login| login.settings == *settings) {
        return Ok(Arc::clone(login));
    }
    let login = Arc::new(Login::new(settings)?);
    if logins.len() >= LOGINS_MAX {
        // those that nobody uses go; one that finds no room is its clients' alone
        logins.retain(|login| Arc::strong_count(login) > 1);
    }
    if logins.len() < LOGINS_MAX {
        logins.push(Arc::clone(&login));
    }
    Ok(login)
}

/// A login.
pub(in super::super) struct Login {
    settings: Settings,
    endpoint: Endpoint,
    /// Held by the one that asks.
    asking: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    refused: Option<(Instant, Error)>,
    clients: Vec<Weak<dyn Native>>,
    /// Whether there is a thread that renews.
    renewing: bool,
}

impl Login {
    fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            settings: settings.clone(),
            endpoint: Endpoint::new(settings)?,
            asking: Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Has a token ready. Blocks while the endpoint is asked, for a bounded time.
    ///
    /// # Errors
    /// `KAFKA_AUTH`, `KAFKA_TOKEN`.
    pub fn prepare(&self) -> Result<()> {
        if let Some(known) = self.known() {
            return known;
        }
        let turn = locked(&self.asking);
        // the one before may have been told
        match self.known() {
            Some(known) => known,
            None => self.renew(turn),
        }
    }

    /// Gives a client that was just made the token, and those that come after it.
    ///
    /// # Errors
    /// `KAFKA_TOKEN`; `THREAD_START`.
    pub fn keep<T: Native + 'static>(self: &Arc<Self>, client: &Arc<T>) -> Result<()> {
        let mut state = locked(&self.state);
        if let Some(token) = &state.token {
            self.give(client.as_ref(), token)?;
        }
        let weak = Arc::downgrade(client);
        state.clients.retain(|client| client.strong_count() > 0);
        state.clients.push(weak);
        if !state.renewing {
            let this = Arc::clone(self);
            spawn("kafka-token", move || this.run())?;
            state.renewing = true;
        }
        Ok(())
    }

    fn known(&self) -> Option<Result<()>> {
        let state = locked(&self.state);
        if state.token.as_ref().is_some_and(|token| token.ends_ms > clock_ms().saturating_add(LEFT_MS)) {
            return Some(Ok(()));
        }
        let (at, error) = state.refused.as_ref()?;
        (at.elapsed() < REFUSED_FOR).then(|| Err(error.clone()))
    }

    /// Asks for a token, for all clients.
    fn renew(&self, _turn: MutexGuard<'_, ()>) -> Result<()> {
        let answer = self.endpoint.token();
        // the owner of a client may let go of it meanwhile: it then ends here, and after the lock
        let clients: Vec<Arc<dyn Native>>;
        let mut state = locked(&self.state);
        let token = answer.inspect_err(|error| state.refused = Some((Instant::now(), error.clone())))?;
        clients = state.clients.iter().filter_map(Weak::upgrade).collect();
        let given = clients.iter().map(|client| self.give(client.as_ref(), &token)).fold(Ok(()), Result::and);
        (state.token, state.refused) = (Some(token), None);
        given
    }

    fn give(&self, client: &dyn Native, token: &Token) -> Result<()> {
        let principal = token.subject.as_ref().unwrap_or(&self.settings.client);
        give(client, token, principal, &self.settings.extensions)
    }

    /// Renews the token in time, until there are no clients left.
    fn run(&self) {
        let mut next = 0;
        loop {
            let Some(due) = self.due() else { return };
            let wait = due.max(next).saturating_sub(clock_ms());
            if wait > 0 {
                std::thread::sleep(Duration::from_millis(wait.clamp(1, LOOK_MS).unsigned_abs()));
                continue;
            }
            let turn = locked(&self.asking);
            // whoever had the turn before may have renewed it
            if self.due().is_some_and(|due| due <= clock_ms())
                && let Err(error) = self.renew(turn)
            {
                tracing::warn!(target: "kafka", "a token could not be renewed and the old one is used while it lasts: {error}");
                next = clock_ms().saturating_add(AGAIN_MS);
            }
        }
    }

    /// When the token is to be renewed; `None` if nobody needs it, and then this thread ends.
    fn due(&self) -> Option<i64> {
        let mut state = locked(&self.state);
        state.clients.retain(|client| client.strong_count() > 0);
        state.renewing = !state.clients.is_empty();
        state.renewing.then(|| state.token.as_ref().map_or(0, |token| token.renewed_ms))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::super::client::{KafkaClientConfig, Reports, made};
    use crate::http::testing::Server;
    use rdkafka::consumer::BaseConsumer;
    use rdkafka::producer::BaseProducer;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn config(server: &Server, secret: &str) -> KafkaClientConfig {
        let mut config = KafkaClientConfig::new("127.0.0.1:1");
        for (name, value) in [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.token.endpoint.url", server.url().as_str()),
            ("sasl.oauthbearer.client.id", "me"),
            ("sasl.oauthbearer.client.secret", secret),
            ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1"),
        ] {
            config.properties.insert(name.to_owned(), value.to_owned());
            config.properties_allowed.push(name.to_owned());
        }
        config
    }

    fn asked(server: &Server, times: usize) {
        let end = Instant::now() + Duration::from_secs(10);
        while server.asked().len() < times {
            assert!(Instant::now() < end, "asked {} times of {times}", server.asked().len());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn clients_of_one_login_share_a_token_that_is_renewed_while_one_of_them_lives() {
        let server = Server::start(None, |_| (200, r#"{"access_token": "abc", "expires_in": 4}"#.to_owned()));
        let settings = config(&server, "hunter2").client().expect("accepted");
        let consumer: Arc<BaseConsumer<Reports>> = made(&settings, Reports::default()).expect("a client");
        let producers: Vec<Arc<BaseProducer<Reports>>> =
            (0..5).map(|_| made(&settings, Reports::default()).expect("a client")).collect();
        assert_eq!(server.asked().len(), 1);
        drop(consumer);
        asked(&server, 2);
        drop(producers);
        std::thread::sleep(Duration::from_secs(1));
        let so_far = server.asked().len();
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(server.asked().len(), so_far, "for nobody");
        let other = config(&server, "another").client().expect("accepted");
        let _other: Arc<BaseProducer<Reports>> = made(&other, Reports::default()).expect("a client");
        assert_eq!(server.asked().len(), so_far + 1, "another login has another token");
    }

    #[test]
    fn a_refusal_is_told_to_all_who_ask_and_asked_for_once() {
        let server = Server::start(None, |_| (401, String::new()));
        let settings = config(&server, "hunter2").client().expect("accepted");
        for _ in 0..3 {
            let refused = made::<BaseProducer<Reports>, _>(&settings, Reports::default()).err().expect("refused");
            assert_eq!(refused.code, "KAFKA_AUTH");
        }
        assert_eq!(server.asked().len(), 1);
    }
}
