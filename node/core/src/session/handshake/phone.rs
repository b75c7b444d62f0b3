//! The phone's side: it speaks first, and believes only the key it came for.

use std::marker::PhantomData;

use rand_core::CryptoRng;
use serde_bytes::ByteArray;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::message::{Auth, Gate, HelloHost, HelloPhone, Mode, Reply, seal_auth};
use super::{Answer, Error, Exchanged, Pair, Resume, SUITE, VERSION, agree, ephemeral, th1, th2};
use crate::codex::text::clip;
use crate::identity::{Identity, Label, NodeId};
use crate::pairing::TicketSecret;
use crate::session::key_schedule::{Early, PairingSecret, Secrets};
use crate::session::record::{self, Sealer};
use crate::session::rekey::{Role, Root};
use crate::session::{Session, record::Opener};
use crate::wire::{cbor, limits};

/// Waits for the host's hello.
pub struct AwaitHello<M> {
    us: NodeId,
    host: NodeId,
    ephemeral: StaticSecret,
    psk: Zeroizing<Vec<u8>>,
    hello: Vec<u8>,
    mode: PhantomData<M>,
}

/// Begins a pairing with the host of a ticket. Returns the message to send.
pub fn pair(us: NodeId, host: NodeId, secret: &TicketSecret, rng: &mut impl CryptoRng) -> (AwaitHello<Pair>, Vec<u8>) {
    let draw = Draw::new(rng);
    let gate = Gate { phone: us, host, e: draw.public.as_bytes(), n: &draw.nonce }.make(secret);
    let mode = Mode::Pair { ticket: secret.ticket_id(), gate: ByteArray::new(gate) };
    AwaitHello::begin(us, host, draw, mode, secret.as_bytes())
}

/// Begins a return to a paired host. Returns the message to send.
pub fn resume(
    us: NodeId,
    host: NodeId,
    secret: &PairingSecret,
    rng: &mut impl CryptoRng,
) -> (AwaitHello<Resume>, Vec<u8>) {
    AwaitHello::begin(us, host, Draw::new(rng), Mode::Resume, secret.as_bytes())
}

/// What one handshake draws.
struct Draw {
    secret: StaticSecret,
    public: PublicKey,
    nonce: [u8; 32],
}

impl Draw {
    fn new(rng: &mut impl CryptoRng) -> Self {
        let secret = ephemeral(rng);
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        Self { public: PublicKey::from(&secret), secret, nonce }
    }
}

impl<M> AwaitHello<M> {
    fn begin(us: NodeId, host: NodeId, draw: Draw, mode: Mode, psk: &[u8]) -> (Self, Vec<u8>) {
        let (e, n) = (ByteArray::new(draw.public.to_bytes()), ByteArray::new(draw.nonce));
        let hello = cbor::to_vec(&HelloPhone { v: VERSION, suites: vec![SUITE], mode, e, n });
        let psk = Zeroizing::new(psk.to_vec());
        (Self { us, host, ephemeral: draw.secret, psk, hello: hello.clone(), mode: PhantomData }, hello)
    }

    /// Takes the host's hello and proves us to it. Returns the message to send.
    ///
    /// Of the device's name, [`limits::NAME`] bytes are sent. In mode *pair*, store the pairing secret before sending: a lost link is then finished by a resume.
    pub fn receive(
        self,
        message: &[u8],
        identity: &Identity,
        device_name: &str,
    ) -> Result<(AwaitAnswer<M>, Vec<u8>), Error> {
        let exchanged = self.exchange(message)?;
        let signature = identity.sign(Label::PhoneAuth, &exchanged.th2);
        let plaintext =
            Zeroizing::new(cbor::to_vec(&Auth { signature, name: clip(device_name, limits::NAME).to_owned() }));
        let auth = seal_auth(&exchanged.early.auth_key(), &exchanged.th2, &plaintext);
        let secrets = exchanged.session(&auth);
        let (sealer, _) = secrets.phone_to_host();
        let (_, opener) = secrets.host_to_phone();
        let root = exchanged.root(Role::Phone, &secrets);
        Ok((AwaitAnswer { host: self.host, secrets, sealer, opener, root, mode: PhantomData }, auth))
    }

    pub(super) fn exchange(&self, message: &[u8]) -> Result<Exchanged, Error> {
        let (raw, signature) = match cbor::from_slice(message, limits::HANDSHAKE_MESSAGE)? {
            Reply::Hello { hello, signature } => (hello, signature),
            Reply::Tombstone(tombstone) => {
                tombstone.verify(self.host, self.us)?;
                return Err(Error::Removed(tombstone));
            }
        };
        let hello: HelloHost = cbor::from_slice(&raw, limits::HANDSHAKE_MESSAGE)?;
        if (hello.v, hello.suite) != (VERSION, SUITE) {
            return Err(Error::Unsupported);
        }
        if hello.key != self.host {
            return Err(Error::OtherHost);
        }
        let th1 = th1(self.us, self.host, &self.hello, &raw);
        self.host.verify(Label::HostHello, &th1, &signature)?;
        let shared = agree(&self.ephemeral, hello.e.into_array())?;
        let early = Early::new(&th1, shared.as_bytes(), &self.psk);
        Ok(Exchanged { phone: self.us, host: self.host, early, th2: th2(&th1, &signature, self.us) })
    }
}

/// Waits for the host's answer.
pub struct AwaitAnswer<M> {
    host: NodeId,
    secrets: Secrets,
    sealer: Sealer,
    opener: Opener,
    root: Root,
    mode: PhantomData<M>,
}

impl AwaitAnswer<Pair> {
    /// What the desk shows too; a person compares.
    pub fn words(&self) -> [&'static str; 4] {
        crate::pairing::words(self.secrets.words())
    }

    /// What to keep, before `auth` is sent.
    pub fn pairing_secret(&self) -> PairingSecret {
        self.secrets.pairing_secret()
    }
}

impl AwaitAnswer<Resume> {
    /// Seals the first requests in the same flight as `auth`.
    pub fn early(&mut self) -> &mut Sealer {
        &mut self.sealer
    }
}

impl<M> AwaitAnswer<M> {
    /// Takes the host's answer, a frame: the session and the host's name, or why not.
    pub fn receive(mut self, header: record::Header, sealed: &[u8]) -> Result<(Session, String), Error> {
        let plaintext = self.opener.open(header, sealed)?;
        match cbor::from_slice(&plaintext, limits::HANDSHAKE_MESSAGE)? {
            Answer::Refused(refusal) => Err(Error::Refused(refusal)),
            Answer::Accepted { host_name } => {
                let session = Session { sealer: self.sealer, opener: self.opener, root: self.root, peer: self.host };
                Ok((session, host_name))
            }
        }
    }
}
