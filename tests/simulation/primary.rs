//! What the worker does around a primary engine: connecting, carrying actions out in their order,
//! keeping buffers until they are released. And what the oracle looks at after every step.

use std::collections::{BTreeMap, BTreeSet};

use hast::engine::primary::{Action, Answer, Event, Promotion, PromotionRefused, Start};
use hast::engine::{Command, Operation, Owner, PeerState, Primary, Range, Request};
use hast::layout::Bitmap;
use hast::terms::{Replication, Role};

use crate::disk::{Disk, SECTOR, Value, sectors};
use crate::network::{Connection, Message};
use crate::node::{Buffer, Shared, Work, Worker};
use crate::oracle::Rule;
use crate::sabotage::Told;
use crate::world::{Happening, World};

/// How the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// There is none.
    Apart,
    /// A handshake is under way.
    Meeting(u64),
    /// Requests may flow.
    Up(u64),
    /// Closed by the engine, which has not been told yet.
    Closing,
}

/// A primary worker.
#[derive(Debug)]
pub struct PrimaryDriver {
    engine: Primary,
    /// How the connection stands.
    pub link: Link,
    buffers: BTreeMap<Owner, Shared>,
    requests: BTreeMap<u64, Request>,
    /// Messages without their last answer.
    sent: BTreeMap<u64, (Command, Owner, Range)>,
    connected: bool,
    up_to_date: bool,
    from_peer: bool,
    /// When requests were last refused for want of the peer's copy.
    wanting_peer: bool,
    /// The mode new requests get.
    pub replication: Replication,
    /// No more requests are taken.
    pub stopping: bool,
}

impl PrimaryDriver {
    /// Whether the copies are shown as equal.
    pub fn is_up_to_date(&self) -> bool {
        self.up_to_date
    }

    fn lacks_something(&self) -> bool {
        self.engine.status().stale > 0
    }

    fn connection(&self) -> Option<u64> {
        match self.link {
            Link::Meeting(connection) | Link::Up(connection) => Some(connection),
            Link::Apart | Link::Closing => None,
        }
    }
}

impl World {
    /// Starts a primary worker on a node.
    pub fn promote(&mut self, node: usize, promotion: Promotion) -> Result<(), PromotionRefused> {
        let fresh_resuid = self.rng.u64(1..);
        let replication = self.profile.replication;
        let this = &mut self.nodes[node];
        this.disk.open();
        let metadata = this.disk.metadata().clone();
        let claims = metadata.inconsistent.is_none();
        let start = Start {
            geometry: this.geometry,
            metadata,
            map: Bitmap::from_bytes(this.geometry.extents, &this.disk.map_bytes()),
            replication,
            window: self.profile.window,
            patience: self.profile.patience / 1000,
            fresh_resuid,
            promotion,
        };
        let start = self.saboteur.start(start);
        let engine = match Primary::new(start) {
            Ok(engine) => engine,
            Err(refused) => {
                self.note(|| format!("node {node}: {promotion:?} refused: {refused}"));
                return Err(refused);
            }
        };
        self.note(|| format!("node {node} becomes primary ({promotion:?}), consistent: {claims}"));
        let this = &mut self.nodes[node];
        this.role = Role::Primary;
        this.incarnation += 1;
        self.oracle
            .promoted(node, &this.disk, claims, promotion == Promotion::Resumed);
        this.worker = Worker::Primary(Box::new(PrimaryDriver {
            engine,
            link: Link::Apart,
            buffers: BTreeMap::new(),
            requests: BTreeMap::new(),
            sent: BTreeMap::new(),
            connected: false,
            up_to_date: false,
            from_peer: false,
            wanting_peer: false,
            replication,
            stopping: false,
        }));
        let worker = this.incarnation;
        self.after(0, Happening::Tick { node, worker });
        self.after_up_to(self.profile.reconnect, Happening::Connect { node, worker });
        Ok(())
    }

    /// A primary tries to connect.
    pub fn connect(&mut self, node: usize) {
        let worker = self.nodes[node].incarnation;
        let reachable = self.network_up && self.nodes[1 - node].powered;
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        if driver.link != Link::Apart {
            return;
        }
        if !reachable {
            self.after_up_to(self.profile.reconnect, Happening::Connect { node, worker });
            return;
        }
        let connection = self.next_connection;
        self.next_connection += 1;
        driver.link = Link::Meeting(connection);
        self.connections.insert(connection, Connection::new(node));
        self.feed_primary(node, Event::Meet);
    }

    /// The connection of a primary ended.
    pub fn link_lost(&mut self, node: usize) {
        let worker = self.nodes[node].incarnation;
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let link = std::mem::replace(&mut driver.link, Link::Apart);
        if driver
            .sent
            .values()
            .any(|(command, ..)| *command != Command::Read)
        {
            self.oracle.peer_lacks(node);
        }
        if let Some(driver) = self.nodes[node].primary() {
            driver.sent.clear();
        }
        if let Link::Meeting(connection) | Link::Up(connection) = link {
            self.close_end(connection, node);
        }
        self.feed_primary(node, Event::Disconnected);
        self.after_up_to(self.profile.reconnect, Happening::Connect { node, worker });
    }

