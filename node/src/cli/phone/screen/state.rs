//! What the screen knows, and what happens to it: pure, so that every story can be told in a test.
//!
//! ```text
//!  Event ─► State::update ─► Effects for the hands      State ─► draw ─► frame
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};

use farhelm_core::codex::approval::{Approval, Key as Name};
use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::question::Question;
use farhelm_core::codex::thread::{Summary, Thread};
use farhelm_phone::view::approval::ApprovalView;
use farhelm_phone::view::inbox::{Inbox, Known};
use farhelm_phone::view::thread::ThreadView;
use farhelm_phone::view::{Role, Sanitized};
use farhelm_phone::{CodexState, Connection, NodeId};
use ratatui::crossterm::event::KeyEvent;
use ratatui::text::Line as Drawn;
use zeroize::Zeroizing;

use super::paint::{Palette, wrap};

/// Bytes of a message that are taken in; the host takes no more.
const TYPED: usize = farhelm_core::wire::limits::PROMPT;

/// Columns and rows below which nothing is shown well enough to be accepted.
const SMALLEST: (u16, u16) = (20, 5);

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    Key(KeyEvent),
    Paste(Zeroizing<String>),
    Resize(u16, u16),
    /// A host of this phone's, or a new one.
    Host(NodeId, String),
    Connection(NodeId, Connection),
    Codex(NodeId, CodexState),
    Approvals(NodeId, Vec<Approval>),
    Questions(NodeId, Vec<Question>),
    Threads(NodeId, Vec<Summary>),
    /// A thread that was begun here.
    Started(NodeId, String),
    /// How something went.
    Said(Role, String),
    /// The host of a ticket has proven itself.
    Words(String, [&'static str; 4]),
    Paired(String),
    /// No pairing came of it.
    Unpaired(String),
}

/// What the hands are to do.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    Quit,
    Bell(String),
    Watch(NodeId, String),
    Unwatch,
    Send(NodeId, String, String),
    Steer(NodeId, String, String, String),
    Start(NodeId, String),
    Command(NodeId, String, &'static str, String),
    Decide(NodeId, Box<Decided>),
    Answer(NodeId, Box<Question>, BTreeMap<String, Vec<String>>),
    Pair(Zeroizing<String>),
}

/// A decision on exactly what was shown.
#[derive(Debug, PartialEq)]
pub(super) struct Decided {
    pub(super) shown: Approval,
    pub(super) decision: Decision,
    pub(super) stepped_up: bool,
    /// What to tell Codex in place of it.
    pub(super) instruction: Option<String>,
}

/// A host as it is known.
#[derive(Debug)]
pub(super) struct HostState {
    pub(super) id: NodeId,
    pub(super) name: String,
    pub(super) connection: Connection,
    pub(super) codex: Option<CodexState>,
    pub(super) approvals: Vec<Approval>,
    pub(super) questions: Vec<Question>,
    pub(super) threads: Vec<Summary>,
}

/// What is looked at.
#[derive(Debug, Default)]
pub(super) enum Page {
    #[default]
    Inbox,
    Thread,
    Approval(Box<Deciding>),
    Question(Box<Answering>),
    Pair(Pairing),
    /// From this line on.
    Help(usize),
}

/// An approval that is looked at.
#[derive(Debug)]
pub(super) struct Deciding {
    pub(super) host: NodeId,
    pub(super) shown: Approval,
    pub(super) view: ApprovalView,
    /// Lines that were on the screen, from the first, at the width they were wrapped to.
    pub(super) read: usize,
    pub(super) scroll: usize,
    pub(super) step: Step,
}

/// How far a decision is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Reading,
    /// What is typed so far against what has to be.
    Accepting {
        typed: String,
        wanted: String,
        decision: Decision,
    },
    Declining,
    /// An instruction that goes with the decline.
    Instructing {
        typed: String,
    },
}

/// A question that is looked at.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) host: NodeId,
    pub(super) shown: Question,
    pub(super) given: BTreeMap<String, Vec<String>>,
    pub(super) typed: String,
    pub(super) scroll: usize,
}

/// A pairing.
#[derive(Debug)]
pub(super) enum Pairing {
    /// The ticket as typed or pasted; never drawn.
    Ticket(Zeroizing<String>),
    Reaching,
    Comparing {
        host: String,
        words: [&'static str; 4],
    },
}

/// The thread that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) host: NodeId,
    pub(super) id: String,
    pub(super) view: ThreadView,
    pub(super) running: Option<String>,
    pub(super) unfolded: bool,
    /// Lines above the end; 0 follows it.
    pub(super) back: usize,
    drawn: HashMap<u64, Vec<Drawn<'static>>>,
    drawn_for: (usize, bool),
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) hosts: Vec<HostState>,
    pub(super) inbox: Inbox,
    pub(super) selected: usize,
    pub(super) page: Page,
    pub(super) open: Option<Open>,
    pub(super) typing: bool,
    pub(super) typed: String,
    pub(super) said: Option<(Role, Sanitized)>,
    pub(super) size: (u16, u16),
    pub(super) palette: Palette,
    seen: HashMap<String, i64>,
    /// What the bell rang for.
    rung: HashSet<Name>,
}

