//! A worker's log on its way to the main process, which goes on reaching syslog when the worker, confined,
//! does not: a syslogd that was restarted is another one.
//!
//! A pipe of lines; a line's first character says how much it matters. Never waits, at either end: lines
//! that the pipe has no room for are left out, and how many were is said as soon as there is room. Invariant:
//! lines arrive in order and whole, but for one at which its worker was killed; what is kept of one at either end is bounded by its own length or
//! [`LINE_LENGTH`], whatever the other end does.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use log::Level;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Longest line that is taken whole, in bytes; a longer one arrives as several. syslogd(8) takes no more
/// than 8 KiB.
const LINE_LENGTH: usize = 8 << 10;

/// Each level and its mark.
const MARKS: [(Level, u8); 5] = [
    (Level::Error, b'E'),
    (Level::Warn, b'W'),
    (Level::Info, b'I'),
    (Level::Debug, b'D'),
    (Level::Trace, b'T'),
];

/// Nobody reads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the log any more")]
pub struct Gone;

/// The worker's end.
#[derive(Debug)]
pub struct Sender {
    pipe: PipeWriter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the pipe had no room for of a line that has begun.
    rest: Vec<u8>,
    /// Lines that were left out, and of which nothing has been said.
    left_out: u64,
}

impl Sender {
    /// Sends over a pipe's writing end.
    ///
    /// # Errors
    /// It can not be made not to wait.
    pub fn new(pipe: OwnedFd) -> io::Result<Self> {
        never_wait(pipe.as_fd())?;
        Ok(Self {
            pipe: PipeWriter::from(pipe),
            state: Mutex::default(),
        })
    }

