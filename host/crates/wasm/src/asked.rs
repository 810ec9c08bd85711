//! Limits that a pipeline asks for. In: what stands at the function in the pipeline. Out: the limits that hold, or the name of the one that
//! is too high.

use crate::error::{Error, Result};
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits by name, in the form of a pipeline's payload: `{"cpu_ms": 500, "memory_bytes": 67108864}`. What is left out is as usual.
///
/// ```
/// use thalweg_wasm::{AskedLimits, Limits};
/// let asked: AskedLimits = serde_json::from_str(r#"{"cpu_ms": 500}"#)?;
/// assert_eq!(asked.of(&Limits::default())?.cpu_soft.as_millis(), 500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedLimits {
    /// [`Limits::memory_bytes`], at most 1 GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// [`Limits::cpu_soft`] in milliseconds, at most a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// [`Limits::wall_hard`] in milliseconds, at most five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// [`Limits::output_bytes`], at most 256 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// [`Limits::state_bytes`], at most 256 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_bytes: Option<u64>,
    /// [`Limits::log_lines_per_second`], at most 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines_per_second: Option<u64>,
    /// [`Limits::frame_bytes`], at most 16 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_bytes: Option<u64>,
    /// [`Limits::page_bytes`], at most 16 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_bytes: Option<u64>,
    /// [`Limits::frame_rows`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rows: Option<u64>,
}

impl AskedLimits {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The usual limits with those that are asked for.
    ///
    /// # Errors
    /// [`Error::LimitTooHigh`] with the first that is zero or above what it may be.
    pub fn of(&self, usual: &Limits) -> Result<Limits> {
        let mut limits = usual.clone();
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Some(bytes) = checked("memory_bytes", self.memory_bytes, 1 << 30)? {
            limits.memory_bytes = size(bytes);
        }
        if let Some(ms) = checked("cpu_ms", self.cpu_ms, 60_000)? {
            limits.cpu_soft = Duration::from_millis(ms);
        }
        if let Some(ms) = checked("wall_ms", self.wall_ms, 300_000)? {
            limits.wall_hard = Duration::from_millis(ms);
        }
        if let Some(bytes) = checked("output_bytes", self.output_bytes, 256 << 20)? {
            limits.output_bytes = size(bytes);
        }
        if let Some(bytes) = checked("state_bytes", self.state_bytes, 256 << 20)? {
            limits.state_bytes = size(bytes);
        }
        if let Some(lines) = checked("log_lines_per_second", self.log_lines_per_second, 10_000)? {
            limits.log_lines_per_second = u32::try_from(lines).unwrap_or(u32::MAX);
        }
        if let Some(bytes) = checked("frame_bytes", self.frame_bytes, 16 << 20)? {
            limits.frame_bytes = size(bytes);
        }
        if let Some(bytes) = checked("page_bytes", self.page_bytes, 16 << 20)? {
            limits.page_bytes = size(bytes);
        }
        if let Some(rows) = checked("frame_rows", self.frame_rows, u64::from(u32::MAX))? {
            limits.frame_rows = size(rows);
        }
        Ok(limits)
    }
}

fn checked(name: &'static str, asked: Option<u64>, most: u64) -> Result<Option<u64>> {
    match asked {
        Some(asked) if asked == 0 || asked > most => Err(Error::LimitTooHigh { name, asked, most }),
        asked => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_above_what_it_may_be_is_named() -> Result<()> {
        let asked = AskedLimits { wall_ms: Some(300_001), ..AskedLimits::default() };
        let error = asked.of(&Limits::default()).err();
        assert_eq!(error, Some(Error::LimitTooHigh { name: "wall_ms", asked: 300_001, most: 300_000 }));
        let asked = AskedLimits { frame_rows: Some(2), ..AskedLimits::default() };
        assert_eq!(asked.of(&Limits::default())?, Limits::default().frame_rows(2));
        Ok(())
    }
}
