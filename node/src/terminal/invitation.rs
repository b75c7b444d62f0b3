//! What the desk shows when a phone may pair: the ticket as a QR and as text, or, on a small terminal, as text beside
//! the path of a picture.
//!
//! It only draws; when a ticket ends and what a phone answers is the host's business.

use std::path::{Path, PathBuf};

use anstyle::Style;
use farhelm_core::pairing::Ticket;
use farhelm_platform::secret_file;

use super::qr::{self, Code};
use super::sanitize;
use super::screen::Screen;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Even a picture can't hold it.
    #[error(transparent)]
    Code(#[from] qr::Error),
    /// The picture for a small terminal couldn't be written.
    #[error(transparent)]
    Picture(#[from] secret_file::Error),
}

/// A ticket, drawn. The text holds its secret: print it, don't log it.
pub struct Invitation {
    /// What to print, with a newline at its end.
    pub text: String,
    /// The picture that was written because the QR didn't fit; remove it when the ticket ends.
    pub picture: Option<PathBuf>,
}

/// Draws `ticket`, which ends in `minutes`. Only where the QR doesn't fit the screen, `picture` is written (mode 0600,
/// replacing an older one).
pub fn draw(ticket: &Ticket, minutes: u64, screen: &Screen, picture: &Path) -> Result<Invitation, Error> {
    let text = ticket.encode();
    let code = Code::new(&text)?;
    let within = if minutes == 1 { "the next minute".to_owned() } else { format!("the next {minutes} minutes") };
    let mut lines = format!("{BOLD}Pair a phone{BOLD:#} within {within}. This works once, for whoever is first.\n\n");
    lines += &format!("As text, for `farhelm phone pair`:\n{}\n", &*text);
    for address in ticket.addresses_of_host() {
        lines += &format!("{DIM}{}{DIM:#}\n", sanitize::line(&address.to_string()));
    }
    match code.draw(screen) {
        // Last, so that all of it is on the screen.
        Ok(drawn) => Ok(Invitation { text: format!("{lines}\n{drawn}"), picture: None }),
        Err(too_tall @ qr::Error::TooTall { .. }) => {
            secret_file::replace(picture, &code.png())?;
            lines += &format!("\nAs a picture, because {too_tall}:\n{}\n", picture.display());
            Ok(Invitation { text: lines, picture: Some(picture.to_owned()) })
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::picture;
    use crate::terminal::screen::{Shades, Size};
    use farhelm_core::identity::Identity;
    use farhelm_core::pairing::{TicketSecret, ticket::Relay};
    use std::os::unix::fs::PermissionsExt;

    fn ticket() -> Ticket {
        let relay = Relay {
            key: Identity::from_seed(&[2; 32]).node_id(),
            endpoints: ["/ip4/192.0.2.7/udp/4001/quic-v1", "/ip4/192.0.2.7/tcp/4001"]
                .map(|a| a.parse().unwrap())
                .into(),
        };
        Ticket {
            host: Identity::from_seed(&[1; 32]).node_id(),
            secret: TicketSecret::from_bytes([3; 16]),
            expires_at: 1_800_000_000,
            relays: vec![relay],
            direct: vec![],
            name: "desk".into(),
        }
    }

    fn shown(columns: usize, rows: usize, picture: &Path) -> Invitation {
        let screen = Screen { size: Size { columns, rows }, shades: Shades::Colour, attended: true };
        draw(&ticket(), 5, &screen, picture).unwrap()
    }

    #[test]
    fn where_the_code_fits_no_picture_is_written() {
        let invitation = shown(80, 24, Path::new("/nowhere/ticket.png"));
        assert!(invitation.picture.is_none());
        insta::assert_snapshot!(anstream::adapter::strip_str(&invitation.text).to_string());
    }

    #[test]
    fn a_small_terminal_gets_text_and_a_picture_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ticket.png");
        std::fs::write(&path, "an older ticket").unwrap();
        let invitation = shown(20, 5, &path);
        assert_eq!(invitation.picture.as_deref(), Some(&*path));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*picture::read(&path).unwrap(), *ticket().encode());
        assert!(!invitation.text.contains(['█', '▀', '▄']));
        let shown = anstream::adapter::strip_str(&invitation.text).to_string();
        insta::assert_snapshot!(shown.replace(path.to_str().unwrap(), "PICTURE"));
    }

    #[test]
    fn a_picture_that_cannot_be_written_is_named() {
        let screen = Screen { size: Size { columns: 20, rows: 5 }, shades: Shades::Colour, attended: true };
        let refused = draw(&ticket(), 5, &screen, Path::new("/proc/ticket.png"));
        assert!(matches!(refused, Err(Error::Picture(_))));
    }
}
