//! Connections: settings, which properties a pipeline may set, and what a client tells us beside the results of its calls.

use super::native::{self, Native};
use super::{error, found, oauth, properties, security};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode as Code;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thalweg_core::error::Result;

/// How to reach a Kafka cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaClientConfig {
    /// `bootstrap.servers`: `host:port`, separated by commas.
    pub bootstrap: String,
    /// Properties by librdkafka's names, verbatim; those of Java's clients are translated, or passed over with a warning where they
    /// mean nothing here (serializers, ...).
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// How long to wait for the first answer of a broker, in milliseconds. Default 10 s.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_ms: u32,
    /// Properties that name files, URLs or code, and may be set all the same. Never part of a pipeline: the operator's
    /// configuration says so.
    #[serde(skip)]
    pub properties_allowed: Vec<String>,
}

fn default_connect_timeout() -> u32 {
    10_000
}

impl std::fmt::Debug for KafkaClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // values may be secrets
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("KafkaClientConfig").field("bootstrap", &self.bootstrap).field("properties", &names).finish()
    }
}

impl KafkaClientConfig {
    /// Settings for a cluster without further properties.
    #[must_use]
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            properties: BTreeMap::new(),
            connect_timeout_ms: default_connect_timeout(),
            properties_allowed: Vec::new(),
        }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.connect_timeout_ms.max(1)))
    }

    /// The settings in librdkafka's form.
    ///
    /// # Errors
    /// `KAFKA_PROPERTY_REFUSED` for a property that names a file, a URL or code, or needs what this build does not have; `KAFKA_CONFIG` for a
    /// login that is not whole.
    pub(super) fn client(&self) -> Result<ClientConfig> {
        let mut client = ClientConfig::new();
        client.set("client.id", "thalweg");
        for (name, value) in &self.properties {
            let allowed = self.properties_allowed.contains(name);
            let words = match security::translated(name, value, &self.properties, allowed)? {
                Some(words) => words,
                None => properties::translated(name, value, allowed)?,
            };
            for (name, value) in words {
                client.set(name, value);
            }
        }
        security::complete(&mut client)?;
        client.set("bootstrap.servers", &self.bootstrap);
        // connections that are closed in their first moment are told at this level, and nothing else says why
        client.set_log_level(RDKafkaLogLevel::Info);
        Ok(client)
    }
}

/// What a client reports beside the results of its calls.
#[derive(Default)]
pub(super) struct Reports {
    /// Why the client as a whole has trouble.
    reason: Mutex<Reason>,
    /// The first record that could not be delivered.
    undelivered: Mutex<Option<KafkaError>>,
    /// A record was given up of which no broker has said what became of it.
    unanswered: AtomicBool,
    /// A connection broke or could not be made.
    lost: AtomicBool,
    /// How topics begin of which it is noted what was written.
    watched: Vec<String>,
    written: Mutex<Written>,
}

/// The first and the last offset that was written, by topic and partition.
pub(super) type Written = BTreeMap<String, BTreeMap<i32, (i64, i64)>>;

/// Why a client cannot connect, as far as it said. Calls that wait for a connection only ever time out.
#[derive(Clone, Default, Debug)]
pub(super) struct Reason {
    /// The last error of the client.
    pub code: Option<Code>,
    /// Its words; may be empty.
    pub text: String,
    /// When it last said that a broker turns it away, or is not who it should be.
    pub told: Option<Instant>,
}

/// How long such a word stands against others: a client tries the other addresses of a broker, and those may say less.
const TELLS_FOR: Duration = Duration::from_secs(30);

impl Reason {
    fn stands(&self) -> bool {
        self.told.is_some_and(|told| told.elapsed() < TELLS_FOR)
    }
}

impl Reports {
    /// The trouble so far.
    pub(super) fn reason(&self) -> Reason {
        self.lock().clone()
    }

    /// Reports that note the offsets of what is written to topics whose names begin so.
    pub(super) fn watching(topics: &[&str]) -> Self {
        Self { watched: topics.iter().map(|topic| (*topic).to_owned()).collect(), ..Self::default() }
    }

