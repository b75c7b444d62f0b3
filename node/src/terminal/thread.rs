//! Threads as lines: a row of the list, and what happens in a turn, item by item.
//!
//! Only items that are over are shown; a screen that follows letters as they come is a later one.

use anstyle::{AnsiColor, Style};
use farhelm_core::codex::thread::{
    Item, ItemKind, Note, NoteKind, Plan, Progress, Status, StepStatus, Summary, TurnStatus,
};

use super::wrap::{self, Margin};
use super::{diff, sanitize};

const PERSON: Style = Style::new().bold();
const PLAIN: Style = Style::new();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WAITS: Style = AnsiColor::Yellow.on_default().bold();

/// Lines of a command's output that are shown: its end.
const OUTPUT_LINES: usize = 12;

/// Characters of a title in a row.
const TITLE: usize = 60;

/// Characters of an id that name a thread in practice. Codex's are UUIDs of version 7: the first twelve digits are
/// milliseconds.
const ID: usize = 13;

/// A thread as a row: the beginning of its id, what it does, its title, its folder.
pub fn row(thread: &Summary) -> String {
    let title = thread.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&thread.preview);
    let title = title.lines().next().unwrap_or_default();
    let id: String = thread.id.chars().take(ID).collect();
    let (style, status) = status(&thread.status);
    format!(
        "{DIM}{}{DIM:#}  {style}{status:<8}{style:#}  {}  {DIM}{}{DIM:#}",
        sanitize::line(&id),
        sanitize::line_within(title, TITLE),
        sanitize::line(&thread.folder),
    )
}

const fn status(status: &Status) -> (Style, &'static str) {
    match status {
        Status::NotLoaded => (DIM, "asleep"),
        Status::Idle => (PLAIN, "idle"),
        Status::Active { waiting_on_approval: true, .. } => (WAITS, "approve?"),
        Status::Active { waiting_on_input: true, .. } => (WAITS, "asks"),
        Status::Active { .. } => (GOOD, "running"),
        Status::SystemError => (BAD, "failed"),
        Status::HeldElsewhere => (DIM, "held"),
        Status::Unknown => (DIM, "unknown"),
    }
}

