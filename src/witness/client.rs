//! A node's side: asks the witness one thing over one connection, and takes its answer. Blocks,
//! but never for longer than [`LIMIT`].
//!
//! One thread at a time asks for a node of a group. The witness relies on the order in which a
//! node asks: what it gave up waiting for is not done after what it asked next.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::leases::SHORTEST;
use super::message::{Acquire, Answer, Copies, MessageError, Refusal, Request, View};
use super::protocol::{self, Code, GREETING_SIZE, Kind, ProtocolError, Sealed};
use super::secret::Secret;
use crate::config::Address;
use crate::deadline::DeadlineStream;

/// How long a question takes at most, answered or not: no longer than the shortest lease, so that
/// a lease that is granted is never over when that is heard.
pub const LIMIT: Duration = SHORTEST;

/// How much of that a name may take to be looked up.
const NAME_LIMIT: Duration = Duration::from_secs(1);

/// Why the witness has not done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// It says why not.
    #[error("{0}")]
    Refused(Refusal),
    /// It may not be asked that.
    #[error("cannot ask the witness: {0}")]
    Message(#[from] MessageError),
    /// It cannot be reached.
    #[error("cannot connect to the witness at {address}: {error}")]
    Connect {
        /// Where.
        address: Address,
        /// Why.
        error: io::Error,
    },
    /// It closed the connection when it had the request.
    #[error("the witness at {0} turned the request away: is the secret the same here and there?")]
    TurnedAway(Address),
    /// The connection failed, or there was no answer in time. Whether it has done what it was asked
    /// is not known.
    #[error("no answer from the witness at {address}: {error}")]
    NoAnswer {
        /// Where.
        address: Address,
        /// Why.
        error: io::Error,
    },
    /// What answers there is not a witness with this secret.
    #[error("no usable answer from the witness at {address}: {error}")]
    Protocol {
        /// Where.
        address: Address,
        /// Why.
        error: ProtocolError,
    },
}

/// A lease that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// It ends then, by this machine's clock: the time counts from before the witness was asked.
    pub until: Instant,
}

/// A witness, as a node sees it.
#[derive(Debug)]
pub struct Witness {
    address: Address,
    secret: Secret,
    names: Mutex<Names>,
}

impl Witness {
    /// The witness at a TCP address (see [`protocol::PORT`]), which shares this secret.
    pub fn new(address: Address, secret: Secret) -> Self {
        Self {
            address,
            secret,
            names: Mutex::default(),
        }
    }

    /// Where it is.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for a lease, or for a longer one: for whole seconds from [`SHORTEST`] to
    /// [`LONGEST`](super::leases::LONGEST). With `force`, which is a person's to say, although
    /// only the other node has the current data.
    pub fn acquire(
        &self,
        group: &str,
        node: &str,
        time: Duration,
        copies: Copies,
        force: bool,
    ) -> Result<Grant, WitnessError> {
        let request = Request::Acquire(Acquire {
            group: group.to_owned(),
            node: node.to_owned(),
            time,
            copies,
            force,
        });
        match self.exchange(&request)? {
            (sent, Answer::Granted) => Ok(Grant { until: sent + time }),
            (_, other) => Err(unexpected(other)),
        }
    }

    /// Ends this node's lease, where it has one. Who has the only current data stays recorded.
    pub fn release(&self, group: &str, node: &str) -> Result<(), WitnessError> {
        self.done(&Request::Release {
            group: group.to_owned(),
            node: node.to_owned(),
        })
    }

    /// Has a group forgotten, with its nodes and who has the only current data: for a person, when
    /// nodes have got other names.
    pub fn forget(&self, group: &str) -> Result<(), WitnessError> {
        self.done(&Request::Forget {
            group: group.to_owned(),
        })
    }

    /// What the witness knows of a group.
    pub fn look(&self, group: &str) -> Result<View, WitnessError> {
        let group = group.to_owned();
        match self.exchange(&Request::Look { group })? {
            (_, Answer::View(view)) => Ok(view),
            (_, other) => Err(unexpected(other)),
        }
    }

    fn done(&self, request: &Request) -> Result<(), WitnessError> {
        match self.exchange(request)? {
            (_, Answer::Done) => Ok(()),
            (_, other) => Err(unexpected(other)),
        }
    }

