//! Logs rows as JSON and passes them on.

use crate::native::payload::{LogLevel, LogRows};
use crate::native::{NativeFn, Outputs};
use thalweg_core::batch::Batch;
use thalweg_core::error::Result;
use thalweg_io::row::RowToJson;

/// Logs every row.
#[derive(Debug)]
pub struct Log {
    transform: String,
    level: LogLevel,
    prefix: String,
    json: RowToJson,
    text: Vec<u8>,
}

impl Log {
    pub fn new(transform: &str, payload: LogRows) -> Self {
        let json = RowToJson::new(&payload.input);
        Self { transform: transform.to_owned(), level: payload.level, prefix: payload.prefix, json, text: Vec::new() }
    }
}

impl NativeFn for Log {
    fn process(&mut self, batch: &Batch, out: &mut Outputs) -> Result<()> {
        for row in batch.rows() {
            self.text.clear();
            self.json.write(batch.value(row), &mut self.text)?;
            let (transform, prefix, row) = (&self.transform, &self.prefix, String::from_utf8_lossy(&self.text));
            match self.level {
                LogLevel::Debug => tracing::debug!(transform, "{prefix}{row}"),
                LogLevel::Info => tracing::info!(transform, "{prefix}{row}"),
                LogLevel::Warn => tracing::warn!(transform, "{prefix}{row}"),
                LogLevel::Error => tracing::error!(transform, "{prefix}{row}"),
            }
        }
        out.forward(0, batch.clone());
        Ok(())
    }
}
