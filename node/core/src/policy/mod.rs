//! Which method a phone may call, and what of it gets through.
//!
//! The phone never has a connection to the app-server (any connection has full authority there). What it sends is
//! *rebuilt* from the [`table`] of allowed fields, and what comes back is *filtered* by the same words:
//!
//! ```text
//!  phone ─ method, params ─► request() ─► Forward ─► Codex
//!  phone ◄─ result ───────── result()  ◄──────────── Codex
//!  phone ◄─ notification ─── notification() ◄─────── Codex
//! ```
//!
//! # Why refuse in one direction and drop in the other
//! A field off the list in a request is somebody asking for something: refusing it by name tells a newer phone what
//! this host won't do, where dropping it would do something else than was asked. A field off the list in a result is
//! a newer Codex: what the list doesn't name is left out, and the rest stays useful.
//!
//! A method that isn't in the table is denied.

mod computer;
mod conditions;
mod floor;
pub mod notifications;
#[cfg(test)]
mod page;
mod pattern;
mod rights;
mod rules;
mod shape;
mod standard;
pub mod table;
mod terms;
#[cfg(test)]
mod tests;
mod words;

use serde_json::{Map, Value};

use crate::codex::text::clip;

pub use computer::has_computer_use;
pub use conditions::{Conditions, PATTERNS};
pub use floor::Looser;
pub use notifications::{About, Notification, Withheld};
pub use pattern::{Pattern, Unfit};
pub use rights::{Entitlement, Folders, Grant, NoRight, Right, is_within};
pub use rules::Rules;
pub use shape::{Field, Fill, Given, Shape};
pub use standard::Standard;
pub use table::{Effect, Method, Retry, Subject, Verdict};
pub use terms::{Terms, Until};

/// What the host puts into requests itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The folder in which threads start.
    pub folder: String,
    /// The approval policy they start with.
    pub approval_policy: String,
    /// The sandbox they start with.
    pub sandbox: String,
    /// Whether that sandbox may reach the network, if Codex's own config lets it.
    pub network_access: bool,
    /// Whether they may use the computer itself, if Codex's own config lets them.
    pub computer_use: bool,
}

impl Defaults {
    /// Threads start in `folder`, under the default rules.
    pub fn new(folder: impl Into<String>) -> Self {
        Self::of(&Rules::default(), folder)
    }

    /// Threads start in `folder`, at the floor of these rules or tighter.
    pub fn of(rules: &Rules, folder: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            approval_policy: rules.starting_approval_policy().into(),
            sandbox: rules.starting_sandbox().into(),
            network_access: rules.network_access,
            computer_use: rules.computer_use_mobile,
        }
    }
}

/// A request that may go to Codex: the only source of what is forwarded.
#[derive(Debug, Clone)]
pub struct Forward {
    /// The method, from the table.
    pub method: &'static Method,
    /// The rebuilt parameters.
    pub params: Value,
}

impl Forward {
    /// The thread it is about, if it is about one.
    pub fn thread(&self) -> Option<&str> {
        match self.method.subject {
            Subject::Thread(name) => self.params.get(name)?.as_str(),
            _ => None,
        }
    }

    /// The folder in which it would start a thread, if that is what it does.
    pub fn folder(&self) -> Option<&str> {
        match self.method.subject {
            Subject::Folder(name) => self.params.get(name)?.as_str(),
            _ => None,
        }
    }
}

/// Why a request isn't forwarded, in a sentence for the person who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in the table.
    #[error("{method:?} is not a method this host knows; do it at the desk")]
    UnknownMethod {
        /// The method's name, cut.
        method: String,
    },
    /// In the table, but not for phones.
    #[error("{method} is not for phones ({reason}); do it at the desk")]
    Denied {
        /// The method.
        method: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Not with this device's right.
    #[error("{method} needs the right {needed:?}, and this phone has {has:?}; ask the host's owner", needed = needed.as_str(), has = has.as_str())]
    NotAllowed {
        /// The method.
        method: &'static str,
        /// The right it needs.
        needed: Right,
        /// The right the device has.
        has: Right,
    },
    /// A field that phones don't send.
    #[error("{method}: the field {field:?} is not for phones; send it without")]
    UnknownField {
        /// The method.
        method: &'static str,
        /// The field, with the path to it.
        field: String,
    },
    /// A field that has to be there.
    #[error("{method}: the field {field:?} is missing; update the app on the phone")]
    MissingField {
        /// The method.
        method: &'static str,
        /// The field, with the path to it.
        field: String,
    },
    /// A field with a value it can't have.
    #[error("{method}: {field:?} must be {wanted}; correct it and send again")]
    WrongValue {
        /// The method.
        method: &'static str,
        /// The field, with the path to it.
        field: String,
        /// What it can be.
        wanted: String,
    },
}

/// Rebuilds the request of a phone with this right, or refuses it. Folders and expiry are the caller's to check, who
/// knows where a thread works and what time it is: [`Forward::thread`], [`Forward::folder`], [`Entitlement`].
pub fn request(method: &str, params: &Value, right: Right, defaults: &Defaults) -> Result<Forward, Refusal> {
    let method =
        table::find(method).ok_or_else(|| Refusal::UnknownMethod { method: clip(method, shape::NAME).into() })?;
    if !method.verdict.is_for_phones() {
        return Err(Refusal::Denied { method: method.name, reason: method.reason });
    }
    if right < method.right {
        return Err(Refusal::NotAllowed { method: method.name, needed: method.right, has: right });
    }
    // No parameters at all are those of a method that needs none.
    let empty = Value::Object(Map::new());
    let params = if params.is_null() { &empty } else { params };
    let mut rebuilt = shape::rebuild_object(params, method.params).map_err(|fault| fault.of(method.name))?;
    for given in method.given {
        rebuilt.entry(given.name).or_insert_with(|| given.fill.value(defaults));
    }
    Ok(Forward { method, params: Value::Object(rebuilt) })
}

/// What of a result a phone gets to see. Of a method that isn't allowed: nothing.
pub fn result(method: &str, result: &Value) -> Value {
    let allowed = table::find(method).filter(|method| method.verdict.is_for_phones());
    allowed.and_then(|method| method.result.filter(result)).unwrap_or(Value::Null)
}

/// What of a notification about a thread its watchers get to see; `None` if it isn't for phones. Those about the host as
/// a whole go by a device's right: [`notifications::find`].
pub fn notification(method: &str, params: &Value) -> Option<Value> {
    let entry = notifications::find(method)?;
    entry.filter(params).filter(|_| entry.subject == About::Thread)
}
