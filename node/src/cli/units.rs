//! Sizes and spans of time as people write them, on the command line and in configuration files: `256MiB`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// Why a text is no size or span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a size.
    #[error("not a size; write one like 256MiB, 1GiB, or a plain number of bytes")]
    Size,
    /// Not a span of time.
    #[error("not a span of time; write one like 90s, 15m, 1h or 1h30m")]
    Span,
}

/// A number of bytes. Units are binary and named so (`KiB`, `MiB`, `GiB`); `MB` would leave open which is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Text")]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (number, unit) = split_number(text.trim()).ok_or(Error::Size)?;
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(Error::Size),
        };
        number.checked_mul(factor).map(Self).ok_or(Error::Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 30 && bytes % (1 << 30) == 0 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

/// A span of time, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Text")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut rest = text.trim();
        let mut seconds: u64 = 0;
        while !rest.is_empty() {
            let (number, after) = split_number(rest).ok_or(Error::Span)?;
            let mut unit = after.chars();
            let factor = match unit.next() {
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 60 * 60,
                Some('d') => 24 * 60 * 60,
                _ => return Err(Error::Span),
            };
            let part = number.checked_mul(factor).ok_or(Error::Span)?;
            seconds = seconds.checked_add(part).ok_or(Error::Span)?;
            rest = unit.as_str();
        }
        // Nothing and nought are no span anybody means.
        if seconds == 0 { Err(Error::Span) } else { Ok(Self(Duration::from_secs(seconds))) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
        parts.iter().filter(|(n, _)| *n > 0).try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}

/// What a configuration file may hold: a number of bytes may stand without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Written(String),
    Plain(u64),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(text) => text.fmt(f),
            Self::Plain(number) => number.fmt(f),
        }
    }
}

impl TryFrom<Text> for Size {
    type Error = Error;
    fn try_from(text: Text) -> Result<Self, Error> {
        text.to_string().parse()
    }
}

impl TryFrom<Text> for Span {
    type Error = Error;
    fn try_from(text: Text) -> Result<Self, Error> {
        text.to_string().parse()
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [("0", 0), ("17", 17), ("17B", 17), ("64 KiB", 65_536), ("256MiB", 268_435_456)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "1MB", "1.5GiB", "-1", "99999999999GiB", "99999999999999999999"] {
            assert_eq!(text.parse::<Size>(), Err(Error::Size), "{text}");
        }
    }

    #[test]
    fn spans_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "90", "h", "0s", "1w", "1h 30m", "-1s", "999999999999999999d"] {
            assert_eq!(text.parse::<Span>(), Err(Error::Span), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(bytes: u64, seconds in 1..u64::MAX / 2) {
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
            let span = Span(Duration::from_secs(seconds));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
