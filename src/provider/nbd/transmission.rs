//! The reader of one client: takes requests off the socket, refuses the bad ones, and hands
//! the good ones to the backend in pieces it accepts. Backpressure happens here: the reader
//! waits for a buffer or for the client's share, and reads nothing meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;

use super::compound::{Compound, Range};
use super::connection::{Closed, Connection};
use super::input::{Input, InputError, Wait};
use super::protocol::{REQUEST_LENGTH, RequestHeader, command};
use super::reply::{Data, Reply};
use super::server::Export;
use crate::provider::follower::Jobs;
use crate::provider::{Backend, Buffer, BufferError, Command, MAX_REQUEST, ProviderRequest, lock};

/// Why a client is read no further.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// It said goodbye, or hung up between requests.
    #[error("the client has left")]
    Left,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The sending side closed the connection.
    #[error("the client takes no replies")]
    Closed,
    #[error("{0}")]
    Input(InputError),
    #[error("{0:#010x} is in place of a request's magic")]
    BadMagic(u32),
    #[error("a request of {length} bytes; at most {largest} are accepted")]
    TooLong { length: u32, largest: u32 },
    #[error("no buffer for a request: {0}")]
    Buffer(#[from] BufferError),
}

impl From<InputError> for Ended {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Closed => Self::Left,
            error => Self::Input(error),
        }
    }
}

impl From<Closed> for Ended {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// What one client's reader works with.
pub(super) struct Transmission<'a> {
    pub connection: Arc<Connection>,
    pub input: &'a mut Input,
    pub export: &'a Export,
    pub backend: &'a dyn Backend,
    pub follower: &'a Jobs<Compound>,
    /// Held while buffers are collected for a read that is answered in one reply: two
    /// clients with half of their buffers each would wait for each other for ever.
    pub gathering: &'a Mutex<()>,
    /// The largest request accepted, in bytes.
    pub max_request: u32,
    /// How long the rest of a request may take.
    pub stall: Duration,
    pub stopping: &'a AtomicBool,
    /// Requests not handed over yet: never while the reader waits for anything.
    pub ready: Vec<ProviderRequest>,
}

/// Requests handed over at once at most: beyond, the first would wait longer than it saves.
const MAX_READY: usize = 32;
/// A request longer than this is handed over at once: moving its bytes takes longer than that.
const READY_BYTES: usize = 32 << 10;

