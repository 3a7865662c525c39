//! Opens connections to peers on behalf of workers: looks the name up elsewhere, binds to the
//! `source`, connects without blocking, tries the next address where one does not answer.
//!
//! Invariant: each request ends in exactly one [`Outcome`], within the resource's timeout.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use mio::Token;
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::reactor::{Deadline, Reactor, Source};
use super::resolver::{Found, Resolver};
use super::timers::TimerId;
use crate::config::{Address, Resource};

/// What became of a request.
#[derive(Debug)]
pub struct Outcome {
    /// The worker that asked: its channel's token.
    pub worker: Token,
    /// The number that it gave the request.
    pub number: u32,
    /// The connection, or why there is none.
    pub result: Result<OwnedFd, String>,
}

/// A connection on its way.
#[derive(Debug)]
struct Attempt {
    worker: Token,
    number: u32,
    remote: Address,
    source: Option<Address>,
    timer: TimerId,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The names are being looked up; what is known so far.
    Names {
        remote: Option<Vec<SocketAddr>>,
        source: Option<Vec<SocketAddr>>,
    },
    /// A socket is being connected; if that fails there are others to try.
    Connecting {
        socket: Socket,
        token: Token,
        to: SocketAddr,
        others: VecDeque<SocketAddr>,
        sources: Vec<SocketAddr>,
    },
}

/// The connections on their way.
#[derive(Debug, Default)]
pub struct Connector {
    attempts: HashMap<Token, Attempt>,
    finished: Vec<Outcome>,
}

impl Connector {
    /// Begins to connect to a resource's peer for a worker.
    pub fn connect(
        &mut self,
        reactor: &mut Reactor,
        resolver: &mut Resolver,
        resource: &Resource,
        worker: Token,
        number: u32,
    ) {
        let Some(remote) = resource.remote.clone() else {
            self.finish(worker, number, Err("the resource has no remote".to_owned()));
            return;
        };
        let id = reactor.name();
        let attempt = Attempt {
            worker,
            number,
            timer: reactor.after(resource.timeout, Deadline::Connect(id)),
            step: Step::Names {
                remote: known(&remote, resolver),
                source: match &resource.source {
                    Some(source) => known(source, resolver),
                    None => Some(Vec::new()),
                },
            },
            source: resource.source.clone(),
            remote,
        };
        self.attempts.insert(id, attempt);
        self.go_on(reactor, id);
    }

    /// A name has been looked up.
    pub fn found(&mut self, reactor: &mut Reactor, found: &Found) {
        let ids: Vec<Token> = self.attempts.keys().copied().collect();
        for id in ids {
            let Some(attempt) = self.attempts.get_mut(&id) else {
                continue;
            };
            let is_remote = attempt.remote == found.address;
            let is_source = attempt.source.as_ref() == Some(&found.address);
            let Step::Names { remote, source } = &mut attempt.step else {
                continue;
            };
            match &found.result {
                Ok(addresses) => {
                    if is_remote {
                        *remote = Some(addresses.clone());
                    }
                    if is_source {
                        *source = Some(addresses.clone());
                    }
                    self.go_on(reactor, id);
                }
                Err(error) if is_remote || is_source => {
                    let reason = format!("unable to look up {}: {error}", found.address);
                    self.end(reactor, id, Err(reason));
                }
                Err(_) => {}
            }
        }
    }

    /// A socket is connected, or can not be.
    pub fn ready(&mut self, reactor: &mut Reactor, token: Token) {
        let owner = self.attempts.iter().find(|(_, attempt)| {
            matches!(&attempt.step, Step::Connecting { token: own, .. } if *own == token)
        });
        let Some((id, attempt)) = owner else { return };
        let id = *id;
        let Step::Connecting { socket, to, .. } = &attempt.step else {
            return;
        };
        match socket.take_error() {
            Ok(None) => match socket.peer_addr() {
                Ok(_) => self.connected(reactor, id),
                Err(error) if error.raw_os_error() == Some(Errno::ENOTCONN as i32) => {}
                Err(error) => {
                    let reason = format!("unable to connect to {to}: {error}");
                    self.next(reactor, id, reason);
                }
            },
            Ok(Some(error)) | Err(error) => {
                let reason = format!("unable to connect to {to}: {error}");
                self.next(reactor, id, reason);
            }
        }
    }

