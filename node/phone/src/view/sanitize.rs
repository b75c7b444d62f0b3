//! Text that came from elsewhere, made safe to show: nothing in it can move the cursor, change colours, reorder
//! what a person reads or hide from their eyes.
//!
//! It isn't an encoding and can't be undone: every character that a terminal would act on, or that would be
//! invisible, is replaced by a visible stand-in (`␛`, `⟨U+202E⟩`). Nothing is dropped, because what a person
//! approves must look different when it is different.
//!
//! # Why a list and not a crate
//! Stripping ANSI sequences (what crates offer) hides them, and leaves the bidirectional controls of
//! CVE-2021-42574 and the tag characters used to smuggle text past people. The list below is Unicode's
//! `Default_Ignorable_Code_Point` with the controls and separators added.

use farhelm_core::wire::limits;

/// Characters of a one-line text (a name, an error of a peer) before it is cut.
pub const LINE: usize = 1024;

/// Characters of a text of several lines before it is cut: whatever may be approved is shown whole.
pub const BLOCK: usize = limits::APPROVAL_CONTENT;

/// Columns between tab stops.
const TAB: usize = 4;

/// One line: newlines and tabs are made visible as well. Cut after [`LINE`] characters, saying how many are missing.
pub fn line(text: &str) -> String {
    line_within(text, LINE)
}

/// One line of at most `limit` characters of the text.
pub fn line_within(text: &str, limit: usize) -> String {
    shown(text, limit, |_| false)
}

/// Several lines: `\n` and `\t` stay. Cut after [`BLOCK`] characters, saying how many are missing.
pub fn block(text: &str) -> String {
    shown(text, BLOCK, |c| matches!(c, '\n' | '\t'))
}

/// Text that was made safe. There is no other way to make one, so what is held in it can be shown as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Sanitized(String);

impl Sanitized {
    /// One line, as [`line()`].
    pub fn line(text: &str) -> Self {
        Self(line(text))
    }

    /// One line of at most `limit` characters of the text.
    pub fn line_within(text: &str, limit: usize) -> Self {
        Self(line_within(text, limit))
    }

    /// One line of code or of a file, not cut below [`BLOCK`] characters: tabs become spaces up to the next stop, which
    /// is the one thing that is shown as it is meant.
    pub fn code(text: &str) -> Self {
        Self(line_within(&without_tabs(text), BLOCK))
    }
}

impl std::ops::Deref for Sanitized {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Sanitized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

fn without_tabs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        let width = if c == '\t' { TAB - column % TAB } else { 1 };
        column += width;
        if c == '\t' { out.extend(std::iter::repeat_n(' ', width)) } else { out.push(c) }
    }
    out
}

/// Whether a terminal would act on this character, or show nothing for it.
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' // C0, DEL, C1
        | '\u{ad}' | '\u{34f}' // soft hyphen, combining grapheme joiner
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' // bidirectional marks and embeddings
        | '\u{2060}'..='\u{206f}' // word joiner, invisible operators, bidirectional isolates
        | '\u{200b}'..='\u{200d}' | '\u{feff}' // zero width
        | '\u{2028}' | '\u{2029}' // line and paragraph separator
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
        | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' // Khmer and Mongolian, invisible
        | '\u{fe00}'..='\u{fe0f}' // variation selectors
        | '\u{fff0}'..='\u{fffb}' // unassigned specials, interlinear annotation
        | '\u{2800}' // the Braille pattern without dots, which is no space and looks like one
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' // shorthand and musical format controls
        | '\u{e0000}'..='\u{e0fff}' // tags, more variation selectors
    )
}

fn shown(text: &str, limit: usize, allowed: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    let mut chars = text.chars();
    for c in chars.by_ref().take(limit) {
        if is_hidden(c) && !allowed(c) { push_visible(&mut out, c) } else { out.push(c) }
    }
    match chars.count() {
        0 => out,
        missing => format!("{out}… [{missing} more characters]"),
    }
}

fn push_visible(out: &mut String, c: char) {
    match u32::from(c) {
        // Unicode has a picture of every C0 control and of DEL.
        code @ 0..=0x1f => out.extend(char::from_u32(0x2400 + code)),
        0x7f => out.push('␡'),
        code => out.push_str(&format!("⟨U+{code:04X}⟩")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        assert_eq!(line("\x1b[2J\x1b]0;title\x07"), "␛[2J␛]0;title␇");
        assert_eq!(line("\u{9b}31m"), "⟨U+009B⟩31m");
    }

    #[test]
    fn reordering_and_invisible_characters_are_named() {
        assert_eq!(line("user\u{202e}gpj.sh"), "user⟨U+202E⟩gpj.sh");
        assert_eq!(line("a\u{200b}b\u{feff}c\u{e0041}"), "a⟨U+200B⟩b⟨U+FEFF⟩c⟨U+E0041⟩");
        assert_eq!(line("\u{2066}x\u{2069}\u{61c}\u{200f}"), "⟨U+2066⟩x⟨U+2069⟩⟨U+061C⟩⟨U+200F⟩");
    }

    #[test]
    fn only_a_block_keeps_newlines_and_tabs() {
        assert_eq!(block("a\n\tb\r\n"), "a\n\tb␍\n");
        assert_eq!(line("a\n\tb"), "a␊␉b");
    }

    #[test]
    fn a_cut_line_says_how_much_is_missing() {
        assert_eq!(line_within("abcdef", 4), "abcd… [2 more characters]");
        assert_eq!(line_within("abcd", 4), "abcd");
    }

    #[test]
    fn text_of_many_languages_is_left_alone() {
        for text in ["cargo test -- --nocapture", "Grüße, 世界, שלום, مرحبا", "naïve café e\u{301}", "🦀 → ✓"]
        {
            assert_eq!(line(text), text);
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_gets_through(text in any::<String>()) {
            prop_assert!(!line(&text).chars().any(is_hidden));
            prop_assert!(!block(&text).chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'));
        }

        #[test]
        fn different_texts_stay_different_where_something_was_hidden(a in "[a-c\u{202e}\u{200b}\u{1b}]{0,6}", b in "[a-c\u{202e}\u{200b}\u{1b}]{0,6}") {
            prop_assert_eq!(line(&a) == line(&b), a == b);
        }

        #[test]
        fn no_way_to_make_one_lets_anything_hidden_through(text in any::<String>()) {
            for made in [Sanitized::line(&text), Sanitized::line_within(&text, 7), Sanitized::code(&text)] {
                prop_assert!(!made.chars().any(is_hidden));
            }
        }

        #[test]
        fn plain_text_is_unchanged(text in "[ -~äöüßéñ€中文кир]{0,200}") {
            prop_assert_eq!(line(&text), text.clone());
            prop_assert_eq!(block(&text), text);
        }
    }
}
