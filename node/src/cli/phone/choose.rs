//! Models and what they cost: `farhelm phone model`, `effort` and `usage`.

use clap::Args;
use farhelm_phone::{Settings, Window};
use serde_json::{Value, json};

use super::{Context, Failure, Which, threads, visit};
use crate::terminal::sanitize;

/// List the models, or choose the one of a thread
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone model\n  farhelm phone model 0198c1aa-77b0 gpt-5.5")]
pub(super) struct Model {
    /// The thread's id, or its beginning as `threads` shows it
    #[arg(requires = "model")]
    thread: Option<String>,

    /// The model, from now on
    model: Option<String>,

    #[command(flatten)]
    which: Which,
}

/// Choose how hard a thread's model thinks
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  farhelm phone effort 0198c1aa-77b0 high\n\n`farhelm phone model` lists each model's levels."
)]
pub(super) struct Effort {
    /// The thread's id, or its beginning as `threads` shows it
    thread: String,

    /// The level, from now on
    level: String,

    #[command(flatten)]
    which: Which,
}

/// Show what the account at the host has left
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  farhelm phone usage\n  farhelm phone usage --json")]
pub(super) struct Usage {
    #[command(flatten)]
    which: Which,
}

pub(super) async fn model(args: Model, context: &Context) -> Result<(), Failure> {
    let (Some(thread), Some(model)) = (args.thread, args.model) else { return list(&args.which, context).await };
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &thread).await?;
        let known = host.models().await?;
        // Codex takes any word, and the next turn fails on one that isn't a model.
        if !known.iter().any(|one| one.id == model) {
            context.note(&format!(
                "{} isn't among the models of this host; Codex takes it all the same.",
                sanitize::line(&model)
            ));
        }
        say(&id, &host.set_model(&id, &model).await?, context)
    })
    .await
}

async fn list(which: &Which, context: &Context) -> Result<(), Failure> {
    let models = visit(context, which, async |host| Ok(host.models().await?)).await?;
    models.iter().try_for_each(|model| {
        let efforts: Vec<_> = model.efforts.iter().map(|effort| effort.name.as_str()).collect();
        let event = json!({
            "is": "model", "id": model.id, "name": model.name, "description": model.description,
            "default": model.is_default, "efforts": efforts, "default_effort": model.default_effort,
        });
        context.say(&event, || {
            let mark = if model.is_default { "*" } else { " " };
            let about = [sanitize::line(&model.id), sanitize::line(&model.description), efforts.join(", ")];
            let [id, description, efforts] = about;
            format!("{mark} {id:<24} {description}\n    effort: {}", sanitize::line(&efforts))
        })
    })
}

pub(super) async fn effort(args: Effort, context: &Context) -> Result<(), Failure> {
    visit(context, &args.which, async |host| {
        let id = threads::resolve(host, &args.thread).await?;
        say(&id, &host.set_effort(&id, &args.level).await?, context)
    })
    .await
}

fn say(thread: &str, settings: &Settings, context: &Context) -> Result<(), Failure> {
    let Settings { model, effort } = settings;
    context.say(&json!({"is": "settings", "thread": thread, "model": model, "effort": effort}), || {
        let word = |text: &Option<String>| text.as_deref().map_or_else(|| "its own".into(), sanitize::line);
        format!("Model {}, effort {}, from the next turn on.", word(model), word(effort))
    })
}

pub(super) async fn usage(args: Usage, context: &Context) -> Result<(), Failure> {
    let usage = visit(context, &args.which, async |host| Ok(host.usage().await?)).await?;
    let limits = usage.limits.as_ref();
    let event = json!({
        "is": "usage",
        "plan": limits.ok().and_then(|limits| limits.plan.clone()),
        "primary": limits.ok().and_then(|limits| limits.primary).map(window),
        "secondary": limits.ok().and_then(|limits| limits.secondary).map(window),
        "limits_unknown": limits.err(),
        "lifetime_tokens": usage.account.as_ref().ok().and_then(|account| account.lifetime_tokens),
        "days": usage.account.as_ref().ok().map(|account| &account.days),
        "usage_unknown": usage.account.as_ref().err(),
    });
    context.say(&event, || {
        let mut lines = Vec::new();
        match &usage.limits {
            Ok(limits) => {
                let named = [("Short window", limits.primary), ("Long window", limits.secondary)];
                lines.extend(named.into_iter().filter_map(|(name, window)| Some(shown(name, window?))));
            }
            Err(why) => lines.push(format!("No rate limits: {}", sanitize::line(why))),
        }
        match &usage.account {
            Ok(account) => lines.extend(account.lifetime_tokens.map(|tokens| format!("{tokens} tokens in all"))),
            Err(why) => lines.push(format!("No usage: {}", sanitize::line(why))),
        }
        lines.join("\n")
    })
}

fn window(window: Window) -> Value {
    json!({"used_percent": window.used_percent, "resets_at": window.resets_at, "minutes": window.minutes})
}

fn shown(name: &str, window: Window) -> String {
    let length = window.minutes.map(|minutes| format!(" of {} h", (minutes + 59) / 60)).unwrap_or_default();
    format!("{name}{length}: {} % used", window.used_percent)
}
