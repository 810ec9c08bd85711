//! Properties of clients: which a pipeline may set, and what those of Java's clients are called here.
//!
//! In: a property as a user of Kafka knows it; those of TLS and logins are [`security`](super::security)'s. Out: what to tell librdkafka, or a refusal by name. Source: Kafka's
//! `ConsumerConfig` and `ProducerConfig`, librdkafka's CONFIGURATION.md.

use thalweg_core::error::{Error, Result};

/// Properties that this crate sets itself, or that are told apart before.
const OURS: &[&str] = &[
    "bootstrap.servers",
    "key.deserializer",
    "value.deserializer",
    "key.serializer",
    "value.serializer",
    "auto.offset.reset",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "transactional.id",
    "transaction.timeout.ms",
    "processing.guarantee",
    "group.instance.id",
];

/// Properties of Java's clients for which librdkafka has no word, and which change no result.
const JAVA_ONLY: &[&str] = &[
    "allow.auto.create.topics",
    "auto.include.jmx.reporter",
    "config.providers",
    "default.api.timeout.ms",
    "enable.metrics.push",
    "exclude.internal.topics",
    "group.remote.assignor",
    "interceptor.classes",
    "internal.leave.group.on.close",
    "max.block.ms",
    "max.poll.records",
    "metadata.max.idle.ms",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "partition.assignment.strategy",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "reconnect.backoff.jitter",
    "security.providers",
    "socket.connection.setup.timeout.max.ms",
    "specific.avro.reader",
    "ssl.enabled.protocols",
    "ssl.keymanager.algorithm",
    "ssl.protocol",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
];

/// What names of properties begin with that are about a schema registry alone.
const REGISTRY: &[&str] = &["schema.registry.", "basic.auth."];

/// Properties that are called differently: Java's name, librdkafka's, and by what the number is divided.
const RENAMED: &[(&str, &str, u64)] = &[
    ("fetch.max.wait.ms", "fetch.wait.max.ms", 1),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes", 1),
    ("send.buffer.bytes", "socket.send.buffer.bytes", 1),
    ("max.request.size", "message.max.bytes", 1),
    ("buffer.memory", "queue.buffering.max.kbytes", 1024),
    ("request.timeout.ms", "socket.timeout.ms", 1),
    ("socket.connection.setup.timeout.ms", "socket.connection.setup.timeout.ms", 1),
    ("retry.backoff.ms", "retry.backoff.ms", 1),
];

/// What a property's name contains when its value is a file, a URL, a command or a library to load.
const DANGEROUS: &[&str] = &[
    "location",
    "path",
    "file",
    "keytab",
    "kinit",
    "url",
    "plugin",
    "provider",
    "engine",
    "stores",
    "metadata.authentication",
];

/// What librdkafka is told instead of a property.
///
/// # Errors
/// `KAFKA_PROPERTY_REFUSED` when it names a file, an address or code and is not allowed.
pub(super) fn translated(name: &str, value: &str, allowed: bool) -> Result<Vec<(String, String)>> {
    if OURS.contains(&name) || REGISTRY.iter().any(|begin| name.starts_with(begin)) {
        return Ok(Vec::new());
    }
    if JAVA_ONLY.contains(&name) || name.starts_with("sasl.login.") {
        tracing::warn!(target: "kafka", "the property {name:?} of Java's clients means nothing here and is passed over");
        return Ok(Vec::new());
    }
    if DANGEROUS.iter().any(|part| name.contains(part)) && !allowed {
        return Err(refused(name));
    }
    if let Some((_, ours, divisor)) = RENAMED.iter().find(|(java, _, _)| *java == name) {
        // what is no number is left to librdkafka, which names the property
        let value = value.trim().parse::<u64>().map_or(value.to_owned(), |n| (n / divisor).max(1).to_string());
        return Ok(vec![((*ours).to_owned(), value)]);
    }
    Ok(vec![(name.to_owned(), value.to_owned())])
}

/// The error of a property that only whoever runs the process may set.
pub(super) fn refused(name: &str) -> Error {
    let what = format!("a pipeline may not set the Kafka property {name:?}: it names a file, an address or code");
    Error::user("KAFKA_PROPERTY_REFUSED", what).help(format!(
        "give certificates and keys inline (ssl.ca.pem, ssl.certificate.pem, ssl.key.pem), or set it where the process is started: \
         -X {name}=..."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Option<(String, String)> {
        translated(name, value, false).expect("accepted").pop()
    }

    fn pair(name: &str, value: &str) -> Option<(String, String)> {
        Some((name.to_owned(), value.to_owned()))
    }

    #[test]
    fn properties_that_name_files_addresses_or_code_are_refused_unless_allowed() {
        for name in [
            "ssl.ca.location",
            "ssl.keystore.location",
            "plugin.library.paths",
            "sasl.kerberos.keytab",
            "sasl.kerberos.kinit.cmd",
            "sasl.oauthbearer.token.endpoint.url",
            "sasl.oauthbearer.assertion.file",
            "ssl.providers",
        ] {
            assert_eq!(translated(name, "x", false).err().map(|e| e.code), Some("KAFKA_PROPERTY_REFUSED"), "{name}");
            assert!(translated(name, "x", true).is_ok());
        }
    }

    #[test]
    fn properties_of_javas_clients_are_translated_or_passed_over() {
        assert_eq!(one("fetch.min.bytes", "7"), pair("fetch.min.bytes", "7"));
        assert_eq!(one("fetch.max.wait.ms", "7"), pair("fetch.wait.max.ms", "7"));
        assert_eq!(one("buffer.memory", "33554432"), pair("queue.buffering.max.kbytes", "32768"));
        for passed in [
            "value.deserializer",
            "max.poll.records",
            "acks",
            "interceptor.classes",
            "ssl.enabled.protocols",
            "schema.registry.ssl.ca.location",
            "basic.auth.user.info",
            "sasl.login.refresh.window.factor",
        ] {
            assert_eq!(one(passed, "x"), None, "{passed}");
        }
    }

    #[test]
    fn every_translation_is_a_property_of_librdkafka() {
        for (java, ours, _) in RENAMED {
            let mut client = rdkafka::config::ClientConfig::new();
            client.set("bootstrap.servers", "b:1").set(*ours, "1000");
            let made: rdkafka::error::KafkaResult<rdkafka::producer::BaseProducer> = client.create();
            assert!(made.is_ok(), "{java} is no {ours}");
        }
    }
}
