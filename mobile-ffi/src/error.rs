//! What a call may end with. Flat: an app tells the cases apart by variant, and shows the message, which is a sentence
//! that says what to do next. Variants are added at most; none is renamed or reused.

use farhelm_phone as phone;
use farhelm_phone::RecordsError;

use crate::runtime::Broken;

const BROKEN: &str = "the library failed inside; close the app and open it again, and report this if it happens twice";

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi(flat_error)]
pub enum CallError {
    /// The app's key store failed, is locked or doesn't answer.
    #[error("{0}")]
    KeyStore(String),
    /// What is stored of this phone or of this host is damaged; pair again.
    #[error("{0}")]
    Damaged(String),
    /// That host isn't paired with this phone, or the text is no host's id.
    #[error("{0}")]
    NotPaired(String),
    /// The network can't be used.
    #[error("{0}")]
    Network(String),
    /// The host's policy doesn't let phones do this. Nothing happened.
    #[error("{0}")]
    Policy(String),
    /// Codex answered with an error.
    #[error("{0}")]
    Codex(String),
    /// Codex isn't there. Nothing happened.
    #[error("{0}")]
    CodexAway(String),
    /// The answer was lost: it may or may not have happened.
    #[error("{0}")]
    OutcomeUnknown(String),
    /// Too much is under way. Nothing happened.
    #[error("{0}")]
    Busy(String),
    /// The host is away, or was all the while. Nothing was sent.
    #[error("{0}")]
    NotConnected(String),
    /// This device can't store anything. Nothing was sent.
    #[error("{0}")]
    NotStored(String),
    /// The host took the request and never answered. It changed nothing.
    #[error("{0}")]
    NoAnswer(String),
    /// The host removed this phone; pair again.
    #[error("{0}")]
    Removed(String),
    /// The host was forgotten here, or the phone was shut down.
    #[error("{0}")]
    Stopped(String),
    /// The host sent something else than was asked for.
    #[error("{0}")]
    Unreadable(String),
    /// More text, or more threads followed, than a host takes.
    #[error("{0}")]
    TooMuch(String),
    /// Something that can't be sent as it is. Nothing was sent.
    #[error("{0}")]
    BadInput(String),
    /// This phone may not start threads in that folder; the message names those that it may. Nothing was sent.
    #[error("{0}")]
    NotStartable(String),
    /// The turn is over, or none runs. Nothing happened.
    #[error("{0}")]
    NoSuchTurn(String),
    /// A fault of the library.
    #[error("{BROKEN}")]
    Internal,
}

/// Why a pairing failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi(flat_error)]
pub enum PairError {
    /// The text is no ticket, or not a whole one.
    #[error("{0}")]
    BadTicket(String),
    /// No address of the ticket leads to the host.
    #[error("{0}")]
    Unreachable(String),
    /// The desk said no; the ticket is void.
    #[error("{0}")]
    Declined(String),
    /// Too late, by the host's clock.
    #[error("{0}")]
    Expired(String),
    /// Somebody used the ticket before.
    #[error("{0}")]
    Spent(String),
    /// The host can't take it now.
    #[error("{0}")]
    Unavailable(String),
    /// The host doesn't know this ticket (any more).
    #[error("{0}")]
    NotAnswered(String),
    /// The link broke before the desk answered; the next connection may finish the pairing.
    #[error("{0}")]
    LinkLost(String),
    /// The desk didn't answer in time; the next connection may finish the pairing.
    #[error("{0}")]
    NoAnswerAtDesk(String),
    /// Whoever answered isn't the host of the ticket.
    #[error("{0}")]
    OtherHost(String),
    /// The two programs don't understand each other.
    #[error("{0}")]
    Unsupported(String),
    /// The app's key store failed, is locked or doesn't answer.
    #[error("{0}")]
    KeyStore(String),
    /// What is stored of this phone is damaged.
    #[error("{0}")]
    Damaged(String),
    /// This pairing was finished already, well or not.
    #[error("this pairing was finished already; scan a new code")]
    Finished,
    /// A fault of the library.
    #[error("{BROKEN}")]
    Internal,
}

/// Why a decision wasn't taken, or isn't known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi(flat_error)]
pub enum DecideError {
    /// It can't be shown whole, so it can't be accepted from a phone. Nothing was sent.
    #[error("{0}")]
    NotShownWhole(String),
    /// The host doesn't take this one for the whole session. Nothing was decided.
    #[error("{0}")]
    NotOffered(String),
    /// Not every question has an answer that it takes. Nothing was sent.
    #[error("{0}")]
    NotAnAnswer(String),
    /// It was over before: somebody else decided, the turn ended, or Codex restarted.
    #[error("{0}")]
    Over(String),
    /// Something else is asked by now than what was shown. Nothing was decided.
    #[error("{0}")]
    NotWhatIsShown(String),
    /// The deadline has passed.
    #[error("{0}")]
    Late(String),
    /// This phone may not decide.
    #[error("{0}")]
    NotAllowed(String),
    /// The host's policy never takes an accept for it from a phone. Nothing was decided.
    #[error("{0}")]
    Denied(String),
    /// Make sure of the device's owner (fingerprint, face, code), then decide with `step_up`. Nothing was decided.
    #[error("{0}")]
    StepUpNeeded(String),
    /// It counts as the first of two: another device has to accept it, too.
    #[error("{0}")]
    SecondNeeded(String),
    /// The host can't record it, so it isn't done, and still waits.
    #[error("{0}")]
    NotRecorded(String),
    /// It was sent, and nobody knows whether it counted.
    #[error("{0}")]
    OutcomeUnknown(String),
    /// There was no connection all the while. Nothing was sent.
    #[error("{0}")]
    NotConnected(String),
    /// This device can't store anything. Nothing was sent.
    #[error("{0}")]
    NotStored(String),
    /// Too many decisions are under way.
    #[error("{0}")]
    Busy(String),
    /// The host removed this phone, was forgotten here, or the phone was shut down.
    #[error("{0}")]
    Stopped(String),
    /// A fault of the library.
    #[error("{BROKEN}")]
    Internal,
}

