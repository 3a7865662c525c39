//! A small blocking NBD client for our own demo, tests and measurements. Sends requests and
//! takes their replies separately, so that many can be in flight; asks for no structured
//! replies. Not part of serving a device.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::address::ListenAddress;
use super::input::{Input, InputError, Wait};
use super::protocol::{
    FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, MAX_OPTION, NBD_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC,
    RequestHeader, SIMPLE_REPLY_LENGTH, SIMPLE_REPLY_MAGIC, array, command, error_of_number, info,
    option, option_reply,
};
use super::socket::Socket;

/// Requests in flight at most. A client that only sends would in the end wait for a server
/// that waits for it to take replies.
pub const MAX_PENDING: usize = 64;

/// What goes wrong in a client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where.
        address: ListenAddress,
        /// Why not.
        source: io::Error,
    },
    /// The server does not serve what was asked for.
    #[error("the server refuses the export '{export}': {reason}")]
    Refused {
        /// The name asked for.
        export: String,
        /// The server's words, or its number.
        reason: String,
    },
    /// What came is not NBD.
    #[error("the server does not speak NBD as we do: {0}")]
    Protocol(&'static str),
    /// The connection broke, or the server is too slow.
    #[error("lost the server: {0}")]
    Lost(#[from] InputError),
    /// The server answered a request with an error.
    #[error("{command:?} of {length} bytes at {offset} failed: {errno}")]
    Request {
        /// Which kind.
        command: Asked,
        /// In bytes.
        offset: u64,
        /// In bytes.
        length: u32,
        /// The server's answer.
        errno: Errno,
    },
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.into())
    }
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Bytes of the device.
    Read,
    /// To store bytes.
    Write,
    /// To make all that was answered before durable.
    Flush,
    /// To forget a range.
    Trim,
    /// To make a range zero.
    Zeroes,
}

