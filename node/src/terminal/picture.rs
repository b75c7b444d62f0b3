//! Reads a ticket's text from a picture of its QR: a screenshot, a photograph, or the PNG the host wrote.
//!
//! A picture is outside input: its size in bytes and its dimensions are looked at before anything is decoded. What
//! the text means is `farhelm_core::pairing::ticket`'s business; here it only has to begin like a ticket.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use farhelm_core::pairing::ticket;
use image::imageops::FilterType;
use image::{GrayImage, ImageReader};
use zeroize::Zeroizing;

/// A picture's bytes at the most: a phone's photograph takes under 12 MB.
const BYTES: u64 = 32 * 1024 * 1024;

/// A picture's pixels at the most, as phones of today make them; 64 MB in greys.
const PIXELS: u64 = 64 * 1000 * 1000;

/// A large picture is looked at again at this size: a camera's noise goes, a code's modules stay.
const REDUCED: u32 = 1200;

/// A small picture is looked at again enlarged this much: the finder needs some pixels a module.
const ENLARGED: u32 = 4;

/// Why no ticket was read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file couldn't be read.
    #[error("can't read the picture {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More bytes than a picture of a ticket needs.
    #[error("the picture is larger than {} MB", BYTES / 1024 / 1024)]
    TooLarge,
    /// More pixels than a picture of a ticket needs.
    #[error("the picture has {width}×{height} pixels, more than the {} million that are read", PIXELS / 1_000_000)]
    TooManyPixels {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// Neither PNG nor JPEG, or damaged.
    #[error("the file isn't a PNG or JPEG that can be read")]
    NotAPicture,
    /// No code in it, or not all three corners of one.
    #[error("no whole QR in the picture; is it clipped?")]
    NoCode,
    /// A code is there, but its modules can't be read.
    #[error("there is a QR in the picture, but it can't be read; is it blurred or covered?")]
    Unreadable,
    /// The code says something else.
    #[error("the QR in the picture isn't a Farhelm ticket")]
    NotATicket,
    /// Two tickets, so which one is meant can't be known.
    #[error("there are several Farhelm tickets in the picture")]
    Several,
}

/// The ticket's text in the picture at `path`.
pub fn read(path: &Path) -> Result<Zeroizing<String>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path).map_err(failed)?.take(BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BYTES {
        return Err(Error::TooLarge);
    }
    Ok(Zeroizing::new(text_of(decode(&bytes)?)?))
}

fn decode(bytes: &[u8]) -> Result<GrayImage, Error> {
    let reader = || ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| Error::NotAPicture);
    let (width, height) = reader()?.into_dimensions().map_err(|_| Error::NotAPicture)?;
    if u64::from(width) * u64::from(height) > PIXELS {
        return Err(Error::TooManyPixels { width, height });
    }
    Ok(reader()?.decode().map_err(|_| Error::NotAPicture)?.into_luma8())
}

/// The ticket's text in a grey picture. Tried as it is, then at another size, then with its shades swapped (a
/// terminal without colours may have drawn it light on dark).
pub(super) fn text_of(picture: GrayImage) -> Result<String, Error> {
    let mut swapped = picture.clone();
    image::imageops::invert(&mut swapped);
    let mut seen = Error::NoCode;
    for attempt in [&picture, &resized(&picture), &swapped] {
        match tickets_in(attempt) {
            Err(Error::NoCode) => {}
            Err(Error::Unreadable) => seen = Error::Unreadable,
            found_or_refused => return found_or_refused,
        }
    }
    Err(seen)
}

fn resized(picture: &GrayImage) -> GrayImage {
    let (width, height) = picture.dimensions();
    let longest = width.max(height).max(1);
    let to = if longest > REDUCED { REDUCED } else { (longest * ENLARGED).min(REDUCED) };
    let scaled = |side: u32| (u64::from(side) * u64::from(to) / u64::from(longest)).max(1) as u32;
    image::imageops::resize(picture, scaled(width), scaled(height), FilterType::Triangle)
}

