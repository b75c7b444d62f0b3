//! `farhelm policy`: what phones may have of Codex and why, from the tables that the host enforces. Reads no state.

use clap::{Args, Subcommand};
use farhelm_core::policy::notifications::{About, NOTIFICATIONS, Notification, WITHHELD, Withheld};
use farhelm_core::policy::table::{ASKED, Asked, METHODS};
use farhelm_core::policy::{Field, Method, Shape, Subject};
use serde::Serialize;

use super::{Context, Exit, Failure};
use crate::host::settings::nearest;

/// Show what phones may have of Codex, and why
///
/// Every method, request and notification of Codex's app-server is judged, each by its name. One that isn't is denied.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm policy explain turn/start\n  farhelm policy list")]
pub(super) struct Policy {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say of one method, request or notification what a phone has of it
    #[command(
        after_help = "Examples:\n  farhelm policy explain turn/start\n  farhelm policy explain item/tool/call --json"
    )]
    Explain {
        /// Its name, as Codex has it
        name: String,
    },
    /// List all of them
    #[command(after_help = "Examples:\n  farhelm policy list\n  farhelm policy list --json")]
    List,
}

pub(super) fn run(args: &Policy, context: &Context) -> Result<(), Failure> {
    match &args.command {
        PolicyCommand::Explain { name } => {
            let entry = entries().find(|entry| entry.name == name).ok_or_else(|| unknown(name))?;
            context.say(&entry, || entry.explained())
        }
        PolicyCommand::List => {
            let width = entries().map(|entry| entry.name.len()).max().unwrap_or_default();
            entries().try_for_each(|entry| context.say(&entry, || entry.row(width)))
        }
    }
}

fn unknown(name: &str) -> Failure {
    let failure = Failure::new(Exit::NotFound, format_args!("denied: not known: {name}"));
    match nearest(name, entries().map(|entry| entry.name)) {
        Some(near) => failure.next(format_args!("did you mean {near}? `farhelm policy list` shows every name")),
        None => failure.next("`farhelm policy list` shows every name"),
    }
}

/// Everything that is judged.
fn entries() -> impl Iterator<Item = Entry> {
    let methods = METHODS.iter().map(Entry::from);
    methods
        .chain(ASKED.iter().map(Entry::from))
        .chain(NOTIFICATIONS.iter().map(Entry::from))
        .chain(WITHHELD.iter().map(Entry::from))
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Method,
    Request,
    Notification,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Request => "request of Codex",
            Self::Notification => "notification",
        }
    }
}

/// A judged name. What a phone has no part in has a verdict and its reason only.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: &'static str,
    kind: Kind,
    verdict: &'static str,
    reason: &'static str,
    #[serde(flatten)]
    terms: Option<Terms>,
}

/// What holds for what phones have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Terms {
    right: &'static str,
    about: String,
    #[serde(flatten)]
    call: Option<Call>,
}

/// What holds for what phones send.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    does: &'static str,
    after_crash: &'static str,
    fields: Vec<Taken>,
    host_puts_in: Vec<&'static str>,
}

/// A field that a phone may send.
#[derive(Debug, Serialize)]
struct Taken {
    path: String,
    required: bool,
    takes: String,
}

impl From<&Method> for Entry {
    fn from(method: &Method) -> Self {
        let terms = method.verdict.is_for_phones().then(|| {
            let mut fields = Vec::new();
            push_fields("", method.params, &mut fields);
            let host_puts_in = method.given.iter().map(|given| given.name).collect();
            let (does, after_crash) = (method.effect.as_str(), method.retry.as_str());
            let call = Some(Call { does, after_crash, fields, host_puts_in });
            Terms { right: method.right.as_str(), about: about(method.subject), call }
        });
        let verdict = method.verdict.as_str();
        Self { name: method.name, kind: Kind::Method, verdict, reason: method.reason, terms }
    }
}

impl From<&Asked> for Entry {
    fn from(asked: &Asked) -> Self {
        let verdict = asked.part.as_str();
        Self { name: asked.name, kind: Kind::Request, verdict, reason: asked.reason, terms: None }
    }
}

impl From<&Notification> for Entry {
    fn from(told: &Notification) -> Self {
        let about = if told.subject == About::Thread { "a thread in the device's folders" } else { "the host" };
        let terms = Some(Terms { right: told.right.as_str(), about: about.into(), call: None });
        Self { name: told.name, kind: Kind::Notification, verdict: "passed on", reason: told.reason, terms }
    }
}

impl From<&Withheld> for Entry {
    fn from(kept: &Withheld) -> Self {
        let verdict = "stays on the host";
        Self { name: kept.name, kind: Kind::Notification, verdict, reason: kept.reason, terms: None }
    }
}

