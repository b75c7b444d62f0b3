//! Images as they travel: bytes whose beginning says what they are, and `data:` URLs of them (RFC 2397).
//!
//! Nothing is decoded here beyond base64; a picture is opened only by whoever shows it.

use std::fmt;

use data_encoding::BASE64;

/// The kinds of images that travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// `image/png`
    Png,
    /// `image/jpeg`
    Jpeg,
    /// `image/gif`
    Gif,
    /// `image/webp`
    Webp,
}

impl ImageKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Png, Self::Jpeg, Self::Gif, Self::Webp];

    /// The MIME type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// The kind of a MIME type.
    pub fn from_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.mime() == mime)
    }

    /// What these bytes begin like.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| match kind {
            Self::Png => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Jpeg => bytes.starts_with(b"\xff\xd8\xff"),
            Self::Gif => bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a"),
            Self::Webp => bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
        })
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.mime())
    }
}

/// The `data:` URL of an image.
pub fn data_url(kind: ImageKind, bytes: &[u8]) -> String {
    format!("data:{};base64,{}", kind.mime(), BASE64.encode(bytes))
}

/// The image in a `data:` URL of the one form that [`data_url`] makes: at most `max` bytes, which begin like what the
/// URL says.
pub fn from_data_url(url: &str, max: usize) -> Option<(ImageKind, Vec<u8>)> {
    let (mime, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    let kind = ImageKind::from_mime(mime)?;
    if data.len() > max.div_ceil(3) * 4 {
        return None;
    }
    let bytes = BASE64.decode(data.as_bytes()).ok()?;
    (bytes.len() <= max && ImageKind::of(&bytes) == Some(kind)).then_some((kind, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    #[test]
    fn an_image_survives_its_url() {
        for (kind, bytes) in [
            (ImageKind::Png, PNG),
            (ImageKind::Jpeg, b"\xff\xd8\xff\xe0"),
            (ImageKind::Gif, b"GIF89a"),
            (ImageKind::Webp, b"RIFF\0\0\0\0WEBP"),
        ] {
            assert_eq!(from_data_url(&data_url(kind, bytes), bytes.len()), Some((kind, bytes.to_vec())));
            assert_eq!(from_data_url(&data_url(kind, bytes), bytes.len() - 1), None, "too large");
        }
    }

    #[test]
    fn what_is_no_image_of_its_kind_is_none() {
        let base64 = BASE64.encode(PNG);
        for url in [
            format!("data:image/jpeg;base64,{base64}"),
            format!("data:image/svg+xml;base64,{}", BASE64.encode(b"<svg onload='x'/>")),
            format!("data:image/png;base64,{}", BASE64.encode(b"<html>")),
            format!("data:image/png;charset=x;base64,{base64}"),
            format!("data:image/png,{base64}"),
            format!("DATA:image/png;base64,{base64}"),
            format!("data:image/png;base64,{base64}="),
            format!("data:image/png;base64, {base64}"),
            "http://169.254.169.254/".into(),
            "file:///etc/passwd".into(),
            String::new(),
        ] {
            assert_eq!(from_data_url(&url, 1024), None, "{url}");
        }
    }
}
