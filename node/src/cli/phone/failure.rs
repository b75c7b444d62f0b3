//! From the phone's errors to exit codes. The texts are the errors' own, which end with what to do.

use farhelm_phone::{DecideError, Error, OpenError, PairError, RecordsError, Why};

use crate::cli::{Exit, Failure, when};
use crate::terminal::ticket;

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Records(error) => error.into(),
            error => Self::new(Exit::Failed, error),
        }
    }
}

impl From<RecordsError> for Failure {
    fn from(error: RecordsError) -> Self {
        let code = match error {
            RecordsError::Unknown(_) => Exit::NotFound,
            _ => Exit::State,
        };
        Self::new(code, error)
    }
}

impl From<ticket::Error> for Failure {
    fn from(error: ticket::Error) -> Self {
        let code = match error {
            ticket::Error::OnCommandLine | ticket::Error::Ask(_) => Exit::Usage,
            _ => Exit::BadTicket,
        };
        Self::new(code, error)
    }
}

impl From<PairError> for Failure {
    fn from(error: PairError) -> Self {
        let code = match error {
            PairError::BadTicket(_) => Exit::BadTicket,
            PairError::Unreachable { .. } => Exit::Unreachable,
            PairError::Declined => Exit::Declined,
            PairError::Expired | PairError::NotAnswered => Exit::Expired,
            PairError::Spent => Exit::Spent,
            PairError::Unavailable | PairError::OtherHost => Exit::Refused,
            PairError::LinkLost | PairError::NoAnswerAtDesk => Exit::OutcomeUnknown,
            PairError::Unsupported => Exit::Failed,
            PairError::Records(error) => return error.into(),
        };
        Self::new(code, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Error::Removed { at_ms } = error {
            return Self::new(Exit::Refused, was_removed(at_ms));
        }
        let code = match error {
            Error::Policy(_) | Error::Removed { .. } => Exit::Refused,
            Error::CodexAway(_) => Exit::CodexAway,
            Error::OutcomeUnknown => Exit::OutcomeUnknown,
            Error::NotStored => Exit::State,
            Error::Away(Why::SwitchedOff | Why::Frozen | Why::Expired) => Exit::Refused,
            Error::NotConnected | Error::Away(_) | Error::NoAnswer => Exit::Unreachable,
            Error::TooLong { .. } | Error::Empty | Error::TooManyImages { .. } | Error::NoChoiceOfModel => Exit::Usage,
            Error::NotStartable { .. } => Exit::Refused,
            Error::NoSuchTurn => Exit::NotFound,
            Error::Records(error) => return error.into(),
            Error::Codex(_) | Error::Busy | Error::Stopped | Error::Unreadable(_) | Error::TooManyThreads => {
                Exit::Failed
            }
        };
        Self::new(code, error)
    }
}

impl From<DecideError> for Failure {
    fn from(error: DecideError) -> Self {
        let code = match error {
            DecideError::NotShownWhole
            | DecideError::NotOffered
            | DecideError::NotAllowed
            | DecideError::Denied
            | DecideError::StepUpNeeded => Exit::Refused,
            DecideError::SecondNeeded | DecideError::NotRecorded => Exit::Failed,
            DecideError::NotAnAnswer => Exit::Usage,
            DecideError::Over { .. } => Exit::NotFound,
            DecideError::OutcomeUnknown => Exit::OutcomeUnknown,
            DecideError::NotStored => Exit::State,
            DecideError::NotConnected | DecideError::Stopped => Exit::Unreachable,
            DecideError::NotWhatIsShown | DecideError::Late | DecideError::Busy => Exit::Failed,
        };
        Self::new(code, error)
    }
}

/// When it was removed, by the clock on this wall, and what to do.
pub(super) fn was_removed(at_ms: u64) -> String {
    let on = when::shown(at_ms);
    format!("this phone was removed at the desk on {on}; pair again with `farhelm pair` there")
}