/// A finished item as lines of `columns`; `None` while it is open, and for kinds a person doesn't read.
pub fn item(item: &Item, columns: usize) -> Option<String> {
    if item.open {
        return None;
    }
    let mut out = String::new();
    match &item.kind {
        ItemKind::UserMessage { text, attachments, .. } => {
            push(&mut out, "› ", PERSON, text, columns);
            if *attachments > 0 {
                push(&mut out, "  ", DIM, &format!("and {attachments} more that is not text"), columns);
            }
        }
        ItemKind::AgentMessage { text } => push(&mut out, "● ", PLAIN, text, columns),
        ItemKind::Reasoning { summary } if summary.is_empty() => return None,
        ItemKind::Reasoning { summary } => push(&mut out, "  ", DIM, &summary.join("\n"), columns),
        ItemKind::Plan { text } => push(&mut out, "☰ ", PLAIN, text, columns),
        ItemKind::Command { command, output, exit_code, status, duration_ms, by_person, .. } => {
            push(&mut out, if *by_person { "! " } else { "$ " }, PERSON, command, columns);
            push_output(&mut out, output, columns);
            let code = exit_code.map(|code| format!("exit code {code}"));
            push_progress(&mut out, *status, &detail([code, duration_ms.map(duration)]), columns);
        }
        ItemKind::FileChange { changes, status } => {
            out.push_str(&diff::changes(changes, columns));
            push_progress(&mut out, *status, "", columns);
        }
        ItemKind::Tool { server, tool, arguments, status, result, error, duration_ms, .. } => {
            let server = server.as_ref().map(|server| format!("{server} ")).unwrap_or_default();
            push(&mut out, "⚙ ", PERSON, &format!("{server}{tool}"), columns);
            push_output(&mut out, arguments, columns);
            push_output(&mut out, result, columns);
            push_progress(&mut out, *status, &detail([duration_ms.map(duration), error.clone()]), columns);
        }
        ItemKind::Agent { action, name, threads, prompt, status } => {
            let name = name.clone().unwrap_or_else(|| threads.join(" "));
            push(&mut out, "⚇ ", PERSON, &format!("{action} {name}"), columns);
            push_output(&mut out, prompt.as_deref().unwrap_or_default(), columns);
            push_progress(&mut out, *status, "", columns);
        }
        ItemKind::WebSearch { query, detail } => {
            let detail = detail.as_ref().filter(|detail| *detail != query);
            let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
            push(&mut out, "  ", DIM, &format!("searched the web: {query}{detail}"), columns);
        }
        ItemKind::Image { path } => push(&mut out, "  ", DIM, &format!("looked at {path}"), columns),
        ItemKind::ImageGeneration { prompt, status } => {
            let prompt = prompt.as_ref().map(|prompt| format!(": {prompt}")).unwrap_or_default();
            push(&mut out, "  ", DIM, &format!("an image{prompt}"), columns);
            push_progress(&mut out, *status, "", columns);
        }
        ItemKind::ReviewStarted { text } => push(&mut out, "  ", DIM, &format!("review started: {text}"), columns),
        ItemKind::ReviewEnded { text } => {
            push(&mut out, "  ", DIM, "review ended", columns);
            push(&mut out, "● ", PLAIN, text, columns);
        }
        ItemKind::Compaction => push(&mut out, "  ", DIM, "goes on with a summary of what was before", columns),
        ItemKind::HookPrompt { text } => push(&mut out, "  ", DIM, &format!("a hook says: {text}"), columns),
        ItemKind::Sleep { duration_ms } => {
            push(&mut out, "  ", DIM, &format!("waited {}", duration(*duration_ms)), columns);
        }
        ItemKind::Other { kind } => push(&mut out, "  ", DIM, kind, columns),
        ItemKind::Unknown => return None,
    }
    push_images(&mut out, item, columns);
    if item.truncated {
        push(&mut out, "  ", DIM, "(not all of it is here)", columns);
    }
    Some(out)
}

/// How a turn ended, as a line; `None` while it runs.
pub fn turn_end(status: &TurnStatus) -> Option<String> {
    match status {
        TurnStatus::InProgress => None,
        TurnStatus::Completed => Some(format!("{GOOD}✓ done{GOOD:#}")),
        TurnStatus::Interrupted => Some(format!("{WAITS}✗ interrupted{WAITS:#}")),
        TurnStatus::Failed(why) => Some(format!("{BAD}✗ failed:{BAD:#} {}", sanitize::line(why))),
    }
}

/// A turn's plan: a line for each step, and why. `None` where there is none.
pub fn plan(plan: &Plan, columns: usize) -> Option<String> {
    let mut out = String::new();
    plan.explanation.iter().for_each(|why| push(&mut out, "  ", DIM, why, columns));
    for step in &plan.steps {
        let (sign, style) = match step.status {
            StepStatus::Completed => ("☑ ", GOOD),
            StepStatus::InProgress => ("▶ ", PERSON),
            StepStatus::Pending | StepStatus::Unknown => ("☐ ", PLAIN),
        };
        push(&mut out, sign, style, &step.text, columns);
    }
    Some(out).filter(|_| !plan.steps.is_empty())
}

/// Something Codex remarks, as a line or a few.
pub fn note(note: &Note, columns: usize) -> String {
    let (style, what) = match note.kind {
        NoteKind::Warning => (WAITS, "warning: "),
        NoteKind::Review => (WAITS, "Codex's reviewer: "),
        NoteKind::Rerouted => (DIM, ""),
        NoteKind::Hook => (DIM, "hook "),
        NoteKind::Unknown => (DIM, "note: "),
    };
    let mut out = String::new();
    push(&mut out, "  ", style, &format!("{what}{}", note.text), columns);
    out
}

