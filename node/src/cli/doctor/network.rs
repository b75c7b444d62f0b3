//! What this network lets out, and what it makes of our addresses: concluded from how relays answered. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_overlay::{Limit, Multiaddr, Protocol, addresses};
use serde_json::{Value, json};

use super::{Finding, Found};
use crate::cli::units::{Size, Span};

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The addresses of this machine, loopback included.
    pub(super) own: Vec<IpAddr>,
    /// Every relay that was asked.
    pub(super) relays: Vec<Relay>,
}

/// A relay.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) id: NodeId,
    pub(super) tried: Vec<Tried>,
    /// What each circuit may carry, if it gave a place.
    pub(super) place: Option<Limit>,
}

/// One address of a relay.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) address: Multiaddr,
    /// Or why not.
    pub(super) answer: Result<Answer, String>,
}

/// Somebody answered there.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where it is.
    pub(super) at: Option<IpAddr>,
    /// Round trip, if it was measured.
    pub(super) round_trip: Option<Duration>,
    /// Where it saw us.
    pub(super) seen: Option<SocketAddr>,
}

/// What carries bytes out of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Quic,
    Tcp,
    WebSocket,
    TlsWebSocket,
}

impl Way {
    pub(super) const ALL: [Self; 4] = [Self::Quic, Self::Tcp, Self::WebSocket, Self::TlsWebSocket];

    pub(super) fn of(address: &Multiaddr) -> Self {
        let is_udp = address.iter().any(|part| matches!(part, Protocol::Udp(_)));
        match (is_udp, addresses::is_websocket(address), addresses::is_over_tls(address)) {
            (true, ..) => Self::Quic,
            (_, true, true) => Self::TlsWebSocket,
            (_, true, false) => Self::WebSocket,
            _ => Self::Tcp,
        }
    }

    /// What to say where no relay answers over it, though one answers otherwise.
    const fn closed(self) -> &'static str {
        match self {
            Self::Quic => {
                "no relay answers over it, so UDP seems to be blocked here; sessions go over TCP, and fewer of them \
                 directly"
            }
            Self::Tcp => "no relay answers over it, so this network seems to let out little beside the web",
            Self::WebSocket | Self::TlsWebSocket => "no relay answers over it; without TCP there is no way out here",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "QUIC",
            Self::Tcp => "TCP",
            Self::WebSocket => "WebSocket",
            Self::TlsWebSocket => "TLS WebSocket",
        })
    }
}

/// Everything there is to say about it.
pub(super) fn findings(look: &Look) -> Vec<Finding> {
    let mut findings = vec![own(&look.own)];
    if look.relays.is_empty() {
        let says = "none is known, so phones find a host in the same network only; add one: farhelm host relays add";
        findings.push(Finding::new("relays", Found::Absent, says));
        return findings;
    }
    let any = look.relays.iter().any(|relay| answers(relay).next().is_some());
    findings.extend(look.relays.iter().map(|shown| relay(shown, any)));
    if any {
        findings.extend(Way::ALL.iter().filter_map(|way| leaves(*way, look)));
        findings.extend([Way::Quic, Way::Tcp].iter().filter_map(|way| nat(*way, look)));
    }
    findings
}

fn answers(relay: &Relay) -> impl Iterator<Item = (Way, &Answer)> {
    relay.tried.iter().filter_map(|tried| Some((Way::of(&tried.address), tried.answer.as_ref().ok()?)))
}

/// Shared by a provider's customers (RFC 6598).
fn is_carrier(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]))
}

