//! What a person at the desk names of a grant, at a pairing or later; the rest stays as it is or comes by the rule.

use serde::{Deserialize, Serialize};

use super::rights::{Folders, Grant, Right};

/// The parts of a grant that were named. The default names nothing.
///
/// # Why unknown fields are refused
/// A part that an older program doesn't know may be a limit; skipping it would give more than was said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Terms {
    /// What the device may do.
    pub right: Option<Right>,
    /// Where.
    pub folders: Option<Folders>,
    /// Until when.
    pub until: Option<Until>,
}

/// When a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// Not before the device is removed.
    ForGood,
    /// At this time, in Unix milliseconds by the host's clock.
    Ms(u64),
}

impl Terms {
    /// `grant` with what is named here in place of what it says of that.
    pub fn on(&self, grant: Grant) -> Grant {
        Grant {
            right: self.right.unwrap_or(grant.right),
            folders: self.folders.clone().unwrap_or(grant.folders),
            until_ms: match self.until {
                None => grant.until_ms,
                Some(Until::ForGood) => None,
                Some(Until::Ms(ms)) => Some(ms),
            },
        }
    }
}

impl From<Grant> for Terms {
    /// Names all of it.
    fn from(Grant { right, folders, until_ms }: Grant) -> Self {
        Self { right: Some(right), folders: Some(folders), until: Some(until_ms.map_or(Until::ForGood, Until::Ms)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Grant {
        Grant { right: Right::Viewer, folders: Folders::Only(vec!["/a".into()]), until_ms: Some(7) }
    }

    #[test]
    fn only_what_is_named_changes() {
        assert_eq!(Terms::default().on(guest()), guest());
        let right = Terms { right: Some(Right::Operator), ..Terms::default() };
        assert_eq!(right.on(guest()), Grant { right: Right::Operator, ..guest() });
        let folders = Terms { folders: Some(Folders::Host), ..Terms::default() };
        assert_eq!(folders.on(guest()), Grant { folders: Folders::Host, ..guest() });
        for (until, until_ms) in [(Until::ForGood, None), (Until::Ms(9), Some(9))] {
            let until = Terms { until: Some(until), ..Terms::default() };
            assert_eq!(until.on(guest()), Grant { until_ms, ..guest() });
        }
    }

    #[test]
    fn a_whole_grant_leaves_nothing_of_the_former() {
        for grant in [guest(), Grant::of(Right::Approver)] {
            assert_eq!(Terms::from(grant.clone()).on(Grant::of(Right::Owner)), grant);
            assert_eq!(Terms::from(grant.clone()).on(guest()), grant);
        }
    }

    #[test]
    fn a_part_that_is_not_known_is_refused() {
        let read = |text| serde_json::from_str::<Terms>(text);
        assert!(read(r#"{"right":"viewer","until":{"ms":5}}"#).is_ok());
        for unknown in [r#"{"hours":"9-17"}"#, r#"{"right":"root"}"#, r#"{"until":{"days":5}}"#] {
            assert!(read(unknown).is_err(), "{unknown}");
        }
    }
}
