//! The host's side: it says nothing to whoever hasn't shown a gate or a paired key.

use std::marker::PhantomData;

use rand_core::CryptoRng;
use serde_bytes::{ByteArray, ByteBuf};
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use super::message::{Auth, Gate, HelloHost, HelloPhone, Mode, Reply, open_auth};
use super::{Answer, Error, Exchanged, Pair, Resume, SUITE, VERSION, agree, ephemeral, th1, th2};
use crate::codex::text::clip;
use crate::identity::{Identity, Label, NodeId};
use crate::pairing::{Refusal, TicketId, TicketSecret, Tombstone};
use crate::session::Session;
use crate::session::key_schedule::{Early, PairingSecret, Secrets};
use crate::session::rekey::{Role, Root};
use crate::wire::{cbor, limits};

/// A phone's hello, read and not yet believed.
pub enum Hello {
    /// It names a ticket.
    Pair(Claim),
    /// It says that it is paired.
    Resume(Return),
}

/// The part of a hello that both modes share.
struct Begun {
    phone: NodeId,
    host: NodeId,
    raw: Vec<u8>,
    e: [u8; 32],
    n: [u8; 32],
}

/// A claim to know a ticket's secret.
pub struct Claim {
    begun: Begun,
    ticket: TicketId,
    gate: [u8; 32],
}

/// A return of a phone whose pairing is to be looked up by its peer id.
pub struct Return(Begun);

/// A phone that knows the ticket's secret.
pub struct Invited {
    begun: Begun,
    psk: Zeroizing<Vec<u8>>,
}

impl Hello {
    /// Reads the phone's first message. `phone` is the peer id that the swarm proved.
    pub fn read(message: &[u8], host: NodeId, phone: NodeId) -> Result<Self, Error> {
        let hello: HelloPhone = cbor::from_slice(message, limits::HANDSHAKE_MESSAGE)?;
        if hello.v != VERSION || !hello.suites.contains(&SUITE) {
            return Err(Error::Unsupported);
        }
        let (e, n) = (hello.e.into_array(), hello.n.into_array());
        let begun = Begun { phone, host, raw: message.to_vec(), e, n };
        Ok(match hello.mode {
            Mode::Pair { ticket, gate } => Self::Pair(Claim { begun, ticket, gate: gate.into_array() }),
            Mode::Resume => Self::Resume(Return(begun)),
        })
    }
}

impl Claim {
    /// The ticket whose secret is to be looked up.
    pub const fn ticket(&self) -> TicketId {
        self.ticket
    }

    /// Checks the gate. A wrong one voids nothing: a 128-bit secret needs no counter, and a counter would let
    /// strangers kill pairings.
    pub fn verify(self, secret: &TicketSecret) -> Result<Invited, Error> {
        let begun = self.begun;
        let gate = Gate { phone: begun.phone, host: begun.host, e: &begun.e, n: &begun.n };
        gate.verify(secret, &self.gate)?;
        Ok(Invited { psk: Zeroizing::new(secret.as_bytes().to_vec()), begun })
    }
}

impl Invited {
    /// Answers with a signature over everything so far. Returns the message to send.
    pub fn reply(self, identity: &Identity, rng: &mut impl CryptoRng) -> Result<(AwaitAuth<Pair>, Vec<u8>), Error> {
        self.begun.reply(&self.psk, identity, rng)
    }
}

impl Return {
    /// Answers a paired phone. Returns the message to send.
    pub fn reply(
        self,
        secret: &PairingSecret,
        identity: &Identity,
        rng: &mut impl CryptoRng,
    ) -> Result<(AwaitAuth<Resume>, Vec<u8>), Error> {
        self.0.reply(secret.as_bytes(), identity, rng)
    }

    /// Answers a revoked phone; then close. Returns the message to send.
    pub fn bury(self, tombstone: &Tombstone) -> Vec<u8> {
        cbor::to_vec(&Reply::Tombstone(tombstone.clone()))
    }
}

