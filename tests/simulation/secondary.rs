//! What the worker does around a secondary engine: the handshake, carrying actions out, sending
//! replies. As the worker must, it finishes what it received before anything else becomes of the
//! component; only the death of the process loses it.

use std::collections::BTreeMap;

use hast::engine::base::MapSent;
use hast::engine::meeting::{Hello, Refusal};
use hast::engine::secondary::{Action, Dialect, Event};
use hast::engine::{Command, Operation, Owner, Range, Request, Secondary};
use hast::terms::Role;

use crate::dialect::{self, Accepted};
use crate::disk::sectors;
use crate::network::Message;
use crate::node::{Buffer, Shared, Work, Worker};
use crate::oracle::Rule;
use crate::world::World;

/// A request from the primary.
#[derive(Debug)]
struct Incoming {
    seq: u64,
    command: Command,
    range: Range,
    memsync: bool,
    /// Part of a synchronisation.
    copy: bool,
    /// The primary leaned on this node when it sent it.
    leaning: bool,
    executed: bool,
    buffer: Shared,
}

/// A secondary worker.
#[derive(Debug)]
pub struct SecondaryDriver {
    /// Its connection; `None` once that ended.
    pub connection: Option<u64>,
    /// `None` until the handshake's outcome is stored.
    engine: Option<Secondary>,
    requests: BTreeMap<u64, Incoming>,
    next: u64,
    /// Its primary has written to its component.
    followed: bool,
    /// A primary that waits until what was received is finished.
    successor: Option<(u64, Hello)>,
}

impl SecondaryDriver {
    fn new(connection: u64) -> Self {
        Self {
            connection: Some(connection),
            engine: None,
            requests: BTreeMap::new(),
            next: 1,
            followed: false,
            successor: None,
        }
    }

    /// Sectors that requests received and not answered change.
    pub fn changing(&self) -> Vec<usize> {
        let changes = self.requests.values().filter(|r| r.command.mutates());
        changes.flat_map(|request| sectors(request.range)).collect()
    }

    /// Writes acknowledged early that the disk has not.
    pub fn only_in_memory(&self) -> Vec<Range> {
        let lost = self.requests.values().filter(|r| r.memsync && !r.executed);
        lost.map(|request| request.range).collect()
    }
}

impl World {
    /// Whether nothing is under way on a node.
    pub fn is_idle(&mut self, node: usize) -> bool {
        self.nodes[node].jobs.is_empty()
            && self.nodes[node]
                .secondary()
                .is_none_or(|driver| driver.requests.is_empty())
    }

    /// A primary introduced itself.
    pub fn hello(&mut self, node: usize, connection: u64, hello: Hello) {
        if self.nodes[node].role != Role::Secondary {
            self.send(connection, 1 - node, Message::Refused(None));
            return;
        }
        let old = self.nodes[node]
            .secondary()
            .and_then(|driver| driver.connection.take());
        if let Some(old) = old {
            self.close_end(old, node);
        }
        if self.is_idle(node) {
            self.shake_hands(node, connection, &hello);
        } else if let Some(driver) = self.nodes[node].secondary() {
            driver.successor = Some((connection, hello));
        }
    }

    fn shake_hands(&mut self, node: usize, connection: u64, hello: &Hello) {
        if !self.is_open(connection, node) {
            return;
        }
        self.nodes[node].disk.open();
        let now = self.oracle.step();
        self.oracle.flushed(node, now);
        let extension = self.profile.extension;
        let metadata = self.nodes[node].disk.metadata().clone();
        let before = metadata.clone();
        let marked_here = self.nodes[node]
            .disk
            .map_bytes()
            .iter()
            .any(|byte| *byte != 0);
        let decision = dialect::decide(metadata, hello, extension, marked_here);
        let decision = self.saboteur.decide(decision, &before, extension);
        self.note(|| format!("node {node} meets {hello:?}: {decision:?}"));
        let marked = self.nodes.iter().any(|node| {
            let map = node.disk.map_bytes();
            map.iter().any(|byte| *byte != 0)
        });
        self.oracle.met(
            1 - node,
            marked,
            decision
                .as_ref()
                .map(|a| a.source)
                .map_err(|refusal| *refusal),
        );
        match decision {
            Err(refusal) => {
                self.split |= refusal != Refusal::Superseded;
                let standing = extension.then(|| Box::new(dialect::standing(&before)));
                self.send(connection, 1 - node, Message::Refused(standing));
                self.close_end(connection, node);
                self.nodes[node].worker = Worker::None;
            }
            Ok(agreement) => {
                let driver = SecondaryDriver::new(connection);
                self.nodes[node].worker = Worker::Secondary(Box::new(driver));
                if agreement.extended {
                    // Nothing is stored before the primary tells a point.
                    self.agreed(node, connection, &agreement, false);
                } else {
                    self.begin(node, Work::Agree(connection, Box::new(agreement)));
                }
            }
        }
    }

