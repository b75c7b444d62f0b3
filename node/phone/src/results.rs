//! What calls give back, typed: read from what the host's policy lets through of Codex's answers.
//!
//! Numbers and texts are Codex's. A field that Codex leaves out, or a host of another version doesn't let through, is
//! `None` or empty; only what a result is nothing without makes it unreadable.

use data_encoding::BASE64;
use farhelm_core::codex::image::ImageKind;
use farhelm_core::wire::limits;
use serde_json::Value;

use crate::error::Error;

/// A device that is paired with a host, as the host tells an owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its peer id.
    pub id: String,
    /// Its name, not sanitized: other people's text.
    pub name: String,
    /// What it may do, in the host's word.
    pub right: String,
    /// Where; `None` for the host's own folders.
    pub folders: Option<Vec<String>>,
    /// Until when, in Unix milliseconds by the host's clock; `None` for as long as it is paired.
    pub until_ms: Option<u64>,
    /// Whether that time is over.
    pub expired: bool,
    /// When it was paired, in Unix milliseconds by the host's clock.
    pub paired_at_ms: u64,
    /// When it last had a session there; `None` if it never came back.
    pub last_seen_ms: Option<u64>,
    /// Whether it is this phone.
    pub is_this: bool,
}

impl Device {
    pub(crate) fn read(row: &Value) -> Option<Self> {
        let number = |field: &str| row.get(field).and_then(Value::as_u64);
        let is = |field: &str| row.get(field).and_then(Value::as_bool) == Some(true);
        let texts = |value: &Value| value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect();
        Some(Self {
            id: text(row, "device")?,
            name: text(row, "name").unwrap_or_default(),
            right: text(row, "right").unwrap_or_default(),
            folders: row.get("folders").and_then(texts),
            until_ms: number("untilMs"),
            expired: is("expired"),
            paired_at_ms: number("pairedAtMs").unwrap_or(0),
            last_seen_ms: number("lastSeenMs"),
            is_this: is("self"),
        })
    }
}

/// A model that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What to call it in [`Host::set_model`](crate::Host::set_model) and in a message.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is good for.
    pub description: String,
    /// Whether threads have it that choose none.
    pub is_default: bool,
    /// The reasoning efforts it knows.
    pub efforts: Vec<Effort>,
    /// The one it has if none is chosen.
    pub default_effort: Option<String>,
}

/// A reasoning effort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effort {
    /// What to call it.
    pub name: String,
    /// What it means.
    pub description: String,
}

/// A thread's model and effort as they are in effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The model, where known.
    pub model: Option<String>,
    /// The reasoning effort; `None` is the model's own.
    pub effort: Option<String>,
}

/// A message that waits for the turn before it to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its id in the queue.
    pub id: String,
    /// The id its sender gave it; the message in the thread has the same.
    pub client_id: Option<String>,
    /// Its text parts, a line each.
    pub text: String,
    /// Parts that aren't text (images).
    pub attachments: u32,
}

/// A command that runs on after its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// What to call it in [`Host::terminate`](crate::Host::terminate).
    pub process: String,
    /// The item that started it.
    pub item: String,
    /// The command line.
    pub command: String,
    /// Its working folder.
    pub folder: String,
}

/// What a thread is after, across its turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    /// In words.
    pub objective: String,
    /// Codex's word: `active`, `paused`, `blocked`, `usageLimited`, `budgetLimited`, `complete`.
    pub status: String,
    /// Tokens used for it.
    pub tokens_used: i64,
    /// Tokens it may use, if there is a limit.
    pub token_budget: Option<i64>,
    /// Seconds worked on it.
    pub seconds_used: i64,
}

/// What the account has used. Without an account (a key, another provider) Codex knows neither and says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// How near its limits it is, or why Codex can't tell.
    pub limits: Result<RateLimits, String>,
    /// Tokens over time, or why Codex can't tell.
    pub account: Result<AccountUsage, String>,
}

/// How near its limits an account is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Codex's word for the plan.
    pub plan: Option<String>,
    /// The short window.
    pub primary: Option<Window>,
    /// The long one.
    pub secondary: Option<Window>,
}

/// A window of time with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Used, in percent.
    pub used_percent: i64,
    /// When it starts anew, in Unix seconds.
    pub resets_at: Option<i64>,
    /// Its length in minutes.
    pub minutes: Option<i64>,
}

/// Tokens of an account over time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountUsage {
    /// Ever.
    pub lifetime_tokens: Option<i64>,
    /// On the day with the most.
    pub peak_daily_tokens: Option<i64>,
    /// Day by day, as Codex lists them: the date as text (`YYYY-MM-DD`), and its tokens.
    pub days: Vec<(String, i64)>,
}

/// An image of a thread.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Its kind, by its first bytes.
    pub kind: ImageKind,
    /// At most 4 MiB.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}, {} bytes)", self.kind, self.bytes.len())
    }
}

impl Model {
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let id = text(value, "id")?;
        let efforts = list(value, "supportedReasoningEfforts").filter_map(|effort| {
            Some(Effort { name: text(effort, "reasoningEffort")?, description: words(effort, "description") })
        });
        Some(Self {
            name: text(value, "displayName").unwrap_or_else(|| id.clone()),
            description: words(value, "description"),
            is_default: value.get("isDefault").and_then(Value::as_bool).unwrap_or_default(),
            efforts: efforts.collect(),
            default_effort: text(value, "defaultReasoningEffort"),
            id,
        })
    }
}

