//! What the crate rdkafka has no call for.
//!
//! In: clients and records, as librdkafka knows them. Out: calls of librdkafka, which is the only place for `unsafe` in this crate. When and why they are made
//! is known by [`super::oauth`], [`super::found`] and [`super::send`].

use super::oauth::Token;
use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::bindings::{
    rd_kafka_brokers_add, rd_kafka_controllerid, rd_kafka_message_status, rd_kafka_msg_status_t,
    rd_kafka_oauthbearer_set_token,
};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::{RDKafka, RDKafkaRespErr};
use std::ffi::{CStr, CString, c_char};
use thalweg_core::error::{Error, Result};

/// A client of librdkafka, of whatever kind.
pub(super) trait Native: Send + Sync {
    /// What it is to librdkafka, for as long as this lives.
    fn pointer(&self) -> *mut RDKafka;
}

impl<C: ConsumerContext + 'static> Native for BaseConsumer<C> {
    fn pointer(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }
}

impl<C: ProducerContext + 'static> Native for BaseProducer<C> {
    fn pointer(&self) -> *mut RDKafka {
        self.client().native_ptr()
    }
}

impl<C: ClientContext + 'static> Native for AdminClient<C> {
    fn pointer(&self) -> *mut RDKafka {
        self.inner().native_ptr()
    }
}

/// Has a client log in with this token from now on. Connections that there are log in anew when the broker wants it.
///
/// # Errors
/// `KAFKA_TOKEN` when librdkafka does not take it.
#[expect(
    unsafe_code,
    reason = "the crate rdkafka has a call for it only while a client is polled, and none for extensions; see SAFETY"
)]
pub(super) fn give(client: &dyn Native, token: &Token, principal: &str, extensions: &[(String, String)]) -> Result<()> {
    let refused = |why: &str| {
        Error::external("KAFKA_TOKEN", format!("a token for the Kafka brokers cannot be used: {why}"))
            .help("check the lifetime of tokens at the OAuth server, and this machine's clock")
    };
    let text = |text: &str| CString::new(text).map_err(|_| refused("a text has a zero in it"));
    let (value, principal) = (text(&token.text)?, text(principal)?);
    let extensions: Vec<CString> =
        extensions.iter().flat_map(|(name, value)| [text(name), text(value)]).collect::<Result<_>>()?;
    let mut pointers: Vec<*const c_char> = extensions.iter().map(|text| text.as_ptr()).collect();
    let mut said: [c_char; 512] = [0; 512];
    // SAFETY: the client lives as long as `client` is borrowed, and librdkafka is called from any thread. All texts end with a zero and
    // outlive the call, which copies them; `pointers` has as many as it is told, and `said` as many bytes.
    let code = unsafe {
        rd_kafka_oauthbearer_set_token(
            client.pointer(),
            value.as_ptr(),
            token.ends_ms,
            principal.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            said.as_mut_ptr(),
            said.len(),
        )
    };
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        // what it said may repeat the token
        code => Err(refused(&format!("{code:?}"))),
    }
}

/// Whether the last answer that a client had about its brokers named any; a client without one knows none. Makes no request: an answer without brokers has no
/// controller, and what it said of that is kept.
#[expect(unsafe_code, reason = "the crate rdkafka has no call for it; see SAFETY")]
pub(super) fn knows_brokers(client: &dyn Native) -> bool {
    // SAFETY: the client lives as long as `client` is borrowed, and librdkafka is called from any thread.
    unsafe { rd_kafka_controllerid(client.pointer(), 0) >= 0 }
}

/// Has a client look for brokers at these servers, beside those that it knows.
#[expect(unsafe_code, reason = "the crate rdkafka has no call for it; see SAFETY")]
pub(super) fn begin_again(client: &dyn Native, servers: &CStr) {
    // SAFETY: the client lives as long as `client` is borrowed, and librdkafka is called from any thread. The text ends with a zero and outlives the call,
    // which copies it.
    unsafe { rd_kafka_brokers_add(client.pointer(), servers.as_ptr()) };
}

/// Whether a record that was not delivered may stand in its topic, or come there later: it was sent, and no broker has said what became of it.
#[expect(unsafe_code, reason = "the crate rdkafka has no call for it; see SAFETY")]
pub(super) fn may_be_written(record: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the record is one of librdkafka's, and lives as long as `record` does.
    let status = unsafe { rd_kafka_message_status(record.ptr()) };
    status == rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED
}
