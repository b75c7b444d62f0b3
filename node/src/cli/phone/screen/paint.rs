//! Lines of the view models as lines of this screen: wrapped to its width, with colours for its background.
//!
//! # Why our own wrapping
//! A wrapped line has to begin with its margin (see `terminal::wrap`), and how many lines there are decides whether an
//! approval was shown whole: so it is counted before anything is drawn.

use farhelm_phone::view::{Line, Role};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Drawn, Span as Piece};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns for text at the least.
const NARROWEST: usize = 8;

/// What colours may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Palette {
    /// None: `NO_COLOR`, or a terminal without.
    Plain,
    /// On a dark background.
    #[default]
    Dark,
    /// On a light background.
    Light,
}

impl Palette {
    /// What a role looks like. Signs and words tell everything without.
    pub(super) fn style(self, role: Role) -> Style {
        let style = Style::new().add_modifier(modifier(role));
        match (self, color(role, self == Self::Light)) {
            (Self::Plain, _) | (_, None) => style,
            (_, Some(color)) => style.fg(color),
        }
    }
}

const fn modifier(role: Role) -> Modifier {
    match role {
        Role::Person | Role::Heading | Role::Strong | Role::Warning => Modifier::BOLD,
        Role::Emphasis => Modifier::ITALIC,
        Role::Struck => Modifier::CROSSED_OUT,
        Role::Dim => Modifier::DIM,
        Role::Link => Modifier::UNDERLINED,
        Role::AddedWord | Role::RemovedWord => Modifier::REVERSED,
        _ => Modifier::empty(),
    }
}

/// The terminal's own palette, so that it fits its theme; yellow can't be read on white.
const fn color(role: Role, light: bool) -> Option<Color> {
    match role {
        Role::Good | Role::Added | Role::AddedWord => Some(Color::Green),
        Role::Bad | Role::Removed | Role::RemovedWord => Some(Color::Red),
        Role::Warning => Some(if light { Color::Magenta } else { Color::Yellow }),
        Role::Place | Role::Link => Some(if light { Color::Blue } else { Color::Cyan }),
        Role::Code => Some(if light { Color::Blue } else { Color::LightBlue }),
        _ => None,
    }
}

/// These lines in so many columns. Nothing is left out.
pub(super) fn wrap(lines: &[Line], columns: usize, palette: Palette) -> Vec<Drawn<'static>> {
    lines.iter().flat_map(|line| wrapped(line, columns, palette)).collect()
}

fn wrapped(line: &Line, columns: usize, palette: Palette) -> Vec<Drawn<'static>> {
    let mut page = Page { drawn: Vec::new(), pieces: vec![Piece::raw(line.margin.clone())], used: line.margin.width() };
    for span in &line.spans {
        let style = palette.style(span.role);
        let mut rest: &str = &span.text;
        while !rest.is_empty() {
            let margin = line.wrapped.width();
            let room = columns.max(margin + NARROWEST).saturating_sub(page.used);
            let (piece, left) = rest.split_at(fitting(rest, room, page.used > margin));
            page.used += piece.width();
            page.pieces.push(Piece::styled(piece.to_owned(), style));
            if !left.is_empty() {
                page.turn(&line.wrapped);
            }
            rest = left;
        }
    }
    page.turn("");
    page.drawn
}

struct Page {
    drawn: Vec<Drawn<'static>>,
    pieces: Vec<Piece<'static>>,
    used: usize,
}

impl Page {
    fn turn(&mut self, margin: &str) {
        let next = vec![Piece::raw(margin.to_owned())];
        self.drawn.push(Drawn::from(std::mem::replace(&mut self.pieces, next)));
        self.used = margin.width();
    }
}

/// Bytes of `text` for so much room: all, or up to the last space, or as many as fit. None only where the line has
/// something already.
fn fitting(text: &str, room: usize, begun: bool) -> usize {
    let mut used = 0;
    let mut space = None;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > room {
            let hard = if at == 0 && !begun { c.len_utf8() } else { at };
            return space.unwrap_or(hard);
        }
        if c == ' ' {
            space = Some(at + 1);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(line: &Drawn<'_>) -> String {
        line.spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn words_stay_whole_and_the_rest_stands_below_its_margin() {
        let line = Line::new(Role::Plain, "one two three four").below("● ");
        let drawn: Vec<_> = wrap(&[line], 10, Palette::Plain).iter().map(plain).collect();
        assert_eq!(drawn, ["● one two ", "  three ", "  four"]);
    }

    #[test]
    fn without_colours_nothing_is_coloured() {
        for role in [Role::Bad, Role::Added, Role::Warning, Role::Code] {
            assert_eq!(Palette::Plain.style(role).fg, None);
            assert!(Palette::Dark.style(role).fg.is_some() && Palette::Light.style(role).fg.is_some());
        }
        assert_ne!(Palette::Dark.style(Role::Warning).fg, Palette::Light.style(Role::Warning).fg);
    }

    proptest! {
        #[test]
        fn every_line_fits_and_nothing_is_lost(text in "[a-z 世]{0,80}", columns in 12usize..40) {
            let line = Line::new(Role::Plain, &text).below("$ ");
            let drawn = wrap(&[line], columns, Palette::Dark);
            prop_assert!(drawn.iter().all(|line| plain(line).width() <= columns));
            let whole: String = drawn.iter().map(|line| plain(line).chars().skip(2).collect::<String>()).collect();
            prop_assert_eq!(whole, text);
        }
    }
}