    /// A message from the secondary arrived.
    pub fn answered(&mut self, node: usize, connection: u64, message: Message) {
        let extents = self.nodes[node].geometry.extents;
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        if driver.connection() != Some(connection) {
            return;
        }
        match message {
            Message::Refused => self.link_lost(node),
            Message::Answer {
                localcnt,
                remotecnt,
                virgin,
                source,
                map,
            } => {
                driver.link = Link::Up(connection);
                driver.from_peer = source == hast::engine::handshake::Source::Secondary;
                let answer = Answer {
                    localcnt,
                    remotecnt,
                    virgin,
                    source,
                    map: map.map(|bytes| Bitmap::from_bytes(extents, &bytes)),
                    extension: true,
                    memsync: true,
                };
                self.feed_primary(node, Event::Connected(Box::new(answer)));
            }
            Message::Reply {
                seq,
                received,
                outcome,
                data,
            } => {
                let known = driver.sent.get(&seq).copied();
                if outcome.is_err() && known.is_some_and(|(command, ..)| command.mutates()) {
                    self.oracle.peer_lacks(node);
                }
                if let (Some((_, owner, range)), Some(data)) = (known, data)
                    && let Some(buffer) = driver.buffers.get(&owner)
                {
                    buffer.borrow_mut().fill(range, &data);
                }
                if !received {
                    driver.sent.remove(&seq);
                }
                self.feed_primary(
                    node,
                    Event::Reply {
                        seq,
                        received,
                        outcome,
                    },
                );
            }
            _ => self
                .oracle
                .broken(Rule::Interface, || "a request to a primary".to_owned()),
        }
    }

    /// An application has a request.
    pub fn submit(&mut self, node: usize, request: Request, value: impl Fn(usize) -> Value) {
        let now = self.now;
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let buffer = Buffer::new(request.range, &value);
        driver.buffers.insert(Owner::Request(request.id), buffer);
        driver.requests.insert(request.id, request);
        let both = driver.replication != Replication::Async;
        let what = (request.command, sectors(request.range));
        self.oracle
            .submitted(now, node, request.id, what, value, both);
        self.feed_primary(node, Event::Submit(request));
    }

    /// Tells the engine, and does what it says.
    pub fn feed_primary(&mut self, node: usize, event: Event) {
        let tracing = self.is_tracing();
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let Some(event) = self.saboteur.primary_event(event) else {
            return;
        };
        let text = if tracing {
            format!("{event:?}")
        } else {
            String::new()
        };
        let told = Told::from(&event);
        let mut actions = Vec::new();
        let wanted = driver.lacks_something();
        driver.engine.handle(event, &mut actions);
        driver.wanting_peer = wanted || driver.lacks_something();
        self.saboteur.primary_actions(&told, &mut actions);
        self.note(|| format!("node {node} primary {text} -> {actions:?}"));
        self.observe_link(node);
        for action in actions {
            self.primary_action(node, action);
        }
        self.observe_copies(node);
    }

    /// Tells the oracle when the engine's view of the connection changes.
    fn observe_link(&mut self, node: usize) {
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let connected = driver.engine.status().connected;
        if connected == driver.connected {
            return;
        }
        driver.connected = connected;
        if connected {
            let from_peer = driver.from_peer;
            let session = driver.connection().unwrap_or(0);
            self.oracle.connected(node, session, from_peer);
        } else {
            let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
            self.oracle.disconnected(node, disks);
        }
    }

    /// Compares the copies where the engine says that they are equal.
    fn observe_copies(&mut self, node: usize) {
        let window = self.profile.window;
        let peer_lives = self.peer_lives(node);
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        let held: usize = driver
            .buffers
            .iter()
            .filter(|(owner, _)| matches!(owner, Owner::Engine(_)))
            .map(|(_, buffer)| buffer.borrow().values().len())
            .sum();
        if held as u64 * SECTOR > window {
            self.oracle.broken(Rule::Bound, || {
                format!("{held} sectors of synchronisation in flight")
            });
        }
        let shown = driver.engine.status().up_to_date;
        let began = shown && !driver.up_to_date;
        let from_peer = driver.from_peer;
        driver.up_to_date = shown;
        if began {
            driver.from_peer = false;
        }
        if !shown || !peer_lives {
            return;
        }
        let unsettled = self.unsettled(node);
        if began {
            self.oracle.became_up_to_date(node, from_peer, &unsettled);
        }
        if began || self.rng.u8(..16) == 0 {
            let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
            self.oracle.compare(node, disks, &unsettled);
        }
    }

    /// Whether the secondary at the other end of a primary's connection is the one that was met.
    fn peer_lives(&mut self, node: usize) -> bool {
        let connection = self.nodes[node]
            .primary()
            .and_then(|driver| driver.connection());
        connection.is_some()
            && self.nodes[1 - node]
                .secondary()
                .is_some_and(|peer| peer.connection == connection)
    }

