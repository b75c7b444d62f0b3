//! What Codex asks a person in the middle of a turn, shown whole, and what was typed as an answer.
//!
//! The words are the model's, hence the enemy's; none of them starts at column 0 (see `wrap`).

use anstyle::{AnsiColor, Style};
use farhelm_core::codex::question::{Ask, Question};

use super::sanitize;
use super::wrap::{self, Margin};

const TITLE: Style = AnsiColor::Yellow.on_default().bold();
const ASKED: Style = Style::new().bold();

/// The question as lines for a terminal of `columns`, with colours (print through `anstream`).
pub fn show(question: &Question, columns: usize) -> String {
    let mut out = format!("{TITLE}Codex has a question{TITLE:#}\n");
    for ask in &question.asks {
        wrap::push(&mut out, below("  "), ASKED, &ask.question, columns);
        for (number, option) in (1..).zip(&ask.options) {
            let first = format!("  {number}. ");
            wrap::push(&mut out, below(&first), Style::new(), &option.label, columns);
            if !option.description.is_empty() {
                wrap::push(&mut out, below("     "), Style::new().dimmed(), &option.description, columns);
            }
        }
        wrap::push(&mut out, below("  id: "), Style::new(), &ask.id, columns);
    }
    out
}

const fn below(first: &str) -> Margin<'_> {
    Margin { first, line: "  > ", wrapped: "  ↪ " }
}

/// What to write before the place where the answer is typed.
pub fn prompt(ask: &Ask) -> String {
    let name = if ask.header.is_empty() { &ask.id } else { &ask.header };
    let takes = match ask.options.len() {
        0 => "your words".to_owned(),
        count if ask.other => format!("1-{count}, or your words"),
        count => format!("1-{count}"),
    };
    format!("{} ({takes}): ", sanitize::line_within(name, 40))
}

/// The answer that was typed: an option's label or number, or own words where they are taken.
pub fn read(ask: &Ask, typed: &str) -> Option<String> {
    let typed = typed.trim();
    let numbered = || typed.parse::<usize>().ok().and_then(|number| ask.options.get(number.checked_sub(1)?));
    let option = ask.options.iter().find(|option| option.label == typed).or_else(numbered);
    let own = (!typed.is_empty() && (ask.other || ask.options.is_empty())).then(|| typed.to_owned());
    option.map(|option| option.label.clone()).or(own)
}

#[cfg(test)]
mod tests {
    use farhelm_core::codex::approval::Key;
    use serde_bytes::ByteArray;
    use serde_json::json;

    use super::*;

    fn question() -> Question {
        let params = json!({"threadId": "t", "turnId": "u", "itemId": "i", "questions": [
            {"id": "tests", "header": "Tests", "question": "Which ones\nshall I run?\u{1b}[2J", "isOther": false, "options": [
                {"label": "All", "description": "takes a minute"}, {"label": "None", "description": ""}]},
            {"id": "why", "header": "", "question": "Why?", "options": null}]});
        Question::from_request(&params, Key { epoch: ByteArray::new([0; 16]), request: 3 }).unwrap()
    }

    #[test]
    fn everything_that_is_asked_is_shown() {
        insta::assert_snapshot!(anstream::adapter::strip_str(&show(&question(), 40)).to_string(), @"
        Codex has a question
          Which ones
          > shall I run?␛[2J
          1. All
             takes a minute
          2. None
          id: tests
          Why?
          id: why
        ");
    }

    #[test]
    fn an_option_is_chosen_by_number_or_label_and_words_are_taken_where_they_may() {
        let [tests, why] = &question().asks[..] else { panic!("two") };
        assert_eq!((prompt(tests), prompt(why)), ("Tests (1-2): ".into(), "why (your words): ".into()));
        for (typed, answer) in [("1", Some("All")), ("None\n", Some("None")), ("3", None), ("0", None), ("x", None)] {
            assert_eq!(read(tests, typed).as_deref(), answer, "{typed}");
        }
        assert_eq!(read(why, " because \n").as_deref(), Some("because"));
        assert_eq!(read(why, "\n"), None);
        let open = Ask { other: true, ..tests.clone() };
        assert_eq!(read(&open, "only the fast ones").as_deref(), Some("only the fast ones"));
        assert_eq!(prompt(&open), "Tests (1-2, or your words): ");
    }
}
