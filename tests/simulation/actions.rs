//! How a primary's actions are carried out: disk operations with the buffers of their owners, messages
//! in their order, answers to applications.

use hast::engine::primary::{Action, Notice};
use hast::engine::{Command, Operation, Outcome, Owner, PeerNote, Range};

use crate::bonds::Standing;
use crate::dialect::{self, Word};
use crate::disk::Value;
use crate::network::Message;
use crate::node::{Buffer, Shared, Work};
use crate::oracle::{Outstanding, Rule};
use crate::primary::Link;
use crate::profile::is_pending_played;
use crate::view::Moment;
use crate::world::{Happening, World};

impl World {
    /// Carries one action out.
    pub fn primary_action(&mut self, node: usize, action: Action) {
        self.oracle.issued(node, &action);
        match action {
            Action::ReadLocal(operation, range) => {
                if let Some(buffer) = self.buffer(node, operation.owner, range) {
                    self.begin(node, Work::Read(operation, range, buffer));
                }
            }
            Action::WriteLocal(operation, range) => {
                self.check_marked(node, range, "write here");
                if let Some(buffer) = self.buffer(node, operation.owner, range) {
                    self.begin(node, Work::Write(operation, range, buffer));
                }
            }
            Action::DeleteLocal(operation, range) => {
                self.check_marked(node, range, "delete here");
                self.begin(node, Work::Delete(operation, range));
            }
            Action::FlushLocal(operation) => self.begin(node, Work::Flush(operation)),
            Action::Send {
                seq,
                operation,
                command,
                range,
                memsync,
            } => {
                self.send_request(node, seq, operation, (command, range), memsync);
            }
            Action::Tell { seq, note } => self.tell(node, seq, note),
            Action::WriteMap(ticket, sectors) => {
                for sector in &sectors {
                    self.check_cleared(node, sector.index, &sector.bytes);
                }
                self.begin(node, Work::Map(ticket, sectors));
            }
            Action::WriteMetadata(ticket, metadata) => {
                self.observe_going_alone(node, &metadata);
                self.observe_counters(node, &metadata);
                self.observe_mark(node, &metadata);
                self.begin(node, Work::Metadata(ticket, metadata));
            }
            Action::Complete(id, outcome) => self.complete(node, id, outcome),
            Action::Release(owner) => self.release(node, owner),
            Action::Hello(hello) => {
                if let Some(Link::Meeting(connection)) = self.nodes[node].primary().map(|d| d.link)
                {
                    self.send(connection, 1 - node, Message::Hello(hello));
                    self.oracle.hello(node);
                }
            }
            Action::Disconnect(reason) => {
                self.nodes[node].hopeless |= dialect::is_hopeless(reason);
                self.disconnect(node);
            }
            Action::Notice(Notice::Superseded { .. }) => self.superseded(node),
            Action::Notice(_) => {}
            Action::Stopped => self.stopped(node),
        }
    }

    fn complete(&mut self, node: usize, id: u64, outcome: Outcome) {
        let asked = self.oracle.outstanding.get(&id).cloned();
        let begun = asked.as_ref().map_or(0, |request| request.begun);
        let faults = [node, 1 - node].map(|node| self.is_troubled(node, begun));
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let request = driver.requests.remove(&id);
        let is_flush = request.is_some_and(|request| request.command == Command::Flush);
        if request.is_none() {
            if self.saboteur.was_answered(id) {
                return;
            }
            self.oracle
                .broken(Rule::Interface, || format!("{id} completed, not asked"));
            return;
        }
        let buffer = driver.buffers.get(&Owner::Request(id)).cloned();
        let data = buffer
            .map(|b| b.borrow().values().to_vec())
            .unwrap_or_default();
        let wanting_peer = driver.wanting_peer;
        let peer_has_it = driver.peer_has.remove(&id);
        let changes = request.is_some_and(|request| request.command != Command::Read);
        let permitted = self.nodes[node].permitted;
        if changes && outcome.is_ok() && !permitted && !peer_has_it {
            self.oracle.broken(Rule::Alone, || {
                format!("{id} was acknowledged on node {node} alone, without a permit")
            });
        }
        // A flush fails where either copy does, and so does a write while the peer's copy is the one to rely on.
        let leaning = self.nodes[node].leans_on_peer();
        let superseded = self.nodes[node]
            .primary()
            .is_some_and(|driver| driver.engine.status().superseded);
        let excused = superseded
            || faults[0]
            || wanting_peer
            || !permitted
            || ((is_flush || leaning) && faults[1]);
        if outcome.is_err() {
            self.check_served(node, begun);
        }
        self.oracle.completed(id, outcome, &data, excused);
        if let Some(asked) = asked.filter(|_| changes && outcome.is_ok()) {
            self.check_acknowledged(&asked);
        }
        if is_flush && self.profile.ambushes && self.rng.u8(..8) == 0 {
            let soon = self.profile.network_delay(&mut self.rng);
            self.after(soon, Happening::Ambush { node, both: true });
        }
    }

