//! An item of a thread as it is shown: what is always there, what is folded, files, tests, images.

use super::diff::FileDiff;
use super::outcome::Tests;
use super::sanitize::Sanitized;
use super::text::{Line, Role, lines};
use super::{duration, markdown};
use crate::codex::thread::{Item, ItemKind, Note, NoteKind, Plan, Progress, StepStatus, TurnStatus};

/// Lines of an output that aren't folded: fewer than these are shown.
const SHORT: usize = 6;

/// A piece of a thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// What it is, for a screen that shows kinds differently.
    pub kind: Kind,
    /// Always shown.
    pub lines: Vec<Line>,
    /// Shown when a person unfolds it; under it stands how it ended.
    pub fold: Option<Fold>,
    /// Files that change, each with its hunks.
    pub files: Vec<FileDiff>,
    /// How it stands or ended, below the rest.
    pub end: Vec<Line>,
    /// What tests said in it.
    pub tests: Option<Tests>,
    /// Images that can be read by the item's id, counted from 0.
    pub images: u32,
}

/// What kind of piece.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A person's message.
    Person,
    /// The agent's.
    Answer,
    /// What it thought.
    Reasoning,
    /// A command.
    Command,
    /// Files.
    Files,
    /// A tool, or another agent.
    Tool,
    /// A plan.
    Plan,
    /// Something failed.
    Error,
    /// Anything else.
    #[default]
    Note,
}

/// What is folded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fold {
    /// What stands in its place: `24 lines of output`.
    pub label: Sanitized,
    /// What it hides.
    pub lines: Vec<Line>,
}

impl Block {
    /// An item, also one that is still going on; `None` for what a person doesn't read.
    pub fn of(item: &Item) -> Option<Self> {
        let mut block = Self::of_kind(&item.kind)?;
        block.images = item.images;
        if item.images > 0 {
            block.end.push(Line::new(Role::Dim, &images(item.images)).below("  "));
        }
        if item.truncated {
            block.end.push(Line::new(Role::Dim, "(not all of it is here)").below("  "));
        }
        Some(block)
    }

    fn of_kind(kind: &ItemKind) -> Option<Self> {
        let note = |text: &str| Some(Self::new(Kind::Note, lines(Role::Dim, "  ", text)));
        match kind {
            ItemKind::UserMessage { text, attachments, .. } => Some(Self::message(text, *attachments)),
            ItemKind::AgentMessage { text } => Some(Self::new(Kind::Answer, answer(text))),
            ItemKind::Plan { text } => Some(Self::new(Kind::Plan, behind("☰ ", markdown::lines(text)))),
            ItemKind::Reasoning { summary } => Self::reasoning(summary),
            ItemKind::Command { .. } => Some(Self::command(kind)),
            ItemKind::FileChange { changes, status } => {
                let files = changes.iter().map(FileDiff::of).collect();
                Some(Self { files, end: vec![progress(*status, &[])], ..Self::new(Kind::Files, Vec::new()) })
            }
            ItemKind::Tool { .. } => Some(Self::tool(kind)),
            ItemKind::Agent { action, name, threads, prompt, status } => {
                let name = name.clone().unwrap_or_else(|| threads.join(" "));
                let head = lines(Role::Person, "⚇ ", &format!("{action} {name}"));
                let fold = Fold::of("what it was told", prompt.as_deref().unwrap_or_default());
                Some(Self { fold, end: vec![progress(*status, &[])], ..Self::new(Kind::Tool, head) })
            }
            ItemKind::WebSearch { query, detail } => {
                let detail = detail.as_ref().filter(|detail| *detail != query);
                note(&format!("searched the web: {query}{}", detail.map(|d| format!(" ({d})")).unwrap_or_default()))
            }
            ItemKind::Image { path } => note(&format!("looked at {path}")),
            ItemKind::ImageGeneration { prompt, .. } => {
                note(&format!("an image{}", prompt.as_ref().map(|of| format!(": {of}")).unwrap_or_default()))
            }
            ItemKind::ReviewStarted { text } => note(&format!("review started: {text}")),
            ItemKind::ReviewEnded { text } => Some(Self::new(Kind::Answer, answer(text))),
            ItemKind::Compaction => note("goes on with a summary of what was before"),
            ItemKind::HookPrompt { text } => note(&format!("a hook says: {text}")),
            ItemKind::Sleep { duration_ms } => note(&format!("waited {}", duration(*duration_ms))),
            ItemKind::Other { kind } => note(kind),
            ItemKind::Unknown => None,
        }
    }

    fn new(kind: Kind, lines: Vec<Line>) -> Self {
        Self { kind, lines, ..Self::default() }
    }

