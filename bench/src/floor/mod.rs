//! The floor: only the work that no replication can do without. A write goes to the local file, over
//! one TCP connection, to the other file, and is acknowledged. No marks, no counters, no range locks, no
//! flushes, no reconnection: an upper bound of what the same machine could do, not a storage system.
//!
//! [`primary`] and [`secondary`] are a pair behind the same NBD front end as hastd's; [`copy`]
//! moves a whole file in pieces, for synchronisation. Each runs as a process of its own, as
//! hastd's workers do.

pub mod copy;
mod nbd;
pub mod primary;
pub mod secondary;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::process::{Running, wait_until};

/// Bytes read from a socket ahead: many small messages, or the head of a large one, whose data then goes
/// straight to its place.
const INPUT: usize = 32 << 10;

/// What precedes each request between the two: command, length, number, offset.
#[derive(Debug, Clone, Copy)]
struct Head {
    command: u32,
    length: u32,
    number: u64,
    offset: u64,
}

const WRITE: u32 = 1;
const FLUSH: u32 = 2;

impl Head {
    const SIZE: usize = 24;

    fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.command.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    fn read(input: &mut impl Read) -> std::io::Result<Self> {
        let mut word = [0; 4];
        let mut long = [0; 8];
        input.read_exact(&mut word)?;
        let command = u32::from_le_bytes(word);
        input.read_exact(&mut word)?;
        let length = u32::from_le_bytes(word);
        input.read_exact(&mut long)?;
        let number = u64::from_le_bytes(long);
        input.read_exact(&mut long)?;
        Ok(Self {
            command,
            length,
            number,
            offset: u64::from_le_bytes(long),
        })
    }
}

/// Listens where there is room and tells whoever started this process where.
fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(listener)
}

/// A floor process that listens; killed when dropped.
#[derive(Debug)]
pub struct Listening {
    child: Child,
    /// Where.
    pub address: String,
}

impl Listening {
    /// Starts this program again as `words`, behind `prefix` (as `ip netns exec ...`).
    pub fn start(prefix: &[String], words: &[&str], file: &Path) -> Result<Self> {
        let mut command = ourselves(prefix, words)?;
        command.arg(file).stdout(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn()?;
        let output = child.stdout.take().ok_or("no output to read")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self {
            child,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It serves until it is killed; if it ended already there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that runs this program again.
pub fn ourselves(prefix: &[String], words: &[&str]) -> Result<Command> {
    let executable = std::env::current_exe()?;
    let mut command = match prefix.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(executable);
            command
        }
        None => Command::new(executable),
    };
    command.args(words);
    Ok(command)
}

/// A floor pair behind NBD.
#[derive(Debug)]
pub struct Floor {
    /// Where its primary listens for NBD clients.
    pub socket: PathBuf,
    _primary: Running,
    _secondary: Listening,
}

impl Floor {
    /// Starts the two over these files.
    pub fn start(file: &Path, other: &Path, sockets: &Path) -> Result<Self> {
        let secondary = Listening::start(&[], &["floor-secondary"], other)?;
        let socket = sockets.join("floor");
        let mut command = ourselves(&[], &["floor-primary", &secondary.address])?;
        command.arg(file).arg(&socket);
        let primary = Running::start(command, &sockets.join("floor.log"))?;
        wait_until("the floor's socket", Duration::from_secs(10), || {
            Ok(socket.exists())
        })?;
        Ok(Self {
            socket,
            _primary: primary,
            _secondary: secondary,
        })
    }
}
