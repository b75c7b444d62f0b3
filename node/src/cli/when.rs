//! Times as people write them on the command line and read them: `8h`, `tonight`, `2030-01-31T18:00:00Z`.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::units;

/// Why a text is no time to come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Not a time.
    #[error("not a time; write one like 8h, 2d, tonight, or 2030-01-31T18:00:00Z")]
    Unreadable,
    /// Over already, or so late that no calendar has it.
    #[error("that time is over, or too far away")]
    Past,
}

/// A time after now, in Unix milliseconds.
pub(super) fn parse(text: &str) -> Result<u64, Error> {
    parse_at(text, &Zoned::now())
}

/// `tonight` ends with the day, at midnight where this machine is.
fn parse_at(text: &str, now: &Zoned) -> Result<u64, Error> {
    let time = match text.trim() {
        "tonight" => now.tomorrow().and_then(|day| day.start_of_day()).map_err(|_| Error::Past)?.timestamp(),
        text => match text.parse::<units::Span>() {
            Ok(span) => after(now.timestamp(), span).ok_or(Error::Past)?,
            Err(_) => text.parse::<Timestamp>().map_err(|_| Error::Unreadable)?,
        },
    };
    let is_to_come = time > now.timestamp();
    is_to_come.then(|| u64::try_from(time.as_millisecond()).ok()).flatten().ok_or(Error::Past)
}

fn after(now: Timestamp, units::Span(span): units::Span) -> Option<Timestamp> {
    let span = Span::new().try_seconds(i64::try_from(span.as_secs()).ok()?).ok()?;
    now.checked_add(span).ok()
}

/// A time for people, by the clock on the wall: `2030-01-31 19:00 CET`.
pub(super) fn shown(ms: u64) -> String {
    shown_in(ms, TimeZone::system())
}

fn shown_in(ms: u64, zone: TimeZone) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // Nobody could have named such a time here.
    time.map_or_else(|| "the end of time".into(), |time| time.to_zoned(zone).strftime("%Y-%m-%d %H:%M %Z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    /// What is read at seven in the evening.
    fn read(text: &str) -> Result<String, Error> {
        let now: Timestamp = "2030-01-31T18:00:00Z".parse().unwrap();
        parse_at(text, &now.to_zoned(zone())).map(|ms| shown_in(ms, zone()))
    }

    #[test]
    fn times_as_people_write_them() {
        for (text, time) in [
            ("8h", "2030-02-01 03:00 CET"),
            ("2d", "2030-02-02 19:00 CET"),
            ("tonight", "2030-02-01 00:00 CET"),
            ("2030-07-01T12:00:00Z", "2030-07-01 14:00 CEST"),
            ("2030-02-01T09:30:00+01:00", "2030-02-01 09:30 CET"),
        ] {
            assert_eq!(read(text), Ok(time.into()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "tomorrow", "8", "0h", "2030-02-01", "2030-02-01T09:30:00", "1h ago"] {
            assert_eq!(read(text), Err(Error::Unreadable), "{text}");
        }
    }

    #[test]
    fn a_time_that_is_over_or_never_comes_is_refused() {
        for text in ["2030-01-31T18:00:00Z", "2001-01-01T00:00:00Z", "1960-01-01T00:00:00Z", "9999999d"] {
            assert_eq!(read(text), Err(Error::Past), "{text}");
        }
    }

    #[test]
    fn a_day_is_as_long_as_its_clock_says() {
        let eve: Timestamp = "2030-03-30T23:30:00Z".parse().unwrap();
        let midnight = parse_at("tonight", &eve.to_zoned(zone())).unwrap();
        assert_eq!(shown_in(midnight, zone()), "2030-04-01 00:00 CEST");
        assert_eq!(midnight - u64::try_from(eve.as_millisecond()).unwrap(), (22 * 60 + 30) * 60_000);
    }
}
