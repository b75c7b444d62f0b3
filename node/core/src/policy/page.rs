//! `node/METHODS.md`: the table as a page, held to the table. `FARHELM_WRITE_VECTORS=1 cargo test -p farhelm-core`
//! writes it anew.

use std::fmt::Write;

use super::notifications::{About, NOTIFICATIONS, WITHHELD};
use super::table::{ASKED, METHODS};
use super::{Method, Verdict};
use crate::vectors::check_page;

const COMMITTED: &str = include_str!("../../../METHODS.md");

const HEAD: &str = "\
# What passes between a phone and Codex

Made from the tables in `core/src/policy`; don't edit it by hand. The names are those of Codex's app-server 0.169.0.
`farhelm policy explain METHOD` prints one of them.

A method that isn't here is refused, and so is a field that isn't listed. The host builds the parameters anew from the
listed fields; of results and notifications it passes on what it knows. Every method about a thread takes a thread in
one of the device's folders.
";

fn page() -> String {
    let mut page = String::from(HEAD);
    allowed(&mut page);
    closed(&mut page, "For the host only", "The host calls these itself where it has to.", Verdict::HostOnly);
    closed(&mut page, "Denied", "A phone never calls these.", Verdict::Deny);
    closed(
        &mut page,
        "Denied, perhaps later",
        "They would do no great harm, and nobody needs them yet.",
        Verdict::Later,
    );
    asked(&mut page);
    notifications(&mut page);
    page
}

fn allowed(page: &mut String) {
    let methods: Vec<_> = METHODS.iter().filter(|method| method.verdict.is_for_phones()).collect();
    let _ = write!(
        page,
        "\n## Allowed ({})\n\nFields with * are required. *After a crash*: what holds when the connection ended before \
         the answer came.\n\n| method | right | fields of the phone | the host puts in | does | after a crash | why |\n\
         |---|---|---|---|---|---|---|\n",
        methods.len()
    );
    for method in methods {
        let Method { name, right, reason, .. } = method;
        let star = |required| if required { "\\*" } else { "" };
        let fields = list(method.params.iter().map(|field| format!("{}{}", field.name, star(field.required))));
        let given = list(method.given.iter().map(|given| given.name.to_owned()));
        let (does, crash) = (method.effect.as_str(), method.retry.as_str());
        let _ = writeln!(page, "| `{name}` | {right} | {fields} | {given} | {does} | {crash} | {reason} |");
    }
}

fn closed(page: &mut String, title: &str, about: &str, verdict: Verdict) {
    let methods: Vec<_> = METHODS.iter().filter(|method| method.verdict == verdict).collect();
    let _ = write!(page, "\n## {title} ({})\n\n{about}\n\n| method | why |\n|---|---|\n", methods.len());
    for Method { name, reason, .. } in methods {
        let _ = writeln!(page, "| `{name}` | {reason} |");
    }
}

fn asked(page: &mut String) {
    let count = ASKED.len();
    let _ =
        write!(page, "\n## What Codex asks its clients ({count})\n\n| request | whose part | why |\n|---|---|---|\n");
    for asked in ASKED {
        let part = asked.part.as_str();
        let _ = writeln!(page, "| `{}` | {part} | {} |", asked.name, asked.reason);
    }
}

fn notifications(page: &mut String) {
    let (passed, kept) = (NOTIFICATIONS.len(), WITHHELD.len());
    let _ = write!(
        page,
        "\n## Notifications that are passed on ({passed})\n\n| notification | right | about | what for |\n\
         |---|---|---|---|\n"
    );
    for entry in NOTIFICATIONS {
        let about = if entry.subject == About::Thread { "a thread" } else { "the host" };
        let _ = writeln!(page, "| `{}` | {} | {about} | {} |", entry.name, entry.right, entry.reason);
    }
    let _ = write!(page, "\n## Notifications that stay on the host ({kept})\n\n| notification | why |\n|---|---|\n");
    for entry in WITHHELD {
        let _ = writeln!(page, "| `{}` | {} |", entry.name, entry.reason);
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_page_is_as_the_table() {
    check_page("METHODS.md", COMMITTED, &page());
}

#[test]
fn the_table_has_all_of_codex_0_169_0() {
    let codex = METHODS.iter().filter(|method| method.verdict != Verdict::Own).count();
    assert_eq!((codex, ASKED.len(), NOTIFICATIONS.len() + WITHHELD.len()), (184, 11, 86));
}
