//! What a phone may do, as it is said on the command line and said back: `--right`, `--folder`, `--until`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use farhelm_core::policy::{Entitlement, Folders, Right, Terms, Until, is_within};

use super::{Exit, Failure, when};
use crate::host::control::{GrantRow, OpenedRow, Why};
use crate::host::{devices, folders, terms};
use crate::terminal::sanitize;

/// The parts of a grant that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Named {
    /// What the phone may do: owner, everything; operator, all work; approver, decide and read; viewer, read
    #[arg(long, value_name = "RIGHT", value_parser = rights())]
    right: Option<Right>,

    /// Only in this folder and what lies in it; may be given several times
    #[arg(long = "folder", value_name = "DIR")]
    folders: Vec<PathBuf>,

    /// Only until then: `8h`, `2d`, `tonight` (midnight), or a time like `2030-01-31T18:00:00Z`
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<u64>,
}

fn rights() -> impl TypedValueParser<Value = Right> {
    PossibleValuesParser::new(Right::ALL.map(Right::as_str)).try_map(|name| name.parse::<Right>())
}

impl Named {
    /// As it is stored: with canonical folders, and judged.
    pub(super) fn terms(&self) -> Result<Terms, Failure> {
        let folders = self.folders.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
        let terms = Terms {
            right: self.right,
            folders: (!folders.is_empty()).then_some(Folders::Only(folders)),
            until: self.until.map(Until::Ms),
        };
        Ok(terms::settle(terms, devices::now_ms())?)
    }
}

/// By the folder that this command was started in, not the host's.
fn absolute(folder: &PathBuf) -> Result<String, Failure> {
    let path = std::path::absolute(folder).ok().and_then(|path| path.to_str().map(str::to_owned));
    let unnamed = || terms::Error::NoFolder(folder.display().to_string()).into();
    path.ok_or_else(unnamed)
}

impl From<terms::Error> for Failure {
    fn from(error: terms::Error) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<Why> for Exit {
    fn from(why: Why) -> Self {
        match why {
            Why::NotFound => Self::NotFound,
            Why::Unfit => Self::Usage,
            Why::Unreachable => Self::Unreachable,
            Why::State => Self::State,
            Why::Config => Self::Config,
            Why::SwitchedOff | Why::Frozen => Self::Refused,
            Why::Failed => Self::Failed,
        }
    }
}

/// What is said of a phone whose place two programs take from each other.
pub(super) const CONTESTED: &str = "two programs take turns with its key: if you don't run two, it was copied; `farhelm devices revoke`, or `farhelm freeze`";

/// A grant in a list: `operator in /srv/a, until 2030-01-31 19:00 CET`.
pub(super) fn row(grant: &GrantRow) -> String {
    let folders = grant.folders.as_ref().map(|all| match all.as_slice() {
        [] => " in no folder".into(),
        all => format!(" in {}", places(all, None, ", ")),
    });
    format!("{}{}{}", grant.right, folders.unwrap_or_default(), end(grant).unwrap_or_default())
}

/// What a host said that this phone may do there, in a list. Whether its time is over is the host's to say.
pub(super) fn entitled(Entitlement { right, folders, until_ms }: &Entitlement) -> String {
    row(&GrantRow { right: *right, folders: Some(folders.clone()), until_ms: *until_ms, expired: false })
}

/// A grant in a sentence: `It may … , in …, until … .`
pub(super) fn sentence(grant: &GrantRow) -> String {
    sentence_at(grant, folders::home().as_deref())
}

fn sentence_at(grant: &GrantRow, home: Option<&str>) -> String {
    if grant.expired {
        return format!("It may do nothing now: it was {}. `farhelm devices grant` changes that.", row(grant));
    }
    let may = match grant.right {
        Right::Viewer => "read",
        Right::Approver => "read, and decide on approvals",
        Right::Operator => "start, steer and stop work, and decide on approvals",
        Right::Owner => "work, decide on approvals, and look after this host",
    };
    let folders = match &grant.folders {
        None => "in this host's folders".into(),
        Some(folders) => format!("in {}", places(folders, home, " and ")),
    };
    let end = end(grant).unwrap_or_else(|| ", until it is removed".into());
    format!("It may {may} ({}), {folders}{end}.", grant.right)
}

/// What became of the folders that were opened with a grant, each on a line of its own.
pub(super) fn opened(folders: &[OpenedRow]) -> String {
    folders.iter().map(|folder| format!("\n{}", sanitize::block(&folder.text))).collect()
}

fn end(grant: &GrantRow) -> Option<String> {
    let until = when::shown(grant.until_ms?);
    Some(if grant.expired { format!(", expired since {until}") } else { format!(", until {until}") })
}

/// Folders; of a wide one it is said how wide it is.
fn places(folders: &[String], home: Option<&str>, between: &str) -> String {
    let place = |folder: &String| {
        let wide = match folder.as_str() {
            "/" => " (all of this machine)",
            folder if home.is_some_and(|home| is_within(home, folder)) => " (with all of the home folder)",
            _ => "",
        };
        format!("{}{wide}", sanitize::line(folder))
    };
    folders.iter().map(place).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(right: Right, folders: Option<&[&str]>) -> GrantRow {
        let folders = folders.map(|all| all.iter().map(|folder| (*folder).to_owned()).collect());
        GrantRow { right, folders, until_ms: None, expired: false }
    }

    #[test]
    fn a_grant_is_said_whole() {
        let said = |grant| sentence_at(&grant, Some("/home/ann"));
        let all = Right::ALL.map(|right| said(grant(right, None))).join("\n");
        insta::assert_snapshot!(all, @"
        It may read (viewer), in this host's folders, until it is removed.
        It may read, and decide on approvals (approver), in this host's folders, until it is removed.
        It may start, steer and stop work, and decide on approvals (operator), in this host's folders, until it is removed.
        It may work, decide on approvals, and look after this host (owner), in this host's folders, until it is removed.
        ");
        let folders = ["/srv/a", "/srv/\x1b[2J"];
        insta::assert_snapshot!(said(grant(Right::Viewer, Some(&folders))), @"It may read (viewer), in /srv/a and /srv/␛[2J, until it is removed.");
    }

    #[test]
    fn of_a_wide_folder_it_is_said_how_wide_it_is() {
        for (folder, said) in [
            ("/", "in / (all of this machine), "),
            ("/home/ann", "in /home/ann (with all of the home folder), "),
            ("/home", "in /home (with all of the home folder), "),
            ("/home/ann/src", "in /home/ann/src, "),
        ] {
            let sentence = sentence_at(&grant(Right::Viewer, Some(&[folder])), Some("/home/ann"));
            assert!(sentence.contains(said), "{sentence}");
        }
    }

    #[test]
    fn an_end_is_said_and_one_that_is_over_as_such() {
        let until = GrantRow { until_ms: Some(0), ..grant(Right::Viewer, None) };
        let time = when::shown(0);
        assert_eq!(row(&until), format!("viewer, until {time}"));
        let expired = GrantRow { expired: true, ..until };
        assert_eq!(row(&expired), format!("viewer, expired since {time}"));
        let said = format!(
            "It may do nothing now: it was viewer, expired since {time}. `farhelm devices grant` changes that."
        );
        assert_eq!(sentence(&expired), said);
        assert_eq!(row(&grant(Right::Owner, Some(&["/a", "/b"]))), "owner in /a, /b");
    }
}
