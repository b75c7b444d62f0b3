//! Images of a thread.

use serde_json::json;

use super::Host;
use crate::error::Error;
use crate::results::Image;

impl Host {
    /// An image that an item of a thread holds, the first being 0: what the agent looked at, a tool's result, a
    /// person's attachment. Needs viewer. The host answers it itself, reads only files that stand in that item, and
    /// sends at most 4 MiB; Codex isn't asked to do anything. What comes is checked here too: no PNG, JPEG, GIF or
    /// WebP is [`Error::Unreadable`].
    pub async fn image(&self, thread: &str, item: &str, index: u32) -> Result<Image, Error> {
        let params = json!({"threadId": thread, "itemId": item, "index": index});
        Image::read(&self.call("farhelm/image/read", params).await?)
    }
}