    /// Sends a line, which has no line breaks of its own, or counts it as left out.
    pub fn send(&self, level: Level, text: &str) -> Result<(), Gone> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.catch_up(&mut state)? || !self.begin(&mut state, level, text)? {
            state.left_out += 1;
        }
        Ok(())
    }

    /// Sends what is owed: the rest of a line, and how many were left out.
    pub fn flush(&self) -> Result<(), Gone> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.catch_up(&mut state).map(drop)
    }

    /// Whether nothing is owed any more.
    fn catch_up(&self, state: &mut State) -> Result<bool, Gone> {
        let sent = self.write(&state.rest)?;
        state.rest.drain(..sent);
        if state.rest.is_empty() && state.left_out > 0 {
            let notice = format!(
                "{} lines of this log were left out: there were too many at once.",
                state.left_out
            );
            if self.begin(state, Level::Warn, &notice)? {
                state.left_out = 0;
            }
        }
        Ok(state.rest.is_empty() && state.left_out == 0)
    }

    /// Begins a line where nothing is owed of another. Whether any of it went.
    fn begin(&self, state: &mut State, level: Level, text: &str) -> Result<bool, Gone> {
        let mut line = Vec::with_capacity(text.len() + 2);
        line.push(mark(level));
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        let sent = self.write(&line)?;
        if sent == 0 {
            return Ok(false);
        }
        state.rest.extend_from_slice(&line[sent..]);
        Ok(true)
    }

    /// Writes what there is room for; how much that was.
    fn write(&self, bytes: &[u8]) -> Result<usize, Gone> {
        let mut sent = 0;
        while sent < bytes.len() {
            match (&self.pipe).write(&bytes[sent..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return Err(Gone),
                Ok(length) => sent += length,
            }
        }
        Ok(sent)
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// The main process's end.
#[derive(Debug)]
pub struct Receiver {
    pipe: PipeReader,
    /// What has come of a line that has not ended.
    line: Vec<u8>,
    /// How much it matters, once that has come.
    level: Option<Level>,
}

/// Why [`Receiver::receive`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Nothing more for now, or ever.
    All,
    /// As much as was wanted; there may be more.
    Some,
}

impl Receiver {
    /// Both ends of a new pipe, closed on exec; the other one is a [`Sender`]'s, in another process.
    ///
    /// # Errors
    /// The system gives no descriptors.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (pipe, theirs) = io::pipe()?;
        never_wait(pipe.as_fd())?;
        let receiver = Self {
            pipe,
            line: Vec::new(),
            level: None,
        };
        Ok((receiver, theirs.into()))
    }

    /// Takes in what is there, about `most` bytes, and hands over each line.
    pub fn receive(&mut self, most: usize, mut take: impl FnMut(Level, &str)) -> Received {
        let mut piece = [0; 4096];
        let mut taken = 0;
        while taken < most {
            match self.pipe.read(&mut piece) {
                Ok(0) => {
                    self.end_line(&mut take);
                    return Received::All;
                }
                Ok(length) => {
                    for byte in &piece[..length] {
                        self.add(*byte, &mut take);
                    }
                    taken += length;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Received::All,
            }
        }
        Received::Some
    }

    fn add(&mut self, byte: u8, take: &mut impl FnMut(Level, &str)) {
        match self.level {
            _ if byte == b'\n' => {
                self.end_line(take);
                self.level = None;
            }
            None => self.level = Some(level(byte)),
            Some(_) => {
                self.line.push(byte);
                if self.line.len() >= LINE_LENGTH {
                    self.end_line(take);
                }
            }
        }
    }

    /// Hands over what is there as a line.
    fn end_line(&mut self, take: &mut impl FnMut(Level, &str)) {
        if let Some(level) = self.level
            && !self.line.is_empty()
        {
            take(level, &String::from_utf8_lossy(&self.line));
        }
        self.line.clear();
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }
}

fn never_wait(pipe: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn mark(level: Level) -> u8 {
    let own = MARKS.into_iter().find(|(other, _)| *other == level);
    own.map_or(b'I', |(_, mark)| mark)
}

/// Of a mark that nobody knows, that of most lines.
fn level(mark: u8) -> Level {
    let own = MARKS.into_iter().find(|(_, other)| *other == mark);
    own.map_or(Level::Info, |(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sender, Receiver) {
        let (receiver, theirs) = Receiver::new().expect("a pipe");
        (Sender::new(theirs).expect("a sender"), receiver)
    }

    fn all(receiver: &mut Receiver) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        let end = receiver.receive(usize::MAX, |level, text| {
            lines.push((level, text.to_owned()));
        });
        assert_eq!(end, Received::All);
        lines
    }

    #[test]
    fn lines_arrive_as_they_were_sent() {
        let (sender, mut receiver) = pair();
        let sent = MARKS.map(|(level, _)| (level, format!("a line of level {level}, é")));
        for (level, text) in &sent {
            sender.send(*level, text).expect("somebody reads");
        }
        assert_eq!(all(&mut receiver), sent);
        assert_eq!(all(&mut receiver), []);
    }

    #[test]
    fn what_was_sent_outlives_the_sender() {
        let (sender, mut receiver) = pair();
        sender.send(Level::Error, "last words").expect("sent");
        drop(sender);
        let words = (Level::Error, "last words".to_owned());
        assert_eq!(all(&mut receiver), [words]);
    }

    #[test]
    fn a_flood_waits_for_nobody_and_is_accounted_for() {
        const LINES: usize = 100_000;
        let (sender, mut receiver) = pair();
        // Longer than what a pipe takes whole or not at all, too.
        let text = |number: usize| format!("{number} {}", "x".repeat(number % 7000));
        for number in 0..LINES {
            sender.send(Level::Debug, &text(number)).expect("sent");
        }
        let mut arrived = all(&mut receiver);
        sender.flush().expect("somebody reads");
        arrived.extend(all(&mut receiver));
        assert_eq!(arrived.last().map(|(level, _)| *level), Some(Level::Warn));
        let (mut before, mut whole, mut left_out) = (None, 0, 0);
        for (level, line) in &arrived {
            let number = line
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok());
            let number: usize = number.expect("a number");
            if *level == Level::Warn {
                left_out += number;
                continue;
            }
            assert_eq!(line, &text(number));
            assert!(Some(number) > before, "in order");
            before = Some(number);
            whole += 1;
        }
        assert!(whole > 5, "{whole} lines");
        assert_eq!(whole + left_out, LINES);
        sender.flush().expect("somebody reads");
        assert_eq!(all(&mut receiver), [], "said once");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (sender, mut receiver) = pair();
        sender
            .send(Level::Info, &"y".repeat(LINE_LENGTH + 3))
            .expect("sent");
        let lengths: Vec<_> = all(&mut receiver)
            .iter()
            .map(|(_, line)| line.len())
            .collect();
        assert_eq!(lengths, [LINE_LENGTH, 3]);
        // Nothing is kept of one that never ends.
        (&sender.pipe)
            .write_all(&vec![b'z'; 3 * LINE_LENGTH])
            .expect("room");
        assert_eq!(receiver.receive(LINE_LENGTH, |_, _| {}), Received::Some);
        all(&mut receiver);
        assert!(receiver.line.len() < LINE_LENGTH);
    }

    #[test]
    fn a_reader_that_is_gone_is_noticed() {
        let (sender, receiver) = pair();
        drop(receiver);
        assert_eq!(sender.send(Level::Info, "x"), Err(Gone));
        assert_eq!(sender.flush(), Ok(()), "nothing is owed");
    }
}
