//! A whole thread, block by block; a block is made anew only if what it shows changed.
//!
//! A screen asks at each frame, not at each delta: however many come between two frames, each changed item is made into
//! lines once. What didn't change keeps its `Arc` and its [`Entry::revision`], by which a screen knows what it wrapped.
//!
//! # Why items are compared whole
//! Items carry no version, and a length says nothing of a text that was replaced. Comparing them is a copy's speed: a
//! thread holds 4 MiB at the most.

use std::collections::HashMap;
use std::sync::Arc;

use super::block::Block;
use super::sanitize::Sanitized;
use crate::codex::thread::{Item, ItemKind, Note, Plan, Status, Thread, Turn, TurnStatus};

/// A thread as it is shown.
#[derive(Debug, Clone, Default)]
pub struct ThreadView {
    /// Above the blocks.
    pub head: Head,
    entries: Vec<Entry>,
    made: u64,
}

/// What is said of a thread above its blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Its title, or the beginning of its first message.
    pub title: Sanitized,
    /// Where it works.
    pub folder: Sanitized,
    /// What it does, in words.
    pub state: &'static str,
    /// Model and effort, where known.
    pub model: Sanitized,
    /// Tokens: `12,300 tokens, 41 % of the context`. Empty where unknown.
    pub usage: String,
    /// What it works towards; empty where nothing is set.
    pub goal: Sanitized,
    /// Whether there is more before the first block.
    pub older: bool,
}

/// A block and where it came from.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its turn.
    pub turn: String,
    /// Its item; empty for what is said of the turn.
    pub item: String,
    /// What is shown.
    pub block: Arc<Block>,
    /// Another for whatever was shown differently before; unique in its [`ThreadView`].
    pub revision: u64,
    source: Source,
}

/// What a block was made from.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    Item(Item),
    Plan(Plan),
    End(TurnStatus, Option<String>),
    Note(Note),
}

