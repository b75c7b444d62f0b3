//! `farhelm audit`: what phones had this host do, and whether the record of it is as it was written. Reads the files
//! of the host's state directory, whether or not a host runs.

mod export;

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use data_encoding::HEXLOWER_PERMISSIVE;
use farhelm_core::audit::{Effect, Head, Record};
use farhelm_core::identity::NodeId;
use farhelm_core::wire::limits;
use farhelm_store::audit::{self, Kept};
use serde::Serialize;

use super::home::{AUDIT, identity};
use super::{Context, Exit, Failure, when};
use crate::terminal::sanitize;

/// Show what phones had this host do, and check that the record is whole
///
/// It holds what phones asked to be done, their decisions and answers, what came of each, and what was done to devices
/// at the desk. It doesn't hold what phones only read, edits of config.toml, or what Codex did in a turn.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm audit show\n  farhelm audit verify\n  farhelm audit head > head.txt")]
pub(super) struct Audit {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Show the records, the oldest first
    #[command(after_help = "Examples:\n  farhelm audit show\n  farhelm audit show --json")]
    Show,
    /// Check that no record was changed, left out, moved or cut off
    ///
    /// Whoever has this host's key can write another record that is whole by itself. Only a head that was kept on
    /// another machine shows that.
    #[command(
        after_help = "Examples:\n  farhelm audit verify\n  farhelm audit verify --head head.txt\n  farhelm audit verify --export record.jsonl --host 12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"
    )]
    Verify {
        /// Hold it against a head kept elsewhere (`-` is standard input); several times
        #[arg(long = "head", value_name = "FILE")]
        heads: Vec<PathBuf>,

        /// Check what `farhelm audit export` wrote, perhaps on another machine, instead of the record here
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,

        /// Whose record it must be, by its peer id; without it the export's own word counts
        #[arg(long, value_name = "PEER_ID", requires = "export")]
        host: Option<NodeId>,
    },
    /// Print the record's signed end, to be kept on another machine
    #[command(after_help = "Example:\n  farhelm audit head > head.txt")]
    Head,
    /// Print the whole record with its links and heads, a line of JSON for each entry, for somebody else to check
    #[command(after_help = "Example:\n  farhelm audit export > record.jsonl")]
    Export,
}

pub(super) fn run(args: &Audit, context: &Context) -> Result<(), Failure> {
    if let AuditCommand::Verify { heads, export: Some(file), host } = &args.command {
        return verify_export(file, *host, heads, context);
    }
    let directories = context.directories()?;
    let path = directories.state().join(AUDIT);
    if !path.exists() {
        return Err(missing(&path, &args.command));
    }
    let kept = audit::read(&path).map_err(|error| Failure::new(Exit::State, error))?;
    match &args.command {
        AuditCommand::Show => kept.entries.iter().try_for_each(|entry| show(&entry.record, context)),
        AuditCommand::Verify { heads, .. } => verify(&kept, identity(directories.state())?.node_id(), heads, context),
        AuditCommand::Head => head(&kept, context),
        AuditCommand::Export => {
            let host = identity(directories.state())?.node_id();
            // Lines of JSON are what it is, for people as well.
            export::lines(&kept, host)
                .try_for_each(|line| writeln!(io::stdout(), "{line}"))
                .map_err(|e| Failure::of_output(&e))
        }
    }
}

/// Without a record: either there was none, or something signed says that there was.
fn missing(path: &Path, command: &AuditCommand) -> Failure {
    let is_known = matches!(command, AuditCommand::Verify { heads, .. } if !heads.is_empty());
    if is_known || path.with_extension("log.head").exists() {
        let next = "keep a copy of the state directory for whoever looks into it";
        let why = format_args!("the record is not as it was written: {} is missing", path.display());
        return Failure::new(Exit::Failed, why).next(next);
    }
    Failure::new(Exit::NotFound, "no host has recorded anything here").next("start one with `farhelm host`")
}

/// A record that can't be read is for `verify` to place.
fn show(bytes: &[u8], context: &Context) -> Result<(), Failure> {
    match Record::decode(bytes) {
        Ok(record) => context.say(&Row::of(&record), || line(&record)),
        Err(error) => {
            context.say(&serde_json::json!({ "unreadable": error.to_string() }), || format!("unreadable: {error}"))
        }
    }
}

/// A record for scripts: keys as people know them, bytes in hex.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    seq: u64,
    at_ms: u64,
    who: Option<String>,
    about: Option<String>,
    name: Option<&'a str>,
    right: Option<&'static str>,
    act: &'a str,
    digest: Option<String>,
    decision: Option<&'static str>,
    effect: &'a Effect,
    ends: Option<u64>,
}