impl State {
    pub(super) fn new(size: (u16, u16), palette: Palette) -> Self {
        Self { size, palette, ..Self::default() }
    }

    /// Takes what happened; gives what is to be done.
    pub(super) fn update(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Key(key) => return self.key(key),
            Event::Paste(text) => return self.paste(&text),
            Event::Resize(columns, rows) => self.resize(columns, rows),
            Event::Host(id, name) => self.add_host(id, name),
            Event::Connection(id, now) => self.of(id, |host| host.connection = now),
            Event::Codex(id, codex) => self.of(id, |host| host.codex = Some(codex)),
            Event::Approvals(id, open) => return self.take_approvals(id, open),
            Event::Questions(id, open) => return self.take_questions(id, open),
            Event::Threads(id, threads) => self.take_threads(id, threads),
            Event::Started(host, thread) => return self.open(host, &thread),
            Event::Said(role, text) => self.say(role, &text),
            Event::Words(host, words) => self.page = Page::Pair(Pairing::Comparing { host, words }),
            Event::Paired(host) => {
                self.page = Page::Inbox;
                self.say(Role::Good, &format!("Paired with “{host}”."));
            }
            Event::Unpaired(why) => {
                self.page = Page::Inbox;
                self.say(Role::Bad, &why);
            }
        }
        Vec::new()
    }

    /// Takes the open thread as it stands.
    pub(super) fn show(&mut self, thread: &Thread) {
        let Some(open) = self.open.as_mut().filter(|open| open.id == thread.id) else { return };
        open.view.update(thread);
        open.running = thread.running().map(|turn| turn.id.clone());
        self.seen.insert(thread.id.clone(), thread.updated_at);
    }

    /// Below everything, until the next key.
    pub(super) fn say(&mut self, role: Role, text: &str) {
        self.said = Some((role, Sanitized::line(text)));
    }

    /// Columns and rows of a page's content.
    pub(super) fn room(&self) -> (usize, usize) {
        let columns = if self.is_wide() { self.size.0 - super::draw::LIST } else { self.size.0 };
        (columns.into(), self.size.1.saturating_sub(super::draw::around(self.size.1)).max(1).into())
    }

    /// Whether list and page stand side by side.
    pub(super) const fn is_wide(&self) -> bool {
        self.size.0 >= 100
    }

    /// Opens a thread and looks at it.
    pub(super) fn open(&mut self, host: NodeId, id: &str) -> Vec<Effect> {
        self.page = Page::Thread;
        if self.open.as_ref().is_some_and(|open| open.id == id && open.host == host) {
            return Vec::new();
        }
        let (id, view, running, drawn) = (id.to_owned(), ThreadView::default(), None, HashMap::new());
        let effect = Effect::Watch(host, id.clone());
        self.open = Some(Open { host, id, view, running, unfolded: false, back: 0, drawn, drawn_for: (0, false) });
        vec![effect]
    }

    /// Looks at an approval, from its beginning.
    pub(super) fn look_at(&mut self, host: NodeId, key: Name) {
        let Some(known) = self.hosts.iter().find(|known| known.id == host) else { return };
        if let Some(shown) = known.approvals.iter().find(|approval| approval.key == key).cloned() {
            let view = ApprovalView::of(&shown);
            let deciding = Deciding { host, shown, view, read: 0, scroll: 0, step: Step::Reading };
            self.page = Page::Approval(Box::new(deciding));
            self.note_read();
        } else if let Some(shown) = known.questions.iter().find(|question| question.key == key).cloned() {
            let (given, typed, scroll) = Default::default();
            self.page = Page::Question(Box::new(Answering { host, shown, given, typed, scroll }));
        }
    }

    /// Counts what of an approval is on the screen now.
    pub(super) fn note_read(&mut self) {
        let (columns, rows) = self.room();
        let Page::Approval(deciding) = &mut self.page else { return };
        let total = wrap(&deciding.view.lines(), columns, Palette::Plain).len();
        deciding.scroll = deciding.scroll.min(total.saturating_sub(rows));
        // Only what follows what was read: who jumps to the end hasn't seen the middle.
        if deciding.scroll <= deciding.read {
            deciding.read = deciding.read.max((deciding.scroll + rows).min(total));
        }
    }

    /// Whether all of an approval was on the screen.
    pub(super) fn was_read(&self) -> bool {
        let Page::Approval(deciding) = &self.page else { return false };
        if self.size.0 < SMALLEST.0 || self.size.1 < SMALLEST.1 {
            return false;
        }
        deciding.read >= wrap(&deciding.view.lines(), self.room().0, Palette::Plain).len()
    }

    /// What was typed is cut where no host would take more.
    pub(super) fn type_in(&mut self, text: &str) {
        let room = TYPED.saturating_sub(self.typed.len());
        let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last();
        self.typed.push_str(&text[..end.unwrap_or(0)]);
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.size = (columns, rows);
        if let Page::Approval(deciding) = &mut self.page {
            // Lines are counted in this width only.
            (deciding.read, deciding.scroll, deciding.step) = (0, 0, Step::Reading);
        }
        self.note_read();
    }

    fn add_host(&mut self, id: NodeId, name: String) {
        if self.hosts.iter().any(|host| host.id == id) {
            return self.of(id, |host| host.name = name);
        }
        let (connection, codex) = (Connection::Connecting, None);
        let (approvals, questions, threads) = Default::default();
        self.hosts.push(HostState { id, name, connection, codex, approvals, questions, threads });
        self.of(id, |_| {});
    }

    fn of(&mut self, id: NodeId, change: impl FnOnce(&mut HostState)) {
        if let Some(host) = self.hosts.iter_mut().find(|host| host.id == id) {
            change(host);
        }
        let at = self.inbox.rows.get(self.selected).map(|row| (row.host, row.thread.clone(), row.key));
        let known = self.hosts.iter().map(|host| Known {
            id: host.id,
            name: &host.name,
            connection: &host.connection,
            codex: host.codex.as_ref(),
            approvals: &host.approvals,
            questions: &host.questions,
            threads: &host.threads,
            seen: &self.seen,
        });
        self.inbox = Inbox::of(&known.collect::<Vec<_>>());
        // The same row stays selected when others come.
        let again =
            self.inbox.rows.iter().position(|row| at.as_ref() == Some(&(row.host, row.thread.clone(), row.key)));
        self.selected = again.unwrap_or(self.selected).min(self.inbox.rows.len().saturating_sub(1));
    }

    fn take_approvals(&mut self, id: NodeId, open: Vec<Approval>) -> Vec<Effect> {
        let summaries = open.iter().map(|approval| (approval.key, ApprovalView::of(approval).summary.to_string()));
        let effects = self.ring(summaries.collect());
        if let Page::Approval(deciding) = &self.page
            && deciding.host == id
        {
            match open.iter().find(|approval| approval.key == deciding.shown.key) {
                None => {
                    self.page = self.behind();
                    self.say(Role::Warning, "That was decided, or is over.");
                }
                // It changed under the eyes: read it again.
                Some(now) if *now != deciding.shown => {
                    let key = now.key;
                    self.of(id, |host| host.approvals.clone_from(&open));
                    self.look_at(id, key);
                    self.say(Role::Warning, "It changed; this is how it stands now.");
                }
                Some(_) => {}
            }
        }
        self.of(id, |host| host.approvals = open);
        effects
    }

    fn take_questions(&mut self, id: NodeId, open: Vec<Question>) -> Vec<Effect> {
        let asked = |question: &Question| question.asks.first().map_or_else(String::new, |ask| ask.question.clone());
        let effects = self.ring(open.iter().map(|question| (question.key, asked(question))).collect());
        if let Page::Question(answering) = &self.page
            && answering.host == id
            && !open.contains(&answering.shown)
        {
            self.page = self.behind();
            self.say(Role::Warning, "That was answered, or is over.");
        }
        self.of(id, |host| host.questions = open);
        effects
    }

    fn take_threads(&mut self, id: NodeId, threads: Vec<Summary>) {
        for thread in &threads {
            // What was there when we came isn't news.
            self.seen.entry(thread.id.clone()).or_insert(thread.updated_at);
        }
        self.of(id, |host| host.threads = threads);
    }

    /// Once for each.
    fn ring(&mut self, open: Vec<(Name, String)>) -> Vec<Effect> {
        let new: Vec<_> = open.into_iter().filter(|(key, _)| self.rung.insert(*key)).collect();
        new.into_iter()
            .take(1)
            .map(|(_, about)| Effect::Bell(Sanitized::line_within(&about, 100).to_string()))
            .collect()
    }

    /// Where one goes back to.
    pub(super) fn behind(&self) -> Page {
        if self.open.is_some() { Page::Thread } else { Page::Inbox }
    }
}

impl Open {
    /// Its lines in this width, of which only what changed is wrapped anew.
    pub(super) fn lines(&mut self, columns: usize, palette: Palette) -> Vec<&Drawn<'static>> {
        if self.drawn_for != (columns, self.unfolded) {
            self.drawn.clear();
            self.drawn_for = (columns, self.unfolded);
        }
        let shown: HashSet<u64> = self.view.entries().iter().map(|entry| entry.revision).collect();
        self.drawn.retain(|revision, _| shown.contains(revision));
        for entry in self.view.entries() {
            let unfolded = self.unfolded;
            self.drawn.entry(entry.revision).or_insert_with(|| wrap(&entry.block.all(unfolded), columns, palette));
        }
        self.view.entries().iter().flat_map(|entry| &self.drawn[&entry.revision]).collect()
    }
}
