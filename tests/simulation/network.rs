//! What lies between the nodes: connections with two directions, each in order, each with its own
//! delays, each of which may end after any message. Refuses nothing by itself and keeps no clock:
//! it says when a message arrives and whether it still counts when that time has come.

use fastrand::Rng;
use hast::engine::meeting::{Hello, Source};
use hast::engine::{Command, Outcome, PeerNote, Range};
use hast::layout::Standing;

use crate::disk::Value;

/// Virtual time, in microseconds.
pub type Time = u64;

/// What travels on a connection.
#[derive(Debug, Clone)]
pub enum Message {
    /// The primary introduces itself.
    Hello(Box<Hello>),
    /// The secondary will not have it, and says how it stands, if it is one.
    Refused(Option<Box<Standing>>),
    /// The secondary agrees.
    Answer {
        /// How it stands.
        standing: Box<Standing>,
        /// Freshly created.
        virgin: bool,
        /// Who is the source.
        source: Source,
        /// Its activemap.
        map: Option<Vec<u8>>,
    },
    /// A request, with a write's data.
    Request {
        seq: u64,
        command: Command,
        range: Range,
        memsync: bool,
        /// Part of a synchronisation.
        copy: bool,
        /// The primary leans on its peer.
        leaning: bool,
        data: Vec<Value>,
    },
    /// A note on the two copies.
    Note { seq: u64, note: PeerNote },
    /// An answer, with a read's data.
    Reply {
        seq: u64,
        received: bool,
        outcome: Outcome,
        data: Option<Vec<Value>>,
    },
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Direction {
    /// When the last message sent arrives.
    last: Time,
    sent: u64,
    delivered: u64,
    /// Messages from this one on are lost.
    lost_from: Option<u64>,
}

/// A connection between the two nodes.
#[derive(Debug)]
pub struct Connection {
    /// The node that opened it.
    pub primary: usize,
    /// By receiving node.
    directions: [Direction; 2],
    /// By node: whether its end is open.
    pub open: [bool; 2],
}

impl Connection {
    /// One just opened.
    pub fn new(primary: usize) -> Self {
        Self {
            primary,
            directions: Default::default(),
            open: [true; 2],
        }
    }

    /// Takes a message for node `to`, and says when it arrives and under which number.
    pub fn send(&mut self, to: usize, now: Time, delay: Time) -> (Time, u64) {
        let direction = &mut self.directions[to];
        direction.last = direction.last.max(now + delay);
        direction.sent += 1;
        (direction.last, direction.sent - 1)
    }

    /// Whether message `number` for node `to`, whose time has come, still arrives.
    pub fn arrives(&mut self, to: usize, number: u64) -> bool {
        let direction = &mut self.directions[to];
        let lost = direction.lost_from.is_some_and(|from| number >= from);
        if !lost {
            direction.delivered = number + 1;
        }
        !lost && self.open[to]
    }

    /// From somewhere in what is under way to node `to`, nothing arrives any more.
    pub fn lose(&mut self, to: usize, rng: &mut Rng) {
        let direction = &mut self.directions[to];
        let from = rng.u64(direction.delivered..=direction.sent);
        direction.lost_from = Some(
            direction
                .lost_from
                .map_or(from, |earlier| earlier.min(from)),
        );
    }

    /// When what is still under way to node `to` will have arrived.
    pub fn last_arrival(&self, to: usize) -> Time {
        self.directions[to].last
    }
}
