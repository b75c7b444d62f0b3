//! The README's table: for each pair of kinds what the lab holds. A run of the lab asserts the rows that it tries, and
//! `FARHELM_NAT=all` every one of them; so what stands in the table is what was seen there.

use std::fs;
use std::path::Path;

use farhelm_phone::Policy;

use crate::kinds::{Expected, Kind, Row};

const BEGIN: &str = "<!-- made by tests/nat.rs: FARHELM_WRITE_README=1 -->\n";
const END: &str = "<!-- until here -->";

/// The kinds that are told apart, in plain words.
const COLUMNS: [(Kind, &str); 7] = [
    (Kind::Public, "public or forwarded port"),
    (Kind::Cone, "home NAT"),
    (Kind::Cgnat, "carrier NAT"),
    (Kind::NoUdp, "UDP blocked"),
    (Kind::Six, "IPv6 (IPv4 symmetric)"),
    (Kind::Symmetric, "symmetric NAT"),
    (Kind::Only443, "only TCP 443 out"),
];

/// As Markdown.
fn table() -> String {
    let heads: Vec<_> = COLUMNS.iter().map(|(_, words)| *words).collect();
    let mut table =
        format!("| one side \\ the other | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(COLUMNS.len()));
    for (host, words) in COLUMNS {
        let cells = COLUMNS.iter().map(|(phone, _)| {
            let row = Row { host, phone: *phone, policy: Policy::default() };
            match row.expected() {
                Expected::Direct => "direct",
                Expected::Relayed => "relayed",
            }
        });
        table += &format!("| {words} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    table
}

#[test]
fn the_readme_tells_what_the_lab_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).expect("the README");
    let (before, rest) = readme.split_once(BEGIN).expect("the table's beginning");
    let (there, after) = rest.split_once(END).expect("the table's end");
    if std::env::var_os("FARHELM_WRITE_README").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).expect("our own README");
    } else {
        assert_eq!(there, table(), "write it anew: FARHELM_WRITE_README=1 cargo test --test nat readme");
    }
}
