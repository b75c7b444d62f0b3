//! The part of `config.toml` that says what is asked beyond a right: lists of patterns and the approvals' deadline.
//! What a pattern matches is `farhelm_core::policy`'s to say.

use farhelm_core::policy::{Conditions, PATTERNS, Pattern};
use toml::Spanned;
use toml::de::DeValue;

/// The table they stand in.
pub(super) const TABLE: &str = "approvals";
/// Their names.
pub(super) const NAMES: [&str; 4] = ["deny", "two_person", "step_up", DEADLINE];
const DEADLINE: &str = "deadline_minutes";
/// A week: what nobody looked at for that long is another matter by then.
const LONGEST_MINUTES: u64 = 7 * 24 * 60;

/// Reads one entry into the conditions; `false` if this name isn't one of these.
pub(super) fn read(name: &str, value: &DeValue<'_>, to: &mut Conditions) -> Result<bool, String> {
    match name {
        "deny" => to.deny = patterns(name, value)?,
        "two_person" => to.two_person = patterns(name, value)?,
        "step_up" => to.step_up = patterns(name, value)?,
        DEADLINE => to.deadline_ms = minutes(value)? * 60 * 1000,
        _ => return Ok(false),
    }
    Ok(true)
}

fn patterns(name: &str, value: &DeValue<'_>) -> Result<Vec<Pattern>, String> {
    let wanted = || format!("{name} must be a list of patterns for commands, like [\"rm -rf *\", \"mkfs*\"]");
    let DeValue::Array(list) = value else { return Err(wanted()) };
    if list.len() > PATTERNS {
        return Err(format!("{name} has more than {PATTERNS} patterns; join some with *"));
    }
    let pattern = |one: &Spanned<DeValue<'_>>| match one.get_ref() {
        DeValue::String(text) => Pattern::new(text).map_err(|unfit| format!("{name}: {unfit}")),
        _ => Err(wanted()),
    };
    list.iter().map(pattern).collect()
}

fn minutes(value: &DeValue<'_>) -> Result<u64, String> {
    let given = match value {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        _ => None,
    };
    given
        .filter(|minutes| (1..=LONGEST_MINUTES).contains(minutes))
        .ok_or_else(|| format!("{DEADLINE} must be a whole number from 1 to {LONGEST_MINUTES}"))
}

#[cfg(test)]
mod tests {
    use farhelm_core::policy::Conditions;

    use crate::host::settings::file;

    fn read(text: &str) -> Result<Conditions, String> {
        file::read(text).map(|contents| contents.conditions).map_err(|fault| fault.to_string())
    }

    #[test]
    fn every_condition_is_read() {
        let text = "[approvals]\ndeny = ['rm -rf *', \"mkfs*\"]\ntwo_person = [\"git push\"]\nstep_up = []\n\
            deadline_minutes = 30\naccept_for_session = true";
        let conditions = read(text).unwrap();
        let written: Vec<_> = conditions.deny.iter().map(|pattern| pattern.as_str()).collect();
        assert_eq!(written, ["rm -rf *", "mkfs*"]);
        assert_eq!((conditions.two_person.len(), conditions.step_up.len()), (1, 0));
        assert_eq!(conditions.deadline_ms, 1_800_000);
        assert_eq!(read("").unwrap(), Conditions::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let many = format!("[approvals]\ndeny = [{}]", "\"x\",".repeat(65));
        let faults = [
            ("[approvals]\ndeny = \"rm\"", "line 2: deny must be a list of patterns"),
            ("[approvals]\n\nstep_up = [1]", "line 3: step_up must be a list of patterns"),
            ("[approvals]\ntwo_person = [\"\"]", "line 2: two_person: a pattern is empty"),
            (&many, "line 2: deny has more than 64 patterns"),
            ("[approvals]\ndeadline_minutes = 0", "line 2: deadline_minutes must be a whole number from 1 to 10080"),
            ("[approvals]\ndeadline_minutes = \"1h\"", "line 2: deadline_minutes must be"),
            ("[approvals]\ndeni = []", "line 2: [approvals] has no setting \"deni\"; did you mean \"deny\"?"),
            ("[floor]\ndeny = []", "line 2: [floor] has no setting \"deny\""),
        ];
        for (text, said) in faults {
            let fault = read(text).unwrap_err();
            assert!(fault.starts_with(said), "{fault}");
        }
    }
}
