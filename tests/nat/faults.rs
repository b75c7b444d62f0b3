//! What goes wrong on a journey, and how soon the session lives again. Each fault on a row that shows it.

use std::env;

use serde_json::Value;

use crate::kinds::Row;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The relay that carries the session is killed, and a second one is reserved.
    KilledBefore,
    /// It swallows everything.
    HoledBefore,
    /// Both relays are killed when the session is direct.
    KilledAfter,
    /// Both swallow everything when the session is direct.
    HoledAfter,
    /// The only relay is killed and comes back.
    Restarted,
    /// The relay that doesn't carry the session is killed.
    OtherGone,
    /// The phone goes from NAT B to NAT C, and its system says so.
    Moved,
    /// The same, and nobody says so.
    MovedUntold,
    /// The host's uplink is down for half a minute.
    Uplink,
    /// One frame of twenty is lost on every uplink.
    Loss,
    /// Every uplink carries 1280 bytes at the most.
    Mtu,
    /// Relays that cut a circuit after 128 KiB.
    Small,
}

impl Fault {
    const ALL: [(Self, &str, &str); 12] = [
        (Self::KilledBefore, "killed-before", "sym,sym"),
        (Self::HoledBefore, "holed-before", "sym,sym"),
        (Self::KilledAfter, "killed-after", "cone,cone"),
        (Self::HoledAfter, "holed-after", "cone,cone"),
        (Self::Restarted, "restarted", "sym,sym"),
        (Self::OtherGone, "other-gone", "sym,sym"),
        (Self::Moved, "moved", "cone,cone"),
        (Self::MovedUntold, "moved-untold", "cone,cone"),
        (Self::Uplink, "uplink", "cone,cone"),
        (Self::Loss, "loss", "cone,cone"),
        (Self::Mtu, "mtu", "cone,cone"),
        (Self::Small, "small", "sym,sym"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(fault, ..)| *fault == self).map(|(_, name, _)| *name).expect("every fault has a name")
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(fault, ..)| *fault)
    }

    /// The networks that it happens in.
    pub(crate) fn row(self) -> Row {
        let row = Self::ALL.iter().find(|(fault, ..)| *fault == self).map(|(.., row)| *row);
        Row::parse(row.expect("every fault has a row")).expect("a row")
    }

    /// Whether the session is to be direct before it happens.
    pub(crate) fn is_direct(self) -> bool {
        self.row() == Row::parse("cone,cone").expect("a row")
    }

    /// Milliseconds within which the session is to live again, where that is promised.
    pub(crate) fn bar(self) -> Option<u64> {
        match self {
            Self::KilledBefore => Some(2000),
            Self::HoledBefore | Self::KilledAfter | Self::HoledAfter | Self::OtherGone => Some(5000),
            Self::Moved => Some(3000),
            Self::MovedUntold => Some(15_000),
            Self::Restarted | Self::Uplink | Self::Loss | Self::Mtu | Self::Small => None,
        }
    }
}

/// How often each fault for which a time is promised is tried, unless somebody says otherwise.
const RUNS: usize = 3;

/// The faults that this run is to try, each as often as it is to, in turn.
pub(crate) fn wanted() -> Vec<(Fault, usize)> {
    let faults: Vec<Fault> = match env::var("FARHELM_NAT_FAULTS") {
        Err(_) => Fault::ALL.map(|(fault, ..)| fault).into(),
        Ok(some) => {
            let parse = |name| Fault::parse(name).unwrap_or_else(|| panic!("there is no fault {name:?}"));
            some.split_whitespace().map(parse).collect()
        }
    };
    let asked: Option<usize> = env::var("FARHELM_NAT_RUNS").ok().map(|runs| runs.parse().expect("a number"));
    let runs = |fault: &Fault| asked.unwrap_or(if fault.bar().is_some() { RUNS } else { 1 });
    let most = faults.iter().map(runs).max().unwrap_or_default();
    (0..most).flat_map(|n| faults.iter().filter(move |fault| n < runs(fault)).map(move |fault| (*fault, n))).collect()
}

/// fault | how often | ms until the session lived again: median, 95th percentile, most | how often within its bar
pub(crate) fn summary(found: &[(Fault, Value)]) -> Vec<String> {
    let of = |fault: Fault| found.iter().filter(move |(of, _)| *of == fault).map(|(_, found)| found);
    let line = |fault: Fault| {
        let runs = of(fault).count();
        let mut again: Vec<u64> = of(fault).filter_map(|found| found["again_ms"].as_u64()).collect();
        again.sort_unstable();
        // Of those that never lived again there is no time: they are at the end.
        let at = |percent: usize| again.get((runs * percent).div_ceil(100) - 1);
        let ms = |percent: usize| at(percent).map_or("never".to_owned(), |ms| format!("{ms} ms"));
        let met = fault.bar().map(|bar| {
            let met = again.iter().filter(|ms| **ms <= bar).count();
            format!(" bar {bar} ms: met {met}, missed {}", runs - met)
        });
        let (median, most, name) = (ms(50), ms(100), fault.name());
        format!("{name:<14} runs {runs} median {median} p95 {} most {most}{}", ms(95), met.unwrap_or_default())
    };
    let tried = Fault::ALL.iter().map(|(fault, ..)| *fault).filter(|fault| of(*fault).count() > 0);
    tried.map(line).collect()
}

/// fault | ms until the session lived again | what became of the messages
pub(crate) fn line(fault: Fault, found: &Value) -> String {
    let again = found["again_ms"].as_u64();
    let met = match (fault.bar(), again) {
        (Some(bar), Some(ms)) => format!(" (bar {bar} ms: {})", if ms <= bar { "met" } else { "missed" }),
        _ => String::new(),
    };
    let again = again.map_or("never".to_owned(), |ms| format!("{ms} ms"));
    format!(
        "{:<14} live again after {again}{met}; messages {} lost {} doubled {}; longest silence {} ms",
        fault.name(),
        found["sent"],
        found["lost"],
        found["doubled"],
        found["silence_ms"],
    )
}

/// Nothing lost, nothing doubled, what was streamed is what stands there; in ten times the promised time at the most.
pub(crate) fn holds(fault: Fault, found: &Value) -> bool {
    let in_time = found["again_ms"].as_u64().is_some_and(|ms| fault.bar().is_none_or(|bar| ms <= 10 * bar));
    in_time && found["lost"] == 0 && found["doubled"] == 0 && found["whole"] == true && found["sent"].as_u64() > Some(0)
}
