//! The ticket: what a QR carries from the desk to the phone.
//!
//! `FARHELM:` and base32 (both in QR's alphanumeric mode) of a CBOR array `[version, host key, secret, expiry, relays,
//! direct, name]`. It expands to standard multiaddrs that any libp2p tool can dial.
//!
//! # Why
//! - *The ticket's id isn't in it.* It is derived from the secret ([`TicketSecret::ticket_id`]), which saves nine bytes
//!   of a picture that must fit 24 terminal lines, and leaves no second field that could disagree.
//! - *Endpoints are packed* (TCP and QUIC on one port are seven bytes), with whole binary multiaddrs as the fallback
//!   for anything else.
//! - *Expiry is judged by the host's clock only*; the phone's may be wrong.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE32_NOPAD;
use hkdf::Hkdf;
use multiaddr::{Multiaddr, Protocol};
use rand_core::CryptoRng;
use serde_bytes::{ByteArray, ByteBuf};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::identity::NodeId;
use crate::wire::{cbor, limits};

/// How every ticket starts.
pub const PREFIX: &str = "FARHELM:";
const VERSION: u8 = 1;

/// Why a text is no ticket. Every message says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It doesn't start with `FARHELM:`.
    #[error("this is no Farhelm code: it does not start with {PREFIX}; show one with `farhelm pair` on the host")]
    Prefix,
    /// A character that base32 doesn't have, or a length it can't have.
    #[error("the code is mistyped or cut off (character {0}); copy or scan it again")]
    Base32(usize),
    /// Base32, but not a whole ticket.
    #[error("the code is cut off or damaged; copy or scan it again")]
    Damaged,
    /// Longer than any ticket.
    #[error("the code is longer than any Farhelm code; copy or scan it again")]
    TooLong,
    /// Made by a version this one doesn't know.
    #[error("the code is of version {0}, this program reads version {VERSION}; update the older of the two")]
    Version(u8),
    /// Its key is no key.
    #[error("the code holds no usable host key; show a new one with `farhelm pair` on the host")]
    Key,
    /// It says nowhere how to reach the host.
    #[error(
        "the code names no address of the host; give the host a relay with `farhelm host relays add`, then show a new code"
    )]
    NoAddress,
}

/// A ticket's one-time secret: 128 random bits.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TicketSecret([u8; 16]);

/// A ticket's public name, derived from its secret.
pub type TicketId = ByteArray<8>;

impl TicketSecret {
    /// A new secret.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Takes the bytes back from a store.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store or a key schedule.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id under which the host keeps the offer.
    pub fn ticket_id(&self) -> TicketId {
        ByteArray::new(*self.derive("farhelm/1 ticket id"))
    }

    /// The key of the gate, so that the secret itself keys one thing only.
    pub(crate) fn gate_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive("farhelm/1 gate key")
    }

    fn derive<const N: usize>(&self, label: &str) -> Zeroizing<[u8; N]> {
        let mut out = Zeroizing::new([0; N]);
        Hkdf::<Sha256>::new(None, &self.0).expand(label.as_bytes(), &mut *out).expect("at most 32 bytes");
        out
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret(…)")
    }
}

/// A relay that can introduce the phone to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its key.
    pub key: NodeId,
    /// Where it listens, without `/p2p`.
    pub endpoints: Vec<Multiaddr>,
}

/// What the QR carries.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The host's key.
    pub host: NodeId,
    /// The one-time secret.
    pub secret: TicketSecret,
    /// Unix seconds by the host's clock.
    pub expires_at: u64,
    /// In order of use.
    pub relays: Vec<Relay>,
    /// Where the host itself listens, without `/p2p`, in order of use.
    pub direct: Vec<Multiaddr>,
    /// A short name for people; perhaps cut or empty.
    pub name: String,
}

type Packed = (u8, ByteArray<32>, ByteArray<16>, u64, Vec<(ByteArray<32>, Vec<ByteBuf>)>, Vec<ByteBuf>, String);

impl Ticket {
    /// The text of the QR. It holds a secret: never log it.
    pub fn encode(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", BASE32_NOPAD.encode(&self.to_bytes())))
    }