/// That there are images, by the indices they are read by.
fn push_images(out: &mut String, item: &Item, columns: usize) {
    let images = match item.images {
        0 => return,
        1 => "image 0".to_owned(),
        many => format!("images 0 to {}", many - 1),
    };
    let id = &item.id;
    push(out, "  ", DIM, &format!("{images} of item {id}: see `farhelm phone images`"), columns);
}

/// ` (this, that)`, of what is there.
fn detail(parts: [Option<String>; 2]) -> String {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// Milliseconds as a person says them: `0.4 s`, `3 min 5 s`.
fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
    match seconds {
        60.. => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{}.{} s", seconds, (ms % 1000) / 100),
    }
}

fn push(out: &mut String, first: &str, style: Style, text: &str, columns: usize) {
    wrap::push(out, Margin { first, line: "  ", wrapped: "  " }, style, text, columns);
}

fn push_output(out: &mut String, output: &str, columns: usize) {
    let lines: Vec<&str> = output.trim_end_matches('\n').split('\n').collect();
    let hidden = lines.len().saturating_sub(OUTPUT_LINES);
    if hidden > 0 {
        push(out, "  ", DIM, &format!("… {hidden} lines above"), columns);
    }
    if !output.is_empty() {
        push(out, "  ", DIM, &lines[hidden..].join("\n"), columns);
    }
}

fn push_progress(out: &mut String, progress: Progress, detail: &str, columns: usize) {
    let (style, word) = match progress {
        Progress::InProgress => (DIM, "not finished"),
        Progress::Completed => (GOOD, "✓ done"),
        Progress::Failed => (BAD, "✗ failed"),
        Progress::Declined => (WAITS, "✗ declined"),
        Progress::Interrupted => (WAITS, "✗ interrupted"),
        Progress::Unknown => (DIM, "over"),
    };
    push(out, "  ", style, &format!("{word}{detail}"), columns);
}

#[cfg(test)]
mod tests {
    use farhelm_core::codex::thread::Step;

    use super::*;

    fn shown(kind: ItemKind) -> String {
        let finished = Item { id: "i".into(), open: false, truncated: false, images: 0, kind };
        let drawn = item(&finished, 40).expect("a finished item is shown");
        anstream::adapter::strip_str(&drawn).to_string()
    }

    fn summary(name: Option<&str>, status: Status) -> Summary {
        Summary {
            id: "0198c1aa-77b0-7000-8000-000000000000".into(),
            name: name.map(Into::into),
            preview: "fix the failing test\nplease".into(),
            folder: "/home/ann/shop".into(),
            model: None,
            status,
            updated_at: 0,
        }
    }

