//! Frames between a node and the witness, and their authentication. No sockets.
//!
//! One connection carries one request:
//!
//! ```text
//! witness   version u8, challenge [32]
//! node      version u8, size u16, challenge [32], body, code [32]
//! witness   version u8, size u16, challenge [32], body, code [32]
//! ```
//!
//! Integers are little-endian, `size` is the body's, and a body is a list of named values
//! ([`super::message`]). A code is HMAC-SHA256 with the shared secret over what the frame is, what
//! it answers and all of it before the code. The node's frame answers the witness's challenge, so
//! a recorded one is of no use on another connection; the witness's answers the node's
//! code, which covers the node's own challenge, so that a recorded answer is of no use either. (The
//! challenge in the witness's answer is zero: nothing follows it.)
//!
//! Nothing is hidden, only proven.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secret::Secret;
use crate::nv::{Nv, NvError};

/// The TCP port of a witness where an address names none.
pub const PORT: u16 = 8458;

/// The version of all this.
pub const VERSION: u8 = 1;

/// Bytes of a challenge and of a code.
pub const CODE_SIZE: usize = 32;

/// What nobody can foresee; or what only the secret's owners can make.
pub type Code = [u8; CODE_SIZE];

/// The largest body: an answer with four of the longest names has about half of it.
pub const BODY_MAX: usize = 2048;

/// Bytes of the witness's first words.
pub const GREETING_SIZE: usize = 1 + CODE_SIZE;

/// Bytes before the body of a frame.
const HEADER_SIZE: usize = 1 + 2 + CODE_SIZE;

/// What a frame is: part of its code, so that none passes for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A node's.
    Request,
    /// The witness's.
    Answer,
}

impl Kind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Request => b"hast witness request",
            Self::Answer => b"hast witness answer ",
        }
    }
}

/// Why bytes are not a frame that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Another version.
    #[error("it speaks version {0} of the witness's protocol; this program speaks {VERSION}")]
    Version(u8),
    /// A body above [`BODY_MAX`].
    #[error("a message of {0} bytes, more than the {BODY_MAX} there can be")]
    TooLarge(usize),
    /// The code is wrong: another secret, an old message, or a changed one.
    #[error("a message that is not made with the same secret for this connection")]
    Code,
    /// The body is malformed.
    #[error(transparent)]
    Nv(#[from] NvError),
}

/// An unforeseeable challenge.
pub fn challenge() -> Result<Code, getrandom::Error> {
    let mut bytes = [0; CODE_SIZE];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// The witness's first words.
pub fn greeting(challenge: &Code) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(challenge);
    bytes
}

/// The challenge in the witness's first words.
pub fn read_greeting(bytes: [u8; GREETING_SIZE]) -> Result<Code, ProtocolError> {
    let [version, challenge @ ..] = bytes;
    check_version(version)?;
    Ok(challenge)
}

/// A frame, and its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// As it is sent.
    pub bytes: Vec<u8>,
    /// What an answer to it answers.
    pub code: Code,
}

/// Makes a frame that answers `answered` and challenges with `challenge`.
pub fn seal(secret: &Secret, kind: Kind, answered: &Code, challenge: &Code, body: &Nv) -> Sealed {
    let body = body.as_bytes();
    debug_assert!(body.len() <= BODY_MAX, "a body of {} bytes", body.len());
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&(body.len() as u16).to_le_bytes());
    bytes.extend_from_slice(challenge);
    bytes.extend_from_slice(body);
    let code = mac(secret, kind, answered, &bytes).finalize().into_bytes();
    bytes.extend_from_slice(&code);
    Sealed {
        bytes,
        code: code.into(),
    }
}

/// How many bytes the frame has that begins with `bytes`; of one whose header is not complete, how
/// many the header has. Refuses what can not be a frame before its body comes.
pub fn frame_size(bytes: &[u8]) -> Result<usize, ProtocolError> {
    if let Some(version) = bytes.first() {
        check_version(*version)?;
    }
    let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
        return Ok(HEADER_SIZE);
    };
    let size = usize::from(u16::from_le_bytes([header[1], header[2]]));
    if size > BODY_MAX {
        return Err(ProtocolError::TooLarge(size));
    }
    Ok(HEADER_SIZE + size + CODE_SIZE)
}

