//! `ticket.json`: texts and what they say, and texts that must be refused.

use serde::Serialize;

use super::*;
use crate::identity::Identity;
use crate::vectors::{check, counting, diagnostic, hex};

#[derive(Serialize)]
struct Vectors {
    what: &'static str,
    tickets: Vec<Good>,
    refused: Vec<Bad>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Good {
    what: &'static str,
    text: String,
    cbor: String,
    reads: String,
    host: String,
    secret: String,
    ticket_id: String,
    expires_at: u64,
    name: String,
    /// In order of use.
    expands_to: Vec<String>,
}

#[derive(Serialize)]
struct Bad {
    what: &'static str,
    text: String,
    error: String,
}

fn key(start: u8) -> NodeId {
    Identity::from_seed(&counting(start)).node_id()
}

fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

fn relay(start: u8, endpoints: &[&str]) -> Relay {
    Relay { key: key(start), endpoints: addresses(endpoints) }
}

fn smallest() -> Ticket {
    Ticket {
        host: key(0x21),
        secret: TicketSecret::from_bytes(counting(0xc1)),
        expires_at: 1_800_000_000,
        relays: Vec::new(),
        direct: addresses(&["/ip4/192.168.1.20/tcp/40111"]),
        name: String::new(),
    }
}

fn usual() -> Ticket {
    let endpoints = ["/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4001/quic-v1"];
    Ticket { relays: vec![relay(0x61, &endpoints)], direct: Vec::new(), name: "desk".into(), ..smallest() }
}

/// One of each kind of packed endpoint.
fn full() -> Ticket {
    let second =
        ["/dns/relay.example/tcp/443", "/dns/relay.example/tcp/443/tls/ws", "/ip6/2001:db8::1/udp/4001/quic-v1"];
    let first = usual().relays.remove(0);
    let direct =
        addresses(&["/ip6/fd00::20/tcp/40111", "/ip6/fd00::20/udp/40111/quic-v1", "/dns4/desk.example/tcp/22"]);
    Ticket { relays: vec![first, relay(0x81, &second)], direct, name: "workshop-desk ü".into(), ..smallest() }
}

fn good(what: &'static str, ticket: &Ticket) -> Good {
    let bytes = ticket.to_bytes();
    assert_eq!(Ticket::decode(&ticket.encode()).as_ref(), Ok(ticket));
    Good {
        what,
        text: ticket.encode().to_string(),
        reads: diagnostic(&bytes),
        cbor: hex(&*bytes),
        host: ticket.host.to_string(),
        secret: hex(ticket.secret.as_bytes()),
        ticket_id: hex(*ticket.secret.ticket_id()),
        expires_at: ticket.expires_at,
        name: ticket.name.clone(),
        expands_to: ticket.addresses_of_host().iter().map(ToString::to_string).collect(),
    }
}

fn bad(what: &'static str, text: impl Into<String>) -> Bad {
    let text = text.into();
    let error = format!("{:?}", Ticket::decode(&text).unwrap_err());
    Bad { what, text, error }
}

/// The usual ticket with its bytes changed.
fn changed(what: &'static str, change: impl Fn(&mut Vec<u8>)) -> Bad {
    changed_from(usual(), what, change)
}

fn changed_from(ticket: Ticket, what: &'static str, change: impl Fn(&mut Vec<u8>)) -> Bad {
    let mut bytes = ticket.to_bytes().to_vec();
    change(&mut bytes);
    bad(what, format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes)))
}

fn refused() -> Vec<Bad> {
    let text = usual().encode();
    // [version, host key, …]: one byte of array head, one of version, two of the key's head.
    const KEY: usize = 4;
    let nowhere = Ticket { direct: Vec::new(), ..smallest() };
    let unnamed = Ticket { name: "n".repeat(limits::NAME + 1), ..smallest() };
    vec![
        bad("another text", "https://example.org/"),
        bad("the prefix alone", PREFIX),
        bad("a character base32 doesn't have", text.replace("FARHELM:Q", "FARHELM:1")),
        bad("cut off at a character", &text[..text.len() - 1]),
        bad("cut off at a byte", &text[..PREFIX.len() + 80]),
        changed("a later version", |b| b[1] = 2),
        changed("a host key that is no point", |b| {
            b[KEY..KEY + 32].fill(0);
            b[KEY] = 2;
        }),
        changed("a host key of small order", |b| b[KEY..KEY + 32].fill(0)),
        changed("a byte after the end", |b| b.push(0)),
        changed("an eighth field", |b| {
            b[0] += 1;
            b.push(0);
        }),
        changed("an endpoint of unknown kind", |b| {
            let endpoint = b.windows(5).position(|w| w == [0x13, 203, 0, 113, 7]).unwrap();
            b[endpoint] = 0x43;
        }),
        changed("an endpoint without a transport", |b| {
            let endpoint = b.windows(5).position(|w| w == [0x13, 203, 0, 113, 7]).unwrap();
            b[endpoint] = 0x10;
        }),
        changed_from(full(), "a whole multiaddr under another first byte than 0", |b| {
            let endpoint = b.windows(3).position(|w| w == [0, 0x36, 12]).unwrap();
            b[endpoint] = 1;
        }),
        bad("no address", nowhere.encode().to_string()),
        bad("a name that is too long", unnamed.encode().to_string()),
        bad("longer than any ticket", format!("{PREFIX}{}", "A".repeat(821))),
    ]
}

#[test]
fn tickets_are_as_in_the_vectors() {
    let tickets = vec![
        good("one direct address, no name", &smallest()),
        good("one relay over TCP and QUIC on one port, which share a packed endpoint", &usual()),
        good("every kind of endpoint: DNS, IPv6, whole multiaddrs (a WebSocket, a dns4 name)", &full()),
        good(
            "the one before, cut to the 116 bytes that a terminal's QR holds",
            &full().fit(limits::TICKET_FOR_TERMINAL),
        ),
    ];
    let what =
        "Tickets as text, as CBOR and as what they mean; then texts that must be refused, with the error's name.";
    check(
        "ticket.json",
        include_str!("../../../../../tests/vectors/ticket.json"),
        &Vectors { what, tickets, refused: refused() },
    );
}

#[test]
fn a_text_of_the_longest_ticket_is_read_and_one_character_more_is_not() {
    let error = |length| Ticket::decode(&format!("{PREFIX}{}", "A".repeat(length))).unwrap_err();
    assert_eq!(BASE32_NOPAD.encode_len(limits::TICKET), 820);
    assert_eq!((error(820), error(821)), (Error::Damaged, Error::TooLong));
}
