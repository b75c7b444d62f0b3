//! What waits, runs, failed and finished, over all hosts, the most pressing first.

use std::collections::HashMap;

use farhelm_core::identity::NodeId;

use super::approval::ApprovalView;
use super::sanitize::Sanitized;
use super::text::Role;
use super::thread;
use crate::codex::approval::{Approval, Key};
use crate::codex::question::Question;
use crate::codex::thread::{Status, Summary};
use crate::connection::Connection;
use crate::{CodexState, Path, Via};

/// Threads of a host that are listed, beside those that want something.
const RESTING: usize = 50;

/// What is known of a host.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// Its key.
    pub id: NodeId,
    /// Its name.
    pub name: &'a str,
    /// How it stands with the connection.
    pub connection: &'a Connection,
    /// How it stands with Codex; `None` before it said so.
    pub codex: Option<&'a CodexState>,
    /// The approvals that are open.
    pub approvals: &'a [Approval],
    /// The questions that are open.
    pub questions: &'a [Question],
    /// Its threads, those that changed last first.
    pub threads: &'a [Summary],
    /// When each thread was last looked at, by [`Summary::updated_at`]; one that isn't in it was never.
    pub seen: &'a HashMap<String, i64>,
}

/// All hosts in one list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inbox {
    /// The hosts, in the order they came.
    pub hosts: Vec<HostLine>,
    /// What there is, by section.
    pub rows: Vec<Row>,
}

/// A host in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLine {
    /// Its key.
    pub id: NodeId,
    /// Its name.
    pub name: Sanitized,
    /// State and path in words: `direct over QUIC, 12 ms`.
    pub state: Sanitized,
    /// Whether that is good, bad or in between.
    pub role: Role,
}

/// Where a row stands, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Somebody has to decide.
    Decide,
    /// Somebody has to answer.
    Answer,
    /// The agent works.
    Running,
    /// It failed.
    Failed,
    /// It changed since it was looked at.
    Unread,
    /// Nothing of that.
    Rest,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub section: Section,
    /// Its host.
    pub host: NodeId,
    /// The host's name.
    pub host_name: Sanitized,
    /// Its thread.
    pub thread: String,
    /// The approval or question it is, if it is one.
    pub key: Option<Key>,
    /// What it is.
    pub title: Sanitized,
    /// Where it works, or what it does.
    pub detail: Sanitized,
}

impl Section {
    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Decide => "to decide",
            Self::Answer => "to answer",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Unread => "new",
            Self::Rest => "threads",
        }
    }
}

impl Inbox {
    /// Of all hosts.
    pub fn of(hosts: &[Known<'_>]) -> Self {
        let mut rows: Vec<_> = hosts.iter().flat_map(rows).collect();
        // Stable: within a section the hosts stay in their order, and each one's rows too.
        rows.sort_by_key(|row| row.section);
        Self { hosts: hosts.iter().map(HostLine::of).collect(), rows }
    }

    /// How many wait for a person.
    pub fn waiting(&self) -> usize {
        self.rows.iter().filter(|row| row.section <= Section::Answer).count()
    }
}

impl HostLine {
    fn of(host: &Known<'_>) -> Self {
        let (role, words) = match (host.connection, host.codex) {
            (Connection::Live(_), Some(CodexState::Away(why))) => (Role::Warning, format!("Codex is away: {why}")),
            (connection, _) => state(connection),
        };
        Self { id: host.id, name: Sanitized::line_within(host.name, 64), state: Sanitized::line(&words), role }
    }
}

/// A connection in words.
pub fn state(connection: &Connection) -> (Role, String) {
    match connection {
        Connection::Connecting => (Role::Dim, "connecting …".into()),
        Connection::CatchingUp(way) => (Role::Dim, format!("catching up, {}", path(way))),
        Connection::Live(way) => (Role::Good, path(way)),
        Connection::Away { why, .. } => (Role::Warning, format!("away: {why}")),
        Connection::Removed { .. } => (Role::Bad, "removed this phone; pair again".into()),
    }
}

fn path(path: &Path) -> String {
    let via = match path.via {
        Via::Direct => "direct",
        Via::Relay(_) => "through a relay",
    };
    let trip = path.round_trip.map(|trip| format!(", {} ms", trip.as_millis())).unwrap_or_default();
    format!("{via}{trip}")
}

fn rows(host: &Known<'_>) -> Vec<Row> {
    let title_of = |id: &str| {
        let thread = host.threads.iter().find(|thread| thread.id == id);
        thread.map_or_else(|| Sanitized::line_within(id, 13), title)
    };
    let row = |section, thread: &str, key, title, detail: &str| Row {
        section,
        host: host.id,
        host_name: Sanitized::line_within(host.name, 64),
        thread: thread.to_owned(),
        key,
        title,
        detail: Sanitized::line_within(detail, 200),
    };
    let approvals = host.approvals.iter().map(|approval| {
        let summary = ApprovalView::of(approval).summary;
        row(Section::Decide, &approval.thread, Some(approval.key), summary, &title_of(&approval.thread))
    });
    let questions = host.questions.iter().map(|question| {
        let asked = question.asks.first().map_or("", |ask| &ask.question);
        let asked = Sanitized::line_within(asked, 200);
        row(Section::Answer, &question.thread, Some(question.key), asked, &title_of(&question.thread))
    });
    let threads = host.threads.iter().take(RESTING).map(|thread| {
        let detail = format!("{} · {}", thread::state(&thread.status), thread.folder);
        row(section(thread, host.seen), &thread.id, None, title(thread), &detail)
    });
    approvals.chain(questions).chain(threads).collect()
}

fn section(thread: &Summary, seen: &HashMap<String, i64>) -> Section {
    match thread.status {
        Status::Active { .. } => Section::Running,
        Status::SystemError => Section::Failed,
        _ if seen.get(&thread.id).is_some_and(|seen| *seen < thread.updated_at) => Section::Unread,
        _ => Section::Rest,
    }
}

fn title(thread: &Summary) -> Sanitized {
    let title = thread.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&thread.preview);
    let first = title.lines().next().filter(|line| !line.is_empty()).unwrap_or("(no title)");
    Sanitized::line_within(first, 200)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use farhelm_core::identity::Identity;
    use serde_bytes::ByteArray;

