//! What there is: two nodes with their disks and records, one connection, and what a judge remembers.
//!
//! Everything is a small number, so that a state is a few hundred bytes and two that are the same are
//! found to be the same. Invariants: a block is an extent; a bit of a set stands for a block; the content
//! of a block is the number of the write that it holds, 0 before the first.

/// Blocks of the device; an extent each.
pub const BLOCKS: usize = 2;
/// Every block.
pub const ALL: u8 = (1 << BLOCKS) - 1;
/// Requests that a consumer may have under way.
pub const REQUESTS: usize = 2;
/// Older generations that a record remembers here: more than a short history has.
pub const PAST: usize = 3;
/// Writes in a history; 0 is what was there before.
pub const WRITES: usize = 8;

/// A point: generation and number. No generation: none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Spot {
    pub generation: u8,
    pub number: u8,
}

/// A record, small: see `layout::Record`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rec {
    /// The component belongs to a data set (its resuid is not 0).
    pub used: bool,
    pub at: Spot,
    pub next: Spot,
    pub full: bool,
    pub own: u8,
    pub lacks: bool,
    pub forced: bool,
    pub past: [Spot; PAST],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Disk {
    /// What a power cut leaves.
    pub medium: [u8; BLOCKS],
    /// What a read gives.
    pub cache: [u8; BLOCKS],
    /// Durable, as the record is.
    pub map: u8,
    pub rec: Rec,
}

/// What was promised of a node's copy; only the judge knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Promise {
    /// Acknowledged: is here as long as this node keeps its power.
    pub held: [u8; BLOCKS],
    /// Acknowledged and flushed: is here.
    pub flushed: [u8; BLOCKS],
    /// Acknowledged in async before the other node was heard to have it.
    pub early: u8,
    /// Something was acknowledged that only this node has.
    pub alone: bool,
    /// And flushed.
    pub alone_flushed: bool,
    /// Something that only this node has at least reached it.
    pub tried: bool,
    /// In the middle of a copy onto it.
    pub mixture: bool,
    /// It was told that the other is newer.
    pub older: bool,
    /// A full point may be on its disk, though writing it failed.
    pub maybe_full: bool,
}

/// An image of a component, which somebody may put back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Image {
    pub taken: bool,
    pub disk: Disk,
    pub promise: Promise,
    /// Its node wrote in a session since, and made no point yet: nobody can tell then that it is older.
    pub untold: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Kind {
    #[default]
    None,
    Write,
    Flush,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Stage {
    #[default]
    Waiting,
    Running,
    /// `own` is durable: to be acknowledged.
    Counted,
    /// Only the other node has it: waits for a point that says so.
    Leading,
}

/// What became of one node's part of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Side {
    #[default]
    Unused,
    Out,
    /// In the other node's memory.
    Received,
    /// Carried out, the answer not heard.
    Answered,
    Done,
    /// Failed, the answer not heard.
    Failing,
    Failed,
    Lost,
}

impl Side {
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Unused | Self::Done | Self::Failed | Self::Lost)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Request {
    pub kind: Kind,
    pub block: u8,
    pub write: u8,
    pub stage: Stage,
    pub local: Side,
    pub remote: Side,
    pub acknowledged: bool,
    /// The connection broke since the other node was heard to have it.
    pub apart: bool,
    /// What a flush makes safe: what was acknowledged when it was issued.
    pub covers: [u8; BLOCKS],
}

impl Request {
    pub fn is_running_on(&self, block: usize) -> bool {
        self.kind == Kind::Write && self.stage != Stage::Waiting && self.block as usize == block
    }

    pub fn bit(&self) -> u8 {
        1 << self.block
    }