impl Entry {
    fn row(&self, width: usize) -> String {
        let right = self.terms.as_ref().map(|terms| format!(", {}", terms.right)).unwrap_or_default();
        format!("{:width$}  {}{right}", self.name, self.verdict)
    }

    fn explained(&self) -> String {
        let mut lines = vec![format!("{} ({}): {}", self.name, self.kind.as_str(), self.verdict)];
        let mut say = |what: &str, value: &str| lines.push(format!("  {what:14} {value}"));
        say("why", self.reason);
        if let Some(terms) = &self.terms {
            say("right", terms.right);
            say("about", &terms.about);
            if let Some(call) = &terms.call {
                say("does", call.does);
                say("after a crash", call.after_crash);
                say("the host adds", &or_nothing(call.host_puts_in.join(", ")));
                say("a phone sends", &or_nothing(call.fields_text()));
            }
        }
        lines.join("\n")
    }
}

impl Call {
    /// A line for each field, below what introduces them.
    fn fields_text(&self) -> String {
        let star = |field: &Taken| if field.required { "*" } else { "" };
        let names: Vec<_> = self.fields.iter().map(|field| format!("{}{}", field.path, star(field))).collect();
        let width = names.iter().map(String::len).max().unwrap_or_default();
        let rows = names.iter().zip(&self.fields).map(|(name, field)| format!("\n    {name:width$}  {}", field.takes));
        let rows: String = rows.collect();
        if rows.is_empty() { rows } else { format!("these fields, those with * always{rows}") }
    }
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { "nothing".into() } else { text }
}

fn about(subject: Subject) -> String {
    match subject {
        Subject::Host => "the host".into(),
        Subject::Thread(field) => format!("the thread in {field}, which lies in the device's folders"),
        Subject::Threads(_) | Subject::ThreadIds(_) => "threads: those in the device's folders".into(),
        Subject::Folder(field) => format!("a new thread, in the folder in {field}"),
    }
}

/// Adds the fields and those within them. `[]` stands for an element of a list, `(x)` for an object whose type is x.
fn push_fields(path: &str, fields: &[Field], out: &mut Vec<Taken>) {
    for field in fields {
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        out.push(Taken { path: path.clone(), required: field.required, takes: field.shape.wanted() });
        push_parts(&path, &field.shape, out);
    }
}

fn push_parts(path: &str, shape: &Shape, out: &mut Vec<Taken>) {
    match shape {
        Shape::Object(fields) => push_fields(path, fields, out),
        Shape::Tagged(variants, _) => {
            variants.iter().for_each(|(tag, fields)| push_fields(&format!("{path}({tag})"), fields, out));
        }
        Shape::List(_, of) => {
            let path = format!("{path}[]");
            if !matches!(of, Shape::Object(_) | Shape::Tagged(..)) {
                out.push(Taken { path: path.clone(), required: false, takes: of.wanted() });
            }
            push_parts(&path, of, out);
        }
        Shape::AtMost(_, _, list) => push_parts(path, list, out),
        Shape::Either(shapes) => shapes.iter().for_each(|shape| push_parts(path, shape, out)),
        Shape::Text(_) | Shape::DataImage(_) | Shape::Bool | Shape::Int(..) | Shape::OneOf(_) | Shape::Json => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(name: &str) -> String {
        entries().find(|entry| entry.name == name).unwrap().explained()
    }

    #[test]
    fn every_name_of_the_tables_stands_once() {
        let mut names: Vec<_> = entries().map(|entry| entry.name).collect();
        let all = METHODS.len() + ASKED.len() + NOTIFICATIONS.len() + WITHHELD.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn an_allowed_method_is_explained_to_its_last_field() {
        insta::assert_snapshot!(explained("turn/start"));
    }

    #[test]
    fn what_a_phone_has_no_part_in_has_its_reason_and_no_terms() {
        for name in ["fs/readFile", "fs/writeFile", "item/tool/call", "account/updated"] {
            let lines = explained(name);
            assert_eq!(lines.lines().count(), 2, "{lines}");
            assert!(!lines.contains("right"), "{lines}");
        }
    }

    #[test]
    fn a_name_nobody_judged_is_denied_and_the_nearest_is_named() {
        let near = unknown("thread/strat");
        assert_eq!((near.code(), near.to_string()), (Exit::NotFound, "denied: not known: thread/strat".into()));
        let near = format!("{near:?}");
        assert!(near.contains("did you mean thread/start?"), "{near}");
        assert!(!format!("{:?}", unknown("q")).contains("did you mean"));
    }
}