/// The same of a thread that came, without a copy.
#[derive(Clone, Copy)]
enum Seen<'a> {
    Item(&'a Item),
    Plan(&'a Plan),
    End(&'a TurnStatus, Option<&'a str>),
    Note(&'a Note),
}

impl ThreadView {
    /// What is shown, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many blocks were made so far.
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// Takes the thread as it stands now.
    pub fn update(&mut self, thread: &Thread) {
        self.head = Head::of(thread);
        let mut old = Old::new(std::mem::take(&mut self.entries));
        for turn in &thread.turns {
            turn.items.iter().for_each(|item| self.push(&mut old, &turn.id, Seen::Item(item)));
            self.push(&mut old, &turn.id, Seen::Plan(&turn.plan));
            notes(thread, turn).for_each(|note| self.push(&mut old, &turn.id, Seen::Note(note)));
            self.push(&mut old, &turn.id, Seen::End(&turn.status, turn.notice.as_deref()));
        }
        let of_no_turn = thread.notes.iter().filter(|note| note.turn.is_none());
        of_no_turn.for_each(|note| self.push(&mut old, "", Seen::Note(note)));
    }

    fn push(&mut self, old: &mut Old, turn: &str, seen: Seen<'_>) {
        if seen.is_nothing() {
            return;
        }
        if let Some(entry) = old.take(turn, seen) {
            self.entries.push(entry);
            return;
        }
        let Some(block) = seen.block() else { return };
        self.made += 1;
        let item = seen.item().to_owned();
        let (turn, block, revision) = (turn.to_owned(), Arc::new(block), self.made);
        self.entries.push(Entry { turn, item, block, revision, source: seen.source() });
    }
}

/// What was shown before: in its order, as little moves, and by name for what did.
struct Old {
    entries: Vec<Option<Entry>>,
    next: usize,
    named: Option<HashMap<(String, String), usize>>,
}

impl Old {
    fn new(entries: Vec<Entry>) -> Self {
        Self { entries: entries.into_iter().map(Some).collect(), next: 0, named: None }
    }

    /// The entry that shows exactly this.
    fn take(&mut self, turn: &str, seen: Seen<'_>) -> Option<Entry> {
        let fits = |entry: &Entry| entry.turn == turn && entry.item == seen.item() && seen.is(&entry.source);
        let here = self.entries.get(self.next).and_then(Option::as_ref);
        if here.is_some_and(fits) {
            self.next += 1;
            return self.entries[self.next - 1].take();
        }
        // One that changed is passed over, so that those behind it are found at once.
        let same_place =
            here.is_some_and(|entry| entry.turn == turn && entry.item == seen.item() && seen.is_like(&entry.source));
        if same_place {
            self.next += 1;
            return None;
        }
        let at = *self.by_name().get(&(turn.to_owned(), seen.item().to_owned()))?;
        let found = self.entries[at].take_if(|entry| fits(entry))?;
        self.next = at + 1;
        Some(found)
    }

    fn by_name(&mut self) -> &HashMap<(String, String), usize> {
        let entries = &self.entries;
        self.named.get_or_insert_with(|| {
            let named = entries.iter().enumerate().filter_map(|(at, entry)| Some((at, entry.as_ref()?)));
            named.map(|(at, entry)| ((entry.turn.clone(), entry.item.clone()), at)).collect()
        })
    }
}

impl Seen<'_> {
    /// What never becomes a block, and so isn't looked for among those that were.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Plan(plan) => plan.steps.is_empty(),
            Self::End(status, notice) => **status == TurnStatus::InProgress && notice.is_none(),
            Self::Item(item) => matches!(&item.kind, ItemKind::Unknown),
            Self::Note(_) => false,
        }
    }

    fn item(&self) -> &str {
        match self {
            Self::Item(item) => &item.id,
            Self::Plan(_) | Self::End(..) | Self::Note(_) => "",
        }
    }

    fn is(&self, source: &Source) -> bool {
        match (self, source) {
            (Self::Item(a), Source::Item(b)) => **a == *b,
            (Self::Plan(a), Source::Plan(b)) => **a == *b,
            (Self::End(a, notice), Source::End(b, was)) => **a == *b && *notice == was.as_deref(),
            (Self::Note(a), Source::Note(b)) => **a == *b,
            _ => false,
        }
    }

    /// Whether both are of one kind.
    const fn is_like(&self, source: &Source) -> bool {
        matches!(
            (self, source),
            (Self::Item(_), Source::Item(_))
                | (Self::Plan(_), Source::Plan(_))
                | (Self::End(..), Source::End(..))
                | (Self::Note(_), Source::Note(_))
        )
    }

    fn source(&self) -> Source {
        match *self {
            Self::Item(item) => Source::Item(item.clone()),
            Self::Plan(plan) => Source::Plan(plan.clone()),
            Self::End(status, notice) => Source::End(status.clone(), notice.map(ToOwned::to_owned)),
            Self::Note(note) => Source::Note(note.clone()),
        }
    }

    fn block(&self) -> Option<Block> {
        match self {
            Self::Item(item) => Block::of(item),
            Self::Plan(plan) => Block::plan(plan),
            Self::End(status, notice) => Block::turn(status, *notice),
            Self::Note(note) => Some(Block::note(note)),
        }
    }
}

fn notes<'a>(thread: &'a Thread, turn: &'a Turn) -> impl Iterator<Item = &'a Note> {
    thread.notes.iter().filter(|note| note.turn.as_ref() == Some(&turn.id))
}

impl Head {
    fn of(thread: &Thread) -> Self {
        let title = thread.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&thread.preview);
        let model = [&thread.model, &thread.effort].into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        Self {
            title: Sanitized::line_within(title.lines().next().unwrap_or_default(), 200),
            folder: Sanitized::line(&thread.folder),
            state: state(&thread.status),
            model: Sanitized::line(&model),
            usage: usage(thread).unwrap_or_default(),
            goal: Sanitized::line(thread.goal.as_ref().map_or("", |goal| &goal.objective)),
            older: thread.older,
        }
    }
}

/// What a thread does, in a word or two.
pub const fn state(status: &Status) -> &'static str {
    match status {
        Status::NotLoaded => "asleep",
        Status::Idle => "idle",
        Status::Active { waiting_on_approval: true, .. } => "waits for approval",
        Status::Active { waiting_on_input: true, .. } => "asks",
        Status::Active { .. } => "running",
        Status::SystemError => "failed",
        Status::HeldElsewhere => "open elsewhere",
        Status::Unknown => "unknown",
    }
}

