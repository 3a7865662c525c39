//! The server's half of the fixed newstyle handshake, up to the transmission phase: says
//! what the one export is and can do. TLS, metadata contexts and extended headers are
//! answered "unsupported", as every option that is not known. All of it has to happen
//! before one deadline, whatever the client does.

use std::io::{self, IoSlice};
use std::time::Instant;

use super::input::{Input, InputError, Wait};
use super::protocol::{
    FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, MAX_NAME, MAX_OPTION, NBD_MAGIC, OPTION_MAGIC,
    OPTION_REPLY_MAGIC, array, export_flag, info, option, option_reply,
};
use super::server::Export;
use super::socket::Socket;

/// What most file systems write in, and so what we like best, in bytes.
const PREFERRED_BLOCK: u32 = 4096;

/// Why a handshake led nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("{0}")]
    Input(#[from] InputError),
    #[error("sending failed: {0}")]
    Send(#[from] io::Error),
    #[error("it is no NBD client: {0:#018x} in place of an option's magic")]
    BadMagic(u64),
    #[error("it has handshake flags that do not exist: {0:#x}")]
    BadFlags(u32),
    #[error("its option {option} has {length} bytes; at most {MAX_OPTION} are accepted")]
    OptionTooLong { option: u32, length: u32 },
    #[error("it asked for the export '{0}', which is not here")]
    UnknownExport(String),
    #[error("there are too many clients")]
    TooManyClients,
}

/// What a client wants after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// To read and write.
    Transmission {
        /// Whether reads are answered in chunks.
        structured: bool,
    },
    /// Nothing more; a client that only looked.
    Ended,
}

/// The handshake with one client.
pub(super) struct Handshake<'a> {
    pub socket: &'a Socket,
    pub input: &'a mut Input,
    pub export: &'a Export,
    /// The largest request accepted, in bytes.
    pub max_request: u32,
    pub deadline: Instant,
    /// Takes one of the places of clients, if one is left.
    pub take_place: &'a mut dyn FnMut() -> bool,
}

/// What an option leads to.
enum Next {
    Option,
    Go,
    End,
}