/// Checks a whole frame (see [`frame_size`]) that is to answer `answered`; its body and its code.
pub fn open(
    secret: &Secret,
    kind: Kind,
    answered: &Code,
    frame: &[u8],
) -> Result<(Nv, Code), ProtocolError> {
    check_version(frame.first().copied().unwrap_or_default())?;
    let Some((covered, code)) = frame.split_last_chunk::<CODE_SIZE>() else {
        return Err(ProtocolError::Code);
    };
    // In the same time wherever the first difference is.
    mac(secret, kind, answered, covered)
        .verify_slice(code)
        .map_err(|_| ProtocolError::Code)?;
    let body = covered.get(HEADER_SIZE..).unwrap_or_default();
    Ok((Nv::decode(body)?, *code))
}

fn check_version(version: u8) -> Result<(), ProtocolError> {
    if version == VERSION {
        Ok(())
    } else {
        Err(ProtocolError::Version(version))
    }
}

fn mac(secret: &Secret, kind: Kind, answered: &Code, covered: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes a key of any length");
    mac.update(kind.label());
    mac.update(answered);
    mac.update(covered);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::of(&[byte; 32]).unwrap()
    }

    fn sealed() -> Sealed {
        let mut body = Nv::new();
        body.add_str("ask", "look").add_str("group", "storage");
        seal(&secret(7), Kind::Request, &[1; 32], &[2; 32], &body)
    }

    #[test]
    fn a_frame_opens_for_whom_it_was_made() {
        let Sealed { bytes, code } = sealed();
        assert_eq!(frame_size(&bytes), Ok(bytes.len()));
        let (body, found) = open(&secret(7), Kind::Request, &[1; 32], &bytes).unwrap();
        assert_eq!(body.str("group"), Some("storage"));
        assert_eq!(found, code);
    }

    #[test]
    fn another_secret_kind_or_challenge_is_noticed() {
        let bytes = sealed().bytes;
        for (secret, kind, answered) in [
            (secret(8), Kind::Request, [1; 32]),
            (secret(7), Kind::Answer, [1; 32]),
            (secret(7), Kind::Request, [3; 32]),
        ] {
            let result = open(&secret, kind, &answered, &bytes);
            assert_eq!(result, Err(ProtocolError::Code));
        }
    }

    #[test]
    fn every_changed_bit_and_every_missing_byte_is_noticed() {
        let bytes = sealed().bytes;
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&secret(7), Kind::Request, &[1; 32], &changed).is_err());
        }
        for length in 0..bytes.len() {
            let result = open(&secret(7), Kind::Request, &[1; 32], &bytes[..length]);
            assert!(result.is_err());
        }
    }

    #[test]
    fn a_frame_is_refused_before_its_body_comes() {
        assert_eq!(frame_size(&[]), Ok(HEADER_SIZE));
        assert_eq!(frame_size(&[2]), Err(ProtocolError::Version(2)));
        let mut header = [0; HEADER_SIZE];
        header[0] = VERSION;
        header[1..3].copy_from_slice(&(BODY_MAX as u16).to_le_bytes());
        assert_eq!(frame_size(&header[..5]), Ok(HEADER_SIZE));
        assert_eq!(frame_size(&header), Ok(HEADER_SIZE + BODY_MAX + CODE_SIZE));
        header[1..3].copy_from_slice(&(BODY_MAX as u16 + 1).to_le_bytes());
        let too_large = Err(ProtocolError::TooLarge(BODY_MAX + 1));
        assert_eq!(frame_size(&header), too_large);
    }

    /// The frame as another program would make it, with Python's hmac.
    #[test]
    fn the_bytes_are_these() {
        let Sealed { bytes, code } = sealed();
        assert_eq!(bytes[..3], [1, 0x2c, 0]);
        let expected = "b95f0da59a0a6a9a91272034543319b4004dd949b4607555eb80057e89b81b8d";
        for (at, byte) in code.iter().enumerate() {
            assert_eq!(format!("{byte:02x}"), expected[2 * at..2 * at + 2]);
        }
        assert_eq!(bytes[bytes.len() - 32..], code);
    }
}
