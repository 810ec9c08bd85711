//! The clock of a bundle under a script: what a worker says in its own time, the engine takes in the script's.
//!
//! In: the bundle's processing time and the process's. Out: when a timer by the clock fires. A TestStream that advances
//! processing time owns the engine's clock, which begins at 0; SDKs do not know and set timers from the time of day
//! (`Timestamp.now() + 60`, `time.Now().Add(..)`, Java's `setRelative`). What is nearer to the time of day is moved by the
//! difference of the two clocks; what is nearer to the script's is a time that a program with a clock of its own chose.

use std::time::SystemTime;
use thalweg_core::time::ProcessingTime;

/// How far apart the clocks of a script and of this process are at least, in milliseconds: a day. Between the start of
/// a bundle and its timers passes less.
const APART_MS: i64 = 86_400_000;

/// The time of day, in milliseconds since 1970.
pub(super) fn wall() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |passed| i64::try_from(passed.as_millis()).unwrap_or(i64::MAX))
}

/// When a timer that a worker set for `fire` is due by the engine's clock, in a bundle that began at `now`.
pub(super) fn due(fire: i64, now: ProcessingTime, wall: i64) -> i64 {
    let ahead = wall.saturating_sub(now.0);
    let of_the_day = fire.saturating_sub(now.0) > wall.saturating_sub(fire);
    if ahead < APART_MS || !of_the_day { fire } else { fire.saturating_sub(ahead) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000_000;

    #[test]
    fn a_timer_from_the_time_of_day_is_as_far_ahead_of_a_scripts_clock() {
        assert_eq!(due(NOON + 60_000, ProcessingTime(5_000), NOON), 65_000);
        assert_eq!(due(NOON - 20, ProcessingTime(5_000), NOON), 4_980, "set a moment ago");
    }

    #[test]
    fn a_timer_in_the_scripts_time_stays() {
        assert_eq!(due(7_000, ProcessingTime(5_000), NOON), 7_000);
    }

    #[test]
    fn without_a_script_and_after_its_end_every_timer_stays() {
        assert_eq!(due(NOON + 60_000, ProcessingTime(NOON - 300), NOON), NOON + 60_000);
        assert_eq!(due(7_000, ProcessingTime(NOON - 300), NOON), 7_000);
        assert_eq!(due(NOON + 60_000, ProcessingTime(i64::MAX), NOON), NOON + 60_000);
    }
}