    /// A request has had its time.
    pub fn overdue(&mut self, reactor: &mut Reactor, id: Token) {
        let Some(attempt) = self.attempts.get(&id) else {
            return;
        };
        let what = match &attempt.step {
            Step::Names { .. } => "its name could not be looked up in time",
            Step::Connecting { .. } => "it did not answer in time",
        };
        let reason = format!("unable to connect to {}: {what}", attempt.remote);
        self.end(reactor, id, Err(reason));
    }

    /// A worker is gone, and with it what it asked for.
    pub fn forget(&mut self, reactor: &mut Reactor, worker: Token) {
        let ids: Vec<Token> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.worker == worker)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.end(reactor, id, Err("the worker is gone".to_owned()));
        }
        self.finished.retain(|outcome| outcome.worker != worker);
    }

    /// What has come to an end since the last call.
    pub fn take(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.finished)
    }

    fn go_on(&mut self, reactor: &mut Reactor, id: Token) {
        let Some(Attempt {
            step:
                Step::Names {
                    remote: Some(remotes),
                    source: Some(sources),
                },
            ..
        }) = self.attempts.get(&id)
        else {
            return;
        };
        let (others, sources) = (remotes.iter().copied().collect(), sources.clone());
        self.try_addresses(reactor, id, others, sources, "no address".to_owned());
    }

    /// Tries the addresses in turn until one is being connected to.
    fn try_addresses(
        &mut self,
        reactor: &mut Reactor,
        id: Token,
        mut others: VecDeque<SocketAddr>,
        sources: Vec<SocketAddr>,
        mut reason: String,
    ) {
        while let Some(to) = others.pop_front() {
            let begun = begin(to, &sources).and_then(|socket| {
                let token = reactor.add(&socket, Source::Connect)?;
                Ok((socket, token))
            });
            match begun {
                Ok((socket, token)) => {
                    if let Some(attempt) = self.attempts.get_mut(&id) {
                        attempt.step = Step::Connecting {
                            socket,
                            token,
                            to,
                            others,
                            sources,
                        };
                    }
                    return;
                }
                Err(error) => reason = format!("unable to connect to {to}: {error}"),
            }
        }
        self.end(reactor, id, Err(reason));
    }

    fn next(&mut self, reactor: &mut Reactor, id: Token, reason: String) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let names = Step::Names {
            remote: None,
            source: None,
        };
        if let Step::Connecting {
            socket,
            token,
            others,
            sources,
            ..
        } = std::mem::replace(&mut attempt.step, names)
        {
            reactor.remove(&socket, token);
            self.try_addresses(reactor, id, others, sources, reason);
        }
    }

    fn connected(&mut self, reactor: &mut Reactor, id: Token) {
        if let Some(attempt) = self.attempts.remove(&id) {
            reactor.cancel(attempt.timer);
            if let Step::Connecting { socket, token, .. } = attempt.step {
                reactor.remove(&socket, token);
                self.finish(attempt.worker, attempt.number, Ok(OwnedFd::from(socket)));
            }
        }
    }

    fn end(&mut self, reactor: &mut Reactor, id: Token, result: Result<OwnedFd, String>) {
        if let Some(attempt) = self.attempts.remove(&id) {
            reactor.cancel(attempt.timer);
            if let Step::Connecting { socket, token, .. } = &attempt.step {
                reactor.remove(socket, *token);
            }
            self.finish(attempt.worker, attempt.number, result);
        }
    }

    fn finish(&mut self, worker: Token, number: u32, result: Result<OwnedFd, String>) {
        self.finished.push(Outcome {
            worker,
            number,
            result,
        });
    }
}

/// A numeric address is known at once; a name is looked up.
fn known(address: &Address, resolver: &mut Resolver) -> Option<Vec<SocketAddr>> {
    let numeric = address.numeric();
    if numeric.is_none() {
        resolver.look_up(address);
    }
    numeric.map(|numeric| vec![numeric])
}

/// Begins to connect, from the first of `sources` of the same family where there are any.
fn begin(to: SocketAddr, sources: &[SocketAddr]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if !sources.is_empty() {
        let source = sources
            .iter()
            .find(|source| source.is_ipv4() == to.is_ipv4())
            .ok_or_else(|| io::Error::other("the source is of another IP version"))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(*source))?;
    }
    match socket.connect(&SockAddr::from(to)) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket),
    }
}

#[cfg(test)]
#[path = "connector_tests.rs"]
mod tests;
