//! As much of NBD as fio needs: the fixed newstyle handshake for one export, and requests.

use std::io::{Read, Write};

use crate::Result;

const HANDSHAKE_FLAGS: u16 = 1 | 2;
const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const OPTION_ABORT: u32 = 2;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 0x8000_0001;
/// Has flags, flush.
const EXPORT_FLAGS: u16 = 1 | 4;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
}

/// A request; a write's data follows it.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub command: Command,
    pub cookie: u64,
    pub offset: u64,
    pub length: u32,
}

/// Agrees on the one export.
pub fn negotiate(input: &mut impl Read, output: &mut impl Write, size: u64) -> Result<()> {
    let mut greeting = b"NBDMAGICIHAVEOPT".to_vec();
    greeting.extend(HANDSHAKE_FLAGS.to_be_bytes());
    output.write_all(&greeting)?;
    output.flush()?;
    let _client_flags: [u8; 4] = bytes(input)?;
    loop {
        if bytes::<8>(input)? != *OPTION_MAGIC {
            return Err("the client is out of step".into());
        }
        let option = u32::from_be_bytes(bytes(input)?);
        let length = u32::from_be_bytes(bytes(input)?);
        std::io::copy(&mut input.take(u64::from(length)), &mut std::io::sink())?;
        match option {
            OPTION_GO => {
                let mut export = vec![0, 0];
                export.extend(size.to_be_bytes());
                export.extend(EXPORT_FLAGS.to_be_bytes());
                answer(output, option, REPLY_INFO, &export)?;
                return answer(output, option, REPLY_ACK, &[]);
            }
            OPTION_ABORT => return Err("the client left".into()),
            _ => answer(output, option, REPLY_UNSUPPORTED, &[])?,
        }
    }
}

fn answer(output: &mut impl Write, option: u32, reply: u32, data: &[u8]) -> Result<()> {
    let mut message = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    message.extend(option.to_be_bytes());
    message.extend(reply.to_be_bytes());
    message.extend((data.len() as u32).to_be_bytes());
    message.extend(data);
    output.write_all(&message)?;
    Ok(output.flush()?)
}

fn bytes<const N: usize>(input: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads the next request.
pub fn request(input: &mut impl Read) -> Result<Request> {
    let head: [u8; 28] = bytes(input)?;
    let (magic, rest) = head.split_at(4);
    if magic != REQUEST_MAGIC.to_be_bytes() {
        return Err("the client is out of step".into());
    }
    let long = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&rest[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    let command = match rest[3] {
        0 => Command::Read,
        1 => Command::Write,
        2 => Command::Disconnect,
        3 => Command::Flush,
        other => return Err(format!("the floor does not know request {other}").into()),
    };
    Ok(Request {
        command,
        cookie: long(4),
        offset: long(12),
        length: u32::from_be_bytes([rest[20], rest[21], rest[22], rest[23]]),
    })
}

/// A successful reply; a read's data follows it.
pub fn reply(cookie: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    bytes[8..].copy_from_slice(&cookie.to_be_bytes());
    bytes
}