    /// What the handshake decided is stored, or could not be.
    pub fn agreed(&mut self, node: usize, connection: u64, agreement: &Accepted, fails: bool) {
        let current = self.nodes[node]
            .secondary()
            .is_some_and(|d| d.connection == Some(connection));
        if !current {
            return;
        }
        if fails {
            self.close_end(connection, node);
            self.nodes[node].worker = Worker::None;
            return;
        }
        if !agreement.extended {
            self.joined(node);
        }
        let disk = &self.nodes[node].disk;
        let map = match agreement.map {
            MapSent::Nothing => {
                Some(disk.map_bytes()).filter(|map| map.iter().any(|byte| *byte != 0))
            }
            MapSent::OnDisk => Some(disk.map_bytes()),
            MapSent::Everything => Some(vec![0xff; self.nodes[node].geometry.map_size as usize]),
        };
        let answer = Message::Answer {
            standing: Box::new(agreement.standing.clone()),
            virgin: agreement.virgin,
            source: agreement.source,
            map: self.saboteur.map(map),
        };
        if let Some(driver) = self.nodes[node].secondary() {
            let dialect = if agreement.extended {
                Dialect::Extended
            } else {
                Dialect::Base
            };
            driver.engine = Some(Secondary::new(agreement.metadata.clone(), dialect));
        }
        self.send(connection, 1 - node, answer);
    }

    /// A secondary's disk says that it belongs to its primary.
    pub fn joined(&mut self, node: usize) {
        self.nodes[node].fresh = false;
        self.oracle.agreed();
    }

    /// A request or state message arrived.
    pub fn received(&mut self, node: usize, connection: u64, message: Message) {
        let Some(driver) = self.nodes[node].secondary() else {
            return;
        };
        if driver.connection != Some(connection) || driver.engine.is_none() {
            return;
        }
        let id = driver.next;
        driver.next += 1;
        match message {
            Message::Request {
                seq,
                command: Command::Flush,
                ..
            } if self.saboteur.flush_overtakes() => {
                self.nodes[node].disk.flush();
                let reply = Message::Reply {
                    seq,
                    received: false,
                    outcome: Ok(()),
                    data: None,
                };
                self.send(connection, 1 - node, reply);
            }
            Message::Request {
                seq,
                command,
                range,
                memsync,
                copy,
                leaning,
                data,
            } => {
                let start = sectors(range).start;
                let value = |s: usize| data.get(s - start).copied().unwrap_or(0);
                let buffer = Buffer::new(range, value);
                let incoming = Incoming {
                    seq,
                    command,
                    range,
                    memsync,
                    copy,
                    leaning,
                    executed: false,
                    buffer,
                };
                driver.requests.insert(id, incoming);
                let request = Request { id, command, range };
                self.feed_secondary(node, Event::Received { request, memsync });
            }
            Message::Note { seq, note } => {
                let range = Range::new(0, 0);
                let buffer = Buffer::new(range, |_| 0);
                let command = Command::Flush;
                let incoming = Incoming {
                    seq,
                    command,
                    range,
                    memsync: false,
                    copy: false,
                    leaning: false,
                    executed: true,
                    buffer,
                };
                driver.requests.insert(id, incoming);
                self.feed_secondary(node, Event::Note(id, note));
            }
            _ => self
                .oracle
                .broken(Rule::Interface, || "a reply to a secondary".to_owned()),
        }
    }

    /// Tells the engine, and does what it says.
    pub fn feed_secondary(&mut self, node: usize, event: Event) {
        let Some(engine) = self.nodes[node].secondary().and_then(|d| d.engine.as_mut()) else {
            return;
        };
        let mut actions = Vec::new();
        let quiet = matches!(event, Event::Tick);
        let text = format!("{event:?}");
        engine.handle(event, &mut actions);
        self.saboteur.secondary_actions(&mut actions);
        if !(quiet && actions.is_empty()) {
            self.note(|| format!("node {node} secondary {text} -> {actions:?}"));
        }
        for action in actions {
            self.secondary_action(node, action);
        }
        self.let_successor_in(node);
    }