fn tickets_in(picture: &GrayImage) -> Result<String, Error> {
    let mut prepared = rqrr::PreparedImage::prepare(picture.clone());
    let grids = prepared.detect_grids();
    let mut texts: Vec<String> = grids.iter().filter_map(|grid| grid.decode().ok()).map(|(_, text)| text).collect();
    if texts.is_empty() {
        return Err(if grids.is_empty() { Error::NoCode } else { Error::Unreadable });
    }
    texts.retain(|text| text.trim_start().to_ascii_uppercase().starts_with(ticket::PREFIX));
    texts.sort_unstable();
    texts.dedup();
    match texts.len() {
        0 => Err(Error::NotATicket),
        1 => Ok(texts.remove(0)),
        _ => Err(Error::Several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::qr::Code;

    const TICKET: &str = "FARHELM:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

    fn png_of(text: &str) -> GrayImage {
        decode(&Code::new(text).unwrap().png()).unwrap()
    }

    fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn a_jpeg_photograph_of_a_ticket_is_read() {
        let mut jpeg = Cursor::new(Vec::new());
        png_of(TICKET).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        let (_folder, path) = written("photo.jpg", jpeg.get_ref());
        assert_eq!(*read(&path).unwrap(), TICKET);
    }

    #[test]
    fn a_ticket_is_read_small_large_and_inverted() {
        let sharp = png_of(TICKET);
        let (width, height) = sharp.dimensions();
        for (w, h) in [(width / 4, height / 4), (width * 6, height * 6)] {
            let picture = image::imageops::resize(&sharp, w, h, FilterType::Triangle);
            assert_eq!(text_of(picture).unwrap(), TICKET, "{w}×{h}");
        }
        let mut inverted = sharp;
        image::imageops::invert(&mut inverted);
        assert_eq!(text_of(inverted).unwrap(), TICKET);
    }

    #[test]
    fn a_clipped_picture_is_named_as_such() {
        let whole = png_of(TICKET);
        let (width, height) = whole.dimensions();
        let clipped = image::imageops::crop_imm(&whole, 0, 0, width * 2 / 3, height).to_image();
        assert!(matches!(text_of(clipped), Err(Error::NoCode)));
    }

    #[test]
    fn a_covered_code_is_named_as_such() {
        let mut covered = png_of(TICKET);
        let (width, height) = covered.dimensions();
        // A raster over everything but the three corners that tell where a code is.
        for (x, y, pixel) in covered.enumerate_pixels_mut() {
            let (left, top) = (x < width * 4 / 10, y < height * 4 / 10);
            let in_a_corner = match (left, top) {
                (true, true) => true,
                (true, false) => y > height * 6 / 10,
                (false, true) => x > width * 6 / 10,
                (false, false) => false,
            };
            if !in_a_corner && (x / 8 + y / 8) % 2 == 0 {
                pixel.0 = [0];
            }
        }
        assert!(matches!(text_of(covered), Err(Error::Unreadable)));
    }

    #[test]
    fn a_code_that_is_no_ticket_is_refused() {
        assert!(matches!(text_of(png_of("https://example.org")), Err(Error::NotATicket)));
    }

    #[test]
    fn two_tickets_in_one_picture_are_refused() {
        let (left, right) = (png_of(TICKET), png_of(&TICKET.replace("XYZ", "CBA")));
        let mut both = GrayImage::from_pixel(left.width() * 2, left.height() * 2, image::Luma([255]));
        image::imageops::replace(&mut both, &left, 0, 0);
        image::imageops::replace(&mut both, &right, left.width().into(), left.height().into());
        let refused = text_of(both);
        assert!(matches!(refused, Err(Error::Several)), "{refused:?}");
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(matches!(read(Path::new("/nowhere/ticket.png")), Err(Error::Read { .. })));
    }

    #[test]
    fn a_file_that_is_no_picture_is_refused() {
        let (_folder, path) = written("ticket.png", b"FARHELM:ABC");
        assert!(matches!(read(&path), Err(Error::NotAPicture)));
        let mut png = Code::new(TICKET).unwrap().png();
        png.truncate(png.len() / 2);
        let (_folder, path) = written("half.png", &png);
        assert!(matches!(read(&path), Err(Error::NotAPicture)));
    }

    #[test]
    fn too_many_bytes_are_refused_unread() {
        let (_folder, path) = written("large.png", b"");
        File::options().write(true).open(&path).unwrap().set_len(BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(Error::TooLarge)));
    }

    #[test]
    fn too_many_pixels_are_refused_before_they_are_decoded() {
        // A PNG whose header promises 100000×100000 pixels; its checksum is right, its content absent.
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\x86\xa0\0\x01\x86\xa0\x08\0\0\0\0".to_vec();
        let checksum = png[12..].iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
        });
        png.extend((!checksum).to_be_bytes());
        png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
        let (_folder, path) = written("bomb.png", &png);
        let refused = read(&path);
        assert!(matches!(refused, Err(Error::TooManyPixels { width: 100_000, height: 100_000 })), "{refused:?}");
    }
}