    /// Reads a ticket; case and white space don't matter.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect());
        let code = text.strip_prefix(PREFIX).ok_or(Error::Prefix)?;
        if code.len() > BASE32_NOPAD.encode_len(limits::TICKET) {
            return Err(Error::TooLong);
        }
        let decoded = BASE32_NOPAD.decode(code.as_bytes());
        let bytes = Zeroizing::new(decoded.map_err(|error| Error::Base32(PREFIX.len() + error.position + 1))?);
        Self::from_bytes(&bytes)
    }

    /// The ticket with as many addresses and as much of the name as fit `limit` bytes, in order of use: the first
    /// relay, then direct addresses, then further relays. What doesn't fit travels inside the session.
    pub fn fit(&self, limit: usize) -> Self {
        let mut fitted = Self { relays: Vec::new(), direct: Vec::new(), name: String::new(), ..self.clone() };
        let first = self.relays.iter().take(1).flat_map(by_relay);
        let further = self.relays.iter().skip(1).flat_map(by_relay);
        let direct = pack(&self.direct).into_iter().map(|packed| (None, packed));
        for (relay, endpoint) in first.chain(direct).chain(further) {
            let larger = fitted.with(relay, &endpoint);
            if larger.to_bytes().len() <= limit && larger.addresses() <= limits::TICKET_ADDRESSES {
                fitted = larger;
            }
        }
        let room = limit.saturating_sub(fitted.to_bytes().len() + 1).min(limits::NAME);
        fitted.name = self.name[..self.name.floor_char_boundary(room)].to_owned();
        fitted
    }

    /// Every address of the host, as multiaddrs to dial: circuits first, then direct ones.
    pub fn addresses_of_host(&self) -> Vec<Multiaddr> {
        let host = Protocol::P2p(self.host.to_peer_id());
        let circuits = self.relays.iter().flat_map(|relay| {
            let via = Protocol::P2p(relay.key.to_peer_id());
            relay.endpoints.iter().map(move |e| e.clone().with(via.clone()).with(Protocol::P2pCircuit))
        });
        circuits.chain(self.direct.iter().cloned()).map(|address| address.with(host.clone())).collect()
    }

    /// Relays as multiaddrs with their `/p2p`.
    pub fn relay_addresses(&self) -> Vec<Multiaddr> {
        let with_key = |relay: &Relay| {
            let key = Protocol::P2p(relay.key.to_peer_id());
            relay.endpoints.iter().map(move |e| e.clone().with(key.clone())).collect::<Vec<_>>()
        };
        self.relays.iter().flat_map(with_key).collect()
    }

    fn addresses(&self) -> usize {
        pack(&self.direct).len() + self.relays.iter().map(|r| pack(&r.endpoints).len()).sum::<usize>()
    }

    fn with(&self, relay: Option<NodeId>, endpoint: &[u8]) -> Self {
        let mut larger = self.clone();
        let Ok(endpoints) = unpack(endpoint) else { return larger };
        match relay {
            None => larger.direct.extend(endpoints),
            Some(key) => match larger.relays.iter_mut().find(|r| r.key == key) {
                Some(relay) => relay.endpoints.extend(endpoints),
                None => larger.relays.push(Relay { key, endpoints }),
            },
        }
        larger
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let buffers = |endpoints: &[Multiaddr]| pack(endpoints).into_iter().map(ByteBuf::from).collect::<Vec<_>>();
        let packed: Packed = (
            VERSION,
            ByteArray::new(*self.host.as_bytes()),
            ByteArray::new(self.secret.0),
            self.expires_at,
            self.relays.iter().map(|r| (ByteArray::new(*r.key.as_bytes()), buffers(&r.endpoints))).collect(),
            buffers(&self.direct),
            self.name.clone(),
        );
        Zeroizing::new(cbor::to_vec(&packed))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        // The version stands right behind the array's head, so that later ones can be told from damage.
        if let [0x80..=0x97, version @ (0 | 2..=0x17), ..] = bytes {
            return Err(Error::Version(*version));
        }
        let (_, host, secret, expires_at, relays, direct, name): Packed =
            cbor::from_slice(bytes, limits::TICKET).map_err(|_| Error::Damaged)?;
        if relays.len() > limits::TICKET_ADDRESSES || direct.len() > limits::TICKET_ADDRESSES {
            return Err(Error::Damaged);
        }
        let relays = relays.into_iter().map(|(key, endpoints)| {
            let key = NodeId::from_bytes(key.into_array()).map_err(|_| Error::Key)?;
            Ok(Relay { key, endpoints: unpack_all(&endpoints)? })
        });
        let ticket = Self {
            host: NodeId::from_bytes(host.into_array()).map_err(|_| Error::Key)?,
            secret: TicketSecret(secret.into_array()),
            expires_at,
            relays: relays.collect::<Result<_, Error>>()?,
            direct: unpack_all(&direct)?,
            name,
        };
        if ticket.name.len() > limits::NAME {
            return Err(Error::Damaged);
        }
        if ticket.addresses_of_host().is_empty() { Err(Error::NoAddress) } else { Ok(ticket) }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("host", &self.host).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

fn by_relay(relay: &Relay) -> Vec<(Option<NodeId>, Vec<u8>)> {
    pack(&relay.endpoints).into_iter().map(|packed| (Some(relay.key), packed)).collect()
}

// Packed endpoints: kind, address, port (BE). Kind = family | transports; 0 = a binary multiaddr follows.
const TCP: u8 = 1;
const QUIC: u8 = 2;
const IP4: u8 = 0x10;
const IP6: u8 = 0x20;
const DNS: u8 = 0x30;

/// One buffer an endpoint; TCP and QUIC on the same address and port share one.
fn pack(endpoints: &[Multiaddr]) -> Vec<Vec<u8>> {
    let mut packed: Vec<Vec<u8>> = Vec::new();
    for endpoint in endpoints {
        let bytes = pack_one(endpoint);
        let twin = packed.iter_mut().find(|p| p[0] & 0xf0 == bytes[0] & 0xf0 && bytes[0] != 0 && p[1..] == bytes[1..]);
        match twin {
            Some(twin) => twin[0] |= bytes[0],
            None => packed.push(bytes),
        }
    }
    packed
}

fn pack_one(endpoint: &Multiaddr) -> Vec<u8> {
    let parts: Vec<Protocol<'_>> = endpoint.iter().collect();
    let (transport, port) = match parts.as_slice() {
        [_, Protocol::Tcp(port)] => (TCP, *port),
        [_, Protocol::Udp(port), Protocol::QuicV1] => (QUIC, *port),
        _ => return whole(endpoint),
    };
    let port = port.to_be_bytes();
    match &parts[0] {
        Protocol::Ip4(ip) => [&[IP4 | transport], &ip.octets()[..], &port].concat(),
        Protocol::Ip6(ip) => [&[IP6 | transport], &ip.octets()[..], &port].concat(),
        Protocol::Dns(name) => [&[DNS | transport], &port[..], name.as_bytes()].concat(),
        _ => whole(endpoint),
    }
}

fn whole(endpoint: &Multiaddr) -> Vec<u8> {
    [&[0], &endpoint.to_vec()[..]].concat()
}

fn unpack_all(packed: &[ByteBuf]) -> Result<Vec<Multiaddr>, Error> {
    Ok(packed.iter().map(|p| unpack(p)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn unpack(packed: &[u8]) -> Result<Vec<Multiaddr>, Error> {
    let (kind, rest) = packed.split_first().ok_or(Error::Damaged)?;
    if *kind == 0 {
        return Ok(vec![Multiaddr::try_from(rest.to_vec()).map_err(|_| Error::Damaged)?]);
    }
    let (address, port) = match (kind & 0xf0, rest) {
        (IP4, [a, b, c, d, p, q]) => (Protocol::Ip4(Ipv4Addr::new(*a, *b, *c, *d)), [*p, *q]),
        (IP6, [ip @ .., p, q]) => {
            let octets: [u8; 16] = ip.try_into().map_err(|_| Error::Damaged)?;
            (Protocol::Ip6(Ipv6Addr::from(octets)), [*p, *q])
        }
        (DNS, [p, q, name @ ..]) => {
            let name = std::str::from_utf8(name).map_err(|_| Error::Damaged)?;
            (Protocol::Dns(name.into()), [*p, *q])
        }
        _ => return Err(Error::Damaged),
    };
    let (address, port) = (Multiaddr::from(address), u16::from_be_bytes(port));
    let tcp = (kind & TCP != 0).then(|| address.clone().with(Protocol::Tcp(port)));
    let quic = (kind & QUIC != 0).then(|| address.with(Protocol::Udp(port)).with(Protocol::QuicV1));
    let endpoints: Vec<_> = tcp.into_iter().chain(quic).collect();
    if endpoints.is_empty() || kind & 0x0c != 0 { Err(Error::Damaged) } else { Ok(endpoints) }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
