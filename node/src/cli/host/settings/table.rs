//! The settings of a host, as a table for people.

use anstyle::Style;

use crate::host::settings::{Row, Source};
use crate::terminal::sanitize;

const NAME: Style = Style::new().bold();
const BESIDE: Style = Style::new().dimmed();

/// From here on the columns stand below each other; a narrower terminal has no room for that.
const WIDE: usize = 60;

/// A setting in two lines: what it is, and what it means.
pub(super) fn row(row: &Row, columns: usize) -> String {
    let Row { name, value, meaning, note, .. } = row;
    let source = source(row.source);
    let [name, value, meaning] = [name, value, meaning].map(|text| sanitize::line(text));
    let (names, values) = if columns < WIDE { (0, 0) } else { (19, 18) };
    let note = note.iter().map(|note| format!("\n  {}", sanitize::line(note))).collect::<String>();
    format!(
        "{NAME}{name:<names$}{NAME:#}  {value:<values$}  {BESIDE}{source}{BESIDE:#}\n  {BESIDE}{meaning}{BESIDE:#}{note}"
    )
}

/// All of them in one sentence.
pub(super) fn sentence(rows: &[Row]) -> String {
    let each = rows.iter().map(|row| format!("{} {}", sanitize::line(&row.name), sanitize::line(&row.value)));
    format!("For every phone: {}. `farhelm host settings` changes that.", each.collect::<Vec<_>>().join(", "))
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Ours => "config.toml",
        Source::Codex => "Codex",
        Source::Default => "default",
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::host::settings::{Kind, Setting, Settings};

    fn table(columns: usize) -> String {
        let mut rows = Settings::default().rows();
        rows[1].value = "danger-full-access".into();
        rows[1].source = Source::Ours;
        rows[4].source = Source::Codex;
        rows[4].note = Some("could not be kept awake: no\x1b seat".into());
        rows.iter().map(|of| strip_str(&row(of, columns)).to_string() + "\n").collect()
    }

    #[test]
    fn on_a_wide_terminal_the_columns_stand_below_each_other() {
        insta::assert_snapshot!(table(80));
    }

    #[test]
    fn on_a_narrow_one_nothing_is_wrapped() {
        insta::assert_snapshot!(table(40));
    }

    #[test]
    fn whatever_a_setting_is_it_fits_forty_columns() {
        for (setting, mut of) in Setting::ALL.into_iter().zip(Settings::default().rows()) {
            let words = match setting.kind() {
                Kind::Switch => &["off"][..],
                Kind::OneOf(words) => words,
            };
            for word in words {
                (of.value, of.source) = (word.to_string(), Source::Ours);
                let shown = strip_str(&row(&of, 40)).to_string();
                assert!(shown.lines().all(|line| line.width() <= 40), "{shown}");
            }
        }
    }
}
