//! Logins by OAUTHBEARER: a token of an OAuth server instead of a password (KIP-768, client credentials).
//!
//! In: settings of a client, with librdkafka's names. Out: the same without what is ours, and clients that have a token and are given the next
//! one before it ends. librdkafka could ask for tokens itself only with a library that this build does not have. Nobody here checks
//! a token: the brokers do.
//!
//! - [`settings`]: which properties there are, and what Java calls them.
//! - [`endpoint`]: asks for a token. [`token`]: what it answered.
//! - [`shared`]: one token for all clients of the same login, for as long as they live, given to librdkafka by [`super::native`].

mod endpoint;
mod settings;
mod shared;
mod token;

pub(super) use settings::{MECHANISM, Settings, is_handler, missing, of_module, translated, without};
pub(super) use shared::login;
pub(super) use token::Token;
