//! What a message may carry beside its words, the same for every command that sends one.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use farhelm_core::wire::limits;
use farhelm_phone::{Attachment, Message};

use super::{Exit, Failure};

/// Images beside the words.
#[derive(Debug, Default, Args)]
pub(super) struct Images {
    /// An image to send along (PNG, JPEG, GIF or WebP, at most 4 MiB); may be given up to four times
    #[arg(long = "image", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// With which model it is to be worked on.
#[derive(Debug, Default, Args)]
pub(super) struct Choice {
    /// Another model from now on, as `farhelm phone model` lists them
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,

    /// Another reasoning effort from now on
    #[arg(long, value_name = "LEVEL")]
    effort: Option<String>,
}

/// A message of these words, or of standard input for `-`, with images.
pub(super) fn message(words: String, images: Images) -> Result<Message, Failure> {
    let images = images.files.iter().map(|file| attachment(file)).collect::<Result<_, _>>()?;
    Ok(Message { text: text(words)?, images, ..Message::default() })
}

impl Choice {
    /// The message, to be worked on like that.
    pub(super) fn put_into(self, message: Message) -> Message {
        Message { model: self.model, effort: self.effort, ..message }
    }
}

fn attachment(file: &Path) -> Result<Attachment, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format_args!("{}: {error}", file.display()));
    let bytes = read(file).map_err(|error| failed(&error))?;
    Attachment::of(bytes).map_err(|error| failed(&error))
}

/// One byte more than is allowed shows that it is too large, however large it is.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(limits::IMAGE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of an argument, or of standard input.
fn text(argument: String) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument);
    }
    let mut text = String::new();
    // One byte more than is allowed shows that it is too long.
    let read = io::stdin().lock().take(limits::PROMPT as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::new(Exit::Usage, format_args!("can't read standard input: {error}")))?;
    Ok(text)
}