    /// To be carried out from the beginning.
    pub fn again(&mut self) {
        self.stage = Stage::Waiting;
        self.local = Side::Unused;
        self.remote = Side::Unused;
        self.apart = false;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Node {
    pub disk: Disk,
    pub promise: Promise,
    pub image: Image,
    pub up: bool,
    pub primary: bool,
    pub open: bool,
    pub superseded: bool,
    pub permit: bool,
    pub meta_dead: bool,
    pub data_dead: bool,
    /// A record write failed and left the old or the new one: `told` is what this node goes by.
    pub unsure: bool,
    pub told: Rec,
    /// Contents that its consumer may find, a set for each block.
    pub seen: [u8; BLOCKS],
    /// What this node lacks and the other has.
    pub stale: u8,
    /// What the other lacks.
    pub behind: u8,
    /// Written since what a point covers, as far as this worker knows.
    pub uncovered: u8,
    /// `own` is new since the last proposal and separation.
    pub fresh: bool,
    /// This worker's device was written to while it relied on the other node.
    pub leans: bool,
    /// It took over from a worker that leaned, and has not met the other since: what the other had not
    /// flushed when that worker died, the two failures together may lose.
    pub resumed: bool,
    pub requests: [Request; REQUESTS],
    /// As secondary, memsync and async: writes in memory.
    pub received: [u8; BLOCKS],
    /// As secondary: the other lacks what this node has.
    pub leads: bool,
}

impl Node {
    /// The record that this node goes by.
    pub fn record(&self) -> Rec {
        if self.unsure {
            self.told
        } else {
            self.disk.rec
        }
    }

    pub fn set_record(&mut self, rec: Rec) {
        self.disk.rec = rec;
        self.promise.maybe_full = false;
        self.unsure = false;
        self.told = Rec::default();
    }

    pub fn flush(&mut self) {
        self.disk.medium = self.disk.cache;
    }

    pub fn lacks(&self) -> bool {
        self.record().lacks || self.stale != 0
    }

    pub fn is_idle(&self) -> bool {
        self.requests
            .iter()
            .all(|request| request.kind == Kind::None)
    }

    pub fn holds_device(&self) -> bool {
        self.open || !self.is_idle()
    }

    pub fn has_received(&self) -> bool {
        self.received != [0; BLOCKS]
    }

    /// Blocks that a write under way may be changing.
    pub fn busy(&self) -> u8 {
        (0..BLOCKS)
            .filter(|block| {
                self.requests
                    .iter()
                    .any(|request| request.is_running_on(*block))
            })
            .map(|block| 1 << block)
            .sum()
    }

    pub fn is_leading(&self) -> bool {
        self.requests
            .iter()
            .any(|request| request.stage == Stage::Leading)
    }

    pub fn drop_requests(&mut self) {
        self.requests = Default::default();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    #[default]
    Apart,
    /// Both agreed; nothing is stored.
    Agreed,
    /// The maps are merged on the primary's disk.
    Merged,
    /// The primary's record proposes the meeting's point.
    Proposed,
    /// The secondary stored it.
    Stored,
    Together,
}

/// A point made in the middle of a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Making {
    #[default]
    None,
    Flushed,
    Proposed,
    Stored,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Link {
    pub phase: Phase,
    /// Which node is its primary.
    pub primary: u8,
    pub secondary_is_source: bool,
    pub everything: bool,
    /// The primary keeps its own sets: its consumer wrote what the secondary has.
    pub lean: bool,
    /// Both maps, as they were.
    pub union: u8,
    /// The secondary has not cleared its map yet.
    pub clears: bool,
    pub making: Making,
    pub point: Spot,
    pub full: bool,
    pub leads: bool,
    /// Marks that go once the point is made.
    pub cover: u8,
    /// Written or copied since the flush, or under way at it.
    pub since: u8,
    /// The secondary failed something since the flush.
    pub failed: bool,
    /// A full point was made.
    pub reached: bool,
}

impl Link {
    pub fn is_meeting(&self) -> bool {
        !matches!(self.phase, Phase::Apart | Phase::Together)
    }
}

/// What may still happen: each kind of event, and all together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    pub total: u8,
    pub writes: u8,
    pub flushes: u8,
    pub events: [u8; EVENTS],
}

/// What somebody, or fate, does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Event {
    Promote,
    Force,
    Cut,
    Disconnect,
    KillPrimary,
    KillSecondary,
    WriteError,
    FlushError,
    SlotError,
    MetadataDies,
    DataDies,
    Image,
    PutBack,
    Permit,
    Discard,
}

/// How many kinds of events there are.
pub const EVENTS: usize = Event::Discard as usize + 1;

impl Budget {
    pub fn with(mut self, event: Event, times: u8) -> Self {
        self.events[event as usize] = times;
        self
    }

