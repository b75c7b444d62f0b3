//! Lines of spans: text that is safe, and what it is.
//!
//! Wrapping is the screen's. A line brings its margin, so that the rest of a wrapped line never stands where a line of
//! the program's own would.

use super::Sanitized;

/// What a piece of text is; how that looks, each screen decides for its background.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nothing particular.
    #[default]
    Plain,
    /// What a person said, and what a command is.
    Person,
    /// Beside the point.
    Dim,
    /// A heading.
    Heading,
    /// Strong.
    Strong,
    /// Emphasised.
    Emphasis,
    /// Struck out.
    Struck,
    /// Code, or output of a program.
    Code,
    /// Where a link goes.
    Link,
    /// Went well.
    Good,
    /// Went wrong.
    Bad,
    /// To be looked at.
    Warning,
    /// A line that comes in.
    Added,
    /// The words of it that are new.
    AddedWord,
    /// A line that goes.
    Removed,
    /// The words of it that are gone.
    RemovedWord,
    /// Where in a file.
    Place,
}

/// A piece of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub text: Sanitized,
    /// What it is.
    pub role: Role,
}

/// A line, before it is wrapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// What stands left of it: ours, never from elsewhere.
    pub margin: String,
    /// What stands left of the rest, where it is wrapped.
    pub wrapped: String,
    /// Its pieces.
    pub spans: Vec<Span>,
}

impl Span {
    /// A piece of one line; newlines in it are made visible.
    pub fn new(role: Role, text: &str) -> Self {
        Self { text: Sanitized::code(text), role }
    }
}

impl Line {
    /// A line without margin.
    pub fn new(role: Role, text: &str) -> Self {
        Self { spans: vec![Span::new(role, text)], ..Self::default() }
    }

    /// The same with this on its left, and as much space left of its rest.
    #[must_use]
    pub fn below(mut self, margin: &str) -> Self {
        self.wrapped = " ".repeat(margin.chars().count()) + &self.wrapped;
        self.margin = margin.to_owned() + &self.margin;
        self
    }

    /// The text without roles, margin and all.
    pub fn plain(&self) -> String {
        self.spans.iter().fold(self.margin.clone(), |line, span| line + &span.text)
    }
}

/// A text of several lines, the first with `margin` and the others with as much space.
pub fn lines(role: Role, margin: &str, text: &str) -> Vec<Line> {
    let space = " ".repeat(margin.chars().count());
    let margins = std::iter::once(margin).chain(std::iter::repeat(space.as_str()));
    text.split('\n').zip(margins).map(|(line, margin)| Line::new(role, line).below(margin)).collect()
}

/// Lines as plain text, for tests.
#[cfg(test)]
pub(super) fn plain(lines: &[Line]) -> String {
    lines.iter().map(|line| line.plain() + "\n").collect()
}
