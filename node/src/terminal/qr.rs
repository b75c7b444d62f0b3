//! A ticket as a QR: drawn in a terminal with half blocks, or made into a PNG.
//!
//! A code that doesn't fit is never drawn clipped; the caller gets [`Error::TooTall`] and shows the ticket as text
//! beside the path of a PNG. Reading codes is `terminal::picture`'s business.
//!
//! # Why explicit black and white
//! A scanner wants dark modules on a light ground. Half blocks in the terminal's own colours come out inverted on
//! dark terminals, and not every scanner reads those. So both shades are set from the 256-colour cube (16 and 231),
//! which, unlike the first 16 colours, themes leave alone. Where colours are off, the blocks are swapped for a dark
//! terminal, which is what most are.

use std::io::Cursor;

use qrcode::{Color, EcLevel, QrCode};

use super::screen::{Screen, Shades};

/// Light modules around a code in a terminal. Four are the standard's; two scan as well and save four lines.
const QUIET_ZONE_TERMINAL: usize = 2;

/// Light modules around a code in a picture: the standard's (ISO/IEC 18004 §5.3.8).
const QUIET_ZONE_PNG: usize = 4;

/// Pixels a module in a picture: sharp on a phone's screen and in print, and a version 20 code stays under 900 wide.
const PNG_SCALE: usize = 8;

/// Black on white, in colours that themes don't touch.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// Why a code wasn't drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The terminal is too small for it.
    #[error("the QR needs a terminal of {columns}×{rows} characters")]
    TooTall {
        /// Characters it needs in a line.
        columns: usize,
        /// Lines it needs, with one for the cursor.
        rows: usize,
    },
    /// The text is longer than any QR holds.
    #[error("the text is too long for a QR")]
    TooLong,
}

/// A ticket's QR, ready to be drawn. It shows a secret: not for logs.
pub struct Code(QrCode);

impl Code {
    /// The code of `text`, with error correction L: a screen isn't torn or dirty, and every row counts.
    pub fn new(text: &str) -> Result<Self, Error> {
        QrCode::with_error_correction_level(text, EcLevel::L).map(Self).map_err(|_| Error::TooLong)
    }

    /// Characters and lines it takes, one line for the cursor included.
    fn needs(&self) -> (usize, usize) {
        let side = self.0.width() + 2 * QUIET_ZONE_TERMINAL;
        (side, side.div_ceil(2) + 1)
    }

    /// The code as lines of half blocks, each ended by a newline.
    pub fn draw(&self, screen: &Screen) -> Result<String, Error> {
        let (columns, rows) = self.needs();
        if columns > screen.size.columns || rows > screen.size.rows {
            return Err(Error::TooTall { columns, rows });
        }
        Ok((0..columns).step_by(2).map(|y| self.text_line(y, columns, screen.shades)).collect())
    }

    fn text_line(&self, y: usize, columns: usize, shades: Shades) -> String {
        // Half blocks paint in the letter colour. That colour is dark, except without colours on a dark terminal.
        let letter_is_dark = shades != Shades::PlainOnDark;
        let blocks: String = (0..columns)
            .map(|x| {
                // Below an odd last row there is nothing: left as the terminal's own ground.
                let lower_is_inside = y + 1 < columns;
                let upper = self.is_dark(x, y, QUIET_ZONE_TERMINAL) == letter_is_dark;
                let lower = (lower_is_inside || shades == Shades::Colour)
                    && self.is_dark(x, y + 1, QUIET_ZONE_TERMINAL) == letter_is_dark;
                half_block(upper, lower)
            })
            .collect();
        match shades {
            Shades::Colour => format!("{BLACK_ON_WHITE}{blocks}{RESET}\n"),
            Shades::PlainOnDark | Shades::PlainOnLight => format!("{blocks}\n"),
        }
    }

    /// A module by its place in the code with its quiet zone.
    fn is_dark(&self, x: usize, y: usize, quiet_zone: usize) -> bool {
        let inside = quiet_zone..quiet_zone + self.0.width();
        inside.contains(&x) && inside.contains(&y) && self.0[(x - quiet_zone, y - quiet_zone)] == Color::Dark
    }

