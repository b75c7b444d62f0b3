//! Machines, routers and the internet between them: one shell script a world.
//!
//! Addresses of the internet are ones that every library counts as global; the namespaces are closed.

use std::fmt::Write;

use crate::kinds::{Kind, Row};

/// Where the relays are: in networks of their own.
pub(crate) const RELAYS: [(&str, &str); 2] = [("45.1.0.10", "2a00:1::10"), ("45.2.0.10", "2a00:2::10")];
/// The port on which host and phone listen, and which a router forwards that forwards one.
pub(crate) const PORT: u16 = 4500;

/// A side of a row.
#[derive(Clone, Copy)]
struct Side {
    /// Its machine's name, and what its router's begins with.
    machine: &'static str,
    kind: Kind,
    /// Its number: part of its addresses.
    n: u8,
}

/// The links to the internet that a row needs, by the machine at their near end.
pub(crate) fn links(row: Row) -> Vec<String> {
    let sides = sides(row);
    let of_sides = sides.iter().filter_map(|side| side.uplink());
    ["relay1", "relay2"].map(str::to_owned).into_iter().chain(of_sides).collect()
}

fn sides(row: Row) -> [Side; 2] {
    [Side { machine: "host", kind: row.host, n: 3 }, Side { machine: "phone", kind: row.phone, n: 4 }]
}

impl Side {
    /// The machine with the link to the internet; none in the other's LAN.
    fn uplink(&self) -> Option<String> {
        match self.kind {
            Kind::Public | Kind::Public443 => Some(self.machine.to_owned()),
            Kind::Lan | Kind::Hairpin => None,
            Kind::Cgnat => Some(format!("isp{}", self.n)),
            _ => Some(format!("nat{}", self.n)),
        }
    }
}

