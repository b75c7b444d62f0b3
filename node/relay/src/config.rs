//! What an operator may set. A TOML file with these names; unknown ones are refused, missing ones have defaults.

use std::path::PathBuf;
use std::time::Duration;

use farhelm_overlay::addresses::is_over_tls;
use farhelm_overlay::{Multiaddr, Transports};
use serde::Deserialize;

use crate::certificate::Files;

/// The port a relay listens on unless told otherwise; fixed, so that its addresses survive a restart.
pub const PORT: u16 = 4001;

/// The port for TLS WebSocket: what a network lets out if it lets anything out.
pub const TLS_PORT: u16 = 443;

/// A relay's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen. Default: TCP and QUIC on [`PORT`], every interface, IPv4 and IPv6.
    pub listen: Vec<Multiaddr>,
    /// The addresses clients are told, if they are not those of the machine's global interfaces: behind a forwarded
    /// port or a DNS name. Port 0 stands for the port listened on.
    pub announce: Vec<Multiaddr>,
    /// The certificate for TLS WebSocket and those that lead to an authority, PEM. With it and its key, and unless
    /// `listen` has such an address already, the relay also listens on TLS WebSocket on [`TLS_PORT`]. Both files are
    /// read again when they change.
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM, unencrypted.
    pub tls_key: Option<PathBuf>,
    /// How long a circuit may live, in seconds. Default 1 h.
    pub circuit_seconds: u32,
    /// How many bytes a circuit may carry, both directions and their framing together. Default 256 MiB; 0: no limit.
    pub circuit_bytes: u64,
    /// Circuits one peer may have at a time. Default 4.
    pub circuits_per_peer: usize,
    /// Circuits in all. Default 512.
    pub circuits: usize,
    /// Peers that may hold a reservation at a time. Default 1024; a renewal is never refused for lack of room.
    pub reservations: usize,
    /// How long a reservation lasts unless renewed, in seconds. Default 1 h.
    pub reservation_seconds: u32,
    /// Connections in all. Default 4096: a client holds one for each transport. Each takes 50 KiB (TCP) to 100 KiB
    /// (QUIC) of memory.
    pub connections: u32,
    /// Sockets, or memory for tests and examples.
    #[serde(skip)]
    pub transports: Transports,
}

impl Default for Config {
    fn default() -> Self {
        let listen = [
            format!("/ip4/0.0.0.0/tcp/{PORT}"),
            format!("/ip4/0.0.0.0/udp/{PORT}/quic-v1"),
            format!("/ip6/::/tcp/{PORT}"),
            format!("/ip6/::/udp/{PORT}/quic-v1"),
        ];
        Self {
            listen: listen.iter().map(|text| text.parse().expect("a constant address")).collect(),
            announce: Vec::new(),
            tls_cert: None,
            tls_key: None,
            circuit_seconds: 60 * 60,
            circuit_bytes: 256 << 20,
            circuits_per_peer: 4,
            circuits: 512,
            reservations: 1024,
            reservation_seconds: 60 * 60,
            connections: 4096,
            transports: Transports::Network,
        }
    }
}

/// Why the settings can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not TOML, an unknown name or a wrong type; the text says where.
    #[error("the relay's settings can't be read: {0}")]
    Toml(String),
    /// A limit under which nothing works.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// A certificate without its key, or the other way round.
    #[error("{given} is given and {missing} is not; TLS needs both")]
    HalfTls {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// TLS without a certificate.
    #[error("{0} needs a certificate; give tls_cert and tls_key")]
    NoCertificate(Multiaddr),
}

impl Config {
    /// Reads a TOML file's text.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|error| Error::Toml(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Refuses limits under which nothing works.
    pub fn check(&self) -> Result<(), Error> {
        let limits = [
            // libp2p takes zero bytes as "no limit" but zero seconds as "at once".
            ("circuit_seconds", u64::from(self.circuit_seconds)),
            ("circuits_per_peer", self.circuits_per_peer as u64),
            ("circuits", self.circuits as u64),
            ("reservations", self.reservations as u64),
            ("reservation_seconds", u64::from(self.reservation_seconds)),
            ("connections", u64::from(self.connections)),
        ];
        limits.iter().find(|(_, value)| *value == 0).map_or(Ok(()), |(name, _)| Err(Error::Zero(name)))?;
        self.check_tls()
    }