impl Transmission<'_> {
    /// Serves the client until it leaves or has to.
    pub(super) fn run(mut self) -> Ended {
        loop {
            if let Err(ended) = self.serve_one() {
                self.hand_over();
                return ended;
            }
            if self.stopping.load(Ordering::Relaxed) {
                self.hand_over();
                return Ended::Stopping;
            }
        }
    }

    fn serve_one(&mut self) -> Result<(), Ended> {
        let mut bytes = [0; REQUEST_LENGTH];
        if self.input.buffered() < REQUEST_LENGTH {
            self.hand_over();
        }
        self.input
            .fill(self.connection.socket(), &mut bytes, Wait::Idle(self.stall))?;
        let header = RequestHeader::decode(&bytes).map_err(Ended::BadMagic)?;
        let command = match header.command {
            command::DISCONNECT => return Err(Ended::Left),
            command::READ => Ok(Command::Read),
            command::WRITE => Ok(Command::Write),
            command::FLUSH => Ok(Command::Flush),
            command::TRIM => Ok(Command::Delete),
            command::WRITE_ZEROES => Ok(Command::Zeroes),
            _ => Err(Errno::EINVAL),
        };
        if matches!(command, Ok(Command::Read | Command::Write)) && header.length > self.max_request
        {
            let (length, largest) = (header.length, self.max_request);
            return Err(Ended::TooLong { length, largest });
        }
        match command.and_then(|command| check(self.export, command, &header)) {
            Ok(range) => self.issue(range),
            Err(error) => self.refuse(&header, error),
        }
    }

    fn refuse(&mut self, header: &RequestHeader, error: Errno) -> Result<(), Ended> {
        self.hand_over();
        self.connection.admit_request(0)?;
        if header.command == command::READ {
            let header = self.connection.read_error(header.cookie, error);
            self.connection.reply(Reply {
                header,
                data: Data::None,
                bytes: 0,
                last: true,
            });
            return Ok(());
        }
        if header.command == command::WRITE {
            self.skip(header.length)?;
        }
        self.connection.answer(header.cookie, 0, Some(error));
        Ok(())
    }

    /// Drops a payload.
    fn skip(&mut self, mut length: u32) -> Result<(), Ended> {
        let mut scrap = [0; 16 << 10];
        while length > 0 {
            let part = scrap.len().min(length as usize);
            self.receive(&mut scrap[..part])?;
            length -= part as u32;
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<(), Ended> {
        if self.input.buffered() < bytes.len() {
            self.hand_over();
        }
        let wait = Wait::Within(self.stall);
        match self.input.fill(self.connection.socket(), bytes, wait) {
            // A payload was promised.
            Err(InputError::Closed) => Err(Ended::Input(InputError::Truncated)),
            result => Ok(result?),
        }
    }

    /// Hands over what is ready.
    fn hand_over(&mut self) {
        if !self.ready.is_empty() {
            self.backend.submit_all(&mut self.ready);
        }
    }

    /// A buffer, for which only a reader that holds nothing back waits.
    fn buffer(&mut self, length: usize) -> Result<Buffer, BufferError> {
        if let Some(buffer) = self.backend.buffer_now(length)? {
            return Ok(buffer);
        }
        self.hand_over();
        self.backend.buffer(length)
    }

    fn issue(&mut self, range: Range) -> Result<(), Ended> {
        let length = range.end - range.start;
        if length > u64::from(MAX_REQUEST) || range.fua {
            self.hand_over();
        }
        let compound = || Compound::new(self.connection.clone(), self.follower, range);
        match range.command {
            _ if length <= u64::from(MAX_REQUEST) && !range.fua => self.issue_single(range),
            Command::Read if self.connection.structured => self.issue_chunks(&compound()),
            Command::Read => self.issue_gathered(&compound(), length as usize),
            Command::Write => self.issue_write(&compound()),
            Command::Zeroes | Command::Delete | Command::Flush => {
                self.connection.admit_request(0)?;
                compound().begin(self.backend);
                Ok(())
            }
        }
    }

    /// The common case: one piece, and the connection itself is the requester.
    fn issue_single(&mut self, range: Range) -> Result<(), Ended> {
        let length = (range.end - range.start) as usize;
        let has_data = matches!(range.command, Command::Read | Command::Write);
        let counted = if has_data { length } else { 0 };
        if !self.connection.has_room(counted) {
            self.hand_over();
        }
        self.connection.admit_request(counted)?;
        let data = has_data.then(|| self.buffer(length)).transpose()?;
        let data = match data {
            Some(mut data) if range.command == Command::Write => {
                self.receive(&mut data)?;
                Some(data)
            }
            data => data,
        };
        self.ready.push(ProviderRequest::new(
            self.connection.clone(),
            range.cookie,
            range.command,
            range.start,
            length as u32,
            data,
        ));
        if self.ready.len() >= MAX_READY || length > READY_BYTES {
            self.hand_over();
        }
        Ok(())
    }

    fn issue_write(&mut self, compound: &Arc<Compound>) -> Result<(), Ended> {
        self.connection.admit_request(0)?;
        for (offset, length) in compound.pieces() {
            self.connection.admit_piece(length as usize)?;
            let mut data = self.backend.buffer(length as usize)?;
            self.receive(&mut data)?;
            self.backend
                .submit(compound.piece(offset, length, Some(data)));
        }
        Ok(())
    }

    /// A long read of a client that takes chunks: each leaves when it is there.
    fn issue_chunks(&mut self, compound: &Arc<Compound>) -> Result<(), Ended> {
        self.connection.admit_request(0)?;
        for (offset, length) in compound.pieces() {
            self.connection.admit_piece(length as usize)?;
            let data = self.backend.buffer(length as usize)?;
            self.backend
                .submit(compound.piece(offset, length, Some(data)));
        }
        Ok(())
    }

    /// A long read that has to be answered in one reply: all of its buffers are needed at once.
    fn issue_gathered(&mut self, compound: &Arc<Compound>, length: usize) -> Result<(), Ended> {
        self.connection.admit_request(length)?;
        let gathering = lock(self.gathering);
        for (offset, length) in compound.pieces() {
            let data = self.backend.buffer(length as usize)?;
            self.backend
                .submit(compound.piece(offset, length, Some(data)));
        }
        drop(gathering);
        Ok(())
    }
}

/// The range that a request is about, or why it is refused (proto.md, "Error values").
fn check(export: &Export, command: Command, header: &RequestHeader) -> Result<Range, Errno> {
    let allowed = match command {
        Command::Zeroes => command::FLAG_FUA | command::FLAG_NO_HOLE,
        _ => command::FLAG_FUA,
    };
    if header.flags & !allowed != 0 {
        return Err(Errno::EINVAL);
    }
    let (start, length) = (header.offset, u64::from(header.length));
    let fua = header.flags & command::FLAG_FUA != 0
        && matches!(command, Command::Write | Command::Zeroes | Command::Delete);
    let range = |end| Range {
        cookie: header.cookie,
        command,
        start,
        end,
        fua,
    };
    if command == Command::Flush {
        return if start == 0 && length == 0 {
            Ok(range(0))
        } else {
            Err(Errno::EINVAL)
        };
    }
    let sector = u64::from(export.sector_size);
    if length == 0 || !start.is_multiple_of(sector) || !length.is_multiple_of(sector) {
        return Err(Errno::EINVAL);
    }
    match start.checked_add(length) {
        Some(end) if end <= export.size => Ok(range(end)),
        _ if matches!(command, Command::Write | Command::Zeroes) => Err(Errno::ENOSPC),
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(command: Command, flags: u16, offset: u64, length: u32) -> Result<bool, Errno> {
        let export = Export {
            name: "x".into(),
            size: 1 << 20,
            sector_size: 512,
        };
        let header = RequestHeader {
            flags,
            command: 0,
            cookie: 1,
            offset,
            length,
        };
        check(&export, command, &header).map(|range| range.fua)
    }

    #[test]
    fn what_is_not_whole_sectors_is_refused() {
        assert_eq!(checked(Command::Read, 0, 512, 1024), Ok(false));
        for (offset, length) in [(1, 512), (0, 511), (0, 0), (256, 256)] {
            for command in [
                Command::Read,
                Command::Write,
                Command::Delete,
                Command::Zeroes,
            ] {
                assert_eq!(checked(command, 0, offset, length), Err(Errno::EINVAL));
            }
        }
    }

    #[test]
    fn beyond_the_end_writes_have_no_space_and_others_are_invalid() {
        for offset in [1 << 20, (1 << 20) - 512, u64::MAX - 511] {
            assert_eq!(checked(Command::Write, 0, offset, 1024), Err(Errno::ENOSPC));
            assert_eq!(
                checked(Command::Zeroes, 0, offset, 1024),
                Err(Errno::ENOSPC)
            );
            assert_eq!(checked(Command::Read, 0, offset, 1024), Err(Errno::EINVAL));
            assert_eq!(
                checked(Command::Delete, 0, offset, 1024),
                Err(Errno::EINVAL)
            );
        }
        assert_eq!(checked(Command::Write, 0, (1 << 20) - 512, 512), Ok(false));
    }

    #[test]
    fn flags_are_those_offered() {
        assert_eq!(checked(Command::Write, 1, 0, 512), Ok(true));
        assert_eq!(
            checked(Command::Read, 1, 0, 512),
            Ok(false),
            "no effect on reads"
        );
        assert_eq!(checked(Command::Zeroes, 3, 0, 512), Ok(true));
        assert_eq!(checked(Command::Write, 2, 0, 512), Err(Errno::EINVAL));
        assert_eq!(
            checked(Command::Read, 4, 0, 512),
            Err(Errno::EINVAL),
            "DF is not offered"
        );
        assert_eq!(
            checked(Command::Zeroes, 16, 0, 512),
            Err(Errno::EINVAL),
            "nor FAST_ZERO"
        );
        assert_eq!(checked(Command::Flush, 0, 0, 0), Ok(false));
        assert_eq!(checked(Command::Flush, 0, 512, 0), Err(Errno::EINVAL));
    }
}