    fn message(text: &str, attachments: u32) -> Self {
        let mut head = lines(Role::Person, "› ", text);
        if attachments > 0 {
            head.push(Line::new(Role::Dim, &format!("and {attachments} more that is not text")).below("  "));
        }
        Self::new(Kind::Person, head)
    }

    fn reasoning(summary: &[String]) -> Option<Self> {
        let text = summary.join("\n\n");
        let mut thought = markdown::lines(&text).into_iter();
        let first = thought.next()?;
        let rest: Vec<_> = thought.skip_while(|line| line.spans.is_empty()).map(|line| line.below("  ")).collect();
        let fold = (!rest.is_empty()).then(|| Fold::new("what it thought", rest));
        Some(Self { fold, ..Self::new(Kind::Reasoning, vec![first.below("∴ ")]) })
    }

    fn command(kind: &ItemKind) -> Self {
        let ItemKind::Command { command, output, exit_code, status, duration_ms, by_person, .. } = kind else {
            return Self::default();
        };
        let head = lines(Role::Person, if *by_person { "! " } else { "$ " }, command);
        let tests = Tests::read(output);
        let code = exit_code.map(|code| format!("exit code {code}"));
        let mut end = vec![progress(*status, &[code, duration_ms.map(duration)])];
        for name in tests.iter().flat_map(|tests| &tests.failures) {
            end.insert(0, Line::new(Role::Bad, name).below("  ✗ "));
        }
        if let Some(tests) = &tests {
            let role = if tests.failed > 0 { Role::Bad } else { Role::Good };
            end.insert(0, Line::new(role, &format!("tests: {}", tests.words())).below("  "));
        }
        Self { fold: Fold::of("output", output), end, tests, ..Self::new(Kind::Command, head) }
    }

    fn tool(kind: &ItemKind) -> Self {
        let ItemKind::Tool { server, tool, arguments, status, result, error, progress: says, duration_ms } = kind
        else {
            return Self::default();
        };
        let server = server.as_ref().map(|server| format!("{server} ")).unwrap_or_default();
        let head = lines(Role::Person, "⚙ ", &format!("{server}{tool}"));
        let parts: Vec<_> = [arguments, result].into_iter().filter(|text| !text.is_empty()).cloned().collect();
        let says = says.clone().filter(|_| *status == Progress::InProgress);
        let end = vec![progress(*status, &[duration_ms.map(duration), error.clone(), says])];
        Self { fold: Fold::of("what went in and out", &parts.join("\n")), end, ..Self::new(Kind::Tool, head) }
    }

    /// A turn's plan; `None` where there is none.
    pub fn plan(plan: &Plan) -> Option<Self> {
        let why = plan.explanation.iter().flat_map(|why| lines(Role::Dim, "  ", why));
        let steps = plan.steps.iter().flat_map(|step| {
            let (sign, role) = match step.status {
                StepStatus::Completed => ("☑ ", Role::Good),
                StepStatus::InProgress => ("▶ ", Role::Person),
                StepStatus::Pending | StepStatus::Unknown => ("☐ ", Role::Plain),
            };
            lines(role, sign, &step.text)
        });
        (!plan.steps.is_empty()).then(|| Self::new(Kind::Plan, why.chain(steps).collect()))
    }

    /// How a turn stands: trouble while it runs, or how it ended.
    pub fn turn(status: &TurnStatus, notice: Option<&str>) -> Option<Self> {
        let (kind, role, text) = match status {
            TurnStatus::InProgress => (Kind::Note, Role::Warning, notice?.to_owned()),
            TurnStatus::Completed => (Kind::Note, Role::Good, "✓ done".into()),
            TurnStatus::Interrupted => (Kind::Note, Role::Warning, "✗ interrupted".into()),
            TurnStatus::Failed(why) => (Kind::Error, Role::Bad, format!("✗ failed: {why}")),
        };
        Some(Self::new(kind, lines(role, "", &text)))
    }

    /// Something Codex remarks.
    pub fn note(note: &Note) -> Self {
        let (role, what) = match note.kind {
            NoteKind::Warning => (Role::Warning, "warning: "),
            NoteKind::Review => (Role::Warning, "Codex's reviewer: "),
            NoteKind::Rerouted => (Role::Dim, ""),
            NoteKind::Hook => (Role::Dim, "hook "),
            NoteKind::Unknown => (Role::Dim, "note: "),
        };
        Self::new(Kind::Note, lines(role, "  ", &format!("{what}{}", note.text)))
    }