    fn check_tls(&self) -> Result<(), Error> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => Err(Error::HalfTls { given: "tls_cert", missing: "tls_key" }),
            (None, Some(_)) => Err(Error::HalfTls { given: "tls_key", missing: "tls_cert" }),
            (None, None) => {
                let tls = self.listen.iter().find(|address| is_over_tls(address));
                tls.map_or(Ok(()), |address| Err(Error::NoCertificate(address.clone())))
            }
        }
    }

    /// Where to listen, TLS included.
    pub(crate) fn sockets(&self) -> Vec<Multiaddr> {
        let mut sockets = self.listen.clone();
        if self.tls_cert.is_some() && !sockets.iter().any(is_over_tls) {
            let tls = [format!("/ip4/0.0.0.0/tcp/{TLS_PORT}/tls/ws"), format!("/ip6/::/tcp/{TLS_PORT}/tls/ws")];
            sockets.extend(tls.iter().map(|text| text.parse::<Multiaddr>().expect("a constant address")));
        }
        sockets
    }

    pub(crate) fn certificate(&self) -> Option<Files> {
        Some(Files { certificate: self.tls_cert.clone()?, key: self.tls_key.clone()? })
    }

    pub(crate) fn circuit_duration(&self) -> Duration {
        Duration::from_secs(self.circuit_seconds.into())
    }

    pub(crate) fn reservation_duration(&self) -> Duration {
        Duration::from_secs(self.reservation_seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = Config::from_toml("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!((config.circuit_seconds, config.circuit_bytes), (3600, 268_435_456));
        assert_eq!((config.circuits_per_peer, config.circuits, config.listen.len()), (4, 512, 4));
    }

    #[test]
    fn settings_are_taken_from_the_file() {
        let text = "announce = [\"/dns4/relay.example/tcp/4001\"]\ncircuits = 7\n";
        let config = Config::from_toml(text).unwrap();
        assert_eq!((config.announce[0].to_string().as_str(), config.circuits), ("/dns4/relay.example/tcp/4001", 7));
    }

    #[test]
    fn an_unknown_name_is_refused_and_named() {
        match Config::from_toml("circuts = 7") {
            Err(Error::Toml(text)) => assert!(text.contains("circuts") && text.contains("circuits"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(Config::from_toml("listen = [\"here\"]"), Err(Error::Toml(_))));
    }

    #[test]
    fn a_certificate_opens_443_unless_tls_is_listened_on_elsewhere() {
        let pair = "tls_cert = \"c.pem\"\ntls_key = \"k.pem\"\n";
        let sockets = |text: &str| Config::from_toml(text).unwrap().sockets().len();
        assert_eq!((sockets(""), sockets(pair)), (4, 6));
        assert_eq!(sockets(&format!("{pair}listen = [\"/ip4/0.0.0.0/tcp/8443/tls/ws\"]")), 1);
        let half = Config::from_toml("tls_cert = \"c.pem\"");
        assert_eq!(half, Err(Error::HalfTls { given: "tls_cert", missing: "tls_key" }));
        let none = Config::from_toml("listen = [\"/ip4/0.0.0.0/tcp/8443/tls/ws\"]");
        assert!(matches!(none, Err(Error::NoCertificate(_))));
    }

    #[test]
    fn a_limit_of_zero_is_refused_except_bytes() {
        assert_eq!(Config::from_toml("circuit_seconds = 0"), Err(Error::Zero("circuit_seconds")));
        assert_eq!(Config::from_toml("circuits_per_peer = 0"), Err(Error::Zero("circuits_per_peer")));
        assert!(Config::from_toml("circuit_bytes = 0").is_ok());
    }
}