    /// Gives way to a newer connection once everything received is finished.
    pub fn let_successor_in(&mut self, node: usize) {
        if !self.is_idle(node) {
            return;
        }
        let successor = self.nodes[node]
            .secondary()
            .and_then(|driver| driver.successor.take());
        if let Some((connection, hello)) = successor {
            self.shake_hands(node, connection, &hello);
        }
    }

    fn secondary_action(&mut self, node: usize, action: Action) {
        match action {
            Action::ReadLocal(operation, range) => {
                if let Some(buffer) = self.incoming(node, operation) {
                    self.begin(node, Work::Read(operation, range, buffer));
                }
            }
            Action::WriteLocal(operation, range) => {
                self.follow(node);
                if let Some(buffer) = self.incoming(node, operation) {
                    self.begin(node, Work::Write(operation, range, buffer));
                }
            }
            Action::DeleteLocal(operation, range) => {
                self.follow(node);
                self.begin(node, Work::Delete(operation, range));
            }
            Action::FlushLocal(operation) => self.begin(node, Work::Flush(operation)),
            Action::ClearMap => {
                self.check_map_cleared(node);
                self.begin(node, Work::ClearMap);
            }
            Action::WriteMetadata(ticket, metadata) => {
                self.begin(node, Work::Metadata(ticket, metadata));
            }
            Action::Disconnect => {
                let connection = self.nodes[node]
                    .secondary()
                    .and_then(|driver| driver.connection.take());
                if let Some(connection) = connection {
                    self.close_end(connection, node);
                }
                if let Some(driver) = self.nodes[node].secondary() {
                    // Nothing is answered any more.
                    driver.requests.clear();
                }
            }
            Action::Reply {
                id,
                received,
                outcome,
            } => {
                let Some(driver) = self.nodes[node].secondary() else {
                    return;
                };
                let connection = driver.connection;
                let Some(incoming) = driver.requests.get(&id) else {
                    self.oracle
                        .broken(Rule::Interface, || format!("reply to no request {id}"));
                    return;
                };
                let is_read = incoming.command == Command::Read && !received && outcome.is_ok();
                let data = is_read.then(|| incoming.buffer.borrow().values().to_vec());
                let seq = incoming.seq;
                if !received {
                    driver.requests.remove(&id);
                }
                if let Some(connection) = connection {
                    let reply = Message::Reply {
                        seq,
                        received,
                        outcome,
                        data,
                    };
                    self.send(connection, 1 - node, reply);
                }
            }
        }
    }

    /// The first change of a session is about to reach the component.
    fn follow(&mut self, node: usize) {
        let extension = self.profile.extension;
        if let Some(driver) = self.nodes[node].secondary()
            && !std::mem::replace(&mut driver.followed, true)
            && extension
        {
            self.oracle.follow(node);
        }
    }

    fn incoming(&mut self, node: usize, operation: Operation) -> Option<Shared> {
        let Owner::Request(id) = operation.owner else {
            return None;
        };
        self.nodes[node]
            .secondary()?
            .requests
            .get(&id)
            .map(|incoming| incoming.buffer.clone())
    }

    /// The disk has a write of this operation.
    pub fn executed(&mut self, node: usize, operation: Operation) {
        let Owner::Request(id) = operation.owner else {
            return;
        };
        let driver = self.nodes[node].secondary();
        if let Some(incoming) = driver.and_then(|driver| driver.requests.get_mut(&id)) {
            incoming.executed = true;
            // What a primary that leans on this node copies to it is newer than the last flush acknowledged:
            // the component is whole with any part of it.
            if incoming.copy && !incoming.leaning && incoming.command == Command::Write {
                self.oracle.copied_to(node);
            }
        }
    }

    /// Whether a write on a node's disk is an application's, not part of a synchronisation.
    pub fn is_applications(&mut self, node: usize, operation: Operation) -> bool {
        let Owner::Request(id) = operation.owner else {
            return false;
        };
        let incoming = self.nodes[node]
            .secondary()
            .map(|driver| driver.requests.get(&id).is_some_and(|one| !one.copy));
        incoming.unwrap_or(true)
    }
}
