//! The method table: what a phone may call, as data.
//!
//! One entry a method, each with its verdict, the right it needs, what it is about, what it does, what holds after a
//! crash, the fields a phone may send, the fields the host puts in, and what of the result goes back. What isn't here
//! is denied. The verdicts are those of the app-server 0.169.0; a release that adds a method or a field changes nothing
//! until it is named here.
//!
//! | room | holds |
//! |---|---|
//! | `threads` | finding, reading and keeping threads |
//! | `turns` | what has the agent work, and what stops it |
//! | `queue` | messages that wait |
//! | `host` | models, account, what belongs to no thread; images, which the host reads itself |
//! | `devices` | an owner's phone looks after the host's devices |
//! | `denied` | what phones don't do, a line each |
//! | `asked` | what the app-server asks its clients |
//!
//! # Rights
//! Reading a thread takes a viewer, whatever changes something or has the agent work an operator. What can't be tied to
//! a folder is for owners, except what any app has to know (models and the like); what the account has left is for
//! those who spend it, operators.

mod asked;
mod denied;
mod devices;
mod fields;
mod host;
mod queue;
mod threads;
mod turns;

use super::{Field, Given, Right, Shape};

pub use asked::{ASKED, Asked, Part};

/// Whether a phone may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, with rebuilt parameters.
    Allow,
    /// Yes, and the host answers it itself: no method of Codex's.
    Own,
    /// No.
    Deny,
    /// Not in this version: it would do no great harm, and nobody needs it yet.
    Later,
    /// No: the host itself calls it where needed.
    HostOnly,
}

/// What a request is about, and so in which folders a device must be at home for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Nothing that lies in a folder.
    Host,
    /// The thread whose id this parameter holds.
    Thread(&'static str),
    /// Many threads: of the result's list under this name, a phone gets the rows whose folder is its own. The folder
    /// is the row's `cwd`, or that of the thread object that the row holds.
    Threads(&'static str),
    /// Many threads, named by their ids only, in the result's list under this name.
    ThreadIds(&'static str),
    /// A new thread, in the folder that this parameter holds.
    Folder(&'static str),
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changes.
    Read,
    /// Something changes, and the agent does nothing.
    Change,
    /// The agent starts or goes on working, so the host's floor holds.
    Work,
}

/// What holds when it isn't known whether a request arrived (it was sent and the connection ended).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Sent again without harm.
    Idempotent,
    /// Looked up by the client's own id of the message before it is sent again.
    ByClientId,
    /// Never sent again.
    AtMostOnce,
}

impl Verdict {
    /// Whether a phone may call it.
    pub const fn is_for_phones(self) -> bool {
        matches!(self, Self::Allow | Self::Own)
    }

    /// Its name, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Own => "answered by the host",
            Self::Deny => "denied",
            Self::Later => "denied, perhaps later",
            Self::HostOnly => "for the host only",
        }
    }
}

impl Effect {
    /// What it does, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Change => "changes",
            Self::Work => "has the agent work",
        }
    }
}

impl Retry {
    /// What holds after a crash, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idempotent => "sent again",
            Self::ByClientId => "looked up by its id, then sent again",
            Self::AtMostOnce => "never sent again",
        }
    }
}

/// A method of the app-server.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Whether a phone may call it.
    pub verdict: Verdict,
    /// The least right that a device needs for it.
    pub right: Right,
    /// What it is about.
    pub subject: Subject,
    /// What it does.
    pub effect: Effect,
    /// What holds when its fate is unknown.
    pub retry: Retry,
    /// The fields a phone may send.
    pub params: &'static [Field],
    /// The fields the host puts in.
    pub given: &'static [Given],
    /// What of the result a phone gets.
    pub result: Shape,
    /// Why the verdict is what it is.
    pub reason: &'static str,
}

/// The entry of a method.
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

const GROUPS: &[&[Method]] =
    &[threads::METHODS, turns::METHODS, queue::METHODS, host::METHODS, devices::METHODS, denied::METHODS];

const COUNT: usize = {
    let (mut count, mut i) = (0, 0);
    while i < GROUPS.len() {
        count += GROUPS[i].len();
        i += 1;
    }
    count
};

static ALL: [Method; COUNT] = {
    let mut all = [GROUPS[0][0]; COUNT];
    let (mut at, mut i) = (0, 0);
    while i < GROUPS.len() {
        let mut j = 0;
        while j < GROUPS[i].len() {
            all[at] = GROUPS[i][j];
            at += 1;
            j += 1;
        }
        i += 1;
    }
    all
};

/// Every method this version judges.
pub static METHODS: &[Method] = &ALL;

/// A method that only reads.
const fn read(
    name: &'static str,
    subject: Subject,
    params: &'static [Field],
    result: Shape,
    reason: &'static str,
) -> Method {
    let (right, effect, retry) = (Right::Viewer, Effect::Read, Retry::Idempotent);
    Method { name, verdict: Verdict::Allow, right, subject, effect, retry, params, given: &[], result, reason }
}

/// A method that has the agent work.
const fn work(
    name: &'static str,
    (subject, retry): (Subject, Retry),
    params: &'static [Field],
    result: Shape,
    reason: &'static str,
) -> Method {
    Method { right: Right::Operator, effect: Effect::Work, retry, ..read(name, subject, params, result, reason) }
}

/// A method that changes something, without work of the agent's.
const fn change(
    name: &'static str,
    (subject, retry): (Subject, Retry),
    params: &'static [Field],
    result: Shape,
    reason: &'static str,
) -> Method {
    Method { effect: Effect::Change, ..work(name, (subject, retry), params, result, reason) }
}

/// A method that phones don't call.
const fn closed(name: &'static str, verdict: Verdict, reason: &'static str) -> Method {
    let method = change(name, (Subject::Host, Retry::AtMostOnce), &[], Shape::Object(&[]), reason);
    Method { verdict, right: Right::Owner, ..method }
}

impl Method {
    /// The same for devices with another right.
    const fn needs(self, right: Right) -> Self {
        Self { right, ..self }
    }

    /// The same with fields of the host's.
    const fn giving(self, given: &'static [Given]) -> Self {
        Self { given, ..self }
    }
}