fn own(own: &[IpAddr]) -> Finding {
    const WHAT: &str = "addresses";
    let leads_out = |ip: &&IpAddr| match ip {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_link_local()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unicast_link_local()),
    };
    let out: Vec<&IpAddr> = own.iter().filter(leads_out).collect();
    let global = |four: bool| out.iter().any(|ip| ip.is_ipv4() == four && (four || addresses::is_global(**ip)));
    let listed = out.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (found, says) = match (global(true), global(false)) {
        (false, false) => (Found::Odd, "this machine is in no network; connect it to one".to_owned()),
        (true, false) => (Found::Ok, format!("IPv4, and no IPv6 that leads out ({listed})")),
        (false, true) => (Found::Ok, format!("IPv6, and no IPv4 ({listed})")),
        (true, true) => (Found::Ok, format!("IPv4 and IPv6 ({listed})")),
    };
    let carrier = if own.iter().any(is_carrier) { "; the provider's NAT stands in front of it" } else { "" };
    Finding::new(WHAT, found, format!("{says}{carrier}")).with(json!({ "own": own }))
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 10_000.0).round() / 10.0
}

fn relay(relay: &Relay, any_answers: bool) -> Finding {
    let what = format!("relay {}", relay.id);
    let ways: BTreeSet<Way> = answers(relay).map(|(way, _)| way).collect();
    let silent = relay.tried.iter().filter_map(|tried| Some((&tried.address, tried.answer.as_ref().err()?)));
    let missing: Vec<String> = silent.map(|(address, reason)| format!("{}: {reason}", place(address))).collect();
    let details = details(relay);
    if ways.is_empty() {
        let found = if any_answers { Found::Odd } else { Found::Bad };
        let says = format!(
            "no answer ({}); see that it runs and that its ports are open, or take another one",
            missing.join("; ")
        );
        return Finding::new(what, found, says).with(details);
    }
    let nearest = answers(relay).filter_map(|(_, answer)| answer.round_trip).min();
    let round_trip = nearest.map_or_else(String::new, |least| format!(" in {} ms", ms(least)));
    let over = ways.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let beside = if missing.is_empty() { String::new() } else { format!("; no answer at {}", missing.join("; ")) };
    let (found, room) = match &relay.place {
        Some(limit) => (Found::Ok, format!("gives a place, {}", limit_in_words(limit))),
        None => {
            (Found::Odd, "gives no place: it is full, or keeps them for keys that it knows; ask who runs it".to_owned())
        }
    };
    Finding::new(what, found, format!("answers{round_trip} over {over}; {room}{beside}")).with(details)
}

/// Where it is, without who is there.
fn place(address: &Multiaddr) -> Multiaddr {
    let mut place = address.clone();
    if let Some(Protocol::P2p(_)) = place.iter().last() {
        place.pop();
    }
    place
}

fn limit_in_words(limit: &Limit) -> String {
    let bytes = limit.bytes.map(|bytes| Size(bytes).to_string());
    let span = limit.duration.map(|span| Span(span).to_string());
    match (bytes, span) {
        (None, None) => "circuits without a limit".to_owned(),
        (Some(bytes), None) => format!("circuits of up to {bytes}"),
        (None, Some(span)) => format!("circuits of up to {span}"),
        (Some(bytes), Some(span)) => format!("circuits of up to {bytes} and {span}"),
    }
}

fn details(relay: &Relay) -> Value {
    let tried = |tried: &Tried| match &tried.answer {
        Ok(answer) => json!({
            "address": tried.address, "way": Way::of(&tried.address).to_string(), "answers": true,
            "round_trip_ms": answer.round_trip.map(ms), "seen": answer.seen,
        }),
        Err(reason) => json!({
            "address": tried.address, "way": Way::of(&tried.address).to_string(), "answers": false, "reason": reason,
        }),
    };
    let place = relay.place.as_ref().map(
        |limit| json!({ "circuit_bytes": limit.bytes, "circuit_seconds": limit.duration.map(|span| span.as_secs()) }),
    );
    json!({ "relay": relay.id.to_string(), "addresses": relay.tried.iter().map(tried).collect::<Vec<_>>(), "place": place })
}

/// Whether a way leads out of this network; nothing, if no relay that answers is to be had over it.
fn leaves(way: Way, look: &Look) -> Option<Finding> {
    let answering = look.relays.iter().filter(|relay| answers(relay).next().is_some());
    let offered: Vec<&Relay> =
        answering.filter(|relay| relay.tried.iter().any(|tried| Way::of(&tried.address) == way)).collect();
    if offered.is_empty() {
        return None;
    }
    let is_open = offered.iter().any(|relay| answers(relay).any(|(over, _)| over == way));
    let (found, says) = if is_open { (Found::Ok, "leads out of this network") } else { (Found::Odd, way.closed()) };
    Some(Finding::new(way.to_string(), found, says).with(json!({ "open": is_open })))
}

