//! One try to attach to a host: a stream, then a resume on it.

use std::sync::Arc;
use std::time::Duration;

use farhelm_core::identity::Identity;
use farhelm_core::pairing::{RevocationEpoch, Tombstone};
use farhelm_core::session::{PairingSecret, handshake};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Attach, Watch};
use farhelm_overlay::channel::{self, Channel};
use tokio::time::timeout;

use crate::connection::Why;
use crate::flight::Flight;
use crate::network::{Network, PATHS, Reached, Unreachable};
use crate::records::Record;

/// Dialling, waiting for a hole where nothing else is permitted, and opening a stream; the overlay's own limits are 20 s,
/// 15 s and 10 s.
const REACH: Duration = Duration::from_secs(50);
/// How long a direct path is waited for beside a relayed one on which the host closed.
const BESIDE: Duration = Duration::from_secs(3);
/// A resume takes two round trips; each step has its own limit in the channel.
const RESUME: Duration = Duration::from_secs(30);

/// Who attaches.
#[derive(Clone)]
pub(crate) struct Us {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) identity: Identity,
    pub(crate) device_name: String,
}

/// Which connection to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Any; the best there is.
    Best,
    /// A direct one that has appeared.
    Direct,
    /// A circuit that is made for it, before the one there is ends.
    Fresh,
}

impl Aim {
    /// Whether there is a line that lives on if this fails.
    pub(crate) const fn is_a_move(self) -> bool {
        matches!(self, Self::Direct | Self::Fresh)
    }
}

/// A channel that the host accepted.
pub(crate) struct Attached {
    pub(crate) channel: Channel,
    pub(crate) path: farhelm_overlay::Path,
    pub(crate) host_name: String,
    /// The secret that the host took.
    pub(crate) secret: PairingSecret,
    /// What it was told of with the handshake; after a pairing nothing yet.
    pub(crate) told: Option<Told>,
}

/// What goes out in the first flight of every path.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Where we stand. Its generation is counted up with every path that is tried.
    pub(crate) attach: Attach,
    /// The highest revocation epoch that this host has signed for us.
    pub(crate) epoch: Option<RevocationEpoch>,
    /// The threads that we follow.
    pub(crate) watched: Vec<String>,
    /// What we asked and the host hasn't stored, as far as it goes out early.
    pub(crate) entries: Vec<Envelope>,
    /// The number of the last of them.
    pub(crate) last: u64,
    /// Whether any of it may have left this device, and what is read with it.
    pub(crate) flight: Flight,
}

impl Told {
    pub(crate) fn envelopes(&self) -> Vec<Envelope> {
        let epoch = self.epoch.clone().map(Envelope::RevocationEpoch);
        let watch = Envelope::Watch(Watch { threads: self.watched.clone() });
        // The epoch before anything that is asked for.
        let first = [Envelope::Attach(self.attach)].into_iter().chain(epoch).chain([watch]);
        first.chain(self.entries.iter().cloned()).collect()
    }
}

/// Why not.
#[derive(Debug)]
pub(crate) enum Failure {
    /// For now.
    Away(Why),
    /// For good.
    Removed(Tombstone),
}

/// Tries each secret of the record once, on a stream of its own.
pub(crate) async fn attach(us: Us, record: Record, mut told: Told, aim: Aim) -> Result<Attached, Failure> {
    let mut failure = Failure::Away(Why::NoAnswer);
    for secret in record.secrets() {
        match attempt(&us, &record, &secret, &mut told, aim).await {
            Ok((channel, host_name, path)) => {
                return Ok(Attached { channel, path, host_name, secret, told: Some(told) });
            }
            Err(error) => failure = error,
        }
        // Only a wrong secret is a reason to try the other: the host closes then, without a word.
        if !matches!(failure, Failure::Away(Why::NoAnswer)) {
            break;
        }
    }
    Err(failure)
}

/// Tries a secret on one path after the other, as long as they break instead of answering: a host lets a stranger or a
/// removed phone in on a few connections only, and closes what is beyond.
async fn attempt(
    us: &Us,
    record: &Record,
    secret: &PairingSecret,
    told: &mut Told,
    aim: Aim,
) -> Result<(Channel, String, farhelm_overlay::Path), Failure> {
    let mut failure = Failure::Away(Why::NoAnswer);
    for _ in 0..PATHS {
        let reached = reach(us, record, aim).await;
        let Reached { stream, path } = reached.map_err(|error| {
            tracing::debug!(host = %record.host, ?aim, tried = ?error.tried, "no connection to the host");
            Failure::Away(if error.not_direct { Why::NotDirect } else { Why::Unreachable })
        })?;
        told.attach.generation += 1;
        told.flight.leave();
        let early =
            || told.envelopes().into_iter().chain(told.flight.take_off().into_iter().map(Envelope::Request)).collect();
        let resumed = channel::resume(stream, &us.identity, record.host, secret, &us.device_name, early);
        let error = match timeout(RESUME, resumed).await {
            Ok(Ok((channel, host_name))) => return Ok((channel, host_name, path)),
            Ok(Err(error)) => error,
            Err(_) => channel::Error::Silent,
        };
        tracing::debug!(host = %record.host, ?aim, ?path, %error, "resume failed");
        let broken = matches!(error, channel::Error::Io(_));
        // A host that takes sessions on direct paths only closes so too, while a hole is being punched beside it.
        let punched = broken && !path.is_direct() && aim == Aim::Best && us.network.wants_direct();
        if punched && us.network.direct(record.host, record.direct_addresses(), BESIDE).await {
            continue;
        }
        if broken || matches!(error, channel::Error::Silent) {
            us.network.discard(path.connection).await;
        }
        failure = match error {
            channel::Error::Handshake(handshake::Error::Removed(tombstone)) => Failure::Removed(tombstone),
            // It closed instead of answering: it doesn't know us, or not with this secret.
            channel::Error::Io(_) => Failure::Away(Why::NoAnswer),
            channel::Error::Silent => Failure::Away(Why::LinkLost),
            error => Failure::Away(Why::from(&error)),
        };
        if !broken || !us.network.has_path(record.host) {
            break;
        }
    }
    Err(failure)
}

async fn reach(us: &Us, record: &Record, aim: Aim) -> Result<Reached, Unreachable> {
    let reached = async {
        match aim {
            Aim::Best => us.network.reach(record.host, record.addresses()).await,
            Aim::Direct => us.network.reach_directly(record.host).await,
            Aim::Fresh => us.network.reach_anew(record.host, record.circuits()).await,
        }
    };
    timeout(REACH, reached).await.unwrap_or_else(|_| Err(Unreachable::default()))
}
