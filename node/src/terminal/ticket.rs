//! Where the phone's terminal face gets a ticket from: a picture, standard input, or the keyboard without echo.
//!
//! # Why not from the command line
//! Arguments are seen by every user of the machine (`ps`) and kept in the shell's history, and a ticket holds the
//! secret that pairs. One given there is refused, so that it doesn't become a habit.

use std::io::{self, Read};
use std::path::Path;

use farhelm_core::pairing::{Ticket, ticket};
use farhelm_core::wire::limits;
use zeroize::Zeroizing;

use super::{ask, picture};

/// Bytes read from standard input at the most: the longest ticket in base32 with its prefix, with room for white space.
const TEXT: u64 = 2 * limits::TICKET as u64 + 64;

/// Why there is no ticket. The texts never repeat what was given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was given as an argument.
    #[error(
        "a ticket holds a secret, which others can see on the command line; run `farhelm phone pair` and paste it \
         when asked, or pipe it into `farhelm phone pair -`"
    )]
    OnCommandLine,
    /// No way to ask for it.
    #[error("{0}; give a picture of the code, or pipe the text into `farhelm phone pair -`")]
    Ask(#[from] ask::Error),
    /// Standard input couldn't be read.
    #[error("can't read the ticket from standard input: {0}")]
    Input(io::Error),
    /// No ticket in the picture.
    #[error("{0}; show a new code with `farhelm pair` on the host, or use its text")]
    Picture(#[from] picture::Error),
    /// The text is no ticket.
    #[error(transparent)]
    Ticket(#[from] ticket::Error),
}

/// Reads a ticket: `None` asks for it, `-` reads standard input, anything else is the path of a picture.
pub async fn read(from: Option<&Path>) -> Result<Ticket, Error> {
    let text = match from {
        None => ask::hidden("Ticket (not shown): ").await?,
        Some(path) if is_ticket(path) => return Err(Error::OnCommandLine),
        Some(path) if path == Path::new("-") => from_input(io::stdin().lock()).map_err(Error::Input)?,
        Some(path) => picture::read(path)?,
    };
    Ok(Ticket::decode(&text)?)
}

fn is_ticket(argument: &Path) -> bool {
    let start = argument.as_os_str().as_encoded_bytes().get(..ticket::PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(ticket::PREFIX.as_bytes()))
}

fn from_input(input: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(TEXT as usize));
    input.take(TEXT).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(from: Option<&str>) -> String {
        match read(from.map(Path::new)).await {
            Ok(_) => panic!("read a ticket from {from:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_ticket_as_an_argument_is_refused_and_not_repeated() {
        for argument in ["FARHELM:ABCDEF", "farhelm:abcdef"] {
            let text = refused(Some(argument)).await;
            assert!(text.contains("farhelm phone pair -") && !text.to_uppercase().contains("ABCDEF"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_missing_picture_says_what_else_can_be_done() {
        let text = refused(Some("/nowhere/ticket.png")).await;
        assert!(text.contains("/nowhere/ticket.png") && text.contains("farhelm pair"), "{text}");
    }

    #[test]
    fn endless_input_is_cut() {
        assert_eq!(from_input(io::repeat(b'A')).unwrap().len() as u64, TEXT);
    }

    #[test]
    fn input_that_is_no_text_is_refused() {
        assert!(from_input(&[0xff, 0xfe][..]).is_err());
    }
}
