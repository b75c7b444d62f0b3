//! What the desk and the phone are told during a pairing. The names are the other side's own choice.

use anstyle::{AnsiColor, Style};

use super::sanitize;

const WORDS: Style = AnsiColor::Cyan.on_default().bold();

/// At the desk, when somebody came with a used ticket.
pub const SECOND_SCAN: &str = "Somebody else tried this code after it was used, and was sent away. If that was not you, \
                               look at `farhelm devices`.";

/// At the desk, when somebody knew of the ticket, but not its secret.
pub const WRONG_GATE: &str = "Somebody tried to pair without having seen the code, and was sent away.";

/// At the desk: a phone wants in.
pub fn asks(name: &str, words: &[impl AsRef<str>]) -> String {
    format!("“{}” wants to pair, and shows these words:\n\n{}\n", sanitize::line(name), spaced(words))
}

/// At the phone: the words, while the desk compares them.
pub fn shows(host: &str, words: &[impl AsRef<str>]) -> String {
    format!("These words must be the same at the desk of “{}”:\n\n{}\n", sanitize::line(host), spaced(words))
}

/// At the desk: it is done.
pub fn paired(name: &str, device: &str) -> String {
    format!("Paired with “{}” ({}).", sanitize::line(name), sanitize::line(device))
}

fn spaced(words: &[impl AsRef<str>]) -> String {
    let words: Vec<String> = words.iter().map(|word| sanitize::line(word.as_ref())).collect();
    format!("    {WORDS}{}{WORDS:#}\n", words.join("   "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_stand_alone_and_the_name_cannot_drive_the_terminal() {
        let shown = asks("Ann's \x1b[2Jphone", &["abandon", "ability", "able", "about"]);
        insta::assert_snapshot!(anstream::adapter::strip_str(&shown).to_string(), @"
        “Ann's ␛[2Jphone” wants to pair, and shows these words:

            abandon   ability   able   about
        ");
        let shown = shows("desk", &["abandon", "ability", "able", "about"]);
        insta::assert_snapshot!(anstream::adapter::strip_str(&shown).to_string(), @"
        These words must be the same at the desk of “desk”:

            abandon   ability   able   about
        ");
    }
}