    pub fn allows(&self, event: Event) -> bool {
        self.total > 0 && self.events[event as usize] > 0
    }

    pub fn spend(&mut self, event: Event) {
        self.total -= 1;
        self.events[event as usize] -= 1;
    }
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Wrong {
    /// Promoted without what was acknowledged and promised there.
    Lost,
    /// The source lacks a flushed acknowledged write of the target.
    Overwritten,
    /// A node that acknowledged alone is the target, and nobody says so.
    DivergenceUnreported,
    /// Split brain where nobody went on alone, or only one did.
    SplitWithoutDivergence,
    /// The data changed under an open device.
    ViewChanged,
    /// Said to be the same, and are not.
    UpToDateThoughDifferent,
    /// Refused without a reason.
    RefusedWithoutReason,
    /// Everything is mended, and the copies do not become equal.
    Stuck,
    /// A mixture of two times was promoted unforced.
    MixturePromoted,
    /// A mixture of two times was taken as the source.
    MixtureTaken,
    /// Copied onto a node that does not know, durably, that it lacks something.
    CopiedUnmarked,
    /// Each lacks something that only the other has, and both records could be written.
    BothLack,
    /// Promoted unforced, though it had been told that the other is newer.
    OlderPromoted,
    /// Acknowledged alone in a session whose secondary says that it is complete.
    AloneBesideComplete,
    /// Acknowledged alone without a permit.
    AloneWithoutPermit,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct World {
    pub nodes: [Node; 2],
    pub link: Link,
    pub budget: Budget,
    /// For each write, what it was written over.
    pub over: [u8; WRITES],
    pub writes: u8,
    /// Somebody forced a role, or had a copy forgotten.
    pub forced: bool,
    /// An older image was put back.
    pub rolled_back: bool,
    /// A disk failed.
    pub faulty: bool,
    /// A record could not be written.
    pub unwritten: bool,
    pub wrong: Option<Wrong>,
}

impl World {
    /// Whether content `found` holds write `write`: is it, or was written over it.
    pub fn holds(&self, found: u8, write: u8) -> bool {
        found == write || self.over[found as usize] & (1 << write) != 0
    }

    pub fn is_together(&self, node: usize) -> bool {
        self.link.phase == Phase::Together && self.link.primary as usize == node
    }

    pub fn is_meeting(&self, node: usize) -> bool {
        self.link.is_meeting() && self.link.primary as usize == node
    }

    /// Whether a node is the secondary of a session.
    pub fn is_served(&self, node: usize) -> bool {
        self.link.phase != Phase::Apart && self.link.primary as usize != node
    }

    /// What a read of a node's device gives; none: an error or a wait.
    pub fn visible(&self, node: usize, block: usize) -> Option<u8> {
        let own = &self.nodes[node];
        if own.stale & (1 << block) == 0 && !own.data_dead {
            return Some(own.disk.cache[block]);
        }
        self.elsewhere(node, block)
    }

    /// What a read gives that this node's disk can not answer.
    pub fn elsewhere(&self, node: usize, block: usize) -> Option<u8> {
        let other = &self.nodes[1 - node];
        let current = self.nodes[node].behind & (1 << block) == 0 && !other.record().lacks;
        // Behind what was sent there before.
        let sent = self.nodes[node].requests.iter().find(|request| {
            request.is_running_on(block) && matches!(request.remote, Side::Out | Side::Received)
        });
        let found = sent.map_or(other.disk.cache[block], |request| request.write);
        (self.is_together(node) && current && !other.data_dead).then_some(found)
    }

    pub fn accuse(&mut self, wrong: Wrong) {
        self.wrong = self.wrong.or(Some(wrong));
    }
}