    use super::*;
    use crate::Why;
    use crate::codex::approval::{Act, Content, Guard};

    fn thread(id: &str, status: Status, updated_at: i64) -> Summary {
        let (name, preview, folder) = (None, format!("{id}\u{1b}[2J\nmore"), "/srv".into());
        Summary { id: id.into(), name, preview, folder, model: None, status, updated_at }
    }

    fn approval(thread: &str) -> Approval {
        let act = Act::Command { command: "ls\u{202e}".into(), folder: "/srv".into(), permissions: None };
        let (approval_policy, sandbox, workspace) = Default::default();
        let content = Content { act, reason: None, approval_policy, sandbox, workspace };
        let key = Key { epoch: ByteArray::new([0; 16]), request: 1 };
        let (environment, turn, item) = Default::default();
        let (for_session, deadline_ms, guard) = (false, 0, Guard::default());
        Approval { key, environment, thread: thread.into(), turn, item, content, for_session, deadline_ms, guard }
    }

    #[test]
    fn what_waits_anywhere_comes_first_then_what_runs_failed_and_is_new() {
        let active = Status::Active { waiting_on_approval: false, waiting_on_input: false };
        let desk = [thread("old", Status::Idle, 5), thread("new", Status::Idle, 9), thread("runs", active, 3)];
        let laptop = [thread("bad", Status::SystemError, 1), thread("asks", active, 2)];
        let seen = HashMap::from([("old".to_owned(), 5), ("new".to_owned(), 8)]);
        let waits = [approval("asks")];
        let away = Connection::Away { since: SystemTime::UNIX_EPOCH, why: Why::HostStopped };
        let of = |seed, name, threads, approvals, connection| Known {
            id: Identity::from_seed(&[seed; 32]).node_id(),
            name,
            connection,
            codex: None,
            approvals,
            questions: &[],
            threads,
            seen: &seen,
        };
        let hosts =
            [of(1, "desk", &desk[..], &[][..], &away), of(2, "lap\u{7}", &laptop, &waits, &Connection::Connecting)];
        let inbox = Inbox::of(&hosts);
        let shown: String = inbox
            .rows
            .iter()
            .map(|row| format!("{}: {} | {} | {}\n", row.section.title(), row.host_name, row.title, row.detail))
            .collect();
        insta::assert_snapshot!(shown, @"
        to decide: lap␇ | $ ls⟨U+202E⟩ | asks␛[2J
        running: desk | runs␛[2J | running · /srv
        running: lap␇ | asks␛[2J | running · /srv
        failed: lap␇ | bad␛[2J | failed · /srv
        new: desk | new␛[2J | idle · /srv
        threads: desk | old␛[2J | idle · /srv
        ");
        let states: Vec<_> = inbox.hosts.iter().map(|host| format!("{}: {}", host.name, host.state)).collect();
        insta::assert_snapshot!(states.join("\n"), @"
        desk: away: the host was stopped; start it with `farhelm host`
        lap␇: connecting …
        ");
        assert_eq!(inbox.waiting(), 1);
    }
}