/// The script that builds it, with the links' cards there already.
pub(crate) fn script(row: Row) -> String {
    let mut script = String::from(
        "set -e
machine() { ip netns add $1; ip -n $1 link set lo up; nsenter --net=/run/netns/$1 sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; \
         echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; \
         echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'; }
six() { nsenter --net=/run/netns/$1 sh -c \"echo $2 > /proc/sys/net/ipv6/conf/all/disable_ipv6; \
         echo $2 > /proc/sys/net/ipv6/conf/default/disable_ipv6\"; }
uplink() { ip link set $1-n netns $1 name wan; ip link set $1-f netns inet; \
         ip -n inet link set $1-f master br0 up; ip -n $1 link set wan up; }
cable() { ip -n $1 link add $2 type veth peer name $4 netns $3; ip -n $1 link set $2 up; ip -n $3 link set $4 up; }
rules() { nsenter --net=/run/netns/$1 nft -f -; }
mount -t tmpfs none /run
mkdir /run/netns
machine inet
ip -n inet link add br0 type bridge
ip -n inet link set br0 up
",
    );
    for (n, (four, six)) in (1..).zip(RELAYS) {
        let _ = writeln!(script, "machine relay{n}\nuplink relay{n}");
        let _ = writeln!(script, "ip -n relay{n} addr add {four}/8 dev wan\nip -n relay{n} addr add {six}/16 dev wan");
    }
    for side in sides(row) {
        build(&mut script, side);
    }
    for side in sides(row).iter().filter(|side| side.kind == Kind::Six) {
        // The rest of the internet finds the way back to that network.
        let own = side.uplink();
        for other in links(row).into_iter().filter(|other| Some(other) != own.as_ref()) {
            let n = side.n;
            let _ = writeln!(script, "ip -n {other} route add 2b00:{n}::/64 via 2a00:{n}::1 || true");
        }
    }
    script
}

fn build(script: &mut String, side: Side) {
    let Side { machine, kind, n } = side;
    let _ = writeln!(script, "machine {machine}");
    match kind {
        Kind::Public | Kind::Public443 => {
            let _ = writeln!(script, "uplink {machine}\nip -n {machine} addr add 45.{n}.0.2/8 dev wan");
            let _ = writeln!(script, "ip -n {machine} addr add 2a00:{n}::2/16 dev wan");
        }
        Kind::Lan | Kind::Hairpin => lan(script, "nat3", machine, 3, n),
        Kind::Cgnat => {
            let _ = writeln!(script, "machine isp{n}\nuplink isp{n}\nip -n isp{n} addr add 45.{n}.0.1/8 dev wan");
            let _ = writeln!(script, "machine nat{n}\ncable isp{n} lan nat{n} wan");
            let _ = writeln!(script, "ip -n isp{n} addr add 100.64.{n}.1/24 dev lan");
            let _ = writeln!(script, "ip -n nat{n} addr add 100.64.{n}.2/24 dev wan");
            let _ = writeln!(script, "ip -n nat{n} route add default via 100.64.{n}.1");
            script.push_str(&router(&format!("isp{n}"), Kind::Cone, n));
            bridged(script, n);
            script.push_str(&router(&format!("nat{n}"), Kind::Cone, n));
            lan(script, &format!("nat{n}"), machine, n, n);
        }
        _ => {
            let _ = writeln!(script, "machine nat{n}\nuplink nat{n}\nip -n nat{n} addr add 45.{n}.0.1/8 dev wan");
            bridged(script, n);
            if kind == Kind::Six {
                let _ = writeln!(script, "ip -n nat{n} addr add 2a00:{n}::1/16 dev wan");
                let _ = writeln!(script, "ip -n nat{n} addr add 2b00:{n}::1/64 dev lan");
            }
            script.push_str(&router(&format!("nat{n}"), kind, n));
            if kind.is_mapped() {
                script.push_str(&daemon(kind, n));
            }
            lan(script, &format!("nat{n}"), machine, n, n);
            if kind == Kind::Six {
                let _ = writeln!(script, "ip -n {machine} addr add 2b00:{n}::{n}/64 dev eth0");
                let _ = writeln!(script, "ip -n {machine} route add default via 2b00:{n}::1");
            } else {
                let _ = writeln!(script, "six {machine} 1");
            }
        }
    }
}

/// A router's inner network.
fn bridged(script: &mut String, n: u8) {
    let _ = writeln!(script, "ip -n nat{n} link add lan type bridge\nip -n nat{n} link set lan up");
    let _ = writeln!(script, "ip -n nat{n} addr add 192.168.{n}.1/24 dev lan");
}

/// Puts a machine into a router's inner network.
fn lan(script: &mut String, router: &str, machine: &str, network: u8, n: u8) {
    let _ =
        writeln!(script, "cable {machine} eth0 {router} to-{machine}\nip -n {router} link set to-{machine} master lan");
    let _ = writeln!(script, "ip -n {machine} addr add 192.168.{network}.{n}/24 dev eth0");
    let _ = writeln!(script, "ip -n {machine} route add default via 192.168.{network}.1");
}

/// What a router lets through, and how it translates.
fn router(name: &str, kind: Kind, n: u8) -> String {
    let inner = format!("192.168.{n}.{n}");
    let masquerade = match kind {
        Kind::Symmetric | Kind::Six | Kind::Upnp | Kind::Pmp => "masquerade random,fully-random",
        _ => "masquerade",
    };
    let (forwarded, admitted) = match kind {
        Kind::Full => (
            format!(
                "ip daddr 45.{n}.0.1 udp dport {PORT} dnat to {inner}; ip daddr 45.{n}.0.1 tcp dport {PORT} dnat to {inner};"
            ),
            "ct status dnat accept;",
        ),
        Kind::Upnp | Kind::Pmp => (String::new(), "ct status dnat accept;"),
        _ => (String::new(), ""),
    };
    let outwards = match kind {
        Kind::NoUdp => "meta l4proto udp drop;",
        Kind::Only443 => "iifname lan meta l4proto udp drop; iifname lan tcp dport != 443 drop;",
        Kind::OnlyWeb => "iifname lan meta l4proto udp drop; iifname lan tcp dport != 80 drop;",
        _ => "",
    };
    // From inside to the forwarded port: the answer has to come back through the router.
    let hairpin = if kind == Kind::Full { "iifname lan oifname lan ct status dnat masquerade;" } else { "" };
    format!(
        "rules {name} <<'R'
table inet lab {{
  chain before {{ type nat hook prerouting priority dstnat; {forwarded} }}
  chain after {{ type nat hook postrouting priority srcnat; {hairpin} meta nfproto ipv4 oifname wan {masquerade}; }}
  chain through {{ type filter hook forward priority filter; {outwards} ct state established,related accept; {admitted} iifname wan drop; }}
  chain in {{ type filter hook input priority filter; ct state established,related accept; iifname wan meta l4proto {{ tcp, udp }} drop; }}
}}
R
"
    )
}

/// What forwards ports to who asks: Debian's miniupnpd, with the chains that it wants.
fn daemon(kind: Kind, n: u8) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let (upnp, pmp) = (yes(kind == Kind::Upnp), yes(kind == Kind::Pmp));
    format!(
        "rules nat{n} <<'R'
table inet filter {{
  chain miniupnpd {{ }}
  chain prerouting_miniupnpd {{ }}
  chain postrouting_miniupnpd {{ }}
  chain forward {{ type filter hook forward priority 0; jump miniupnpd; }}
  chain prerouting {{ type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }}
  chain postrouting {{ type nat hook postrouting priority 90; jump postrouting_miniupnpd; }}
}}
R
cat > /run/miniupnpd{n}.conf <<'C'
ext_ifname=wan
listening_ip=lan
enable_upnp={upnp}
enable_natpmp={pmp}
secure_mode=yes
lease_file=/run/miniupnpd{n}.leases
uuid=00000000-0000-0000-0000-00000000000{n}
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
C
nsenter --net=/run/netns/nat{n} miniupnpd -f /run/miniupnpd{n}.conf -P /run/miniupnpd{n}.pid
"
    )
}
