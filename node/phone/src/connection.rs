//! How it stands with a host, as a person may be told. Never a stale "connected": what ended is reported as ended.

use std::fmt;
use std::time::{Duration, SystemTime};

use farhelm_core::pairing::Refusal;
use farhelm_core::session::handshake;
use farhelm_core::wire::envelope::CloseReason;
use farhelm_overlay::{Transport, Via, channel};

/// The state of the connection to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// On the way, for the first time or after a loss.
    Connecting,
    /// The host answers, and hasn't told yet what happened meanwhile.
    CatchingUp(Path),
    /// Attached, and up to date: the host answers, and proved that it is the paired one.
    Live(Path),
    /// Not there. It is tried again, less and less often; [`crate::Host::network_changed`] tries at once.
    Away {
        /// Since when, by this device's clock.
        since: SystemTime,
        /// Why, as far as one can tell from here.
        why: Why,
    },
    /// The host removed this phone; nothing is tried any more.
    Removed {
        /// When, in Unix milliseconds by the host's clock.
        at_ms: u64,
    },
}

impl Connection {
    /// The same but for figures that change all the time.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let still = |path: &Path| Path { round_trip: None, ..*path };
        match (self, other) {
            (Self::Live(a), Self::Live(b)) | (Self::CatchingUp(a), Self::CatchingUp(b)) => still(a) == still(b),
            (a, b) => a == b,
        }
    }
}

/// The way on which a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Direct, or through which relay.
    pub via: Via,
    /// What carries it; for a relayed one, this phone's leg to the relay.
    pub transport: Transport,
    /// The last measured round trip to the host's program and back.
    pub round_trip: Option<Duration>,
}

impl Path {
    pub(crate) fn of(path: &farhelm_overlay::Path) -> Self {
        Self { via: path.via, transport: path.transport, round_trip: path.rtt }
    }

    /// Whether nobody is in between.
    pub fn is_direct(&self) -> bool {
        self.via == Via::Direct
    }
}

/// Why a host is away, coarsely. `Display` is a sentence that says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No address answers.
    Unreachable,
    /// The host is there, but not directly, and this phone permits nothing else.
    NotDirect,
    /// Something is there but doesn't let this phone in: not paired (any more), or another program.
    NoAnswer,
    /// It broke, or fell silent, and can't be had again yet.
    LinkLost,
    /// The host's program was stopped.
    HostStopped,
    /// Another program with this phone's key has attached.
    Replaced,
    /// The host said no.
    Refused,
    /// This phone's time on the host is over.
    Expired,
    /// The host's owner has switched remote connections off.
    SwitchedOff,
    /// The host is frozen.
    Frozen,
    /// The host can't store anything, so it takes nothing.
    StoreFailed,
    /// This phone can't store anything, so it can't go on.
    NotStored,
    /// Whoever answered isn't the paired host.
    OtherHost,
    /// The two programs don't understand each other.
    Unsupported,
    /// Let go here: forgotten, or shut down.
    Stopped,
}

impl Why {
    /// Whether the host itself said so, and only a person at its desk changes it.
    pub const fn is_for_the_desk(self) -> bool {
        matches!(self, Self::Expired | Self::SwitchedOff | Self::Frozen)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "no address of the host answers; see that it runs and that one of its relays does",
            Self::NotDirect => {
                "the host is reached through a relay only, and this phone takes direct paths only; permit others with --paths prefer-direct"
            }
            Self::NoAnswer => {
                "the host closed without an answer; if that stays so, look at the desk whether this phone is listed"
            }
            Self::LinkLost => "the connection broke; it is tried again",
            Self::HostStopped => "the host was stopped; start it with `farhelm host`",
            Self::Replaced => "another program with this phone's key has connected; close one of them",
            Self::Refused => "the host does not take this phone now; look at the desk",
            Self::Expired => {
                "this phone's time on the host is over; have it prolonged at the desk with `farhelm devices grant`"
            }
            Self::SwitchedOff => {
                "the host's owner has switched remote connections off; on again at the desk with `farhelm host settings set remote_connections on`"
            }
            Self::Frozen => "the host is frozen; thaw it at the desk with `farhelm thaw`",
            Self::StoreFailed => "the host can not store anything; free space on its disk",
            Self::NotStored => "this phone can not store what is on its way; free space on it",
            Self::OtherHost => {
                "another host answered in its place; do not trust this network, and pair again if it stays so"
            }
            Self::Unsupported => "phone and host do not understand each other; update the older of the two",
            Self::Stopped => "this phone has let the host go; connect to it again",
        })
    }
}

impl From<&channel::Error> for Why {
    fn from(error: &channel::Error) -> Self {
        use handshake::Error as Handshake;
        match error {
            channel::Error::Closed(CloseReason::Stopping) => Self::HostStopped,
            channel::Error::Closed(CloseReason::Replaced) => Self::Replaced,
            channel::Error::Closed(CloseReason::Revoked) => Self::Refused,
            channel::Error::Closed(CloseReason::Expired)
            | channel::Error::Handshake(Handshake::Refused(Refusal::Expired)) => Self::Expired,
            channel::Error::Closed(CloseReason::SwitchedOff)
            | channel::Error::Handshake(Handshake::Refused(Refusal::SwitchedOff)) => Self::SwitchedOff,
            channel::Error::Closed(CloseReason::Frozen)
            | channel::Error::Handshake(Handshake::Refused(Refusal::Frozen)) => Self::Frozen,
            channel::Error::Closed(CloseReason::StoreFailed) => Self::StoreFailed,
            channel::Error::Handshake(Handshake::OtherHost | Handshake::Unproven) => Self::OtherHost,
            channel::Error::Handshake(Handshake::Refused(_) | Handshake::Removed(_)) => Self::Refused,
            channel::Error::Handshake(_) | channel::Error::Envelope(_) => Self::Unsupported,
            _ => Self::LinkLost,
        }
    }
}

/// Bytes moved and the last round trip, over all connections to one host since the client connected to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// The last measured round trip, while connected.
    pub round_trip: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_channel_ended_says_why_the_host_is_away() {
        use channel::Error;
        use handshake::Error as Handshake;
        let cases = [
            (Error::Closed(CloseReason::Stopping), Why::HostStopped),
            (Error::Closed(CloseReason::Replaced), Why::Replaced),
            (Error::Closed(CloseReason::Revoked), Why::Refused),
            (Error::Closed(CloseReason::Expired), Why::Expired),
            (Error::Handshake(Handshake::Refused(Refusal::Expired)), Why::Expired),
            (Error::Closed(CloseReason::SwitchedOff), Why::SwitchedOff),
            (Error::Handshake(Handshake::Refused(Refusal::SwitchedOff)), Why::SwitchedOff),
            (Error::Closed(CloseReason::Frozen), Why::Frozen),
            (Error::Handshake(Handshake::Refused(Refusal::Frozen)), Why::Frozen),
            (Error::Closed(CloseReason::StoreFailed), Why::StoreFailed),
            (Error::Handshake(Handshake::OtherHost), Why::OtherHost),
            (Error::Handshake(Handshake::Unproven), Why::OtherHost),
            (Error::Handshake(Handshake::Refused(Refusal::Unavailable)), Why::Refused),
            (Error::Handshake(Handshake::Unsupported), Why::Unsupported),
            (Error::Silent, Why::LinkLost),
        ];
        for (error, why) in cases {
            assert_eq!(Why::from(&error), why, "{error}");
        }
    }
}