    /// What was written to watched topics since the last call.
    pub(super) fn take_written(&self) -> Written {
        std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wrote(&self, topic: &str, partition: i32, offset: i64) {
        // the broker does not say where a record stands that it had already
        if offset < 0 || !self.watched.iter().any(|begin| topic.starts_with(begin.as_str())) {
            return;
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if !written.contains_key(topic) {
            written.insert(topic.to_owned(), BTreeMap::new());
        }
        if let Some(partitions) = written.get_mut(topic) {
            let (first, last) = partitions.entry(partition).or_insert((offset, offset));
            (*first, *last) = (offset.min(*first), offset.max(*last));
        }
    }

    /// The first record's failure since the last call.
    pub(super) fn take_undelivered(&self) -> Option<KafkaError> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a record was given up before a broker said what became of it: if it was sent, it may arrive at any later time.
    pub(super) fn has_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Whether a connection to a broker was lost since the last call.
    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Reason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, code: Option<Code>, text: &str) {
        let mut reason = self.lock();
        let code = error::told_by(text).or(code);
        if error::tells(code) {
            reason.told = Some(Instant::now());
        } else if reason.stands() {
            return;
        }
        // "all brokers are down" says less than what came before it
        if code == Some(Code::AllBrokersDown) && (reason.code.is_some() || !reason.text.is_empty()) {
            return;
        }
        reason.code = code.or(reason.code);
        if !text.is_empty() {
            text.clone_into(&mut reason.text);
        }
    }
}

/// Sets what whoever runs or wrote the pipeline has not set.
pub(super) fn unless_given(settings: &mut ClientConfig, usual: &[(&str, &str)]) {
    for (name, value) in usual {
        if settings.get(name).is_none() {
            settings.set(*name, *value);
        }
    }
}

/// Takes in what a consumer that is not read has to say.
pub(super) fn listen(consumer: &BaseConsumer<Reports>) {
    // with no time at all a poll ends behind the first line of its log
    for _ in 0..SAID_MAX {
        match consumer.poll(Duration::from_millis(5)) {
            Some(Err(e)) => consumer.context().note(e.rdkafka_error_code(), ""),
            Some(Ok(_)) => {}
            None => return,
        }
    }
}

/// Events that are taken in at once; what a client says again and again is the same.
const SAID_MAX: usize = 64;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            self.lost.store(true, Ordering::SeqCst);
            // "[thrd:host:port/bootstrap]: host:port/bootstrap: Connect to ... failed: ..."
            let text = message.split_once("]: ").map_or(message, |(_, text)| text);
            self.note(None, text);
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "kafka", "{facility}: {message}");
            }
            // a broker that is away is reported as an error of the job, with what to do
            _ => tracing::debug!(target: "kafka", "{facility}: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", "{error}: {reason}");
        self.note(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Err((error, record)) => {
                if native::may_be_written(record) {
                    self.unanswered.store(true, Ordering::SeqCst);
                }
                self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
            }
            Ok(record) => self.wrote(record.topic(), record.partition(), record.offset()),
        }
    }
}

/// Makes a client, or says which property is at fault. One that logs in with a token has it from the beginning, and later ones as long as it
/// lives: who renews them shares it for that. May then block for the answer of a token endpoint.
///
/// # Errors
/// `KAFKA_CONFIG`; `KAFKA_AUTH` and `KAFKA_TOKEN` when there is no token.
pub(super) fn made<T, C>(settings: &ClientConfig, context: C) -> Result<Arc<T>>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C> + Native + 'static,
{
    let login = oauth::Settings::of(settings)?.map(|settings| oauth::login(&settings)).transpose()?;
    if let Some(login) = &login {
        login.prepare()?;
    }
    let client = oauth::without(settings).create_with_context(context);
    let client = Arc::new(client.map_err(|e| error::configuration(&e))?);
    if let Some(login) = &login {
        login.keep(&client)?;
    }
    found::watch(&client, settings.get("bootstrap.servers").unwrap_or_default());
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaClientConfig {
        let mut config = KafkaClientConfig::new("b:9092");
        config.properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        config
    }

    #[test]
    fn the_servers_are_those_of_the_connection() {
        let config = with(&[("fetch.min.bytes", "7"), ("bootstrap.servers", "evil:1")]);
        let client = config.client().expect("accepted");
        assert_eq!(client.get("fetch.min.bytes"), Some("7"));
        assert_eq!(client.get("bootstrap.servers"), Some("b:9092"));
    }

    #[test]
    fn the_operator_may_allow_what_a_pipeline_may_not_set() {
        let mut config = with(&[("sasl.kerberos.keytab", "x")]);
        assert_eq!(config.client().err().map(|e| e.code), Some("KAFKA_PROPERTY_REFUSED"));
        config.properties_allowed.push("sasl.kerberos.keytab".to_owned());
        assert!(config.client().is_ok());
    }

    #[test]
    fn why_a_broker_turns_a_client_away_is_not_lost_to_what_its_other_addresses_say() {
        let reports = Reports::default();
        let says = |code, text: &str| reports.note(Some(code), text);
        says(Code::BrokerTransportFailure, "refused");
        assert_eq!(reports.reason().text, "refused");
        says(Code::Authentication, "wrong password");
        says(Code::BrokerTransportFailure, "refused");
        reports.log(RDKafkaLogLevel::Error, "FAIL", "[thrd:b:1/1]: b:1/1: Connect failed");
        says(Code::AllBrokersDown, "");
        // a line of the log is enough
        let silent = Reports::default();
        silent.log(
            RDKafkaLogLevel::Error,
            "FAIL",
            "[thrd:b:1/1]: b:1/1: Receive failed: bad certificate: SSL alert number 42",
        );
        assert_eq!(silent.reason().code, Some(Code::SSL));
        let reason = reports.reason();
        assert_eq!((reason.code, reason.text.as_str()), (Some(Code::Authentication), "wrong password"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = with(&[("sasl.password", "hunter2")]);
        assert!(!format!("{config:?}").contains("hunter2"));
        let refused = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "no".into(),
            "sasl.x".into(),
            "hunter2".into(),
        );
        assert!(!error::configuration(&refused).to_string().contains("hunter2"));
    }
}