    #[test]
    fn a_row_shows_what_waits_for_a_person() {
        let waiting = Status::Active { waiting_on_approval: true, waiting_on_input: false };
        let rows = [summary(None, waiting), summary(Some("Tests\x1b[2J"), Status::Idle)];
        let plain = rows.map(|r| anstream::adapter::strip_str(&row(&r)).to_string()).join("\n");
        insta::assert_snapshot!(plain, @"
        0198c1aa-77b0  approve?  fix the failing test  /home/ann/shop
        0198c1aa-77b0  idle      Tests␛[2J  /home/ann/shop
        ");
    }

    #[test]
    fn messages_stay_right_of_the_margin() {
        let text = "first line, which is longer than forty columns\nerror: forged".into();
        insta::assert_snapshot!(shown(ItemKind::AgentMessage { text }), @"
        ● first line, which is longer than forty
           columns
          error: forged
        ");
    }

    #[test]
    fn a_command_shows_the_end_of_its_output_and_its_exit_code() {
        let output = (1..=14).map(|n| format!("line {n}\n")).collect();
        let kind = ItemKind::Command {
            command: "cargo test".into(),
            folder: "/".into(),
            output,
            exit_code: Some(101),
            status: Progress::Failed,
            duration_ms: Some(2345),
            by_person: false,
        };
        let drawn = shown(kind);
        assert!(drawn.starts_with("$ cargo test\n  … 2 lines above\n  line 3\n"), "{drawn}");
        assert!(drawn.ends_with("  line 14\n  ✗ failed (exit code 101, 2.3 s)\n"), "{drawn}");
    }

    #[test]
    fn what_is_still_open_is_not_shown() {
        let kind = ItemKind::AgentMessage { text: "ha".into() };
        let open = Item { id: "i".into(), open: true, truncated: false, images: 0, kind };
        assert_eq!(item(&open, 80), None);
    }

    #[test]
    fn every_kind_is_a_line_or_a_few_and_drives_no_terminal() {
        let text = || "see\x1b[2J".to_owned();
        let tool = |status, error| ItemKind::Tool {
            server: Some("browser".into()),
            tool: text(),
            arguments: r#"{"url":"x"}"#.into(),
            status,
            result: text(),
            error,
            progress: None,
            duration_ms: Some(65_000),
        };
        let agent = ItemKind::Agent {
            action: "spawnAgent".into(),
            name: None,
            threads: vec!["t2".into()],
            prompt: Some(text()),
            status: Progress::Completed,
        };
        let kinds = [
            ItemKind::Plan { text: text() },
            tool(Progress::Completed, None),
            tool(Progress::Failed, Some(text())),
            agent,
            ItemKind::WebSearch { query: text(), detail: Some("https://x".into()) },
            ItemKind::Image { path: "/shot.png".into() },
            ItemKind::ImageGeneration { prompt: Some(text()), status: Progress::Unknown },
            ItemKind::ReviewStarted { text: text() },
            ItemKind::ReviewEnded { text: text() },
            ItemKind::Compaction,
            ItemKind::HookPrompt { text: text() },
            ItemKind::Sleep { duration_ms: 1500 },
        ];
        insta::assert_snapshot!(kinds.map(shown).concat(), @r#"
        ☰ see␛[2J
        ⚙ browser see␛[2J
          {"url":"x"}
          see␛[2J
          ✓ done (1 min 5 s)
        ⚙ browser see␛[2J
          {"url":"x"}
          see␛[2J
          ✗ failed (1 min 5 s, see␛[2J)
        ⚇ spawnAgent t2
          see␛[2J
          ✓ done
          searched the web: see␛[2J (https://x)
          looked at /shot.png
          an image: see␛[2J
          over
          review started: see␛[2J
          review ended
        ● see␛[2J
          goes on with a summary of what was bef
          ore
          a hook says: see␛[2J
          waited 1.5 s
        "#);
    }

    #[test]
    fn images_are_named_by_the_index_they_are_read_by() {
        let kind = ItemKind::Image { path: "/shot.png".into() };
        let image = Item { id: "i1".into(), open: false, truncated: false, images: 2, kind };
        let drawn = item(&image, 80).expect("a finished item is shown");
        let plain = anstream::adapter::strip_str(&drawn).to_string();
        assert_eq!(plain, "  looked at /shot.png\n  images 0 to 1 of item i1: see `farhelm phone images`\n");
    }

    #[test]
    fn a_plan_and_remarks_are_lines() {
        let step = |text: &str, status| Step { text: text.into(), status };
        let steps = vec![
            step("read", StepStatus::Completed),
            step("write\x1b[2J", StepStatus::InProgress),
            step("test", StepStatus::Pending),
        ];
        let drawn = plan(&Plan { explanation: Some("in order".into()), steps }, 80).expect("there is one");
        let remark = Note { id: String::new(), turn: None, kind: NoteKind::Warning, text: "slow\x07".into() };
        let drawn = drawn + &note(&remark, 80);
        insta::assert_snapshot!(anstream::adapter::strip_str(&drawn).to_string(), @"
          in order
        ☑ read
        ▶ write␛[2J
        ☐ test
          warning: slow␇
        ");
        assert_eq!(plan(&Plan::default(), 80), None);
    }

    #[test]
    fn a_failed_turn_says_why() {
        let end = turn_end(&TurnStatus::Failed("429\x07".into())).expect("it ended");
        assert_eq!(anstream::adapter::strip_str(&end).to_string(), "✗ failed: 429␇");
        assert_eq!(turn_end(&TurnStatus::InProgress), None);
    }
}