    /// The code as a PNG in greys. It shows a secret: for files that only their owner can read.
    pub fn png(&self) -> Vec<u8> {
        let side = (self.0.width() + 2 * QUIET_ZONE_PNG) * PNG_SCALE;
        // At most (177 + 8) × 8 = 1480, so it fits in any integer type.
        let pixels = image::GrayImage::from_fn(side as u32, side as u32, |x, y| {
            let module = |pixel: u32| pixel as usize / PNG_SCALE;
            image::Luma([if self.is_dark(module(x), module(y), QUIET_ZONE_PNG) { 0 } else { 255 }])
        });
        let mut png = Cursor::new(Vec::new());
        pixels.write_to(&mut png, image::ImageFormat::Png).expect("writing to memory doesn't fail");
        png.into_inner()
    }
}

const fn half_block(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::picture;
    use crate::terminal::screen::Size;

    /// The longest ticket that must fit a terminal: 116 bytes are 186 characters of base32.
    fn longest_ticket() -> String {
        format!("FARHELM:{}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".repeat(6)[..186].to_owned())
    }

    fn screen(columns: usize, rows: usize, shades: Shades) -> Screen {
        Screen { size: Size { columns, rows }, shades, attended: true }
    }

    /// What a camera sees: each character as two pixels above each other, on a terminal of the given ground.
    fn photograph(drawn: &str, ground_is_dark: bool) -> image::GrayImage {
        const SCALE: u32 = 4;
        const BORDER: u32 = 5;
        let lines: Vec<Vec<char>> =
            drawn.lines().map(|l| l.replace(BLACK_ON_WHITE, "").replace(RESET, "").chars().collect()).collect();
        let coloured = drawn.contains(BLACK_ON_WHITE);
        let (letter, ground) = if coloured {
            (0, 255)
        } else if ground_is_dark {
            (230, 20)
        } else {
            (20, 230)
        };
        let outside = if ground_is_dark { 20 } else { 230 };
        let (width, height) = (lines[0].len() as u32 + 2 * BORDER, 2 * (lines.len() as u32 + BORDER));
        image::GrayImage::from_fn(width * SCALE, height * SCALE, |x, y| {
            let (x, y) = ((x / SCALE).wrapping_sub(BORDER) as usize, (y / SCALE).wrapping_sub(BORDER) as usize);
            let Some(c) = lines.get(y / 2).and_then(|l| l.get(x)) else { return image::Luma([outside]) };
            let set = matches!((c, y % 2), ('█', _) | ('▀', 0) | ('▄', 1));
            image::Luma([if set { letter } else { ground }])
        })
    }

    fn decodes(drawn: &str, ground_is_dark: bool) -> String {
        picture::text_of(photograph(drawn, ground_is_dark)).unwrap()
    }

    #[test]
    fn the_longest_ticket_for_a_terminal_fits_24_lines() {
        let drawn = Code::new(&longest_ticket()).unwrap().draw(&screen(80, 24, Shades::Colour)).unwrap();
        assert_eq!(drawn.lines().count(), 23);
    }

    #[test]
    fn a_coloured_code_decodes_on_dark_and_light_terminals() {
        let drawn = Code::new(&longest_ticket()).unwrap().draw(&screen(80, 24, Shades::Colour)).unwrap();
        assert_eq!(decodes(&drawn, true), longest_ticket());
        assert_eq!(decodes(&drawn, false), longest_ticket());
    }

    #[test]
    fn a_code_without_colours_decodes_on_the_ground_it_was_drawn_for() {
        let code = Code::new(&longest_ticket()).unwrap();
        let dark = code.draw(&screen(80, 24, Shades::PlainOnDark)).unwrap();
        let light = code.draw(&screen(80, 24, Shades::PlainOnLight)).unwrap();
        assert!(!dark.contains('\x1b') && !light.contains('\x1b'));
        assert_eq!(decodes(&dark, true), longest_ticket());
        assert_eq!(decodes(&light, false), longest_ticket());
    }

    #[test]
    fn a_code_that_does_not_fit_is_not_drawn_at_all() {
        let code = Code::new(&longest_ticket()).unwrap();
        for (columns, rows) in [(20, 5), (80, 23), (44, 24)] {
            let refused = code.draw(&screen(columns, rows, Shades::Colour));
            assert!(matches!(refused, Err(Error::TooTall { columns: 45, rows: 24 })), "{columns}×{rows}");
        }
    }

    #[test]
    fn a_text_no_code_holds_is_refused() {
        assert!(matches!(Code::new(&"A".repeat(5000)), Err(Error::TooLong)));
    }

    #[test]
    fn the_png_decodes() {
        let png = Code::new(&longest_ticket()).unwrap().png();
        assert_eq!(picture::text_of(image::load_from_memory(&png).unwrap().into_luma8()).unwrap(), longest_ticket());
    }
}
