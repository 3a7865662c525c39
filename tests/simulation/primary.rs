//! What the worker does around a primary engine: connecting, carrying actions out in their order,
//! keeping buffers until they are released. And what the oracle looks at after every step.

use std::collections::{BTreeMap, BTreeSet};

use hast::engine::primary::{Action, Answer, Event, Notice, Promotion, PromotionRefused, Start};
use hast::engine::{Command, Owner, Primary, Range, Request};
use hast::layout::Bitmap;
use hast::terms::{Replication, Role};
use nix::errno::Errno;

use crate::dialect;
use crate::disk::{Value, sectors};
use crate::faults::Part;
use crate::network::{Connection, Message};
use crate::node::{Buffer, Shared, Worker};
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
    /// Closed by the engine, which has not been told yet: what came before may still be handed to it.
    Closing(u64),
}

/// A primary worker.
#[derive(Debug)]
pub struct PrimaryDriver {
    pub engine: Primary,
    /// How the connection stands.
    pub link: Link,
    pub buffers: BTreeMap<Owner, Shared>,
    pub requests: BTreeMap<u64, Request>,
    /// Messages without their last answer.
    pub sent: BTreeMap<u64, (Command, Owner, Range)>,
    pub connected: bool,
    pub up_to_date: bool,
    pub from_peer: bool,
    /// Requests may fail for want of the peer's copy.
    pub wanting_peer: bool,
    /// It was said, in this period without a connection, that requests need the peer.
    pub peer_needed: bool,
    /// The mode new requests get.
    pub replication: Replication,
    /// Changes and flushes that the peer has answered, and has done.
    pub peer_has: BTreeSet<u64>,
    /// No more requests are taken.
    pub stopping: bool,
    /// A consumer has the device open.
    pub open: bool,
}

impl PrimaryDriver {
    /// Whether the copies are shown as equal.
    pub fn is_up_to_date(&self) -> bool {
        self.up_to_date
    }

    /// Whether parts of its component are out of date.
    pub fn lacks_something(&self) -> bool {
        self.engine.status().stale > 0
    }

    /// The connection that is open or being opened.
    pub fn connection(&self) -> Option<u64> {
        match self.link {
            Link::Meeting(connection) | Link::Up(connection) => Some(connection),
            Link::Apart | Link::Closing(_) => None,
        }
    }

    /// Whether messages of a connection still reach the engine.
    fn listens_to(&self, connection: u64) -> bool {
        self.connection() == Some(connection) || self.link == Link::Closing(connection)
    }
}

