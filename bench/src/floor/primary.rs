//! The floor's primary: one thread reads requests, sends writes on and writes them here; another
//! reads the acknowledgements. Whichever finishes a request last replies to the client.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::nbd::{self, Command, Request};
use super::{FLUSH, Head, INPUT, WRITE};
use crate::Result;

/// More than any client here has in flight, so that a number's slot is free when it comes round.
const SLOTS: usize = 1024;

/// A write or flush under way.
#[derive(Debug, Default)]
struct Slot {
    cookie: AtomicU64,
    /// Copies that have it; who adds the second replies.
    copies: AtomicU8,
}

struct Session {
    slots: Vec<Slot>,
    client: Mutex<UnixStream>,
}

impl Session {
    fn slot(&self, number: u64) -> &Slot {
        &self.slots[number as usize % SLOTS]
    }

    /// One copy has the request; true if both have.
    fn copied(&self, number: u64) -> bool {
        self.slot(number).copies.fetch_add(1, Ordering::AcqRel) == 1
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(client.write_all(bytes)?)
    }
}

/// Serves `file` on `socket`, with the secondary at `peer`, one client after the other.
pub fn run(peer: &str, file: &Path, socket: &Path) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    let listener = UnixListener::bind(socket)?;
    loop {
        let (client, _) = listener.accept()?;
        // A client that leaves is no reason to stop.
        if let Err(error) = serve(&client, peer, &file) {
            eprintln!("{error}");
        }
    }
}

fn serve(client: &UnixStream, peer: &str, file: &File) -> Result<()> {
    let mut input = BufReader::with_capacity(INPUT, client);
    nbd::negotiate(&mut input, &mut &*client, file.metadata()?.len())?;
    let peer = TcpStream::connect(peer)?;
    peer.set_nodelay(true)?;
    let session = Session {
        slots: (0..SLOTS).map(|_| Slot::default()).collect(),
        client: Mutex::new(client.try_clone()?),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Err(error) = acknowledgements(&session, &peer) {
                eprintln!("{error}");
            }
        });
        let result = requests(&session, &mut input, &peer, file);
        peer.shutdown(Shutdown::Both)?;
        result
    })
}

fn requests(
    session: &Session,
    input: &mut impl Read,
    mut peer: &TcpStream,
    file: &File,
) -> Result<()> {
    let mut buffer = Vec::new();
    for number in 0.. {
        let Request {
            command,
            cookie,
            offset,
            length,
        } = nbd::request(input)?;
        let mut head = Head {
            command: WRITE,
            length,
            number,
            offset,
        };
        match command {
            Command::Disconnect => break,
            Command::Read => {
                // Reply and data leave together.
                buffer.resize(16 + length as usize, 0);
                buffer[..16].copy_from_slice(&nbd::reply(cookie));
                file.read_exact_at(&mut buffer[16..], offset)?;
                session.send(&buffer)?;
                continue;
            }
            Command::Write => {
                buffer.resize(length as usize, 0);
                input.read_exact(&mut buffer)?;
            }
            Command::Flush => {
                head.command = FLUSH;
                buffer.clear();
            }
        }
        let slot = session.slot(number);
        slot.cookie.store(cookie, Ordering::Relaxed);
        slot.copies.store(0, Ordering::Release);
        send_both(&mut peer, &head.encode(), &buffer)?;
        if command == Command::Flush {
            file.sync_data()?;
        } else {
            file.write_all_at(&buffer, offset)?;
        }
        if session.copied(number) {
            session.send(&nbd::reply(cookie))?;
        }
    }
    Ok(())
}

/// Sends head and data with one system call where the socket has room.
fn send_both(peer: &mut &TcpStream, head: &[u8], data: &[u8]) -> Result<()> {
    let sent = peer.write_vectored(&[IoSlice::new(head), IoSlice::new(data)])?;
    if sent < head.len() {
        peer.write_all(&head[sent..])?;
        peer.write_all(data)?;
    } else if sent < head.len() + data.len() {
        peer.write_all(&data[sent - head.len()..])?;
    }
    Ok(())
}

/// Reads acknowledgements and replies; those that came together are replied to together.
fn acknowledgements(session: &Session, peer: &TcpStream) -> Result<()> {
    let mut input = BufReader::with_capacity(INPUT, peer);
    let mut replies = Vec::new();
    loop {
        let mut number = [0; 8];
        if let Err(error) = input.read_exact(&mut number) {
            return match error.kind() {
                std::io::ErrorKind::UnexpectedEof => Ok(()),
                _ => Err(error.into()),
            };
        }
        let number = u64::from_le_bytes(number);
        let cookie = session.slot(number).cookie.load(Ordering::Relaxed);
        if session.copied(number) {
            replies.extend(nbd::reply(cookie));
        }
        if input.buffer().len() < size_of::<u64>() && !replies.is_empty() {
            session.send(&replies)?;
            replies.clear();
        }
    }
}
