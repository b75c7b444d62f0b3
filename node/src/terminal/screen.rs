//! What the terminal at the other end of our output can do: its size, whether it shows colours, and whether there is
//! one at all.
//!
//! Colours themselves go through `anstream`, which strips them where they aren't wanted; this module is for what has
//! to be drawn differently then (a QR), or laid out by width.

use std::io::IsTerminal;

use rustix::termios;

/// A size in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

impl Size {
    /// What is assumed where nobody says (a pipe, a file, a serial line): the size every terminal has had since 1978.
    pub const DEFAULT: Self = Self { columns: 80, rows: 24 };
}

/// How light and dark can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shades {
    /// Colours may be set, so both shades are ours to choose.
    Colour,
    /// No colours, and letters are lighter than the background, as far as can be known.
    PlainOnDark,
    /// No colours, and letters are darker than the background.
    PlainOnLight,
}

/// The terminal that standard output goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Its size, or the usual one where it isn't known.
    pub size: Size,
    /// How shades can be shown.
    pub shades: Shades,
    /// Whether a person is looking: standard output is a terminal.
    pub attended: bool,
}

impl Screen {
    /// Asks the terminal and the environment (`NO_COLOR`, `CLICOLOR_FORCE`, `TERM`, `COLORFGBG`).
    pub fn detect() -> Self {
        let stdout = std::io::stdout();
        let colour = !matches!(anstream::AutoStream::choice(&stdout), anstream::ColorChoice::Never);
        let background = std::env::var("COLORFGBG").ok();
        Self {
            size: size_of(&stdout).unwrap_or(Size::DEFAULT),
            shades: shades(colour, background.as_deref()),
            attended: stdout.is_terminal(),
        }
    }

    /// Whether colours may be used.
    pub fn colour(&self) -> bool {
        self.shades == Shades::Colour
    }
}

/// Whether the background is light, as far as the terminal says so (`COLORFGBG`).
pub fn is_light() -> bool {
    let background = std::env::var("COLORFGBG").ok();
    shades(false, background.as_deref()) == Shades::PlainOnLight
}

fn size_of(terminal: &impl std::os::fd::AsFd) -> Option<Size> {
    let size = termios::tcgetwinsize(terminal).ok()?;
    // A terminal that was never told its size reports zeros.
    (size.ws_col > 0 && size.ws_row > 0).then(|| Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
}

/// `COLORFGBG` is `foreground;background` in the palette's numbers (rxvt, Konsole): 7 and 9 to 15 are light.
fn shades(colour: bool, colorfgbg: Option<&str>) -> Shades {
    let background = colorfgbg.and_then(|v| v.rsplit(';').next()).and_then(|v| v.parse::<u8>().ok());
    match background {
        _ if colour => Shades::Colour,
        Some(7 | 9..=15) => Shades::PlainOnLight,
        _ => Shades::PlainOnDark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_light_background_is_known_from_colorfgbg() {
        assert_eq!(shades(false, Some("0;15")), Shades::PlainOnLight);
        assert_eq!(shades(false, Some("15;default;0")), Shades::PlainOnDark);
        assert_eq!(shades(false, None), Shades::PlainOnDark);
        assert_eq!(shades(false, Some("rubbish")), Shades::PlainOnDark);
    }

    #[test]
    fn with_colours_the_background_does_not_matter() {
        assert_eq!(shades(true, Some("0;15")), Shades::Colour);
    }
}
