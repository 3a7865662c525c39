//! The agent's socket: who may open it (its owner, root) may ask. Each connection has a thread and one request.
//!
//! Invariants: a bounded number of connections; a line of a bounded length; who says nothing, or nonsense,
//! or does not read, is hung up on.

use std::io::{self, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use nix::sys::stat::{Mode, umask};

use super::protocol::{self, Answer, Request};

/// Connections at the same time.
const CONNECTIONS: usize = 64;
/// How long a request may take to come, and an answer to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers that wait for a client.
pub const WAITING: usize = 256;
/// How often a client that follows is looked at, whether it is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("another hast-failover is running: it answers at {0}")]
    Taken(String),
    /// It can not be made.
    #[error("cannot listen at {path}: {error}")]
    Io {
        /// Where.
        path: String,
        /// Why.
        error: io::Error,
    },
}

/// Makes the socket, in the place of one that nobody answers at. To be called while there is one thread.
pub fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let name = path.display().to_string();
    let io = |error| SocketError::Io {
        path: name.clone(),
        error,
    };
    if UnixStream::connect(path).is_ok() {
        return Err(SocketError::Taken(name));
    }
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if is_socket {
        std::fs::remove_file(path).map_err(io)?;
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener.map_err(io)
}

/// Answers requests.
pub trait Serve: Send + Sync + 'static {
    /// What is answered; more may come through the channel until it closes.
    fn answer(&self, request: Request) -> Reply;
}

/// What is answered to a request.
pub enum Reply {
    /// This, and no more.
    One(Answer),
    /// Whatever comes, until the channel closes.
    Many(Receiver<Answer>),
}

/// Serves in a thread of its own for as long as the process lives.
pub fn serve(listener: UnixListener, agent: Arc<dyn Serve>) -> io::Result<()> {
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            loop {
                let stream = match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        log::error!("Unable to accept a connection of the control socket: {error}");
                        std::thread::sleep(LOOK);
                        continue;
                    }
                };
                if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS {
                    open.fetch_sub(1, Ordering::AcqRel);
                    continue;
                }
                let (agent, count) = (Arc::clone(&agent), Arc::clone(&open));
                let talk = move || {
                    if let Err(error) = talk(&stream, &*agent) {
                        log::debug!("A connection of the control socket: {error}");
                    }
                    count.fetch_sub(1, Ordering::AcqRel);
                };
                let thread = std::thread::Builder::new().name("client".to_owned());
                if let Err(error) = thread.spawn(talk) {
                    log::error!("Unable to start a thread: {error}");
                    open.fetch_sub(1, Ordering::AcqRel);
                }
            }
        })
        .map(drop)
}

fn talk(stream: &UnixStream, agent: &dyn Serve) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = match protocol::read::<Request>(&mut BufReader::new(stream)) {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let why = format!("this is no request: {error}");
            return say(stream, &Answer::Refused { why });
        }
        Err(error) => return Err(error),
    };
    match agent.answer(request) {
        Reply::One(answer) => say(stream, &answer),
        Reply::Many(answers) => loop {
            match answers.recv_timeout(LOOK) {
                Ok(answer) => say(stream, &answer)?,
                Err(RecvTimeoutError::Timeout) if has_gone(stream)? => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        },
    }
}

fn say(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    stream.write_all(&protocol::line(answer)?)
}

/// Whether the client has closed its end.
fn has_gone(stream: &UnixStream) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut watched = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO)?;
    let events = watched[0].revents().unwrap_or(PollFlags::empty());
    Ok(events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLIN))
}

/// A channel for the answers to one client.
pub fn answers() -> (crossbeam_channel::Sender<Answer>, Receiver<Answer>) {
    bounded(WAITING)
}
