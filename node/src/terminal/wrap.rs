//! Text from elsewhere laid out below a margin that is ours, wrapped where the terminal would.
//!
//! # Why not leave wrapping to the terminal
//! It puts the rest of a long line at column 0, where it reads like a line of the program's own: a command could so
//! fake a question, a file a diff's sign. Here every line of the screen starts with a margin, and a wrapped line's
//! differs from a new line's, because to a shell that difference matters.

use std::fmt::Write;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::sanitize;

/// Columns between tab stops.
const TAB: usize = 4;

/// Columns for text at the least: on a narrower terminal it is better to scroll than to show a letter a line.
const NARROWEST: usize = 11;

/// What stands left of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Margin<'a> {
    /// Before its first line.
    pub(super) first: &'a str,
    /// Before its further lines.
    pub(super) line: &'a str,
    /// Before the rest of a line that was too long.
    pub(super) wrapped: &'a str,
}

/// Adds `text`, made safe and in `style`, as lines of at most `columns`. Nothing is left out.
pub(super) fn push(out: &mut String, margin: Margin<'_>, style: Style, text: &str, columns: usize) {
    for (number, line) in text.split('\n').enumerate() {
        let safe = sanitize::line_within(&without_tabs(line), sanitize::BLOCK);
        let mut prefix = if number == 0 { margin.first } else { margin.line };
        let mut rest = safe.as_str();
        loop {
            let room = columns.saturating_sub(prefix.width()).max(NARROWEST);
            let (piece, left) = rest.split_at(fitting(rest, room));
            // Writing to a String doesn't fail.
            let _ = writeln!(out, "{style}{prefix}{piece}{style:#}");
            if left.is_empty() {
                break;
            }
            (rest, prefix) = (left, margin.wrapped);
        }
    }
}

/// Bytes of `text` that fit in `room` columns; at least one character.
fn fitting(text: &str, room: usize) -> usize {
    let mut used = 0;
    let end = text.char_indices().find(|(at, c)| {
        used += c.width().unwrap_or(0);
        used > room && *at > 0
    });
    end.map_or(text.len(), |(at, _)| at)
}

fn without_tabs(text: &str) -> String {
    let mut column = 0;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let width = if c == '\t' { TAB - column % TAB } else { c.width().unwrap_or(0) };
        column += width;
        if c == '\t' { out.extend(std::iter::repeat_n(' ', width)) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARGIN: Margin<'_> = Margin { first: "$ ", line: "> ", wrapped: "↪ " };

    fn wrapped(text: &str, columns: usize) -> String {
        let mut out = String::new();
        push(&mut out, MARGIN, Style::new(), text, columns);
        out
    }

    #[test]
    fn a_new_line_and_a_wrapped_one_look_different() {
        assert_eq!(wrapped("echo one two three\nrm", 15), "$ echo one two \n↪ three\n> rm\n");
    }

    #[test]
    fn tabs_keep_their_columns() {
        assert_eq!(wrapped("\ta\tb", 40), "$     a   b\n");
    }

    #[test]
    fn an_empty_text_is_one_line() {
        assert_eq!(wrapped("", 40), "$ \n");
    }

    proptest! {
        #[test]
        fn every_line_has_a_margin_fits_and_nothing_is_lost(text in "[a-z世\n\u{1b}]{0,80}", columns in 13usize..40) {
            let drawn = wrapped(&text, columns);
            let mut whole = String::new();
            for line in drawn.lines() {
                prop_assert!(line.width() <= columns);
                let margin = ["$ ", "> ", "↪ "].into_iter().find(|m| line.starts_with(m)).expect("a margin");
                whole.extend((margin == "> ").then_some('\n'));
                whole.push_str(&line[margin.len()..]);
            }
            prop_assert_eq!(whole, sanitize::block(&text));
        }
    }
}