impl From<RecordsError> for CallError {
    fn from(error: RecordsError) -> Self {
        let said = error.to_string();
        match error {
            RecordsError::Store(_) => Self::KeyStore(said),
            RecordsError::Identity | RecordsError::Damaged(_) => Self::Damaged(said),
            RecordsError::Unknown(_) => Self::NotPaired(said),
        }
    }
}

impl From<phone::OpenError> for CallError {
    fn from(error: phone::OpenError) -> Self {
        match error {
            phone::OpenError::Records(error) => error.into(),
            phone::OpenError::Network(error) => Self::Network(error.to_string()),
            phone::OpenError::Journal(error) => Self::NotStored(error.to_string()),
            phone::OpenError::Store(error) => Self::NotStored(error.to_string()),
            phone::OpenError::Stopped => Self::Stopped(error.to_string()),
        }
    }
}

impl From<phone::Error> for CallError {
    fn from(error: phone::Error) -> Self {
        use phone::Error as E;
        let said = error.to_string();
        match error {
            E::Policy(_) => Self::Policy(said),
            E::Codex(_) => Self::Codex(said),
            E::CodexAway(_) => Self::CodexAway(said),
            E::OutcomeUnknown => Self::OutcomeUnknown(said),
            E::Busy => Self::Busy(said),
            E::NotConnected | E::Away(_) => Self::NotConnected(said),
            E::NotStored => Self::NotStored(said),
            E::NoAnswer => Self::NoAnswer(said),
            E::Removed { .. } => Self::Removed(said),
            E::Stopped => Self::Stopped(said),
            E::Unreadable(_) => Self::Unreadable(said),
            E::TooLong { .. } | E::TooManyImages { .. } | E::TooManyThreads => Self::TooMuch(said),
            E::Empty | E::NoChoiceOfModel => Self::BadInput(said),
            E::NotStartable { .. } => Self::NotStartable(said),
            E::NoSuchTurn => Self::NoSuchTurn(said),
            E::Records(error) => error.into(),
        }
    }
}

impl From<phone::PairError> for PairError {
    fn from(error: phone::PairError) -> Self {
        use phone::PairError as E;
        let said = error.to_string();
        match error {
            E::BadTicket(_) => Self::BadTicket(said),
            E::Unreachable { .. } => Self::Unreachable(said),
            E::Declined => Self::Declined(said),
            E::Expired => Self::Expired(said),
            E::Spent => Self::Spent(said),
            E::Unavailable => Self::Unavailable(said),
            E::NotAnswered => Self::NotAnswered(said),
            E::LinkLost => Self::LinkLost(said),
            E::NoAnswerAtDesk => Self::NoAnswerAtDesk(said),
            E::OtherHost => Self::OtherHost(said),
            E::Unsupported => Self::Unsupported(said),
            E::Records(RecordsError::Store(_)) => Self::KeyStore(said),
            E::Records(_) => Self::Damaged(said),
        }
    }
}

impl From<phone::DecideError> for DecideError {
    fn from(error: phone::DecideError) -> Self {
        use phone::DecideError as E;
        let said = error.to_string();
        match error {
            E::NotShownWhole => Self::NotShownWhole(said),
            E::NotOffered => Self::NotOffered(said),
            E::NotAnAnswer => Self::NotAnAnswer(said),
            E::Over { .. } => Self::Over(said),
            E::NotWhatIsShown => Self::NotWhatIsShown(said),
            E::Late => Self::Late(said),
            E::NotAllowed => Self::NotAllowed(said),
            E::Denied => Self::Denied(said),
            E::StepUpNeeded => Self::StepUpNeeded(said),
            E::SecondNeeded => Self::SecondNeeded(said),
            E::NotRecorded => Self::NotRecorded(said),
            E::OutcomeUnknown => Self::OutcomeUnknown(said),
            E::NotConnected => Self::NotConnected(said),
            E::NotStored => Self::NotStored(said),
            E::Busy => Self::Busy(said),
            E::Stopped => Self::Stopped(said),
        }
    }
}

impl From<Broken> for CallError {
    fn from(_: Broken) -> Self {
        Self::Internal
    }
}

impl From<Broken> for PairError {
    fn from(_: Broken) -> Self {
        Self::Internal
    }
}

impl From<Broken> for DecideError {
    fn from(_: Broken) -> Self {
        Self::Internal
    }
}
