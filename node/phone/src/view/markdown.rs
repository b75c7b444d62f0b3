//! An answer as lines: headings, lists, quotes, code, links with where they go.
//!
//! Safe is made after parsing, as Markdown can spell a character (`&#x202e;`) that isn't there before.
//!
//! # What it isn't
//! Faithful to every byte: a reference's definition has no place on a screen. What a person approves never passes here.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::text::{Line, Role, Span};

/// Deeper lists and quotes stand where this depth does.
const DEPTH: usize = 8;

/// A text in Markdown as lines.
pub fn lines(text: &str) -> Vec<Line> {
    let mut page = Page::default();
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    Parser::new_ext(text, options).for_each(|event| page.take(event));
    page.end_line();
    while page.lines.last().is_some_and(is_empty) {
        page.lines.pop();
    }
    page.lines
}

fn is_empty(line: &Line) -> bool {
    line.spans.is_empty()
}

#[derive(Default)]
struct Page {
    lines: Vec<Line>,
    line: Vec<Span>,
    roles: Vec<Role>,
    /// Where we are: each a list with its next number, or a quote.
    nested: Vec<Nest>,
    /// Before the next line, once: a list's sign.
    sign: Option<String>,
    links: Vec<String>,
    in_code: bool,
}

enum Nest {
    List(Option<u64>),
    Quote,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => self.code(&text),
            Event::Text(text) => self.push(self.role(), &text),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.push(Role::Code, &text),
            Event::Html(text) | Event::InlineHtml(text) => self.code(&text),
            Event::FootnoteReference(name) => self.push(Role::Link, &format!("[{name}]")),
            Event::SoftBreak => self.push(self.role(), " "),
            Event::HardBreak => self.end_line(),
            Event::Rule => {
                self.push(Role::Dim, "────");
                self.end_paragraph();
            }
            Event::TaskListMarker(done) => self.push(Role::Plain, if done { "☑ " } else { "☐ " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.roles.push(Role::Heading);
                self.push(Role::Heading, if level == HeadingLevel::H1 { "" } else { "· " });
            }
            Tag::Emphasis => self.roles.push(Role::Emphasis),
            Tag::Strong => self.roles.push(Role::Strong),
            Tag::Strikethrough => self.roles.push(Role::Struck),
            Tag::BlockQuote(_) => self.nest(Nest::Quote),
            Tag::List(first) => self.nest(Nest::List(first)),
            Tag::Item => self.item(),
            Tag::CodeBlock(kind) => self.start_code(&kind),
            Tag::Link { dest_url, .. } => self.links.push(dest_url.into_string()),
            Tag::Image { dest_url, .. } => {
                self.push(Role::Dim, "image: ");
                self.links.push(dest_url.into_string());
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => drop(self.roles.pop()),
            TagEnd::Heading(_) => {
                self.roles.pop();
                self.end_paragraph();
            }
            TagEnd::BlockQuote(_) | TagEnd::List(_) => {
                self.end_line();
                self.nested.pop();
                if self.nested.is_empty() {
                    self.end_paragraph();
                }
            }
            TagEnd::Item | TagEnd::TableHead | TagEnd::TableRow => self.end_line(),
            TagEnd::TableCell => self.push(Role::Dim, " │ "),
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.end_paragraph();
            }
            TagEnd::Paragraph if self.nested.is_empty() => self.end_paragraph(),
            TagEnd::Paragraph => self.end_line(),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            _ => {}
        }
    }

    fn nest(&mut self, nest: Nest) {
        self.end_line();
        self.nested.push(nest);
    }

    fn item(&mut self) {
        self.end_line();
        self.sign = match self.nested.last_mut() {
            Some(Nest::List(Some(number))) => {
                let sign = format!("{number}. ");
                *number = number.saturating_add(1);
                Some(sign)
            }
            _ => Some("• ".into()),
        };
    }

    fn start_code(&mut self, kind: &CodeBlockKind<'_>) {
        self.end_line();
        self.in_code = true;
        if let CodeBlockKind::Fenced(language) = kind
            && !language.is_empty()
        {
            self.push(Role::Dim, language);
            self.end_line();
        }
    }

    /// Lines as they stand; the last may go on.
    fn code(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            self.push(Role::Code, piece.trim_end_matches('\n'));
            if piece.ends_with('\n') {
                self.end_line();
            }
        }
    }

    /// Where a link goes is said, unless its text says it.
    fn end_link(&mut self) {
        let Some(to) = self.links.pop().filter(|to| !to.is_empty()) else { return };
        let said = self.line.last().is_some_and(|span| *span.text == *to);
        if !said {
            self.push(Role::Link, &format!(" ({to})"));
        }
    }

    fn role(&self) -> Role {
        let linked = if self.links.is_empty() { Role::Plain } else { Role::Link };
        self.roles.last().copied().unwrap_or(linked)
    }

    fn push(&mut self, role: Role, text: &str) {
        if !text.is_empty() || self.in_code {
            self.line.push(Span::new(role, text));
        }
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let spans = std::mem::take(&mut self.line);
        let line = Line { spans, ..Line::default() };
        let line = if self.in_code { line.below("  ") } else { line };
        let line = self.placed(line);
        self.lines.push(line);
    }

    /// Behind the margin of the quotes and lists around it.
    fn placed(&mut self, mut line: Line) -> Line {
        let mut sign = self.sign.take();
        for nest in self.nested.iter().rev().take(DEPTH) {
            line = match nest {
                Nest::List(_) => line.below(&sign.take().unwrap_or_else(|| "  ".into())),
                Nest::Quote => {
                    let mut line = line.below("│ ");
                    line.wrapped.replace_range(..1, "│");
                    line
                }
            };
        }
        line
    }

    fn end_paragraph(&mut self) {
        self.end_line();
        if !self.lines.last().is_none_or(is_empty) {
            self.lines.push(Line::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{sanitize, text};
    use super::*;
    use proptest::prelude::*;

    fn shown(markdown: &str) -> String {
        text::plain(&lines(markdown))
    }

    #[test]
    fn an_answer_reads_as_it_is_meant() {
        let answer = "# Done\nThe **test** passes now,\nsee `cart.rs`.\n\n1. read\n2. fixed\n   - twice\n\n> quoted\n\n```rust\nfn main() {\n\n\tlet x = 1;\n}\n```\nSee [the docs](https://example.org/a) and <https://example.org>.\n";
        insta::assert_snapshot!(shown(answer), @"
        Done
        
        The test passes now, see cart.rs.
        
        1. read
        2. fixed
          • twice
        
        │ quoted
        
          rust
          fn main() {
          
              let x = 1;
          }
        
        See the docs (https://example.org/a) and https://example.org.
        ");
    }

    #[test]
    fn a_character_spelt_as_an_entity_is_shown_too() {
        assert_eq!(shown("a&#x202e;b &#27;[2J"), "a⟨U+202E⟩b ␛[2J\n");
    }

    #[test]
    fn html_is_text() {
        assert_eq!(shown("<!-- hidden --> <b>x</b>"), "<!-- hidden --> <b>x</b>\n");
        assert_eq!(shown("a <i hidden>x</i>"), "a <i hidden>x</i>\n");
    }

    proptest! {
        #[test]
        fn nothing_hidden_gets_through_and_nothing_panics(text in "[ -~\n\u{1b}\u{202e}\u{200b}`*_#>\\[\\]|&;]{0,200}") {
            for line in lines(&text) {
                prop_assert!(!line.plain().chars().any(sanitize::is_hidden), "{:?}", line);
            }
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            prop_assert!(lines(&text).iter().all(|line| !line.plain().contains('\n')));
        }
    }
}
