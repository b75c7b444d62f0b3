//! `farhelm phone heads`: how far hosts' records went when this phone was told last, for `farhelm audit verify --head`.

use clap::Args;
use data_encoding::HEXLOWER_PERMISSIVE;
use farhelm_phone::{Broken, KnownHost};
use serde_json::json;

use super::{Context, Failure, choose, open, report};
use crate::cli::{Exit, when};
use crate::terminal::sanitize;

/// Show how far the hosts' records of what phones had done went, as this phone was told
///
/// A host signs it and phones keep it. `farhelm audit verify --head` holds the host's record against it: a record that
/// was cut off, or written anew, doesn't fit. Where this phone has seen that by itself, it says so.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone heads\n  farhelm phone heads desk > head.txt\n  farhelm phone heads desk --accept"
)]
pub(super) struct Heads {
    /// One host only, by its name or part of its peer id: prints its head as a file for `farhelm audit verify`
    host: Option<String>,

    /// Take note that this host's record isn't what it was, and go on with it as it is
    #[arg(long, requires = "host")]
    accept: bool,
}

pub(super) async fn run(args: Heads, context: &Context) -> Result<(), Failure> {
    let client = open(context, None).await?;
    let done = async {
        let known = client.hosts().await?;
        let Some(which) = &args.host else { return all(&known, context) };
        let host = choose(known, Some(which))?;
        if !args.accept {
            return one(&host, context);
        }
        let was_broken = client.accept_record(host.id).await?;
        let event = json!({"is": "record-accepted", "host": host.id.to_string(), "was_broken": was_broken});
        context.say(&event, || match was_broken {
            true => "Noted. The record counts as it is from here on.".to_owned(),
            false => "Nothing was wrong with it.".to_owned(),
        })
    };
    let done = done.await;
    client.shutdown().await;
    done
}

fn all(hosts: &[KnownHost], context: &Context) -> Result<(), Failure> {
    hosts.iter().try_for_each(|host| context.say(&event(host), || row(host)))
}

/// What `farhelm audit verify --head` reads, and nothing else; what is wrong goes beside it.
fn one(host: &KnownHost, context: &Context) -> Result<(), Failure> {
    if let Some(broken) = &host.broken {
        context.note(&sentence(broken));
    }
    let head = host.head.as_ref().ok_or_else(|| {
        Failure::new(Exit::NotFound, "this host has told this phone no head yet").next("connect to it once")
    })?;
    context.say(&event(host), || HEXLOWER_PERMISSIVE.encode(&head.encode()))
}

fn event(host: &KnownHost) -> serde_json::Value {
    let head = host.head.as_ref();
    json!({
        "is": "head",
        "host": host.id.to_string(),
        "name": host.name,
        "seq": head.map(|head| head.seq),
        "at_ms": head.map(|head| head.at_ms),
        "head": head.map(|head| HEXLOWER_PERMISSIVE.encode(&head.encode())),
        "broken": host.broken.as_ref().map(report::broken),
    })
}

fn row(host: &KnownHost) -> String {
    let name = sanitize::line(&host.name);
    let head = match &host.head {
        Some(head) => format!("{} entries on {}", head.seq, when::shown(head.at_ms)),
        None => "nothing told yet".into(),
    };
    let broken = host.broken.as_ref().map(|broken| format!("\n  {}", sentence(broken)));
    format!("{name}  {}  {head}{}", host.id, broken.unwrap_or_default())
}

/// What is wrong, and what to do.
pub(super) fn sentence(broken: &Broken) -> String {
    let Broken { kept, found, at_ms } = broken;
    let at = when::shown(*at_ms);
    let what = match found < kept {
        true => format!("had {kept} entries, and on {at} it has {found}"),
        false => format!("is not the one it was at entry {kept}, on {at}"),
    };
    format!(
        "The host's record of what phones had done {what}: it was cut off or made anew. Look at the desk, \
         `farhelm audit verify --head`; then `farhelm phone heads HOST --accept`"
    )
}
