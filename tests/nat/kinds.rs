//! The kinds of networks, the rows that are run, and what is expected of each.

use std::env;

use farhelm_phone::Policy;

/// What a machine sits behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: an address of its own on the internet.
    Public,
    /// The same, listening on 443.
    Public443,
    /// A NAT with a forwarded port, which lets anybody in (endpoint-independent filtering).
    Full,
    /// A NAT that maps each port to one of its own and lets in whom was sent to (port-restricted).
    Cone,
    /// A NAT that maps each port anew for each destination.
    Symmetric,
    /// A cone that drops UDP.
    NoUdp,
    /// A cone behind the cone of a carrier (RFC 6598).
    Cgnat,
    /// A firewall that lets only TCP to port 443 out.
    Only443,
    /// One that lets only the web out: TCP to port 80, where the relays speak WebSocket.
    OnlyWeb,
    /// Dual stack: IPv6 behind a firewall that lets in whom was sent to, IPv4 behind a symmetric NAT.
    Six,
    /// A symmetric NAT that forwards a port to who asks it by UPnP.
    Upnp,
    /// The same, by NAT-PMP or PCP.
    Pmp,
    /// The other's own LAN, behind one router.
    Lan,
    /// The same, and the router leads from inside to its forwarded port (hairpin).
    Hairpin,
}

impl Kind {
    const ALL: [(Self, &str); 14] = [
        (Self::Public, "public"),
        (Self::Public443, "public443"),
        (Self::Full, "full"),
        (Self::Cone, "cone"),
        (Self::Symmetric, "sym"),
        (Self::NoUdp, "noudp"),
        (Self::Cgnat, "cgnat"),
        (Self::Only443, "only443"),
        (Self::OnlyWeb, "onlyweb"),
        (Self::Six, "six"),
        (Self::Upnp, "upnp"),
        (Self::Pmp, "pmp"),
        (Self::Lan, "lan"),
        (Self::Hairpin, "hairpin"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map(|(_, name)| *name).expect("every kind has a name")
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Whether anybody can reach it.
    fn is_open(self) -> bool {
        matches!(self, Self::Public | Self::Public443 | Self::Full)
    }

    /// Whether a hole can be punched through it: it maps a port to one of its own, whoever is sent to.
    fn is_cone(self) -> bool {
        matches!(self, Self::Cone | Self::NoUdp | Self::Cgnat)
    }

    /// Whether its router forwards ports to a host that asks.
    pub(crate) fn is_mapped(self) -> bool {
        matches!(self, Self::Upnp | Self::Pmp)
    }

    pub(crate) fn is_same_lan(self) -> bool {
        matches!(self, Self::Lan | Self::Hairpin)
    }
}

/// Where the host is, and where the phone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) host: Kind,
    pub(crate) phone: Kind,
    /// What the phone permits.
    pub(crate) policy: Policy,
}

/// What has to come of it. Every row has to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Direct,
    Relayed,
}

impl Row {
    pub(crate) fn name(&self) -> String {
        let policy = if self.policy == Policy::default() { String::new() } else { format!(",{}", self.policy.name()) };
        format!("{},{}{policy}", self.host.name(), self.phone.name())
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(',');
        let (host, phone) = (Kind::parse(parts.next()?)?, Kind::parse(parts.next()?)?);
        let policy = parts.next().map_or(Some(Policy::default()), |policy| policy.parse().ok())?;
        Some(Self { host, phone, policy })
    }

    pub(crate) fn expected(&self) -> Expected {
        let (a, b) = (self.host, self.phone);
        let either = |kind| a == kind || b == kind;
        let direct = if self.policy == Policy::RelayOnly {
            false
        } else if b.is_same_lan() {
            true
        } else if either(Kind::OnlyWeb) {
            false
        } else if either(Kind::Only443) {
            either(Kind::Public443)
        } else {
            a.is_open()
                || a.is_mapped()
                || b.is_open()
                || a.is_cone() && b.is_cone()
                || a == Kind::Six && b == Kind::Six
        };
        if direct { Expected::Direct } else { Expected::Relayed }
    }
}

/// The rows of every run: each kind beside a cone, the pairs that have a reason of their own, and both ways where the
/// sides differ.
const ROWS: [&str; 31] = [
    "public,public",
    "public,cone",
    "cone,public",
    "cone,cone",
    "full,sym",
    "sym,full",
    "full,cone",
    "cone,full",
    "sym,public",
    "public,sym",
    "cone,sym",
    "sym,cone",
    "sym,sym",
    "noudp,cone",
    "cone,noudp",
    "noudp,noudp",
    "cgnat,cone",
    "cgnat,cgnat",
    "only443,cone",
    "only443,only443",
    "public443,only443",
    "onlyweb,cone",
    "six,six",
    "six,cone",
    "upnp,sym",
    "pmp,sym",
    "cone,lan",
    "sym,lan",
    "full,hairpin",
    "cone,cone,direct-only",
    "public,public,relay-only",
];

/// The rows that this run is to try.
pub(crate) fn wanted() -> Vec<Row> {
    let parse = |name: &str| Row::parse(name).unwrap_or_else(|| panic!("FARHELM_NAT: there is no row {name:?}"));
    match env::var("FARHELM_NAT") {
        Err(_) => ROWS.map(parse).into(),
        Ok(all) if all == "all" => {
            let apart = || Kind::ALL.iter().map(|(kind, _)| *kind).filter(|kind| !kind.is_same_lan());
            // A phone in there can't pair: its relays' WebSocket doesn't fit in a terminal's QR beside TCP and QUIC.
            let phones = || apart().filter(|kind| *kind != Kind::OnlyWeb);
            let row = |host| move |phone| Row { host, phone, policy: Policy::default() };
            let pairs = apart().flat_map(|host| phones().map(row(host)));
            let together = ["cone,lan", "sym,lan", "full,lan", "full,hairpin"].map(parse);
            pairs.chain(together).collect()
        }
        Ok(one) => one.split_whitespace().map(parse).collect(),
    }
}