    /// All lines of it, folded or not.
    pub fn all(&self, unfolded: bool) -> Vec<Line> {
        let mut all = self.lines.clone();
        match &self.fold {
            Some(fold) if unfolded || fold.lines.len() < SHORT => all.extend(fold.lines.iter().cloned()),
            Some(fold) => all.push(Line::new(Role::Dim, &fold.label).below("  ▸ ")),
            None => {}
        }
        all.extend(self.files.iter().flat_map(FileDiff::lines));
        all.extend(self.end.iter().cloned());
        all
    }
}

impl Fold {
    fn new(what: &str, lines: Vec<Line>) -> Self {
        let count = lines.len();
        let label = format!("{what} ({count} {})", if count == 1 { "line" } else { "lines" });
        Self { label: Sanitized::line(&label), lines }
    }

    fn of(what: &str, text: &str) -> Option<Self> {
        let text = text.trim_end_matches('\n');
        (!text.is_empty()).then(|| Self::new(what, lines(Role::Code, "  ", text)))
    }
}

fn answer(text: &str) -> Vec<Line> {
    behind("● ", markdown::lines(text))
}

/// The first line behind a sign, the others below it.
fn behind(sign: &str, lines: Vec<Line>) -> Vec<Line> {
    let space = " ".repeat(sign.chars().count());
    let margins = std::iter::once(sign).chain(std::iter::repeat(space.as_str()));
    lines.into_iter().zip(margins).map(|(line, margin)| line.below(margin)).collect()
}

fn images(count: u32) -> String {
    if count == 1 { "▣ an image".into() } else { format!("▣ {count} images") }
}

fn progress(progress: Progress, details: &[Option<String>]) -> Line {
    let (role, word) = match progress {
        Progress::InProgress => (Role::Dim, "… running"),
        Progress::Completed => (Role::Good, "✓ done"),
        Progress::Failed => (Role::Bad, "✗ failed"),
        Progress::Declined => (Role::Warning, "✗ declined"),
        Progress::Interrupted => (Role::Warning, "✗ interrupted"),
        Progress::Unknown => (Role::Dim, "over"),
    };
    let details: Vec<_> = details.iter().flatten().map(String::as_str).collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    Line::new(role, &format!("{word}{details}")).below("  ")
}

#[cfg(test)]
mod tests {
    use super::super::text::plain;
    use super::*;
    use crate::codex::approval::Change;

    fn shown(kind: ItemKind) -> String {
        let item = Item { id: "i".into(), open: false, truncated: false, images: 0, kind };
        plain(&Block::of(&item).expect("a block").all(false))
    }

    fn command(output: &str) -> ItemKind {
        ItemKind::Command {
            command: "cargo test\n--all\u{1b}[2J".into(),
            folder: "/srv".into(),
            output: output.into(),
            exit_code: Some(101),
            status: Progress::Failed,
            duration_ms: Some(61_400),
            by_person: false,
        }
    }

    #[test]
    fn a_long_output_is_folded_and_failures_are_not() {
        let output =
            format!("{}test a::two ... FAILED\ntest result: FAILED. 3 passed; 1 failed;\n", "line\n".repeat(9));
        insta::assert_snapshot!(shown(command(&output)), @"
        $ cargo test
          --all␛[2J
          ▸ output (11 lines)
          tests: 1 failed, 3 passed
          ✗ a::two
          ✗ failed (exit code 101, 1 min 1 s)
        ");
    }

    #[test]
    fn a_short_output_is_shown() {
        assert!(shown(command("one\x1b[2J\n")).contains("  one␛[2J\n"));
    }

    #[test]
    fn an_answer_is_read_as_markdown_and_reasoning_is_folded() {
        assert_eq!(
            shown(ItemKind::AgentMessage { text: "It **works**.\n\n- a\n- b".into() }),
            "● It works.\n  \n  • a\n  • b\n"
        );
        let summary = vec!["**Looking**".into(), "one\n\ntwo\n\nthree\n\nfour".into()];
        assert_eq!(shown(ItemKind::Reasoning { summary }), "∴ Looking\n  ▸ what it thought (7 lines)\n");
        let empty = Item {
            id: "i".into(),
            open: true,
            truncated: false,
            images: 0,
            kind: ItemKind::Reasoning { summary: Vec::new() },
        };
        assert_eq!(Block::of(&empty), None);
    }

    #[test]
    fn changed_files_are_shown_with_their_lines() {
        let diff = "@@ -1 +1 @@\n-a\n+b\n".into();
        let changes = vec![Change { path: "/a".into(), kind: "update".into(), moved_to: None, diff }];
        assert_eq!(
            shown(ItemKind::FileChange { changes, status: Progress::Declined }),
            "update /a (+1 −1)\n@@ -1 +1 @@\n-a\n+b\n  ✗ declined\n"
        );
    }
}
