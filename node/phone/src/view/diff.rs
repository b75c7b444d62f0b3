//! Changes of files: by file, by hunk, with the words that changed within a line.
//!
//! Nothing is left out: what a person approves is read here. Colouring by language isn't done.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::sanitize::Sanitized;
use super::text::{Line, Role, Span};
use crate::codex::approval::Change;

/// Words of a line that are compared; in a longer one no word is marked.
const WORDS: usize = 400;

/// A changed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiff {
    /// Where it is, and where it goes if it is moved.
    pub path: Sanitized,
    /// `add`, `delete` or `update`, in Codex's word.
    pub kind: Sanitized,
    /// Lines that come in.
    pub added: usize,
    /// Lines that go.
    pub removed: usize,
    /// In order; one for a file that is new or gone.
    pub hunks: Vec<Hunk>,
}

/// A place of a file that changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hunk {
    /// Where: `@@ -1,2 +1,3 @@ fn main`. Empty where it is the whole file.
    pub place: Sanitized,
    /// Its lines.
    pub lines: Vec<DiffLine>,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffLine {
    /// What happens to it.
    pub sign: Sign,
    /// Its text, the changed words apart.
    pub spans: Vec<Span>,
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It comes in.
    Added,
    /// It goes.
    Removed,
    /// It stays.
    Context,
    /// It is about the lines, as `\ No newline at end of file`.
    Remark,
}

impl Sign {
    /// What stands in the first column.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Context | Self::Remark => " ",
        }
    }

    const fn role(self) -> Role {
        match self {
            Self::Added => Role::Added,
            Self::Removed => Role::Removed,
            Self::Context => Role::Plain,
            Self::Remark => Role::Place,
        }
    }

    const fn word(self) -> Role {
        match self {
            Self::Added => Role::AddedWord,
            Self::Removed => Role::RemovedWord,
            other => other.role(),
        }
    }
}

impl FileDiff {
    /// A change that Codex made or asks for.
    pub fn of(change: &Change) -> Self {
        let whole = |sign| vec![hunk("", change.diff.split_terminator('\n').map(|line| (sign, line)).collect())];
        let hunks = match change.kind.as_str() {
            "add" => whole(Sign::Added),
            "delete" => whole(Sign::Removed),
            _ => hunks(&change.diff),
        };
        let path = change.moved_to.as_ref().map_or_else(|| change.path.clone(), |to| format!("{} → {to}", change.path));
        let count = |sign| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.sign == sign).count();
        Self {
            // Paths are what is approved, so they aren't cut.
            path: Sanitized::line_within(&path, super::sanitize::BLOCK),
            kind: Sanitized::line(&change.kind),
            added: count(Sign::Added),
            removed: count(Sign::Removed),
            hunks,
        }
    }

    /// `update src/main.rs (+2 −1)`.
    pub fn title(&self) -> Line {
        let counts = format!(" (+{} −{})", self.added, self.removed);
        let kind = Span::new(Role::Dim, &format!("{} ", self.kind));
        let path = Span { text: self.path.clone(), role: Role::Strong };
        Line { spans: vec![kind, path, Span::new(Role::Dim, &counts)], ..Line::default() }
    }

    /// All of it, the title first.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = vec![self.title()];
        for hunk in &self.hunks {
            if !hunk.place.is_empty() {
                lines.push(Line {
                    spans: vec![Span { text: hunk.place.clone(), role: Role::Place }],
                    ..Line::default()
                });
            }
            lines.extend(hunk.lines.iter().map(DiffLine::line));
        }
        lines
    }
}

impl DiffLine {
    /// With its sign in the margin, and `↪` before the rest where it is wrapped.
    pub fn line(&self) -> Line {
        Line { margin: self.sign.text().into(), wrapped: "↪".into(), spans: self.spans.clone() }
    }
}

fn hunks(diff: &str) -> Vec<Hunk> {
    let mut places: Vec<(&str, Vec<(Sign, &str)>)> = Vec::new();
    for line in diff.split_terminator('\n') {
        if line.starts_with("@@") {
            places.push((line, Vec::new()));
            continue;
        }
        if places.is_empty() {
            places.push(("", Vec::new()));
        }
        if let Some((_, lines)) = places.last_mut() {
            lines.push(signed(line));
        }
    }
    places.into_iter().map(|(place, lines)| hunk(place, lines)).collect()
}

fn signed(line: &str) -> (Sign, &str) {
    match line.as_bytes().first() {
        Some(b'+') => (Sign::Added, &line[1..]),
        Some(b'-') => (Sign::Removed, &line[1..]),
        Some(b' ') => (Sign::Context, &line[1..]),
        _ => (Sign::Remark, line),
    }
}