fn usage(thread: &Thread) -> Option<String> {
    let usage = thread.usage?;
    let total = grouped(usage.total);
    let full = usage.window.filter(|window| *window > 0).map(|window| usage.context.saturating_mul(100) / window);
    Some(full.map_or_else(|| format!("{total} tokens"), |full| format!("{total} tokens, {full} % of the context")))
}

/// `12300` as `12,300`.
fn grouped(number: i64) -> String {
    let digits = number.max(0).to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::codex::thread::{NoteKind, Usage};

    fn item(id: usize, text: &str) -> Item {
        let kind = ItemKind::AgentMessage { text: text.into() };
        Item { id: format!("i{id}"), open: false, truncated: false, images: 0, kind }
    }

    /// 10,000 items in 20 turns.
    fn long() -> Thread {
        let turn = |number: usize| Turn {
            id: format!("t{number}"),
            status: TurnStatus::Completed,
            items: (0..500).map(|at| item(number * 500 + at, "some **text** of an answer")).collect(),
            ..Turn::default()
        };
        let mut thread = Thread::new("t");
        thread.turns = (0..20).map(turn).collect();
        thread
    }

    fn last_text(thread: &mut Thread) -> &mut String {
        let item = thread.turns.last_mut().and_then(|turn| turn.items.last_mut()).expect("an item");
        let ItemKind::AgentMessage { text } = &mut item.kind else { panic!("an answer") };
        text
    }

    #[test]
    fn a_delta_in_a_long_thread_makes_one_block_anew() {
        let mut thread = long();
        let mut view = ThreadView::default();
        view.update(&thread);
        assert_eq!((view.entries().len(), view.made()), (10_020, 10_020));
        let began = Instant::now();
        for delta in 1..=100 {
            last_text(&mut thread).push_str(" more");
            view.update(&thread);
            assert_eq!(view.made(), 10_020 + delta);
        }
        eprintln!("100 updates of a thread of 10,000 items: {:?}", began.elapsed());
        view.update(&thread);
        assert_eq!(view.made(), 10_120, "nothing changed");
    }

    #[test]
    fn what_goes_and_comes_leaves_the_rest_as_it_was() {
        let mut thread = long();
        let mut view = ThreadView::default();
        view.update(&thread);
        let kept: Vec<u64> = view.entries()[501..].iter().map(|entry| entry.revision).collect();
        thread.turns.remove(0);
        view.update(&thread);
        assert_eq!(view.entries().iter().map(|entry| entry.revision).collect::<Vec<_>>(), kept);
        thread.turns[3].items.insert(7, item(99_999, "in between"));
        thread.turns[4].items.remove(9);
        view.update(&thread);
        assert_eq!((view.made(), view.entries().len()), (10_021, kept.len()));
        let ids: Vec<_> = thread.turns[3].items.iter().map(|item| &item.id).collect();
        let shown: Vec<_> =
            view.entries().iter().filter(|e| e.turn == "t4" && !e.item.is_empty()).map(|e| &e.item).collect();
        assert_eq!(shown, ids);
    }

    #[test]
    fn a_turns_end_and_a_remark_are_blocks_of_their_own() {
        let mut thread = Thread::new("t");
        thread.turns = vec![Turn { id: "u".into(), ..Turn::default() }];
        let mut view = ThreadView::default();
        view.update(&thread);
        assert!(view.entries().is_empty());
        thread.turns[0].status = TurnStatus::Failed("no\u{1b}[2J credits".into());
        let text = "careful".into();
        thread.notes.push(Note { id: String::new(), turn: Some("u".into()), kind: NoteKind::Warning, text });
        view.update(&thread);
        let shown: Vec<_> =
            view.entries().iter().map(|entry| super::super::text::plain(&entry.block.all(false))).collect();
        assert_eq!(shown, ["  warning: careful\n", "✗ failed: no␛[2J credits\n"]);
    }

    #[test]
    fn the_head_says_what_a_thread_costs() {
        let usage = Usage { total: 1_234_567, context: 500, window: Some(1_000), ..Usage::default() };
        let mut thread = Thread::new("t");
        (thread.usage, thread.name) = (Some(usage), Some("a\nb".into()));
        let head = Head::of(&thread);
        assert_eq!((&*head.title, &*head.usage), ("a", "1,234,567 tokens, 50 % of the context"));
    }
}