impl Asked {
    const fn number(self) -> u16 {
        match self {
            Self::Read => command::READ,
            Self::Write => command::WRITE,
            Self::Flush => command::FLUSH,
            Self::Trim => command::TRIM,
            Self::Zeroes => command::WRITE_ZEROES,
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// The number that submitting it gave.
    pub cookie: u64,
    /// A read's bytes (nothing for others), or the server's error.
    pub result: Result<Vec<u8>, Errno>,
}

#[derive(Clone, Copy)]
struct Pending {
    command: Asked,
    length: u32,
}

/// A connection in the transmission phase.
pub struct Client {
    socket: Socket,
    input: Input,
    limit: Duration,
    size: u64,
    flags: u16,
    block_sizes: Option<[u32; 3]>,
    next_cookie: u64,
    pending: HashMap<u64, Pending>,
    /// Taken off the wire while something else was waited for.
    ready: VecDeque<Answer>,
}

impl Client {
    /// Connects and asks for an export. `limit` bounds the handshake and, later, each wait
    /// for an answer.
    pub fn connect(
        address: &ListenAddress,
        export: &str,
        limit: Duration,
    ) -> Result<Self, ClientError> {
        let socket = address
            .connect(limit)
            .map_err(|source| ClientError::Connect {
                address: address.clone(),
                source,
            })?;
        socket.set_send_timeout(Some(limit))?;
        let mut client = Self {
            socket,
            input: Input::default(),
            limit,
            size: 0,
            flags: 0,
            block_sizes: None,
            next_cookie: 0,
            pending: HashMap::new(),
            ready: VecDeque::new(),
        };
        client.handshake(export, Wait::Until(Instant::now() + limit))?;
        Ok(client)
    }

    /// The device's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The server's transmission flags ([`super::protocol::export_flag`]).
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// Minimum, preferred and maximum block size in bytes, if the server said.
    pub fn block_sizes(&self) -> Option<[u32; 3]> {
        self.block_sizes
    }

    /// Requests whose answers were not taken yet.
    pub fn pending(&self) -> usize {
        self.pending.len() + self.ready.len()
    }

    /// Sends a request and gives the number that its answer will have. `payload` is a
    /// write's bytes, as many as `length`; of others it is empty. With [`MAX_PENDING`]
    /// in flight, first waits for an answer (and keeps it).
    pub fn submit(
        &mut self,
        command: Asked,
        offset: u64,
        length: u32,
        payload: &[u8],
        fua: bool,
    ) -> Result<u64, ClientError> {
        if self.pending.len() >= MAX_PENDING {
            let answer = self.receive()?;
            self.ready.push_back(answer);
        }
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let flags = if fua { command::FLAG_FUA } else { 0 };
        let header = RequestHeader {
            flags,
            command: command.number(),
            cookie,
            offset,
            length,
        };
        let bytes = header.encode();
        self.socket
            .send_all(&mut [IoSlice::new(&bytes), IoSlice::new(payload)])?;
        self.pending.insert(cookie, Pending { command, length });
        Ok(cookie)
    }

    /// The next answer, of whatever request. There must be one pending.
    pub fn wait(&mut self) -> Result<Answer, ClientError> {
        match self.ready.pop_front() {
            Some(answer) => Ok(answer),
            None => self.receive(),
        }
    }

    /// Reads `length` bytes at `offset`.
    pub fn read(&mut self, offset: u64, length: u32) -> Result<Vec<u8>, ClientError> {
        self.run(Asked::Read, offset, length, &[], false)
    }

    /// Writes; with `fua`, to stable storage.
    pub fn write(&mut self, offset: u64, data: &[u8], fua: bool) -> Result<(), ClientError> {
        self.run(Asked::Write, offset, data.len() as u32, data, fua)
            .map(drop)
    }

    /// Makes all that was answered before durable.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.run(Asked::Flush, 0, 0, &[], false).map(drop)
    }

    /// Lets the server forget a range.
    pub fn trim(&mut self, offset: u64, length: u32) -> Result<(), ClientError> {
        self.run(Asked::Trim, offset, length, &[], false).map(drop)
    }

    /// Makes a range zero.
    pub fn zeroes(&mut self, offset: u64, length: u32) -> Result<(), ClientError> {
        self.run(Asked::Zeroes, offset, length, &[], false)
            .map(drop)
    }

    /// Takes leave. Answers still pending are lost; what was asked is done all the same.
    pub fn disconnect(self) -> Result<(), ClientError> {
        let header = RequestHeader {
            flags: 0,
            command: command::DISCONNECT,
            cookie: self.next_cookie,
            offset: 0,
            length: 0,
        };
        self.socket
            .send_all(&mut [IoSlice::new(&header.encode())])?;
        self.socket.shutdown(Shutdown::Write);
        Ok(())
    }

    fn run(
        &mut self,
        command: Asked,
        offset: u64,
        length: u32,
        payload: &[u8],
        fua: bool,
    ) -> Result<Vec<u8>, ClientError> {
        let cookie = self.submit(command, offset, length, payload, fua)?;
        loop {
            let answer = self.receive()?;
            if answer.cookie == cookie {
                return answer.result.map_err(|errno| ClientError::Request {
                    command,
                    offset,
                    length,
                    errno,
                });
            }
            self.ready.push_back(answer);
        }
    }

    fn receive(&mut self) -> Result<Answer, ClientError> {
        let mut bytes = [0; SIMPLE_REPLY_LENGTH];
        self.input
            .fill(&self.socket, &mut bytes, Wait::Within(self.limit))?;
        if u32::from_be_bytes(array(&bytes, 0)) != SIMPLE_REPLY_MAGIC {
            return Err(ClientError::Protocol("a reply begins with something else"));
        }
        let result = error_of_number(u32::from_be_bytes(array(&bytes, 4)));
        let cookie = u64::from_be_bytes(array(&bytes, 8));
        let pending = self.pending.remove(&cookie);
        let pending = pending.ok_or(ClientError::Protocol("a reply to no request of ours"))?;
        let mut data = Vec::new();
        if result.is_ok() && pending.command == Asked::Read {
            data.resize(pending.length as usize, 0);
            self.input
                .fill(&self.socket, &mut data, Wait::Within(self.limit))?;
        }
        Ok(Answer {
            cookie,
            result: result.map(|()| data),
        })
    }

    fn handshake(&mut self, export: &str, wait: Wait) -> Result<(), ClientError> {
        let mut greeting = [0; 18];
        self.input.fill(&self.socket, &mut greeting, wait)?;
        let flags = u16::from_be_bytes(array(&greeting, 16));
        if u64::from_be_bytes(array(&greeting, 0)) != NBD_MAGIC
            || u64::from_be_bytes(array(&greeting, 8)) != OPTION_MAGIC
            || flags & FLAG_FIXED_NEWSTYLE == 0
        {
            return Err(ClientError::Protocol("its greeting is not fixed newstyle"));
        }
        let mut hello = u32::from(flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES))
            .to_be_bytes()
            .to_vec();
        hello.extend(OPTION_MAGIC.to_be_bytes());
        hello.extend(option::GO.to_be_bytes());
        hello.extend((export.len() as u32 + 8).to_be_bytes());
        hello.extend((export.len() as u32).to_be_bytes());
        hello.extend(export.as_bytes());
        hello.extend(1u16.to_be_bytes());
        hello.extend(info::BLOCK_SIZE.to_be_bytes());
        self.socket.send_all(&mut [IoSlice::new(&hello)])?;
        let mut known = false;
        loop {
            match self.option_reply(wait)? {
                (option_reply::ACK, _) if known => return Ok(()),
                (option_reply::ACK, _) => {
                    return Err(ClientError::Protocol(
                        "it did not say how large the export is",
                    ));
                }
                (option_reply::INFO, data) => known |= self.take_info(&data),
                (number, text) => {
                    let reason = match String::from_utf8_lossy(&text) {
                        text if text.is_empty() => format!("error {number:#x}"),
                        text => text.into_owned(),
                    };
                    return Err(ClientError::Refused {
                        export: export.to_owned(),
                        reason,
                    });
                }
            }
        }
    }

    fn option_reply(&mut self, wait: Wait) -> Result<(u32, Vec<u8>), ClientError> {
        let mut header = [0; 20];
        self.input.fill(&self.socket, &mut header, wait)?;
        if u64::from_be_bytes(array(&header, 0)) != OPTION_REPLY_MAGIC
            || u32::from_be_bytes(array(&header, 8)) != option::GO
        {
            return Err(ClientError::Protocol(
                "an option reply begins with something else",
            ));
        }
        let length = u32::from_be_bytes(array(&header, 16)) as usize;
        if length > MAX_OPTION {
            return Err(ClientError::Protocol("an option reply is too long"));
        }
        let mut data = vec![0; length];
        self.input.fill(&self.socket, &mut data, wait)?;
        Ok((u32::from_be_bytes(array(&header, 12)), data))
    }

    /// Takes one piece of information; whether it was the one on the export.
    fn take_info(&mut self, data: &[u8]) -> bool {
        let kind = data.first_chunk().map(|kind| u16::from_be_bytes(*kind));
        match (kind, data.len()) {
            (Some(info::EXPORT), 12) => {
                self.size = u64::from_be_bytes(array(data, 2));
                self.flags = u16::from_be_bytes(array(data, 10));
                true
            }
            (Some(info::BLOCK_SIZE), 14) => {
                self.block_sizes = Some([2, 6, 10].map(|at| u32::from_be_bytes(array(data, at))));
                false
            }
            _ => false,
        }
    }
}
