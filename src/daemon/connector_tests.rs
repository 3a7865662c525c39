//! Connections to sockets of the test's own.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};

use super::*;
use crate::config::{Config, NodeNames};

const WORKER: Token = Token(1000);

struct Loop {
    poll: Poll,
    reactor: Reactor,
    resolver: Resolver,
    connector: Connector,
}

impl Loop {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let mut reactor = Reactor::new(poll.registry().try_clone().unwrap());
        let token = reactor.token(Source::Waker);
        let waker = Arc::new(Waker::new(poll.registry(), token).unwrap());
        let (resolver, connector) = (Resolver::new(waker), Connector::default());
        Self {
            poll,
            reactor,
            resolver,
            connector,
        }
    }

    fn connect(&mut self, resource: &Resource, number: u32) {
        let Self {
            reactor,
            resolver,
            connector,
            ..
        } = self;
        connector.connect(reactor, resolver, resource, WORKER, number);
    }

    /// Runs until one request has come to its end.
    fn outcome(&mut self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut events = Events::with_capacity(16);
        loop {
            if let Some(outcome) = self.connector.take().pop() {
                return outcome;
            }
            assert!(
                Instant::now() < deadline,
                "no outcome: {:?}",
                self.connector
            );
            let patience = Some(Duration::from_secs(1));
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result.unwrap(),
            }
            for event in &events {
                self.connector.ready(&mut self.reactor, event.token());
            }
        }
    }
}

fn resource(own: &str) -> Resource {
    let text = format!("resource d {{ local /d timeout 7 on a {{ {own} }} }}");
    let config = Config::parse(&text, Path::new("hast.conf"), &NodeNames::named("a"));
    config.unwrap().resources.remove(0)
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that refuses.
fn closed() -> SocketAddr {
    listener().1
}

/// An address with a name, which is looked up only where a test says so.
fn named() -> Address {
    Address::parse("host.invalid:9", 0).unwrap()
}

#[test]
fn a_connection_comes_from_the_source_and_with_its_number() {
    let (listener, address) = listener();
    let mut all = Loop::new();
    all.connect(&resource(&format!("remote {address} source 127.0.0.1")), 42);
    let outcome = all.outcome();
    assert_eq!((outcome.worker, outcome.number), (WORKER, 42));
    let stream = TcpStream::from(outcome.result.unwrap());
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(stream.local_addr().unwrap(), peer);
    assert_eq!(peer.ip().to_string(), "127.0.0.1");
    assert!(all.connector.attempts.is_empty());
}

#[test]
fn a_refusal_names_the_address() {
    let address = closed();
    let mut all = Loop::new();
    all.connect(&resource(&format!("remote {address}")), 1);
    let reason = all.outcome().result.unwrap_err();
    assert!(reason.contains(&address.to_string()), "{reason}");
    all.connect(&resource("remote none"), 2);
    assert!(all.outcome().result.unwrap_err().contains("no remote"));
    all.connect(
        &resource(&format!("remote {address} source tcp6://[::1]")),
        3,
    );
    let reason = all.outcome().result.unwrap_err();
    assert!(reason.contains("another IP version"), "{reason}");
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    let (_listener, address) = listener();
    let mut all = Loop::new();
    all.connect(&resource("remote host.invalid:9"), 1);
    let found = Found {
        address: named(),
        result: Ok(vec![closed(), closed(), address]),
    };
    all.connector.found(&mut all.reactor, &found);
    let stream = TcpStream::from(all.outcome().result.unwrap());
    assert_eq!(stream.peer_addr().unwrap(), address);

    all.connect(&resource("remote host.invalid:9"), 2);
    let found = Found {
        address: named(),
        result: Err(io::Error::other("no such name")),
    };
    all.connector.found(&mut all.reactor, &found);
    let reason = all.outcome().result.unwrap_err();
    assert!(
        reason.contains("host.invalid:9") && reason.contains("no such name"),
        "{reason}"
    );
}

#[test]
fn a_request_ends_with_its_time_or_its_worker() {
    let mut all = Loop::new();
    all.connect(&resource("remote host.invalid:9"), 1);
    let patience = all.reactor.patience().unwrap();
    assert!(patience > Duration::from_secs(5) && patience <= Duration::from_secs(7));
    let due = all.reactor.due(Instant::now() + Duration::from_secs(8));
    let Some(Deadline::Connect(id)) = due else {
        panic!("{due:?}")
    };
    all.connector.overdue(&mut all.reactor, id);
    let reason = all.outcome().result.unwrap_err();
    assert!(
        reason.contains("could not be looked up in time"),
        "{reason}"
    );

    all.connect(&resource("remote host.invalid:9"), 2);
    all.connector.forget(&mut all.reactor, WORKER);
    assert!(all.connector.take().is_empty());
    assert!(all.connector.attempts.is_empty());
    assert_eq!(all.reactor.patience(), None, "no timer is left");
}
