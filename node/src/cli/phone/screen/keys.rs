//! What each key does on each page.
//!
//! # Why accepting takes a word
//! A key that was meant for something else must never accept. So accepting is asked for with a key, which works only once
//! all of it was on the screen, and done by typing a word and Enter; anything pasted is not a word typed.

use farhelm_core::codex::decision::Decision;
use farhelm_phone::view::Role;
use farhelm_phone::view::composer::{self, Input};
use farhelm_phone::view::inbox::Section;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use zeroize::Zeroizing;

use super::state::{Answering, Decided, Effect, Page, Pairing, State, Step};
use crate::cli::phone::report;
use crate::terminal::question;

/// The word that accepts.
const WORD: &str = "yes";
/// Digits of the digest that are typed where the host wants to be sure of the owner.
const DIGITS: usize = 8;
/// Characters of a word or an answer.
const SHORT: usize = 4096;
/// Bytes of a ticket that is typed.
const TICKET: usize = 2 * farhelm_core::wire::limits::TICKET + 64;

impl State {
    pub(super) fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        if key.kind == KeyEventKind::Release {
            return Vec::new();
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'q')) {
            return vec![Effect::Quit];
        }
        self.said = None;
        match &self.page {
            Page::Approval(_) => self.deciding_key(key),
            Page::Question(_) => self.answering_key(key),
            Page::Pair(_) => self.pairing_key(key),
            Page::Help(_) => self.help_key(key),
            _ if self.typing => self.composing_key(key),
            Page::Inbox => self.inbox_key(key),
            Page::Thread => self.thread_key(key),
        }
    }

    /// Pasted text is text: it presses no key.
    pub(super) fn paste(&mut self, text: &str) -> Vec<Effect> {
        match &mut self.page {
            Page::Pair(Pairing::Ticket(ticket)) if ticket.len() + text.len() <= TICKET => ticket.push_str(text.trim()),
            Page::Question(answering) => push_short(&mut answering.typed, &text.replace(['\r', '\n'], " ")),
            Page::Approval(deciding) => {
                if let Step::Instructing { typed } = &mut deciding.step {
                    push_short(typed, text);
                }
            }
            Page::Inbox | Page::Thread if self.typing => self.type_in(&text.replace('\r', "\n")),
            _ => {}
        }
        Vec::new()
    }

    fn everywhere(&mut self, code: KeyCode) -> Vec<Effect> {
        match code {
            KeyCode::Char('?') => self.page = Page::Help(0),
            KeyCode::Char('q') => return vec![Effect::Quit],
            KeyCode::Char('p') => self.page = Page::Pair(Pairing::Ticket(Zeroizing::default())),
            KeyCode::Char('d') => self.first_waiting(),
            KeyCode::Char('i' | '/') => {
                self.typing = true;
                self.typed = if code == KeyCode::Char('/') { "/".into() } else { String::new() };
            }
            _ => {}
        }
        Vec::new()
    }

    fn help_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let (behind, page) = (self.behind(), self.room().1);
        match (&mut self.page, key.code) {
            (Page::Help(from), code) if is_scroll(code) => scroll(from, code, page),
            _ => self.page = behind,
        }
        Vec::new()
    }

    fn first_waiting(&mut self) {
        let first = self.inbox.rows.first().filter(|row| row.section <= Section::Answer);
        match first.and_then(|row| Some((row.host, row.key?))) {
            Some((host, key)) => self.look_at(host, key),
            None => self.say(Role::Dim, "Nothing waits for you."),
        }
    }

    fn inbox_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let last = self.inbox.rows.len().saturating_sub(1);
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = last,
            KeyCode::Enter | KeyCode::Right => return self.open_row(),
            other => return self.everywhere(other),
        }
        Vec::new()
    }

    fn open_row(&mut self) -> Vec<Effect> {
        let Some(row) = self.inbox.rows.get(self.selected).cloned() else { return Vec::new() };
        let effects = self.open(row.host, &row.thread);
        row.key.into_iter().for_each(|key| self.look_at(row.host, key));
        effects
    }

    fn thread_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let page = self.room().1;
        let Some(open) = &mut self.open else {
            self.page = Page::Inbox;
            return Vec::new();
        };
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => open.back += 1,
            KeyCode::Down | KeyCode::Char('j') => open.back = open.back.saturating_sub(1),
            KeyCode::PageUp | KeyCode::Char('b') => open.back += page,
            KeyCode::PageDown | KeyCode::Char(' ') => open.back = open.back.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => open.back = usize::MAX / 2,
            KeyCode::End | KeyCode::Char('G') => open.back = 0,
            KeyCode::Char('o') | KeyCode::Tab => open.unfolded = !open.unfolded,
            KeyCode::Enter => self.typing = true,
            KeyCode::Esc | KeyCode::Left => {
                (self.page, self.open) = (Page::Inbox, None);
                return vec![Effect::Unwatch];
            }
            other => return self.everywhere(other),
        }
        Vec::new()
    }

    fn composing_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let newline = key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SHIFT);
        match key.code {
            KeyCode::Esc => self.typing = false,
            KeyCode::Enter if newline => self.type_in("\n"),
            KeyCode::Char('j') if key.modifiers.contains(KeyModifiers::CONTROL) => self.type_in("\n"),
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => self.typed.clear(),
            KeyCode::Enter => return self.send(),
            KeyCode::Tab => {
                if let Some(only) = composer::completions(&self.typed).first() {
                    self.typed = format!("{}{}", only.name, if only.takes.is_empty() { "" } else { " " });
                }
            }
            KeyCode::Backspace => drop(self.typed.pop()),
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.type_in(c.encode_utf8(&mut [0; 4]))
            }
            _ => {}
        }
        Vec::new()
    }

    fn send(&mut self) -> Vec<Effect> {
        let input = composer::read(&self.typed);
        let open = self.open.as_ref().map(|open| (open.host, open.id.clone(), open.running.clone()));
        let host = open.as_ref().map(|open| open.0).or_else(|| self.host_meant());
        let effect = match (input, open, host) {
            (Input::Nothing, ..) => {
                self.typing = false;
                return Vec::new();
            }
            (Input::Mistake(why), ..) => return self.keep_typing(&why),
            (Input::Command("/help", _), ..) => {
                self.page = Page::Help(0);
                None
            }
            (Input::Command("/hosts", _), ..) => {
                (self.page, self.open) = (Page::Inbox, None);
                Some(Effect::Unwatch)
            }
            (_, _, None) => return self.keep_typing("this phone is paired with no host yet; Esc, then p pairs it"),
            (Input::Command("/new", text), _, Some(host)) | (Input::Message(text), None, Some(host)) => {
                Some(Effect::Start(host, text))
            }
            (Input::Message(text), Some((host, thread, Some(turn))), _) => {
                Some(Effect::Steer(host, thread, turn, text))
            }
            (Input::Message(text), Some((host, thread, None)), _) => Some(Effect::Send(host, thread, text)),
            (Input::Command(name, rest), Some((host, thread, _)), _) => Some(Effect::Command(host, thread, name, rest)),
            (Input::Command(..), None, _) => return self.keep_typing("open a thread first; that works on one"),
        };
        self.typed.clear();
        self.typing = false;
        if effect.as_ref().is_some_and(|effect| *effect != Effect::Unwatch) {
            self.say(Role::Dim, "On its way …");
        }
        effect.into_iter().collect()
    }

    fn keep_typing(&mut self, why: &str) -> Vec<Effect> {
        self.say(Role::Warning, why);
        Vec::new()
    }

    /// The selected row's host, or the first.
    fn host_meant(&self) -> Option<farhelm_phone::NodeId> {
        let of_row = self.inbox.rows.get(self.selected).map(|row| row.host);
        of_row.or_else(|| self.hosts.first().map(|host| host.id))
    }

    fn deciding_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let (read, page) = (self.was_read(), self.room().1);
        let behind = self.behind();
        let Page::Approval(deciding) = &mut self.page else { return Vec::new() };
        if deciding.step != Step::Reading {
            return self.deciding_step(key);
        }
        match key.code {
            code if is_scroll(code) => scroll(&mut deciding.scroll, code, page),
            KeyCode::Esc | KeyCode::Left => self.page = behind,
            KeyCode::Char('n') => deciding.step = Step::Declining,
            KeyCode::Char('w') => deciding.step = Step::Instructing { typed: String::new() },
            KeyCode::Char('a') => self.accept(Decision::Accept, read),
            KeyCode::Char('s') => self.accept(Decision::AcceptForSession, read),
            _ => {}
        }
        self.note_read();
        Vec::new()
    }

    /// Begins to accept, if it may be and all of it was shown.
    fn accept(&mut self, decision: Decision, read: bool) {
        let Page::Approval(deciding) = &mut self.page else { return };
        let refused = deciding.view.refused.as_ref().map(ToString::to_string);
        let why = match refused {
            Some(refused) => refused,
            None if !read => "Read it to its end first (space).".into(),
            None if !deciding.shown.allows(decision) => "It can only be accepted this once (a).".into(),
            None => {
                let digest = report::digest(&deciding.shown);
                let wanted = if deciding.view.step_up { &digest[..DIGITS] } else { WORD };
                deciding.step = Step::Accepting { typed: String::new(), wanted: wanted.into(), decision };
                return;
            }
        };
        self.say(Role::Warning, &why);
    }

    fn deciding_step(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Page::Approval(deciding) = &mut self.page else { return Vec::new() };
        let decided = match (&mut deciding.step, key.code) {
            (_, KeyCode::Esc) => {
                deciding.step = Step::Reading;
                return Vec::new();
            }
            (Step::Accepting { typed, wanted, decision }, KeyCode::Enter) if typed == wanted => Some((*decision, None)),
            (Step::Declining, KeyCode::Char('n')) => Some((Decision::Decline, None)),
            (Step::Declining, KeyCode::Char('x')) => Some((Decision::Cancel, None)),
            (Step::Instructing { typed }, KeyCode::Enter) if !typed.trim().is_empty() => {
                Some((Decision::Decline, Some(std::mem::take(typed))))
            }
            (Step::Accepting { typed, .. } | Step::Instructing { typed }, code) => {
                edit(typed, code);
                None
            }
            (Step::Reading | Step::Declining, _) => None,
        };
        decided.map(|(decision, instruction)| self.decide(decision, instruction)).unwrap_or_default()
    }

    fn decide(&mut self, decision: Decision, instruction: Option<String>) -> Vec<Effect> {
        let behind = self.behind();
        let Page::Approval(deciding) = std::mem::replace(&mut self.page, behind) else { return Vec::new() };
        self.say(Role::Dim, "On its way …");
        let stepped_up = deciding.view.step_up && decision.accepts();
        let decided = Decided { shown: deciding.shown, decision, stepped_up, instruction };
        vec![Effect::Decide(deciding.host, Box::new(decided))]
    }

    fn answering_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let (behind, page) = (self.behind(), self.room().1);
        let Page::Question(answering) = &mut self.page else { return Vec::new() };
        match key.code {
            KeyCode::Esc => self.page = behind,
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => {
                scroll(&mut answering.scroll, key.code, page);
            }
            KeyCode::Enter if answering.take() && answering.next().is_none() => {
                let Page::Question(answering) = std::mem::replace(&mut self.page, behind) else { return Vec::new() };
                self.say(Role::Dim, "On its way …");
                return vec![Effect::Answer(answering.host, Box::new(answering.shown), answering.given)];
            }
            KeyCode::Enter => {}
            code => edit(&mut answering.typed, code),
        }
        Vec::new()
    }

    fn pairing_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Page::Pair(pairing) = &mut self.page else { return Vec::new() };
        match (pairing, key.code) {
            (_, KeyCode::Esc) => self.page = Page::Inbox,
            (Pairing::Ticket(ticket), KeyCode::Enter) if !ticket.is_empty() => {
                let ticket = std::mem::take(ticket);
                self.page = Page::Pair(Pairing::Reaching);
                return vec![Effect::Pair(ticket)];
            }
            (Pairing::Ticket(ticket), KeyCode::Char(c)) if ticket.len() < TICKET => ticket.push(c),
            (Pairing::Ticket(ticket), KeyCode::Backspace) => drop(ticket.pop()),
            _ => {}
        }
        Vec::new()
    }
}