impl Begun {
    fn reply<M>(
        self,
        psk: &[u8],
        identity: &Identity,
        rng: &mut impl CryptoRng,
    ) -> Result<(AwaitAuth<M>, Vec<u8>), Error> {
        let secret = ephemeral(rng);
        let mut n = [0; 32];
        rng.fill_bytes(&mut n);
        let shared = agree(&secret, self.e)?;
        let e = ByteArray::new(PublicKey::from(&secret).to_bytes());
        let hello = HelloHost { v: VERSION, suite: SUITE, e, n: ByteArray::new(n), key: self.host };
        let hello = cbor::to_vec(&hello);
        let th1 = th1(self.phone, self.host, &self.raw, &hello);
        let signature = identity.sign(Label::HostHello, &th1);
        let early = Early::new(&th1, shared.as_bytes(), psk);
        let th2 = th2(&th1, &signature, self.phone);
        let exchanged = Exchanged { phone: self.phone, host: self.host, early, th2 };
        let reply = cbor::to_vec(&Reply::Hello { hello: ByteBuf::from(hello), signature });
        Ok((AwaitAuth { exchanged, mode: PhantomData }, reply))
    }
}

/// Waits for the phone's proof.
pub struct AwaitAuth<M> {
    exchanged: Exchanged,
    mode: PhantomData<M>,
}

impl<M> AwaitAuth<M> {
    /// Takes the phone's proof.
    pub fn receive(self, message: &[u8]) -> Result<Authenticated<M>, Error> {
        let exchanged = self.exchanged;
        let plaintext = Zeroizing::new(open_auth(&exchanged.early.auth_key(), &exchanged.th2, message)?);
        let auth: Auth = cbor::from_slice(&plaintext, limits::HANDSHAKE_MESSAGE)?;
        exchanged.phone.verify(Label::PhoneAuth, &exchanged.th2, &auth.signature)?;
        let secrets = exchanged.session(message);
        let name = clip(&auth.name, limits::NAME).to_owned();
        let root = exchanged.root(Role::Host, &secrets);
        Ok(Authenticated { phone: exchanged.phone, secrets, root, name, mode: PhantomData })
    }
}

/// A phone that has proven its key, and the ticket's or the pairing's secret. Not yet entitled: that is the caller's
/// word, given by [`accept`](Self::accept) after what must be stored is stored.
pub struct Authenticated<M> {
    phone: NodeId,
    secrets: Secrets,
    root: Root,
    name: String,
    mode: PhantomData<M>,
}

impl Authenticated<Pair> {
    /// What the phone shows too; a person compares.
    pub fn words(&self) -> [&'static str; 4] {
        crate::pairing::words(self.secrets.words())
    }

    /// What to keep, before accepting.
    pub fn pairing_secret(&self) -> PairingSecret {
        self.secrets.pairing_secret()
    }
}

impl<M> Authenticated<M> {
    /// The phone's key.
    pub const fn phone(&self) -> NodeId {
        self.phone
    }

    /// The name the phone gave itself, at most [`limits::NAME`] bytes; not sanitized for a terminal.
    pub fn device_name(&self) -> &str {
        &self.name
    }

    /// Lets the phone in. Returns the frame to send.
    pub fn accept(self, host_name: &str) -> Result<(Session, Vec<u8>), Error> {
        let (mut sealer, _) = self.secrets.host_to_phone();
        let (_, opener) = self.secrets.phone_to_host();
        let host_name = clip(host_name, limits::NAME).to_owned();
        let frame = sealer.seal(&cbor::to_vec(&Answer::Accepted { host_name }))?;
        Ok((Session { sealer, opener, root: self.root, peer: self.phone }, frame))
    }

    /// Sends the phone away, telling it why. Returns the frame to send.
    pub fn refuse(self, refusal: Refusal) -> Result<Vec<u8>, Error> {
        let (mut sealer, _) = self.secrets.host_to_phone();
        Ok(sealer.seal(&cbor::to_vec(&Answer::Refused(refusal)))?)
    }
}
