//! The life of a job, and which steps of it are allowed.

use thalweg_proto::job::job_state::Enum as Wire;

/// Where a job is in its life. Source: `JobState.Enum`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobState {
    /// Prepared but not run, or paused.
    Stopped,
    /// Being set up: workers start, nothing is processed yet.
    Starting,
    /// Processing.
    Running,
    /// Asked to stop once what was read is processed.
    Draining,
    /// Asked to stop at once.
    Cancelling,
    /// Being replaced by another job.
    Updating,
    /// Ended: everything was processed.
    Done,
    /// Ended: drained on request.
    Drained,
    /// Ended: stopped on request.
    Cancelled,
    /// Ended: another job took its place.
    Updated,
    /// Ended: an error.
    Failed,
}

impl JobState {
    /// Whether the job has ended. Nothing follows such a state.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Drained | Self::Cancelled | Self::Updated | Self::Failed)
    }

    /// Whether a job in this state may enter `next`: an end is final, and a request to stop is not forgotten when a
    /// late report says that the job runs.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            ended if ended.is_terminal() => false,
            Self::Cancelling => next.is_terminal(),
            Self::Draining => next.is_terminal() || next == Self::Cancelling,
            other => next != other,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub fn to_wire(self) -> Wire {
        match self {
            Self::Stopped => Wire::Stopped,
            Self::Starting => Wire::Starting,
            Self::Running => Wire::Running,
            Self::Draining => Wire::Draining,
            Self::Cancelling => Wire::Cancelling,
            Self::Updating => Wire::Updating,
            Self::Done => Wire::Done,
            Self::Drained => Wire::Drained,
            Self::Cancelled => Wire::Cancelled,
            Self::Updated => Wire::Updated,
            Self::Failed => Wire::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::JobState::*;

    const ALL: [super::JobState; 11] =
        [Stopped, Starting, Running, Draining, Cancelling, Updating, Done, Drained, Cancelled, Updated, Failed];

    #[test]
    fn an_end_is_final() {
        for end in ALL.into_iter().filter(|s| s.is_terminal()) {
            assert!(ALL.into_iter().all(|next| !end.may_become(next)), "{end:?}");
        }
    }

    #[test]
    fn a_request_to_stop_survives_a_late_report() {
        assert!(!Cancelling.may_become(Running));
        assert!(!Draining.may_become(Running));
        assert!(Draining.may_become(Cancelling));
        assert!(Cancelling.may_become(Failed));
    }
}