    /// Whether a fault of a node's disk explains that a request failed which was submitted at `begun`.
    fn is_troubled(&self, node: usize, begun: Moment) -> bool {
        let this = &self.nodes[node];
        this.last_fault >= begun || !this.disk.given_up().is_empty()
    }

    /// A request failed: not with a peer that had everything all the while.
    fn check_served(&mut self, node: usize, begun: Moment) {
        let stopping = self.nodes[node].primary().is_none_or(|it| it.stopping);
        let complete = self.oracle.complete_since[node].is_some_and(|since| since < begun);
        if is_pending_played()
            && self.oracle.strict
            && self.profile.extension
            && complete
            && !stopping
        {
            self.oracle.broken(Rule::Served, || {
                format!("a request failed on node {node}, whose peer has everything and is well")
            });
        }
    }

    /// A change or flush was acknowledged: what does it lie on?
    fn check_acknowledged(&mut self, asked: &Outstanding) {
        if !self.oracle.strict {
            return;
        }
        let node = asked.node;
        // A peer that understands no messages can not be told that it lacks something.
        let told = [0, 1].map(|n| n == node || self.profile.extension);
        let standing = [0, 1].map(|n| Standing {
            claims: told[n] && dialect::claims_for_certain(&self.nodes[n].disk),
            record_fails: self.nodes[n].record_fails,
        });
        let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
        if asked.command == Command::Flush {
            let same = asked.session.is_some() && asked.session == self.oracle.sessions[node];
            let both = same && asked.both;
            self.oracle.check_flushed(asked, both, disks, standing);
        } else {
            self.oracle
                .check_recorded(node, disks[node], standing[node]);
        }
    }

    fn release(&mut self, node: usize, owner: Owner) {
        let released = self.nodes[node]
            .primary()
            .and_then(|d| d.buffers.remove(&owner));
        if let Some(buffer) = released {
            buffer.borrow_mut().spoil();
        } else if let Owner::Request(id) = owner {
            // A piece that never began has no buffer yet; a request always has.
            self.oracle
                .broken(Rule::Interface, || format!("{id} released, not held"));
        }
    }

    fn disconnect(&mut self, node: usize) {
        let worker = self.nodes[node].incarnation;
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let Some(connection) = driver.connection() else {
            return;
        };
        driver.link = Link::Closing(connection);
        if let Some(link) = self.connections.get_mut(&connection) {
            link.lose(node, &mut self.rng);
        }
        self.after_up_to(
            10_000,
            Happening::LinkGone {
                node,
                worker,
                connection,
            },
        );
    }

    fn buffer(&mut self, node: usize, owner: Owner, range: Range) -> Option<Shared> {
        let driver = self.nodes[node].primary()?;
        if let Owner::Engine(_) = owner {
            driver
                .buffers
                .entry(owner)
                .or_insert_with(|| Buffer::new(range, |_| Value::MAX));
        }
        let buffer = driver.buffers.get(&owner).cloned();
        let fits = buffer
            .as_ref()
            .is_some_and(|buffer| buffer.borrow().get(range).is_some());
        if !fits {
            self.oracle.broken(Rule::Interface, || {
                format!("{owner:?} has no buffer of {range:?}")
            });
        }
        buffer.filter(|_| fits)
    }

    fn send_request(
        &mut self,
        node: usize,
        seq: u64,
        operation: Operation,
        (command, range): (Command, Range),
        memsync: bool,
    ) {
        if command.mutates() {
            self.check_marked(node, range, "send");
        }
        let mut data = Vec::new();
        if matches!(command, Command::Write | Command::Read) {
            let Some(buffer) = self.buffer(node, operation.owner, range) else {
                return;
            };
            data = buffer.borrow().get(range).unwrap_or_default();
            self.saboteur.payload(operation.owner, range, &mut data);
        }
        let leaning = self.nodes[node].leans_on_peer();
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        driver.sent.insert(seq, (command, operation.owner, range));
        if let Some(connection) = driver.connection() {
            let message = Message::Request {
                seq,
                command,
                range,
                memsync,
                copy: matches!(operation.owner, Owner::Engine(_)),
                leaning,
                data,
            };
            self.send(connection, 1 - node, message);
        }
    }

    fn tell(&mut self, node: usize, seq: u64, told: PeerNote) {
        match dialect::word(&told) {
            Word::Complete if !self.peer_lives(node) => self.oracle.has_everything(node),
            Word::Complete => self.observe_being_in_step(node),
            Word::Lacks | Word::Same => {}
            Word::Ahead => self.oracle.peer_ahead(node),
        }
        if let Some(connection) = self.nodes[node].primary().and_then(|d| d.connection()) {
            self.send(connection, 1 - node, Message::Note { seq, note: told });
        }
    }
}
