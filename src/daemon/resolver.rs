//! Host names looked up in other threads, because the system's resolver blocks. Keeps what it
//! found of the peers' names, so that an incoming connection can be judged at once.
//!
//! Invariant: at most [`THREADS`] look-ups run at a time; a numeric address needs none.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mio::Waker;

use crate::config::Address;
use crate::config::address::same_host;

/// Look-ups that run at the same time.
const THREADS: usize = 4;

/// How often the peers' names are looked up again.
pub const REFRESH: Duration = Duration::from_mins(1);

/// What a look-up gave.
#[derive(Debug)]
pub struct Found {
    /// The address that was looked up.
    pub address: Address,
    /// Where it leads.
    pub result: io::Result<Vec<SocketAddr>>,
}

/// Looks names up.
#[derive(Debug)]
pub struct Resolver {
    waker: Arc<Waker>,
    sender: Sender<Found>,
    answers: Receiver<Found>,
    running: Vec<Address>,
    waiting: VecDeque<Address>,
    /// The last good answer for each host name.
    known: HashMap<String, Vec<SocketAddr>>,
}

impl Resolver {
    /// A resolver that wakes the event loop when it has an answer.
    pub fn new(waker: Arc<Waker>) -> Self {
        let (sender, answers) = channel();
        Self {
            waker,
            sender,
            answers,
            running: Vec::new(),
            waiting: VecDeque::new(),
            known: HashMap::new(),
        }
    }

    /// Looks an address up, unless that is already under way; [`Self::take`] gives the answer.
    pub fn look_up(&mut self, address: &Address) {
        if !self.running.contains(address) && !self.waiting.contains(address) {
            self.waiting.push_back(address.clone());
            self.start();
        }
    }

    /// The answers that have come.
    pub fn take(&mut self) -> Vec<Found> {
        let answers: Vec<Found> = self.answers.try_iter().collect();
        for found in &answers {
            self.running.retain(|running| *running != found.address);
            match &found.result {
                Ok(addresses) => {
                    let key = found.address.text().to_owned();
                    self.known.insert(key, addresses.clone());
                }
                Err(error) => log::warn!("Unable to look up {}: {error}", found.address),
            }
        }
        self.start();
        answers
    }

    /// Keeps only what is known of these addresses, and looks those with names up again.
    pub fn refresh<'a>(&mut self, addresses: impl Iterator<Item = &'a Address>) {
        let named: Vec<&Address> = addresses
            .filter(|address| address.numeric().is_none())
            .collect();
        self.known
            .retain(|text, _| named.iter().any(|address| address.text() == text));
        for address in named {
            self.look_up(address);
        }
    }

    /// Whether a connection from `peer` is one from `address`; the port does not count.
    pub fn is_peer(&self, address: &Address, peer: IpAddr) -> bool {
        match address.numeric() {
            Some(numeric) => same_host(numeric.ip(), peer),
            None => self
                .known
                .get(address.text())
                .is_some_and(|found| found.iter().any(|one| same_host(one.ip(), peer))),
        }
    }

    fn start(&mut self) {
        while self.running.len() < THREADS {
            let Some(address) = self.waiting.pop_front() else {
                return;
            };
            self.running.push(address.clone());
            let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
            let wanted = address.clone();
            let thread = std::thread::Builder::new().name("name look-up".to_owned());
            let spawned = thread.spawn(move || {
                let result = wanted.resolve();
                answer(
                    &sender,
                    &waker,
                    Found {
                        address: wanted,
                        result,
                    },
                );
            });
            if let Err(error) = spawned {
                answer(
                    &self.sender,
                    &self.waker,
                    Found {
                        address,
                        result: Err(error),
                    },
                );
            }
        }
    }
}

fn answer(sender: &Sender<Found>, waker: &Waker, found: Found) {
    // Both fail only when the event loop is gone, and with it who would want to know.
    let _ = sender.send(found);
    let _ = waker.wake();
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    fn address(text: &str) -> Address {
        Address::parse(text, 8457).unwrap()
    }

    #[test]
    fn names_are_known_once_they_were_looked_up_and_numbers_at_once() {
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut resolver = Resolver::new(waker);
        let (local, number) = (address("tcp4://localhost"), address("10.0.0.1:1"));
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(resolver.is_peer(&number, "::ffff:10.0.0.1".parse().unwrap()));
        assert!(!resolver.is_peer(&number, peer));
        assert!(!resolver.is_peer(&local, peer));

        resolver.refresh([&local, &number].into_iter());
        resolver.look_up(&local);
        assert_eq!((resolver.running.len(), resolver.waiting.len()), (1, 0));
        let mut events = Events::with_capacity(1);
        let mut found = Vec::new();
        while found.is_empty() {
            poll.poll(&mut events, Some(Duration::from_secs(30)))
                .unwrap();
            assert!(!events.is_empty(), "no answer in time");
            found = resolver.take();
        }
        assert!(resolver.is_peer(&local, peer));
        assert!(resolver.running.is_empty());

        resolver.refresh(std::iter::empty());
        assert!(
            !resolver.is_peer(&local, peer),
            "it is no longer configured"
        );
    }
}
