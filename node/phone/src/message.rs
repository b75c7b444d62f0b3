//! What a person sends: text, images beside it, and with what it is to be worked on.
//!
//! Everything is checked here before anything is sent, as the host would refuse it too.

use std::fmt;

use farhelm_core::codex::image::{self, ImageKind};
use farhelm_core::wire::limits;
use serde_json::{Value, json};

use crate::error::Error;

/// A message to a thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What is said; at most 256 KiB. May be empty if there is an image.
    pub text: String,
    /// Images beside it, at most 4.
    pub images: Vec<Attachment>,
    /// Another model, from now on in this thread. Only for [`Host::send`](crate::Host::send).
    pub model: Option<String>,
    /// Another reasoning effort, from now on in this thread. Only for [`Host::send`](crate::Host::send).
    pub effort: Option<String>,
}

/// How a thread is to be started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Its first message; model and effort in it hold for the thread.
    pub message: Message,
    /// The folder, one of [`HostState::start_folders`](crate::HostState::start_folders); `None` for the host's own.
    pub folder: Option<String>,
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl<M: Into<Message>> From<M> for StartOptions {
    fn from(message: M) -> Self {
        Self { message: message.into(), folder: None }
    }
}

impl Message {
    /// The input items of Codex's, if it is within bounds.
    pub(crate) fn input(&self) -> Result<Value, Error> {
        let length = self.text.len();
        if length > limits::PROMPT {
            return Err(Error::TooLong { length, limit: limits::PROMPT });
        }
        if self.images.len() > limits::IMAGES {
            return Err(Error::TooManyImages { count: self.images.len() });
        }
        if self.text.is_empty() && self.images.is_empty() {
            return Err(Error::Empty);
        }
        let text = (!self.text.is_empty()).then(|| json!({"type": "text", "text": self.text}));
        let images = self.images.iter().map(|image| json!({"type": "image", "url": image.data_url()}));
        Ok(text.into_iter().chain(images).collect())
    }

    /// The same for where model and effort can't be chosen.
    pub(crate) fn plain_input(&self) -> Result<Value, Error> {
        if self.model.is_some() || self.effort.is_some() {
            return Err(Error::NoChoiceOfModel);
        }
        self.input()
    }
}

/// Why an image can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// It doesn't begin like an image of a kind that travels.
    #[error("this is no PNG, JPEG, GIF or WebP image; convert it and try again")]
    NoImage,
    /// It is an image of another kind than was said.
    #[error("this is {found} and not {wanted}; send it as what it is")]
    OtherKind {
        /// What was said.
        wanted: ImageKind,
        /// What it is.
        found: ImageKind,
    },
    /// Too many bytes.
    #[error("the image has {length} bytes, {} are allowed; make it smaller", limits::IMAGE)]
    TooLarge {
        /// Its bytes.
        length: usize,
    },
}

/// An image that can be sent: its kind shows in its first bytes, and it is small enough. It isn't decoded here.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    kind: ImageKind,
    bytes: Vec<u8>,
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attachment({}, {} bytes)", self.kind, self.bytes.len())
    }
}

impl Attachment {
    /// An image of whichever kind its bytes begin like; at most 4 MiB.
    pub fn of(bytes: Vec<u8>) -> Result<Self, AttachmentError> {
        if bytes.len() > limits::IMAGE {
            return Err(AttachmentError::TooLarge { length: bytes.len() });
        }
        let kind = ImageKind::of(&bytes).ok_or(AttachmentError::NoImage)?;
        Ok(Self { kind, bytes })
    }

    /// A PNG of at most 4 MiB.
    pub fn png(bytes: Vec<u8>) -> Result<Self, AttachmentError> {
        Self::of_kind(ImageKind::Png, bytes)
    }

    /// A JPEG of at most 4 MiB.
    pub fn jpeg(bytes: Vec<u8>) -> Result<Self, AttachmentError> {
        Self::of_kind(ImageKind::Jpeg, bytes)
    }

    /// A GIF of at most 4 MiB.
    pub fn gif(bytes: Vec<u8>) -> Result<Self, AttachmentError> {
        Self::of_kind(ImageKind::Gif, bytes)
    }

    /// A WebP of at most 4 MiB.
    pub fn webp(bytes: Vec<u8>) -> Result<Self, AttachmentError> {
        Self::of_kind(ImageKind::Webp, bytes)
    }

    fn of_kind(wanted: ImageKind, bytes: Vec<u8>) -> Result<Self, AttachmentError> {
        let image = Self::of(bytes)?;
        if image.kind != wanted {
            return Err(AttachmentError::OtherKind { wanted, found: image.kind });
        }
        Ok(image)
    }

    /// Its kind.
    pub const fn kind(&self) -> ImageKind {
        self.kind
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn data_url(&self) -> String {
        image::data_url(self.kind, &self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    #[test]
    fn what_is_no_image_another_kind_or_too_large_is_refused() {
        assert_eq!(Attachment::png(b"hello".to_vec()), Err(AttachmentError::NoImage));
        let other = AttachmentError::OtherKind { wanted: ImageKind::Jpeg, found: ImageKind::Png };
        assert_eq!(Attachment::jpeg(PNG.to_vec()), Err(other));
        let mut large = PNG.to_vec();
        large.resize(limits::IMAGE, 0);
        assert!(Attachment::png(large.clone()).is_ok());
        large.push(0);
        assert_eq!(Attachment::png(large), Err(AttachmentError::TooLarge { length: limits::IMAGE + 1 }));
    }

    #[test]
    fn a_message_becomes_text_and_data_urls() {
        let image = Attachment::png(PNG.to_vec()).unwrap();
        let message = Message { images: vec![image], ..Message::from("look") };
        let url = image::data_url(ImageKind::Png, PNG);
        let input = json!([{"type": "text", "text": "look"}, {"type": "image", "url": url}]);
        assert_eq!(message.input(), Ok(input));
    }

    #[test]
    fn nothing_at_all_and_too_many_images_are_no_message() {
        assert_eq!(Message::default().input(), Err(Error::Empty));
        let image = Attachment::png(PNG.to_vec()).unwrap();
        let message = Message { images: vec![image; limits::IMAGES + 1], ..Message::from("look") };
        assert_eq!(message.input(), Err(Error::TooManyImages { count: limits::IMAGES + 1 }));
    }

    #[test]
    fn where_no_model_can_be_chosen_a_choice_is_refused() {
        let message = Message { model: Some("m".into()), ..Message::from("hi") };
        assert!(message.input().is_ok());
        assert_eq!(message.plain_input(), Err(Error::NoChoiceOfModel));
    }

    #[test]
    fn bytes_stay_out_of_debug_output() {
        let image = Attachment::png(PNG.to_vec()).unwrap();
        assert_eq!(format!("{image:?}"), "Attachment(image/png, 12 bytes)");
    }
}