impl Answering {
    /// The part that isn't answered yet.
    pub(super) fn next(&self) -> Option<&farhelm_core::codex::question::Ask> {
        self.shown.asks.iter().find(|ask| !self.given.contains_key(&ask.id))
    }

    /// Takes what was typed as the answer to that part; whether it is one.
    fn take(&mut self) -> bool {
        let Some(ask) = self.next() else { return false };
        let Some(answer) = question::read(ask, &self.typed) else { return false };
        let id = ask.id.clone();
        self.typed.clear();
        self.given.insert(id, vec![answer]);
        true
    }
}

const fn is_scroll(code: KeyCode) -> bool {
    matches!(
        code,
        KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown | KeyCode::Char('j' | 'k' | ' ' | 'b')
    )
}

/// Whoever draws it holds it to the end.
fn scroll(from: &mut usize, code: KeyCode, page: usize) {
    *from = match code {
        KeyCode::Up | KeyCode::Char('k') => from.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => from.saturating_add(1),
        KeyCode::PageUp | KeyCode::Char('b') => from.saturating_sub(page),
        _ => from.saturating_add(page),
    };
}

fn edit(typed: &mut String, code: KeyCode) {
    match code {
        KeyCode::Backspace => drop(typed.pop()),
        KeyCode::Char(c) => push_short(typed, c.encode_utf8(&mut [0; 4])),
        _ => {}
    }
}

fn push_short(typed: &mut String, more: &str) {
    let room = SHORT.saturating_sub(typed.chars().count());
    typed.extend(more.chars().take(room));
}
