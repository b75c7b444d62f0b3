//! The phone's hands in a handshake; the host's stand in its program, where the lookups are.

use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::TicketSecret;
use farhelm_core::session::handshake::{Pair, phone};
use farhelm_core::session::{PairingSecret, record};
use farhelm_core::wire::{Envelope, fragment, lane};
use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::{STEP, Wire};
use super::{Channel, Error};

/// Resumes a paired session on a new stream. What `early` gives travels in the same flight as the proof; it is asked for
/// only then, so that what came up meanwhile goes with it.
///
/// Returns the channel and the host's name.
pub async fn resume<S>(
    stream: S,
    identity: &Identity,
    host: NodeId,
    secret: &PairingSecret,
    device_name: &str,
    early: impl FnOnce() -> Vec<Envelope>,
) -> Result<(Channel, String), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut wire = Wire::new(stream);
    let (waits, hello) = phone::resume(identity.node_id(), host, secret, &mut rand::rng());
    wire.send(&hello).await?;
    let (mut waits, auth) = waits.receive(&wire.receive().await?, identity, device_name)?;
    wire.send(&auth).await?;
    let mut sent = 0;
    for piece in early().iter().flat_map(pieces) {
        sent += piece.len();
        wire.send_frame(&waits.early().seal(&piece)?).await?;
    }
    let (header, sealed) = wire.receive_frame(STEP).await?;
    let (session, host_name) = waits.receive(header, &sealed)?;
    Ok((Channel::go_on(wire, session, sent), host_name))
}

/// An early envelope goes whole, on its lane, before the next: there is no credit yet, and nothing to overtake. What
/// keeps a channel going is never early, so all of it counts.
fn pieces(envelope: &Envelope) -> Vec<Vec<u8>> {
    fragment::split(lane::of(envelope), envelope.encode(), record::MAX_PLAINTEXT)
}

/// A pairing that has proven the host and not yet said who we are.
pub struct Pairing<S> {
    wire: Wire<S>,
    waits: phone::AwaitAnswer<Pair>,
    auth: Vec<u8>,
}

/// Begins a pairing: on return the host is proven, and nothing more was sent.
pub async fn pair<S>(
    stream: S,
    identity: &Identity,
    host: NodeId,
    secret: &TicketSecret,
    device_name: &str,
) -> Result<Pairing<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut wire = Wire::new(stream);
    let (waits, hello) = phone::pair(identity.node_id(), host, secret, &mut rand::rng());
    wire.send(&hello).await?;
    let (waits, auth) = waits.receive(&wire.receive().await?, identity, device_name)?;
    Ok(Pairing { wire, waits, auth })
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Pairing<S> {
    /// What the desk will show too.
    pub fn words(&self) -> [&'static str; 4] {
        self.waits.words()
    }

    /// To be stored before [`finish`](Self::finish): a link lost from then on is finished by a resume.
    pub fn pairing_secret(&self) -> PairingSecret {
        self.waits.pairing_secret()
    }

    /// Proves us, and waits for the desk for at most `patience`. Returns the channel and the host's name.
    pub async fn finish(mut self, patience: Duration) -> Result<(Channel, String), Error> {
        self.wire.send(&self.auth).await?;
        let (header, sealed) = self.wire.receive_frame(patience).await?;
        let (session, host_name) = self.waits.receive(header, &sealed)?;
        Ok((Channel::start(self.wire, session), host_name))
    }
}