impl Handshake<'_> {
    pub(super) fn run(mut self) -> Result<Outcome, HandshakeError> {
        let mut greeting = NBD_MAGIC.to_be_bytes().to_vec();
        greeting.extend(OPTION_MAGIC.to_be_bytes());
        greeting.extend((FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
        self.send(&greeting)?;
        let flags = u32::from_be_bytes(self.receive()?);
        if flags & !u32::from(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES) != 0 {
            return Err(HandshakeError::BadFlags(flags));
        }
        let zeroes = flags & u32::from(FLAG_NO_ZEROES) == 0;
        let mut structured = false;
        loop {
            let (option, data) = self.option()?;
            let next = match option {
                option::EXPORT_NAME => self.export_name(&data, zeroes)?,
                option::ABORT => {
                    self.answer(option, option_reply::ACK, &[])?;
                    Next::End
                }
                option::LIST => self.list(&data)?,
                option::INFO | option::GO => self.info(option, &data)?,
                option::STRUCTURED_REPLY if data.is_empty() => {
                    structured = true;
                    self.answer(option, option_reply::ACK, &[])?
                }
                option::STRUCTURED_REPLY => self.invalid(option, "it takes no data")?,
                _ => {
                    let text = format!("option {option} is not supported here");
                    self.answer(option, option_reply::ERR_UNSUP, text.as_bytes())?
                }
            };
            match next {
                Next::Option => {}
                Next::Go => return Ok(Outcome::Transmission { structured }),
                Next::End => return Ok(Outcome::Ended),
            }
        }
    }

    fn receive<const N: usize>(&mut self) -> Result<[u8; N], HandshakeError> {
        let mut bytes = [0; N];
        self.input
            .fill(self.socket, &mut bytes, Wait::Until(self.deadline))?;
        Ok(bytes)
    }

    fn option(&mut self) -> Result<(u32, Vec<u8>), HandshakeError> {
        let header: [u8; 16] = self.receive()?;
        let magic = u64::from_be_bytes(array(&header, 0));
        if magic != OPTION_MAGIC {
            return Err(HandshakeError::BadMagic(magic));
        }
        let option = u32::from_be_bytes(array(&header, 8));
        let length = u32::from_be_bytes(array(&header, 12));
        if length as usize > MAX_OPTION {
            return Err(HandshakeError::OptionTooLong { option, length });
        }
        let mut data = vec![0; length as usize];
        self.input
            .fill(self.socket, &mut data, Wait::Until(self.deadline))?;
        Ok((option, data))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_all(&mut [IoSlice::new(bytes)])
    }

    fn answer(&self, option: u32, kind: u32, data: &[u8]) -> io::Result<Next> {
        let mut bytes = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
        bytes.extend(option.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(data);
        self.send(&bytes)?;
        Ok(Next::Option)
    }

    fn invalid(&self, option: u32, text: &str) -> io::Result<Next> {
        self.answer(option, option_reply::ERR_INVALID, text.as_bytes())
    }

    /// Whether a name is that of the export; the empty one means "the default".
    fn is_ours(&self, name: &[u8]) -> bool {
        name.is_empty() || name == self.export.name.as_bytes()
    }

    /// The old way to begin: no refusal but closing, no word on block sizes.
    fn export_name(&mut self, name: &[u8], zeroes: bool) -> Result<Next, HandshakeError> {
        if !self.is_ours(name) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(HandshakeError::UnknownExport(name));
        }
        if !(self.take_place)() {
            return Err(HandshakeError::TooManyClients);
        }
        let mut bytes = self.export.size.to_be_bytes().to_vec();
        bytes.extend(export_flag::OFFERED.to_be_bytes());
        bytes.resize(bytes.len() + if zeroes { 124 } else { 0 }, 0);
        self.send(&bytes)?;
        Ok(Next::Go)
    }

    fn list(&self, data: &[u8]) -> io::Result<Next> {
        if !data.is_empty() {
            return self.invalid(option::LIST, "it takes no data");
        }
        let name = self.export.name.as_bytes();
        let mut server = (name.len() as u32).to_be_bytes().to_vec();
        server.extend(name);
        self.answer(option::LIST, option_reply::SERVER, &server)?;
        self.answer(option::LIST, option_reply::ACK, &[])
    }

    fn info(&mut self, option: u32, data: &[u8]) -> Result<Next, HandshakeError> {
        let Some((name, wanted)) = parse_info(data) else {
            return Ok(self.invalid(option, "its lengths do not fit together")?);
        };
        if !self.is_ours(name) {
            let name = String::from_utf8_lossy(name);
            let text = format!("no export '{name}' here; there is '{}'", self.export.name);
            return Ok(self.answer(option, option_reply::ERR_UNKNOWN, text.as_bytes())?);
        }
        if option == option::GO && !(self.take_place)() {
            let text = b"there are too many clients; close another connection first";
            self.answer(option, option_reply::ERR_POLICY, text)?;
            return Err(HandshakeError::TooManyClients);
        }
        self.send_info(option, wanted.contains(&info::NAME))?;
        Ok(if option == option::GO {
            Next::Go
        } else {
            Next::Option
        })
    }

    fn send_info(&self, option: u32, with_name: bool) -> io::Result<()> {
        let mut export = info::EXPORT.to_be_bytes().to_vec();
        export.extend(self.export.size.to_be_bytes());
        export.extend(export_flag::OFFERED.to_be_bytes());
        self.answer(option, option_reply::INFO, &export)?;
        if with_name {
            let mut name = info::NAME.to_be_bytes().to_vec();
            name.extend(self.export.name.as_bytes());
            self.answer(option, option_reply::INFO, &name)?;
        }
        let mut sizes = info::BLOCK_SIZE.to_be_bytes().to_vec();
        sizes.extend(self.export.sector_size.to_be_bytes());
        sizes.extend(PREFERRED_BLOCK.max(self.export.sector_size).to_be_bytes());
        sizes.extend(self.max_request.to_be_bytes());
        self.answer(option, option_reply::INFO, &sizes)?;
        self.answer(option, option_reply::ACK, &[])?;
        Ok(())
    }
}

/// The name and the wanted kinds of information of an INFO or GO option.
fn parse_info(data: &[u8]) -> Option<(&[u8], Vec<u16>)> {
    let (length, rest) = data.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_NAME {
        return None;
    }
    let (name, rest) = rest.split_at_checked(length)?;
    let (count, rest) = rest.split_first_chunk()?;
    let wanted = rest
        .chunks_exact(2)
        .map(|kind| u16::from_be_bytes([kind[0], kind[1]]));
    (rest.len() == 2 * usize::from(u16::from_be_bytes(*count))).then(|| (name, wanted.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_options_parse_only_when_their_lengths_fit() {
        let good = b"\0\0\0\x02ab\0\x02\0\x01\0\x03";
        assert_eq!(parse_info(good), Some((&b"ab"[..], vec![1, 3])));
        for end in 0..good.len() {
            assert_eq!(parse_info(&good[..end]), None, "cut at {end}");
        }
        assert_eq!(parse_info(b"\xff\xff\xff\xffab\0\0"), None);
        assert_eq!(parse_info(b"\0\0\0\0\0\0\0"), None);
    }
}
