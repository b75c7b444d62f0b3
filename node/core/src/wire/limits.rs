//! Every limit of the protocol, with its reason. All are checked before anything is allocated.

/// A record as it travels, header and tag included: small enough that an approval never waits long behind one.
pub const FRAME: usize = 16 * 1024;

/// A handshake message: the largest is the phone's `auth` with a device name, under 300 bytes.
pub const HANDSHAKE_MESSAGE: usize = 1024;

/// An envelope, whole. The largest app-server message measured was 2.6 MB (an image beside a 2 MiB answer);
/// Codex itself takes no message over 16 MiB.
pub const ENVELOPE: usize = 8 * 1024 * 1024;

/// A JSON text of Codex's in an envelope: what the method's name, the id and the heads around it leave.
pub const CODEX_JSON: usize = ENVELOPE - 1024;

/// A device's name in bytes, and a host's. Longer ones are cut at a character when they are made.
pub const NAME: usize = 64;

/// A ticket's bytes before base32: what a QR of 24 terminal lines holds (version 6, error correction L, measured).
pub const TICKET_FOR_TERMINAL: usize = 116;

/// A ticket's bytes before base32 at the most: a QR of version 20 on paper or in a picture.
pub const TICKET: usize = 512;

/// Relays, or direct addresses, in one ticket.
pub const TICKET_ADDRESSES: usize = 8;

/// A prompt a person may send, in bytes.
pub const PROMPT: usize = 256 * 1024;

/// An image that travels with a message, or comes from a thread, in bytes: a full screenshot has one or two MiB, and as
/// base64 it fits an envelope beside its prompt.
pub const IMAGE: usize = 4 * 1024 * 1024;

/// Images in one message.
pub const IMAGES: usize = 4;

/// What an approval may show in bytes (command or diff) and still be acceptable from a phone.
pub const APPROVAL_CONTENT: usize = 1024 * 1024;

/// A message from Codex's app-server, which takes none over 16 MiB itself.
pub const APP_SERVER_MESSAGE: usize = 16 * 1024 * 1024;

/// A message from Codex's app-server that is read over, so that the request it answers fails and not the connection.
/// Codex sends whatever it is asked for, and a few turns with images are more than [`APP_SERVER_MESSAGE`].
pub const APP_SERVER_READ_OVER: usize = 256 * 1024 * 1024;

/// A text in an audit record in bytes: a device's name, a method, a reason. Longer ones are cut at a character.
pub const AUDIT_TEXT: usize = 96;

/// An audit record as it is stored: three texts, a key and a digest leave half of it.
pub const AUDIT_RECORD: usize = 1024;

/// A signed head of the audit chain: a key, a hash and a signature with their names.
pub const AUDIT_HEAD: usize = 256;