impl World {
    /// Starts a primary worker on a node.
    pub fn promote(&mut self, node: usize, promotion: Promotion) -> Result<(), PromotionRefused> {
        let fresh_resuid = self.rng.u64(1..);
        let entropy = self.rng.u64(..);
        let replication = self.profile.replication;
        let this = &mut self.nodes[node];
        this.disk.open();
        let now = self.oracle.step();
        self.oracle.flushed(node, now);
        let metadata = this.disk.metadata().clone();
        let claims = dialect::claims(&metadata);
        let start = Start {
            geometry: this.geometry,
            metadata,
            map: Bitmap::from_bytes(this.geometry.extents, &this.disk.map_bytes()),
            replication,
            window: self.profile.window,
            piece: self.profile.piece,
            patience: self.profile.patience / 1000,
            point_interval: self.profile.point_interval / 1000,
            fresh_resuid,
            entropy,
            promotion,
        };
        let start = self.saboteur.start(start);
        let engine = match Primary::new(start) {
            Ok(engine) => engine,
            Err(refused) => {
                self.note(|| format!("node {node}: {promotion:?} refused: {refused}"));
                // Without state messages the mark goes only at the next meeting.
                if self.profile.extension {
                    let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
                    self.oracle.refused(node, disks);
                }
                return Err(refused);
            }
        };
        self.note(|| format!("node {node} becomes primary ({promotion:?}), consistent: {claims}"));
        if promotion == Promotion::Asked && !claims {
            self.oracle.broken(Rule::UpToDate, || {
                format!("node {node} was promoted without force though marked inconsistent")
            });
        }
        let this = &mut self.nodes[node];
        this.role = Role::Primary;
        this.incarnation += 1;
        let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
        let records = !self.profile.faults[node].is_dead(Part::Metadata, self.now);
        self.oracle.promoted(
            node,
            disks[node],
            claims,
            promotion == Promotion::Resumed,
            self.profile.extension,
            (
                records || self.calm,
                dialect::claims_for_certain(disks[1 - node]),
            ),
        );
        let open = self.oracle.consumers[node].open;
        let this = &mut self.nodes[node];
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
            peer_needed: false,
            replication,
            peer_has: BTreeSet::new(),
            stopping: false,
            open,
        }));
        let (worker, permitted) = (this.incarnation, this.permitted);
        self.feed_primary(node, Event::Permit(permitted));
        self.feed_primary(node, Event::Opened(open));
        self.after(0, Happening::Tick { node, worker });
        self.after_up_to(self.profile.reconnect, Happening::Connect { node, worker });
        Ok(())
    }

    /// No worker runs on a node. Would it be promoted, it had to hold what it is bound to.
    pub fn check_promise(&mut self, node: usize) {
        let this = &self.nodes[node];
        let possible = self.oracle.strict && self.profile.extension && !this.fresh;
        if possible && dialect::would_promote(&this.disk, this.geometry) {
            let records = self.calm || !self.profile.faults[node].is_dead(Part::Metadata, self.now);
            self.oracle.check_promise(node, &this.disk, records);
        }
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
            // It may have been in its memory only.
            let requests = &driver.requests;
            let is_flush = |id: &u64| !requests.get(id).is_some_and(|it| it.command.mutates());
            driver.peer_has.retain(is_flush);
        }
        if let Link::Meeting(connection) | Link::Up(connection) | Link::Closing(connection) = link {
            self.close_end(connection, node);
        }
        self.feed_primary(node, Event::Disconnected);
        self.after_up_to(self.profile.reconnect, Happening::Connect { node, worker });
    }

    /// The connection that the engine wanted closed is.
    pub fn link_gone(&mut self, node: usize, connection: u64) {
        let link = self.nodes[node].primary().map(|driver| driver.link);
        if link == Some(Link::Closing(connection)) {
            self.link_lost(node);
        }
    }

    /// A message from the secondary arrived.
    pub fn answered(&mut self, node: usize, connection: u64, message: Message) {
        let extents = self.nodes[node].geometry.extents;
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        if !driver.listens_to(connection) {
            return;
        }
        match message {
            Message::Refused(standing) => {
                if let Some(standing) = standing {
                    self.feed_primary(node, Event::Refused(standing));
                }
                self.link_lost(node);
            }
            Message::Answer {
                standing,
                virgin,
                source,
                map,
            } => {
                if driver.connection() == Some(connection) {
                    driver.link = Link::Up(connection);
                    driver.from_peer = source == hast::engine::meeting::Source::Secondary;
                }
                let answer = Answer {
                    standing: *standing,
                    virgin,
                    source,
                    map: map.map(|bytes| Bitmap::from_bytes(extents, &bytes)),
                    extension: self.profile.extension,
                    memsync: self.profile.memsync,
                };
                self.feed_primary(node, Event::Connected(Box::new(answer)));
                if self.profile.ambushes && self.rng.u8(..3) == 0 {
                    let soon = 20 * self.profile.network_delay(&mut self.rng);
                    self.after_up_to(soon, Happening::Ambush { node, both: false });
                }
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
                // A flush that it has no use for counts as done.
                let done = matches!(outcome, Ok(()) | Err(Errno::EOPNOTSUPP));
                if let Some((_, Owner::Request(id), _)) = known
                    && done
                {
                    driver.peer_has.insert(id);
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

    /// A consumer opens the device, or lets go of it. The one place where an engine can be told.
    pub fn set_open(&mut self, node: usize, open: bool) {
        let Some(driver) = self.nodes[node].primary() else {
            return;
        };
        if std::mem::replace(&mut driver.open, open) != open {
            self.note(|| format!("node {node}: the device is open: {open}"));
            self.oracle.consumers[node].turn(open);
            self.feed_primary(node, Event::Opened(open));
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
        let needs = |action: &Action| matches!(action, Action::Notice(Notice::PeerNeeded));
        driver.peer_needed |= actions.iter().any(needs);
        driver.wanting_peer = wanted || driver.lacks_something() || driver.peer_needed;
        self.saboteur.primary_actions(&told, &mut actions);
        self.note(|| format!("node {node} primary {text} -> {actions:?}"));
        self.observe_link(node);
        for action in actions {
            self.primary_action(node, action);
        }
        self.observe_copies(node);
    }
}