/// What a NAT makes of one of our ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nat {
    /// There is none on the way to these relays.
    None,
    /// The same for everybody (endpoint-independent mapping, RFC 4787 §4.1).
    Cone,
    /// Another for each.
    Symmetric,
    /// Only one looked.
    Unknown,
}

impl Nat {
    const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cone => "cone",
            Self::Symmetric => "symmetric",
            Self::Unknown => "unknown",
        }
    }
}

fn nat(way: Way, look: &Look) -> Option<Finding> {
    let all = look.relays.iter().flat_map(answers).filter(|(over, _)| *over == way);
    let seen: Vec<(IpAddr, SocketAddr)> =
        all.filter_map(|(_, answer)| Some((answer.at?, answer.seen.filter(SocketAddr::is_ipv4)?))).collect();
    let (_, first) = seen.first()?;
    let lookers: BTreeSet<IpAddr> = seen.iter().map(|(by, _)| *by).collect();
    let kind = if seen.iter().all(|(_, at)| look.own.contains(&at.ip())) {
        Nat::None
    } else if lookers.len() < 2 {
        Nat::Unknown
    } else if seen.iter().all(|(_, at)| at == first) {
        Nat::Cone
    } else {
        Nat::Symmetric
    };
    let (found, says) = match kind {
        Nat::None => (Found::Ok, format!("none: relays see this machine at its own address, {}", first.ip())),
        Nat::Cone => (Found::Ok, format!("keeps one port for everybody ({first}): most phones get through directly")),
        Nat::Symmetric => (
            Found::Odd,
            "makes up another port for everybody: phones get through directly from public addresses and the same \
             network only, and else by relays; a port forwarded to this machine helps"
                .to_owned(),
        ),
        Nat::Unknown => (
            Found::Absent,
            format!("there is one ({first}); a relay at a second address would show of which kind it is"),
        ),
    };
    let protocol = if way == Way::Quic { "UDP" } else { "TCP" };
    let details = json!({ "kind": kind.word(), "seen": seen.iter().map(|(_, at)| at).collect::<Vec<_>>() });
    Some(Finding::new(format!("NAT for {protocol}"), found, says).with(details))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        farhelm_core::identity::Identity::from_seed(&[n; 32]).node_id()
    }

    fn answered(address: &str, seen: &str) -> Tried {
        let address: Multiaddr = address.parse().unwrap();
        let at = addresses::ip(&address);
        let answer = Answer { at, round_trip: Some(Duration::from_millis(23)), seen: Some(seen.parse().unwrap()) };
        Tried { address, answer: Ok(answer) }
    }

    fn silent(address: &str) -> Tried {
        Tried { address: address.parse().unwrap(), answer: Err("timed out".into()) }
    }

    fn limits() -> Option<Limit> {
        Some(Limit { duration: Some(Duration::from_secs(120)), bytes: Some(128 * 1024) })
    }

    fn look(relays: Vec<Vec<Tried>>) -> Look {
        let relay = |(n, tried): (usize, Vec<Tried>)| Relay { id: id(n as u8 + 1), tried, place: limits() };
        let relays = relays.into_iter().enumerate().map(relay).collect();
        Look { own: vec!["127.0.0.1".parse().unwrap(), "192.168.3.3".parse().unwrap()], relays }
    }

    fn finding(look: &Look, what: &str) -> Option<(Found, String)> {
        let found = findings(look).into_iter().find(|finding| finding.what.starts_with(what));
        found.map(|finding| (finding.found, finding.says))
    }

    const ONE: [&str; 2] = ["/ip4/45.1.0.10/udp/1/quic-v1", "/ip4/45.1.0.10/tcp/1"];
    const TWO: [&str; 2] = ["/ip4/45.2.0.10/udp/1/quic-v1", "/ip4/45.2.0.10/tcp/1"];

    #[test]
    fn what_two_relays_see_says_what_nat_there_is() {
        for (first, second, found, word) in [
            ("45.3.0.1:4500", "45.3.0.1:4500", Found::Ok, "keeps one port"),
            ("45.3.0.1:4500", "45.3.0.1:4501", Found::Odd, "another port"),
            ("45.3.0.1:4500", "45.3.0.2:4500", Found::Odd, "another port"),
            ("192.168.3.3:4500", "192.168.3.3:4500", Found::Ok, "none"),
        ] {
            let look = look(vec![vec![answered(ONE[0], first)], vec![answered(TWO[0], second)]]);
            let (is, says) = finding(&look, "NAT for UDP").unwrap();
            assert!(is == found && says.contains(word), "{first} {second}: {says}");
            assert_eq!(finding(&look, "NAT for TCP"), None);
        }
    }

    #[test]
    fn one_relay_alone_does_not_say_of_which_kind_it_is() {
        let look = look(vec![vec![answered(ONE[0], "45.3.0.1:1"), answered(ONE[1], "45.3.0.1:2")]]);
        assert_eq!(finding(&look, "NAT for UDP").unwrap().0, Found::Absent);
        assert_eq!(finding(&look, "NAT for TCP").unwrap().0, Found::Absent);
    }

    #[test]
    fn a_way_that_no_relay_answers_over_is_closed_here() {
        let look = look(vec![vec![silent(ONE[0]), answered(ONE[1], "45.3.0.1:2")], vec![silent(TWO[0])]]);
        let (found, says) = finding(&look, "QUIC").unwrap();
        assert!(found == Found::Odd && says.contains("UDP seems to be blocked"), "{says}");
        assert_eq!(finding(&look, "TCP").unwrap().0, Found::Ok);
        assert_eq!(finding(&look, "TLS WebSocket"), None, "nobody offers it");
    }

    #[test]
    fn one_relay_of_two_that_is_down_is_to_be_looked_at_and_both_are_bad() {
        let down = |n: u8| format!("relay {}", id(n));
        let one = look(vec![vec![answered(ONE[1], "45.3.0.1:2")], vec![silent(TWO[1])]]);
        assert_eq!((finding(&one, &down(1)).unwrap().0, finding(&one, &down(2)).unwrap().0), (Found::Ok, Found::Odd));
        let both = look(vec![vec![silent(ONE[1])], vec![silent(TWO[1])]]);
        assert_eq!(
            (finding(&both, &down(1)).unwrap().0, finding(&both, &down(2)).unwrap().0),
            (Found::Bad, Found::Bad)
        );
        assert_eq!(finding(&both, "TCP"), None, "of what never answered nothing is known");
    }

    #[test]
    fn a_relay_says_what_its_circuits_may_carry_and_whether_it_gives_a_place() {
        let mut look = look(vec![vec![answered(ONE[1], "45.3.0.1:2")]]);
        assert!(
            finding(&look, "relay")
                .unwrap()
                .1
                .contains("23 ms over TCP; gives a place, circuits of up to 128 KiB and 2m")
        );
        look.relays[0].place = Some(Limit::default());
        assert!(finding(&look, "relay").unwrap().1.contains("without a limit"));
        look.relays[0].place = None;
        let (found, says) = finding(&look, "relay").unwrap();
        assert!(found == Found::Odd && says.contains("gives no place"), "{says}");
    }

    #[test]
    fn without_relays_and_without_a_network_that_is_said() {
        let nowhere = Look { own: vec!["127.0.0.1".parse().unwrap()], relays: Vec::new() };
        assert_eq!(finding(&nowhere, "addresses").unwrap().0, Found::Odd);
        assert_eq!(finding(&nowhere, "relays").unwrap().0, Found::Absent);
        let carrier = Look { own: vec!["100.64.0.7".parse().unwrap()], relays: Vec::new() };
        assert!(finding(&carrier, "addresses").unwrap().1.contains("provider's NAT"));
    }
}