    /// Asks; the answer, and the moment before the request was sent.
    fn exchange(&self, request: &Request) -> Result<(Instant, Answer), WitnessError> {
        let body = request.to_nv()?;
        let deadline = Instant::now() + LIMIT;
        let socket = self
            .connect(deadline)
            .map_err(|error| WitnessError::Connect {
                address: self.address.clone(),
                error,
            })?;
        let mut stream = DeadlineStream::new(socket, deadline);
        let mut greeting = [0; GREETING_SIZE];
        stream
            .read_exact(&mut greeting)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    let text = "it closed the connection, as it does with too many";
                    self.no_answer(io::Error::new(error.kind(), text))
                }
                _ => self.no_answer(error),
            })?;
        let challenge = protocol::read_greeting(greeting).map_err(|it| self.protocol(it))?;

        let own = protocol::challenge().map_err(|it| self.no_answer(io::Error::other(it)))?;
        let Sealed { bytes, code } =
            protocol::seal(&self.secret, Kind::Request, &challenge, &own, &body);
        let sent = Instant::now();
        let written = stream.write_all(&bytes);
        written.map_err(|error| self.no_answer(error))?;
        let answer = self.hear(&mut stream, &code)?;
        Ok((sent, answer))
    }

    fn hear(&self, stream: &mut DeadlineStream, asked: &Code) -> Result<Answer, WitnessError> {
        let mut frame = Vec::new();
        loop {
            let size = protocol::frame_size(&frame).map_err(|it| self.protocol(it))?;
            let had = frame.len();
            if had == size {
                break;
            }
            frame.resize(size, 0);
            stream
                .read_exact(&mut frame[had..])
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                        WitnessError::TurnedAway(self.address.clone())
                    }
                    _ => self.no_answer(error),
                })?;
        }
        let (body, _) = protocol::open(&self.secret, Kind::Answer, asked, &frame)
            .map_err(|it| self.protocol(it))?;
        Ok(Answer::from_nv(&body)?)
    }

    fn connect(&self, deadline: Instant) -> io::Result<Socket> {
        let addresses = self.addresses()?;
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for (index, address) in addresses.iter().enumerate() {
            // The ones behind it must have their turn, too.
            let others = (addresses.len() - index) as u32;
            let left = deadline.saturating_duration_since(Instant::now()) / others;
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            match socket.connect_timeout(&SockAddr::from(*address), left) {
                Ok(()) => {
                    socket.set_tcp_nodelay(true)?;
                    return Ok(socket);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = self.address.numeric() {
            return Ok(vec![address]);
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.look_up(&self.address)
    }

    fn no_answer(&self, error: io::Error) -> WitnessError {
        let address = self.address.clone();
        WitnessError::NoAnswer { address, error }
    }

    fn protocol(&self, error: ProtocolError) -> WitnessError {
        let address = self.address.clone();
        WitnessError::Protocol { address, error }
    }
}

fn unexpected(answer: Answer) -> WitnessError {
    match answer {
        Answer::Refused(refusal) => WitnessError::Refused(refusal),
        Answer::Granted | Answer::Done | Answer::View(_) => MessageError::Field("answer").into(),
    }
}

/// Looks a name up without waiting for a resolver that hangs: the thread that asks it is asked
/// again the next time, and meanwhile what was found before counts.
#[derive(Debug, Default)]
struct Names {
    pending: Option<Receiver<io::Result<Vec<SocketAddr>>>>,
    found: Vec<SocketAddr>,
}

impl Names {
    fn look_up(&mut self, address: &Address) -> io::Result<Vec<SocketAddr>> {
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => ask(address)?,
        };
        let result = match pending.recv_timeout(NAME_LIMIT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(pending);
                let text = "its name is still being looked up";
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::Other.into()),
        };
        match result {
            Ok(found) => {
                self.found.clone_from(&found);
                Ok(found)
            }
            Err(error) if self.found.is_empty() => Err(error),
            Err(_) => Ok(self.found.clone()),
        }
    }
}

fn ask(address: &Address) -> io::Result<Receiver<io::Result<Vec<SocketAddr>>>> {
    let (sender, receiver) = channel();
    let address = address.clone();
    thread::Builder::new()
        .name("witness's name".to_owned())
        .spawn(move || {
            // Nobody listens any more where the witness is of no interest any more.
            let _ = sender.send(address.resolve());
        })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_hangs_is_not_waited_for_and_asked_once() {
        let address = Address::parse("witness.example", protocol::PORT).unwrap();
        let (sender, pending) = channel();
        let (old, new) = ("192.0.2.1:1", "192.0.2.2:1");
        let mut names = Names {
            pending: Some(pending),
            found: Vec::new(),
        };
        let error = names.look_up(&address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        names.found = vec![old.parse().unwrap()];
        assert_eq!(names.look_up(&address).unwrap(), [old.parse().unwrap()]);

        // The first question is still the one that counts.
        sender.send(Ok(vec![new.parse().unwrap()])).unwrap();
        assert_eq!(names.look_up(&address).unwrap(), [new.parse().unwrap()]);
        assert_eq!(names.found, [new.parse().unwrap()]);
        assert!(names.pending.is_none());
    }
}
