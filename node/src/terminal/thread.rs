//! Threads as lines: a row of the list, and what happens in a turn, item by item.
//!
//! Only items that are over are shown; a screen that follows letters as they come is a later one.

use anstyle::{AnsiColor, Style};
use farhelm_core::codex::thread::{Item, ItemKind, Progress, Status, Summary, TurnStatus};

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
        ItemKind::Command { command, output, exit_code, status, .. } => {
            push(&mut out, "$ ", PERSON, command, columns);
            push_output(&mut out, output, columns);
            let code = exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
            push_progress(&mut out, *status, &code, columns);
        }
        ItemKind::FileChange { changes, status } => {
            out.push_str(&diff::changes(changes, columns));
            push_progress(&mut out, *status, "", columns);
        }
        ItemKind::Image { path } => push(&mut out, "  ", DIM, &format!("looked at {path}"), columns),
        ItemKind::Other { kind } => push(&mut out, "  ", DIM, kind, columns),
        ItemKind::Unknown => return None,
    }
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
    };
    push(out, "  ", style, &format!("{word}{detail}"), columns);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: ItemKind) -> String {
        let finished = Item { id: "i".into(), open: false, truncated: false, kind };
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
        let (command, folder) = ("cargo test".into(), "/".into());
        let kind = ItemKind::Command { command, folder, output, exit_code: Some(101), status: Progress::Failed };
        let drawn = shown(kind);
        assert!(drawn.starts_with("$ cargo test\n  … 2 lines above\n  line 3\n"), "{drawn}");
        assert!(drawn.ends_with("  line 14\n  ✗ failed (exit code 101)\n"), "{drawn}");
    }

    #[test]
    fn what_is_still_open_is_not_shown() {
        let open =
            Item { id: "i".into(), open: true, truncated: false, kind: ItemKind::AgentMessage { text: "ha".into() } };
        assert_eq!(item(&open, 80), None);
    }

    #[test]
    fn a_failed_turn_says_why() {
        let end = turn_end(&TurnStatus::Failed("429\x07".into())).expect("it ended");
        assert_eq!(anstream::adapter::strip_str(&end).to_string(), "✗ failed: 429␇");
        assert_eq!(turn_end(&TurnStatus::InProgress), None);
    }
}