impl Queued {
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let texts: Vec<_> = list(value, "input").filter_map(|part| text(part, "text")).collect();
        let parts = list(value, "input").count();
        Some(Self {
            id: text(value, "id").filter(|id| !id.is_empty())?,
            client_id: text(value, "clientUserMessageId"),
            text: texts.join("\n"),
            attachments: u32::try_from(parts - texts.len()).unwrap_or(u32::MAX),
        })
    }
}

impl Terminal {
    pub(crate) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            process: text(value, "processId").filter(|id| !id.is_empty())?,
            item: words(value, "itemId"),
            command: words(value, "command"),
            folder: words(value, "cwd"),
        })
    }
}

impl Goal {
    pub(crate) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            objective: text(value, "objective")?,
            status: words(value, "status"),
            tokens_used: number(value, "tokensUsed").unwrap_or_default(),
            token_budget: number(value, "tokenBudget"),
            seconds_used: number(value, "timeUsedSeconds").unwrap_or_default(),
        })
    }
}

impl RateLimits {
    pub(crate) fn read(result: &Value) -> Result<Self, Error> {
        let limits = result.get("rateLimits").ok_or(Error::Unreadable("no rate limits"))?;
        let window = |name| limits.get(name).and_then(Window::read);
        Ok(Self { plan: text(limits, "planType"), primary: window("primary"), secondary: window("secondary") })
    }
}

impl Window {
    fn read(value: &Value) -> Option<Self> {
        let used_percent = number(value, "usedPercent")?;
        Some(Self { used_percent, resets_at: number(value, "resetsAt"), minutes: number(value, "windowDurationMins") })
    }
}

impl AccountUsage {
    pub(crate) fn read(result: &Value) -> Result<Self, Error> {
        let summary = result.get("summary").ok_or(Error::Unreadable("no account usage"))?;
        let days = list(result, "dailyUsageBuckets");
        Ok(Self {
            lifetime_tokens: number(summary, "lifetimeTokens"),
            peak_daily_tokens: number(summary, "peakDailyTokens"),
            days: days.filter_map(|day| Some((text(day, "startDate")?, number(day, "tokens")?))).collect(),
        })
    }
}

impl Image {
    /// From `{mimeType, dataBase64}`. What the bytes are is checked here too: an app hands them to a decoder.
    pub(crate) fn read(result: &Value) -> Result<Self, Error> {
        const NONE: Error = Error::Unreadable("no image");
        let data = result.get("dataBase64").and_then(Value::as_str).ok_or(NONE)?;
        if data.len() > limits::IMAGE.div_ceil(3) * 4 {
            return Err(Error::Unreadable("an image that is too large"));
        }
        let bytes = BASE64.decode(data.as_bytes()).map_err(|_| NONE)?;
        if bytes.len() > limits::IMAGE {
            return Err(Error::Unreadable("an image that is too large"));
        }
        let kind = ImageKind::of(&bytes).ok_or(NONE)?;
        match text(result, "mimeType").as_deref() == Some(kind.mime()) {
            true => Ok(Self { kind, bytes }),
            false => Err(Error::Unreadable("an image that isn't what it is called")),
        }
    }
}

/// Every row that can be read of `{data}`.
pub(crate) fn rows<T>(result: &Value, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    list(result, "data").filter_map(read).collect()
}

pub(crate) fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(ToOwned::to_owned)
}

fn words(value: &Value, name: &str) -> String {
    text(value, name).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> Option<i64> {
    value.get(name)?.as_i64()
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(mime: &str, bytes: &[u8]) -> Value {
        json!({"mimeType": mime, "dataBase64": BASE64.encode(bytes)})
    }

    #[test]
    fn an_image_is_taken_only_as_what_its_bytes_are() {
        let png = b"\x89PNG\r\n\x1a\nrest";
        let read = Image::read(&image("image/png", png)).unwrap();
        assert_eq!((read.kind, read.bytes.as_slice()), (ImageKind::Png, png.as_slice()));
        for bad in [
            image("image/jpeg", png),
            image("text/html", b"<html>"),
            image("image/png", b"<html>"),
            json!({"mimeType": "image/png", "dataBase64": "%%%"}),
            json!({}),
        ] {
            assert!(matches!(Image::read(&bad), Err(Error::Unreadable(_))), "{bad}");
        }
    }

    #[test]
    fn an_image_that_is_too_large_is_not_decoded() {
        let data = "A".repeat(limits::IMAGE * 4 / 3 + 8);
        let result = json!({"mimeType": "image/png", "dataBase64": data});
        assert_eq!(Image::read(&result), Err(Error::Unreadable("an image that is too large")));
    }

    #[test]
    fn a_row_without_what_names_it_is_left_out() {
        let page = json!({"data": [{"id": "m"}, {"displayName": "nameless"}]});
        let models = rows(&page, Model::read);
        assert_eq!((models.len(), models[0].name.as_str()), (1, "m"));
    }

    #[test]
    fn a_queued_message_shows_its_text_and_counts_the_rest() {
        let input = json!([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]);
        let queued = Queued::read(&json!({"id": "q", "clientUserMessageId": "c", "input": input})).unwrap();
        assert_eq!((queued.text.as_str(), queued.attachments, queued.client_id.as_deref()), ("a\nb", 1, Some("c")));
    }

    #[test]
    fn limits_without_windows_are_limits() {
        let read =
            RateLimits::read(&json!({"rateLimits": {"primary": {"usedPercent": 7}, "secondary": null}})).unwrap();
        assert_eq!(read.primary, Some(Window { used_percent: 7, resets_at: None, minutes: None }));
        assert_eq!(read.secondary, None);
        assert!(RateLimits::read(&json!({})).is_err());
    }
}