impl<'a> Row<'a> {
    fn of(record: &'a Record) -> Self {
        Self {
            seq: record.seq,
            at_ms: record.at_ms,
            who: record.who.map(|who| who.to_string()),
            about: record.about.map(|about| about.to_string()),
            name: record.name.as_ref().map(|name| name.as_str()),
            right: record.right.map(|right| right.as_str()),
            act: record.act.as_str(),
            digest: record.digest.map(|digest| HEXLOWER_PERMISSIVE.encode(&*digest)),
            decision: record.decision.map(|decision| decision.as_str()),
            effect: &record.effect,
            ends: record.ends,
        }
    }
}

/// A record for people. Names, methods and reasons come from elsewhere.
fn line(record: &Record) -> String {
    let name = record.name.as_ref().map_or("-", |name| name.as_str());
    let right = record.right.map_or("-", |right| right.as_str());
    let who = match (record.who, record.about) {
        (None, Some(_)) => format!("the desk, to {name} ({right})"),
        (None, None) => "the desk".into(),
        (Some(_), _) => format!("{name} ({right})"),
    };
    let decision = record.decision.map(|decision| format!(" {}", decision.as_str())).unwrap_or_default();
    let ends = record.ends.map(|ends| format!(" (of {ends})")).unwrap_or_default();
    let (at, act, effect) = (when::shown(record.at_ms), record.act.as_str(), effect(&record.effect));
    sanitize::line(&format!("{:>6}  {at}  {who}  {act}{decision}: {effect}{ends}", record.seq))
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Asked => "asked".into(),
        Effect::Done => "done".into(),
        Effect::First => "the first of two".into(),
        Effect::Refused(why) => format!("refused, {}", why.as_str()),
        Effect::Unknown => "outcome unknown".into(),
        Effect::Resolved(by) => format!("resolved by {}", by.as_str()),
    }
}

fn verify(kept: &Kept, host: NodeId, files: &[PathBuf], context: &Context) -> Result<(), Failure> {
    let heads = files.iter().map(|path| read_head(path)).collect::<Result<Vec<_>, _>>()?;
    let broken = |broken: farhelm_core::audit::Broken| {
        let at = if broken.upto > broken.at {
            format!("one of the entries {} to {}", broken.at, broken.upto)
        } else {
            format!("entry {}", broken.at)
        };
        let next = "keep a copy of the state directory for whoever looks into it";
        Failure::new(Exit::Failed, format_args!("the record is not as it was written: {at} {}", broken.what)).next(next)
    };
    let summary = kept.verify(host, &heads).map_err(broken)?;
    let (first, last) = (summary.first, summary.end.seq());
    let event = serde_json::json!({ "whole": true, "first": first, "last": last, "heads": summary.heads, "older": summary.older });
    context.say(&event, || match last {
        0 => "Whole: nothing is recorded yet.".into(),
        _ => format!("Whole: entries {first} to {last}, held against {} signed heads.", summary.heads),
    })
}

/// The largest export that is read: the record is forgotten by halves above 16 MiB, and hex and words take three times
/// that.
const LARGEST: u64 = 128 * 1024 * 1024;

fn verify_export(file: &Path, host: Option<NodeId>, heads: &[PathBuf], context: &Context) -> Result<(), Failure> {
    let none = |why: &dyn Display| {
        let failure = Failure::new(Exit::Failed, format_args!("{} is no export: {why}", file.display()));
        failure.next("print one with `farhelm audit export`")
    };
    let size = fs::metadata(file).map_err(|error| none(&error))?.len();
    if size > LARGEST {
        return Err(none(&format_args!("it has more than {} MiB", LARGEST >> 20)));
    }
    let text = fs::read_to_string(file).map_err(|error| none(&error))?;
    let (whose, kept) = export::read(&text).map_err(|error| none(&error))?;
    if host.is_some_and(|host| host != whose) {
        return Err(none(&format_args!("it is the record of {whose}")));
    }
    if host.is_none() {
        context.note(&format!("This is the record of {whose}, by its own word; --host holds it against yours."));
    }
    verify(&kept, whose, heads, context)
}

fn head(kept: &Kept, context: &Context) -> Result<(), Failure> {
    let head = kept
        .head
        .as_ref()
        .ok_or_else(|| Failure::new(Exit::NotFound, "nothing is recorded yet, so there is no head"))?;
    let text = HEXLOWER_PERMISSIVE.encode(&head.encode());
    context.say(&serde_json::json!({ "seq": head.seq, "head": text }), || text.clone())
}

fn read_head(path: &Path) -> Result<Head, Failure> {
    let none = |why: &dyn Display| {
        let failure = Failure::new(Exit::Failed, format_args!("{} is no head: {why}", path.display()));
        failure.next("print one with `farhelm audit head`")
    };
    let mut text = String::new();
    // In hex, with a line's end.
    let limit = 2 * limits::AUDIT_HEAD as u64 + 2;
    let read = match path.as_os_str() == "-" {
        true => io::stdin().take(limit).read_to_string(&mut text),
        false => File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)),
    };
    read.map_err(|error| none(&error))?;
    let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|error| none(&error))?;
    Head::decode(&bytes).map_err(|error| none(&error))
}