    /// Sectors with a change under way on either copy.
    pub fn unsettled(&mut self, node: usize) -> BTreeSet<usize> {
        let mut unsettled = self.oracle.changing(node);
        if let Some(driver) = self.nodes[node].primary() {
            let sent = driver
                .sent
                .values()
                .filter(|(command, ..)| command.mutates());
            unsettled.extend(sent.flat_map(|(.., range)| sectors(*range)));
        }
        unsettled
    }

    fn primary_action(&mut self, node: usize, action: Action) {
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
            Action::SendState {
                seq,
                state,
                localcnt,
                remotecnt,
            } => {
                self.send_state(
                    node,
                    Message::State {
                        seq,
                        state,
                        localcnt,
                        remotecnt,
                    },
                    state,
                );
            }
            Action::WriteMap(ticket, sectors) => {
                for sector in &sectors {
                    self.check_cleared(node, sector.index, &sector.bytes);
                }
                self.begin(node, Work::Map(ticket, sectors));
            }
            Action::WriteMetadata(ticket, metadata) => {
                self.begin(node, Work::Metadata(ticket, metadata));
            }
            Action::Complete(id, outcome) => {
                let faults = [node, 1 - node].map(|node| self.nodes[node].faulted);
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
                // A flush fails where either copy does.
                let faulted = faults[0] || (is_flush && faults[1]);
                let excused = faulted || driver.wanting_peer;
                self.oracle.completed(id, outcome, &data, excused);
            }
            Action::Release(owner) => {
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
            Action::Hello(hello) => {
                if let Some(Link::Meeting(connection)) = self.nodes[node].primary().map(|d| d.link)
                {
                    self.send(connection, 1 - node, Message::Hello(hello));
                    self.oracle.hello(node);
                }
            }
            Action::Disconnect(_) => {
                let worker = self.nodes[node].incarnation;
                let Some(driver) = self.nodes[node].primary() else {
                    return;
                };
                let connection = driver.connection();
                driver.link = Link::Closing;
                if let Some(connection) = connection {
                    self.close_end(connection, node);
                }
                self.after_up_to(2000, Happening::LinkGone { node, worker });
            }
            Action::Notice(_) => {}
            Action::Stopped => self.stopped(node),
        }
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
                data,
            };
            self.send(connection, 1 - node, message);
        }
    }

    fn send_state(&mut self, node: usize, message: Message, state: PeerState) {
        match state {
            PeerState::Consistent => {
                let from_peer = self.nodes[node]
                    .primary()
                    .is_some_and(|driver| driver.from_peer);
                let unsettled = self.unsettled(node);
                self.oracle.in_step_soon(node, from_peer, &unsettled);
            }
            PeerState::Inconsistent => {}
            PeerState::Ahead => self.oracle.peer_ahead(node),
        }
        if let Some(connection) = self.nodes[node].primary().and_then(|d| d.connection()) {
            self.send(connection, 1 - node, message);
        }
    }

    /// Rule 2.
    fn check_marked(&mut self, node: usize, range: Range, what: &str) {
        let this = &self.nodes[node];
        let mut extents = this.geometry.extents_of(range.offset, range.length);
        if let Some(extent) = extents.find(|extent| !this.disk.is_marked(*extent as usize)) {
            self.oracle.broken(Rule::Unmarked, || {
                format!("node {node}: {what} at {range:?}, extent {extent} is not marked durably")
            });
        }
    }

    /// Rule 3.
    fn check_cleared(&mut self, node: usize, index: u64, bytes: &[u8]) {
        let old = self.nodes[node].disk.map_bytes();
        let at = (index * SECTOR) as usize;
        for extent in at * 8..(at + bytes.len()) * 8 {
            let mask = 1 << (extent % 8);
            let clears = old[extent / 8] & mask != 0 && bytes[extent / 8 - at] & mask == 0;
            if clears && extent < self.nodes[node].geometry.extents as usize {
                self.check_equal(node, extent);
            }
        }
    }

    /// Rule 3, for the map that a secondary clears as a whole.
    pub fn check_map_cleared(&mut self, node: usize) {
        for index in 0..self.nodes[node].disk.map_sectors() {
            self.check_cleared(node, index as u64, &[0; SECTOR as usize]);
        }
    }

    fn check_equal(&mut self, node: usize, extent: usize) {
        let disks: [&Disk; 2] = [&self.nodes[0].disk, &self.nodes[1].disk];
        if disks[1 - node].is_marked(extent) {
            return;
        }
        let (offset, length) = self.nodes[node].geometry.range_of(extent as u64);
        for sector in sectors(Range::new(offset, length)) {
            let [ours, theirs] = disks.map(|disk| disk.certain(sector));
            if ours.is_none() || ours != theirs {
                self.oracle.broken(Rule::Cleared, || {
                    format!(
                        "node {node} clears extent {extent}, but sector {sector} is {ours:x?} and \
                         {theirs:x?} for certain"
                    )
                });
                return;
            }
        }
    }
}