/// Lines that go and as many that come right after them are compared word by word.
fn hunk(place: &str, lines: Vec<(Sign, &str)>) -> Hunk {
    let place = Sanitized::line_within(place, super::sanitize::BLOCK);
    let mut out = Vec::with_capacity(lines.len());
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        let leading = |lines: &[(Sign, &str)], sign| lines.iter().take_while(|line| line.0 == sign).count();
        let gone = leading(rest, Sign::Removed);
        let come = leading(&rest[gone..], Sign::Added);
        let taken = (gone + come).max(1);
        let (now, later) = rest.split_at(taken);
        if gone == come && gone > 0 {
            out.extend(pairs(now))
        } else {
            out.extend(now.iter().map(unmarked))
        }
        rest = later;
    }
    Hunk { place, lines: out }
}

fn unmarked((sign, text): &(Sign, &str)) -> DiffLine {
    DiffLine { sign: *sign, spans: vec![Span::new(sign.role(), text)] }
}

fn pairs(lines: &[(Sign, &str)]) -> Vec<DiffLine> {
    let (old, new) = lines.split_at(lines.len() / 2);
    let marked: Vec<_> = old.iter().zip(new).map(|(old, new)| compared(old.1, new.1)).collect();
    let (old, new): (Vec<_>, Vec<_>) = marked.into_iter().unzip();
    old.into_iter().chain(new).collect()
}

/// Both lines with their changed words marked; unmarked if little of them is the same.
fn compared(old: &str, new: &str) -> (DiffLine, DiffLine) {
    let (was, is) = (words(old), words(new));
    let plain = || (unmarked(&(Sign::Removed, old)), unmarked(&(Sign::Added, new)));
    if was.len().max(is.len()) > WORDS {
        return plain();
    }
    let ops = capture_diff_slices(Algorithm::Myers, &was, &is);
    let same: usize = ops.iter().filter(|op| matches!(op, DiffOp::Equal { .. })).map(|op| op.new_range().len()).sum();
    if same * 3 < was.len().max(is.len()) {
        return plain();
    }
    let side = |sign: Sign, words: &[&str], range: fn(&DiffOp) -> std::ops::Range<usize>| {
        let span = |op: &DiffOp| {
            let role = if matches!(op, DiffOp::Equal { .. }) { sign.role() } else { sign.word() };
            Span::new(role, &words[range(op)].concat())
        };
        DiffLine { sign, spans: ops.iter().map(span).filter(|span| !span.text.is_empty()).collect() }
    };
    (side(Sign::Removed, &was, DiffOp::old_range), side(Sign::Added, &is, DiffOp::new_range))
}

/// Words, and each character between them.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, later) = rest.split_at(end);
        words.push(word);
        rest = later;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::{sanitize, text};
    use super::*;
    use proptest::prelude::*;

    fn change(kind: &str, diff: &str) -> Change {
        Change { path: "src/a.rs".into(), kind: kind.into(), moved_to: None, diff: diff.into() }
    }

    #[test]
    fn a_diff_has_files_hunks_and_signs() {
        let diff = "@@ -1,2 +1,2 @@\n fn main() {\n-    old(1);\n+    new(1);\n@@ -9 +9 @@\n+x\n\\ No newline at end of file\n";
        insta::assert_snapshot!(text::plain(&FileDiff::of(&change("update", diff)).lines()), @r#"
        update src/a.rs (+2 −1)
        @@ -1,2 +1,2 @@
         fn main() {
        -    old(1);
        +    new(1);
        @@ -9 +9 @@
        +x
         \ No newline at end of file
        "#);
    }

    #[test]
    fn the_words_that_changed_are_marked() {
        let file = FileDiff::of(&change("update", "@@\n-let sum = add(a, b);\n+let total = add(a, b);\n"));
        let marked = |role| {
            let spans = file.hunks.iter().flat_map(|hunk| &hunk.lines).flat_map(|line| &line.spans);
            spans.filter(|span| span.role == role).map(|span| span.text.to_string()).collect::<Vec<_>>()
        };
        assert_eq!((marked(Role::RemovedWord), marked(Role::AddedWord)), (vec!["sum".into()], vec!["total".into()]));
    }

    #[test]
    fn a_new_file_is_all_added_and_a_moved_one_shows_both_paths() {
        let mut new = change("add", "one\n+two\n");
        assert_eq!(text::plain(&FileDiff::of(&new).lines()), "add src/a.rs (+2 −0)\n+one\n++two\n");
        new.moved_to = Some("b\u{202e}.rs".into());
        assert_eq!(&*FileDiff::of(&new).path, "src/a.rs → b⟨U+202E⟩.rs");
    }

    proptest! {
        #[test]
        fn every_line_is_there_and_safe(lines in proptest::collection::vec("[-+ @\\\\][a-c \u{1b}\u{202e}\t]{0,12}", 0..12)) {
            let diff = lines.concat_lines();
            let shown = FileDiff::of(&change("update", &diff)).lines();
            prop_assert!(shown.iter().all(|line| !line.plain().chars().any(sanitize::is_hidden)));
            // The title, and each line once.
            prop_assert_eq!(shown.len(), lines.len() + 1);
        }
    }

    trait ConcatLines {
        fn concat_lines(&self) -> String;
    }

    impl ConcatLines for Vec<String> {
        fn concat_lines(&self) -> String {
            self.iter().map(|line| format!("{line}\n")).collect()
        }
    }
}
