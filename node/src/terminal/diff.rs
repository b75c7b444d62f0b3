//! A file change as lines for a terminal: signs and colours, nothing cut, nothing a terminal would act on.
//!
//! Colours are written always; print through `anstream`, which takes them out where they aren't wanted. Without them
//! the signs still tell everything. Syntax highlighting is not here.
//!
//! Column 0 is always ours (see `wrap`): a sign, or `↪` for the rest of the line above.

use anstyle::{AnsiColor, Style};
use farhelm_core::codex::approval::Change;

use super::wrap::{self, Margin};

const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();
const PLACE: Style = AnsiColor::Cyan.on_default();
const HEADER: Style = Style::new().bold();

/// All of a proposal's changes, one after the other, in `columns`.
pub fn changes(changes: &[Change], columns: usize) -> String {
    changes.iter().map(|c| change(c, columns)).collect::<Vec<_>>().join("\n")
}

/// One file's change: a header with the path and the number of lines, then the lines.
pub fn change(change: &Change, columns: usize) -> String {
    let lines: Vec<(Sign, &str)> = match change.kind.as_str() {
        "add" => lines_of(&change.diff).map(|l| (Sign::Added, l)).collect(),
        "delete" => lines_of(&change.diff).map(|l| (Sign::Removed, l)).collect(),
        _ => lines_of(&change.diff).map(Sign::of).collect(),
    };
    let mut out = String::new();
    push(&mut out, HEADER, "", &header(change, &lines), columns);
    for (sign, text) in lines {
        push(&mut out, sign.style(), sign.text(), text, columns);
    }
    out
}

/// A whole `git diff`: several files, each with headers and hunks.
pub fn unified(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut in_hunk = false;
    for line in lines_of(text) {
        in_hunk = line.starts_with("@@") || (in_hunk && !line.starts_with("diff "));
        match Sign::of(line) {
            // Before a file's first hunk `+++` and `---` are its names, not lines of it.
            _ if !in_hunk => push(&mut out, HEADER, "", line, columns),
            (sign, text) => push(&mut out, sign.style(), sign.text(), text, columns),
        }
    }
    out
}

/// Unlike `str::lines`, this keeps a carriage return, which is then shown.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.split_terminator('\n')
}

fn header(change: &Change, lines: &[(Sign, &str)]) -> String {
    let count = |wanted| lines.iter().filter(|(sign, _)| *sign == wanted).count();
    let moved = change.moved_to.as_ref().map(|to| format!(" → {to}")).unwrap_or_default();
    format!("{} {}{moved} (+{} −{})", change.kind, change.path, count(Sign::Added), count(Sign::Removed))
}

/// What stands in column 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Added,
    Removed,
    Place,
    Context,
}

impl Sign {
    /// Splits a line of a unified diff.
    fn of(line: &str) -> (Self, &str) {
        match line.as_bytes().first() {
            Some(b'+') => (Self::Added, &line[1..]),
            Some(b'-') => (Self::Removed, &line[1..]),
            Some(b' ') => (Self::Context, &line[1..]),
            // Hunk headers, and `\ No newline at end of file`.
            _ => (Self::Place, line),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Context | Self::Place => " ",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Added => ADDED,
            Self::Removed => REMOVED,
            Self::Place => PLACE,
            Self::Context => Style::new(),
        }
    }
}

fn push(out: &mut String, style: Style, sign: &str, text: &str, columns: usize) {
    // A header's path may hold newlines; they are shown, not obeyed.
    let line = text.replace('\n', "␊");
    wrap::push(out, Margin { first: sign, line: sign, wrapped: "↪" }, style, &line, columns);
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    fn update(diff: &str) -> Change {
        Change { path: "/home/ann/shop/src/main.rs".into(), kind: "update".into(), moved_to: None, diff: diff.into() }
    }

    /// What is left where colours aren't wanted.
    fn plain(drawn: &str) -> String {
        anstream::adapter::strip_str(drawn).to_string()
    }

    #[test]
    fn an_update_shows_signs_places_and_counts() {
        let drawn = change(&update("@@ -1,2 +1,3 @@\n fn main() {\n-    old();\n+\tnew();\n+    more();\n"), 80);
        insta::assert_snapshot!(plain(&drawn), @"
        update /home/ann/shop/src/main.rs (+2 −1)
         @@ -1,2 +1,3 @@
         fn main() {
        -    old();
        +    new();
        +    more();
        ");
        assert!(drawn.contains("\x1b[32m+    new();\x1b[0m") && drawn.contains("\x1b[31m-"));
    }

    #[test]
    fn a_new_file_is_all_plus_and_a_deleted_one_all_minus() {
        let mut file = Change { kind: "add".into(), ..update("one\n+two\n") };
        assert!(plain(&change(&file, 80)).ends_with("(+2 −0)\n+one\n++two\n"));
        file.kind = "delete".into();
        assert!(plain(&change(&file, 80)).ends_with("(+0 −2)\n-one\n-+two\n"));
    }

    #[test]
    fn a_whole_git_diff_tells_names_from_lines() {
        let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\ndiff --git a/y b/y\n+++ b/y\n";
        let drawn = unified(text, 80);
        assert!(drawn.contains("\x1b[1m--- a/x\x1b[0m") && drawn.contains("\x1b[31m-old\x1b[0m"));
        assert!(drawn.contains("\x1b[1m+++ b/y\x1b[0m"), "{drawn}");
        assert_eq!(plain(&drawn), text.replace("@@ -1", " @@ -1"));
    }

    #[test]
    fn a_moved_file_shows_both_paths() {
        let file = Change { moved_to: Some("/tmp/new.rs".into()), ..update("") };
        assert_eq!(plain(&change(&file, 80)), "update /home/ann/shop/src/main.rs → /tmp/new.rs (+0 −0)\n");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_column_0_is_ours() {
        let long = format!("+{}{}\n", "x".repeat(30), "世界".repeat(20));
        let drawn = plain(&change(&update(&long), 20));
        for line in drawn.lines() {
            assert!(line.width() <= 20, "{line}");
            assert!(line.starts_with(['u', '+', '↪']), "{line}");
        }
        assert_eq!(drawn.matches('x').count(), 30);
        assert_eq!(drawn.matches("世界").count() + drawn.matches("世\n↪界").count(), 20);
    }

    #[test]
    fn a_diff_cannot_drive_the_terminal() {
        let drawn = change(&update("+\x1b[2Jrm -rf ~\u{202e}\r\n"), 80);
        assert!(plain(&drawn).ends_with("\n+␛[2Jrm -rf ~⟨U+202E⟩␍\n"));
    }

    #[test]
    fn a_tiny_terminal_still_gets_every_character() {
        let drawn = plain(&change(&update("+abcdefghijklmnopqrstuvwxyz\n"), 1));
        assert_eq!(drawn.lines().filter(|l| l.starts_with(['+', '↪'])).count(), 6, "{drawn}");
    }
}
