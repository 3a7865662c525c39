//! Breaks engines on purpose, from outside: stands between an engine and the world and alters what
//! passes, so that the simulator can show that it would notice such a fault. Holds no part of the
//! world; without a sabotage it lets everything through untouched.

use std::collections::{BTreeMap, BTreeSet};

use hast::engine::base::MapSent;
use hast::engine::meeting::{Refusal, Source};
use hast::engine::primary::{Action, Answer, Event, Start};
use hast::engine::{Command, Owner, Range, secondary};
use hast::layout::Metadata;

use crate::dialect::{self, Accepted};
use crate::disk::{Value, sectors};
use crate::node::Work;

/// A fault an engine, or a worker around it, could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Map sectors are reported as written without having been.
    SkipMapWrite,
    /// Map sectors are written but not flushed.
    SkipMapFlush,
    /// Metadata is written but not flushed.
    SkipMetadataFlush,
    /// With each map write goes a mark that is still needed.
    ClearMarkEarly,
    /// The counter on the disk never rises.
    ForgetLocalcnt,
    /// A write is acknowledged when the local disk has it.
    AcknowledgeBeforePeer,
    /// A write is acknowledged at once.
    AcknowledgeAtOnce,
    /// Every flush of a component succeeds and does nothing.
    FlushNothing,
    /// The first reply of each connection is lost.
    LoseFirstReply,
    /// The secondary never marks itself as inconsistent.
    DropInconsistentMark,
    /// The secondary answers a flush without waiting for what came before it.
    FlushOvertakes,
    /// The secondary sends an empty map.
    SendOldMap,
    /// Pieces of a synchronisation carry what was there before the last write.
    StalePiece,
    /// What failed on the peer counts as done.
    TrustFailedReply,
    /// What failed on the local disk counts as done.
    TrustFailedDisk,
    /// Both wrote apart, and the secondary gives in.
    IgnoreSplitBrain,
    /// The primary believes itself current whatever the secondary says.
    IgnoreSource,
    /// A synchronisation takes no heed of its window.
    WideWindow,
    /// The secondary stays inconsistent although it was told that it is not.
    KeepInconsistentMark,
    /// A promotion does not look at the inconsistent mark.
    PromoteInconsistent,
    /// The engine does not hear that its permit has run out.
    IgnorePermit,
}

/// Between an engine and the world.
#[derive(Debug)]
pub struct Saboteur {
    sabotage: Option<Sabotage>,
    localcnt: u64,
    last_map: BTreeMap<u64, Box<[u8]>>,
    writes: BTreeSet<u64>,
    answered: BTreeSet<u64>,
    lose_next: bool,
    before: BTreeMap<usize, (Value, Value)>,
}

impl Saboteur {
    /// With nothing to do, or this.
    pub fn new(sabotage: Option<Sabotage>) -> Self {
        Self {
            sabotage,
            localcnt: 0,
            last_map: BTreeMap::new(),
            writes: BTreeSet::new(),
            answered: BTreeSet::new(),
            lose_next: false,
            before: BTreeMap::new(),
        }
    }

    fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// What a primary starts from.
    pub fn start(&mut self, mut start: Start) -> Start {
        self.localcnt = start.metadata.localcnt;
        self.last_map.clear();
        if self.is(Sabotage::PromoteInconsistent) {
            start.metadata.record.lacks = false;
        }
        if self.is(Sabotage::WideWindow) {
            start.window *= 16;
        }
        start
    }

    /// What a secondary decided.
    pub fn decide(
        &self,
        decision: Result<Accepted, Refusal>,
        metadata: &Metadata,
        extended: bool,
    ) -> Result<Accepted, Refusal> {
        match decision {
            Err(Refusal::SplitBrain) if self.is(Sabotage::IgnoreSplitBrain) => Ok(Accepted {
                metadata: metadata.clone(),
                standing: dialect::standing(metadata),
                source: Source::Primary,
                map: MapSent::OnDisk,
                virgin: false,
                extended,
            }),
            decision => decision,
        }
    }

    /// The map a secondary sends.
    pub fn map(&self, map: Option<Vec<u8>>) -> Option<Vec<u8>> {
        map.map(|bytes| {
            if self.is(Sabotage::SendOldMap) {
                vec![0; bytes.len()]
            } else {
                bytes
            }
        })
    }

    /// Whether a durable write or a flush stops at the cache.
    pub fn unflushed(&self, work: &Work) -> bool {
        match work {
            Work::Map(..) => self.is(Sabotage::SkipMapFlush),
            Work::Metadata(..) | Work::Agree(..) => self.is(Sabotage::SkipMetadataFlush),
            Work::Flush(_) => self.is(Sabotage::FlushNothing),
            _ => false,
        }
    }

    /// Whether a secondary answers flushes by itself.
    pub fn flush_overtakes(&self) -> bool {
        self.is(Sabotage::FlushOvertakes)
    }

    /// What a secondary does.
    pub fn secondary_actions(&self, actions: &mut [secondary::Action]) {
        let mark = match self.sabotage {
            Some(Sabotage::DropInconsistentMark) => false,
            Some(Sabotage::KeepInconsistentMark) => true,
            _ => return,
        };
        for action in actions {
            if let secondary::Action::WriteMetadata(_, metadata) = action {
                metadata.record.lacks = mark;
            }
        }
    }

    /// The data of a message.
    pub fn payload(&mut self, owner: Owner, range: Range, data: &mut [Value]) {
        if !self.is(Sabotage::StalePiece) {
            return;
        }
        for (sector, value) in sectors(range).zip(data) {
            let (older, newer) = self.before.get(&sector).copied().unwrap_or_default();
            match owner {
                Owner::Request(_) if *value != newer => {
                    self.before.insert(sector, (newer, *value));
                }
                Owner::Request(_) => {}
                Owner::Engine(_) => *value = older,
            }
        }
    }

    /// What a primary is told: nothing, or something else.
    pub fn primary_event(&mut self, event: Event) -> Option<Event> {
        if let Event::Submit(request) = &event
            && request.command == Command::Write
        {
            self.writes.insert(request.id);
        }
        Some(match (self.sabotage, event) {
            (Some(Sabotage::LoseFirstReply), Event::Connected(answer)) => {
                self.lose_next = true;
                Event::Connected(answer)
            }
            (Some(Sabotage::LoseFirstReply), Event::Reply { .. }) if self.lose_next => {
                self.lose_next = false;
                return None;
            }
            (Some(Sabotage::IgnorePermit), Event::Permit(false)) => return None,
            (Some(Sabotage::TrustFailedReply), Event::Reply { seq, received, .. }) => {
                Event::Reply {
                    seq,
                    received,
                    outcome: Ok(()),
                }
            }
            (Some(Sabotage::TrustFailedDisk), Event::LocalDone(operation, _)) => {
                Event::LocalDone(operation, Ok(()))
            }
            (Some(Sabotage::IgnoreSource), Event::Connected(answer)) => {
                Event::Connected(Box::new(Answer {
                    source: Source::Primary,
                    ..*answer
                }))
            }
            (_, event) => event,
        })
    }

    /// What a primary does after having been told `event`.
    pub fn primary_actions(&mut self, told: &Told, actions: &mut Vec<Action>) {
        match self.sabotage {
            Some(Sabotage::SkipMapWrite) => {
                for action in actions {
                    if let Action::WriteMap(_, sectors) = action {
                        sectors.clear();
                    }
                }
            }
            Some(Sabotage::ClearMarkEarly) => self.clear_marks(actions),
            Some(Sabotage::ForgetLocalcnt) => {
                for action in actions {
                    if let Action::WriteMetadata(_, metadata) = action {
                        metadata.localcnt = self.localcnt;
                    }
                }
            }
            Some(Sabotage::AcknowledgeBeforePeer) => {
                if let Told::Local(id) = told {
                    self.answer(*id, actions);
                }
            }
            Some(Sabotage::AcknowledgeAtOnce) => {
                if let Told::Submit(id) = told {
                    self.answer(*id, actions);
                }
            }
            _ => {}
        }
    }

    /// Answers a write now, and not when its time has come.
    fn answer(&mut self, id: u64, actions: &mut Vec<Action>) {
        let answered =
            |action: &Action| matches!(action, Action::Complete(other, _) if *other == id);
        if self.writes.remove(&id) && !actions.iter().any(answered) {
            actions.insert(0, Action::Complete(id, Ok(())));
            self.answered.insert(id);
        }
    }

    /// Whether an answer was given already.
    pub fn was_answered(&mut self, id: u64) -> bool {
        self.answered.remove(&id)
    }

    fn clear_marks(&mut self, actions: &mut [Action]) {
        for action in actions {
            let Action::WriteMap(_, sectors) = action else {
                continue;
            };
            for sector in sectors {
                let wanted = sector.bytes.clone();
                let last = self.last_map.insert(sector.index, wanted);
                let kept = last
                    .iter()
                    .flat_map(|last| last.iter())
                    .zip(sector.bytes.iter());
                let found = kept.map(|(old, new)| old & new).position(|both| both != 0);
                if let Some(at) = found {
                    sector.bytes[at] &= sector.bytes[at] - 1;
                }
            }
        }
    }
}

/// The part of an event that matters to a saboteur.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    /// A request came in.
    Submit(u64),
    /// The local disk has done what this request asked.
    Local(u64),
    /// Anything else.
    Other,
}

impl From<&Event> for Told {
    fn from(event: &Event) -> Self {
        match event {
            Event::Submit(request) => Self::Submit(request.id),
            Event::LocalDone(operation, Ok(())) => match operation.owner {
                Owner::Request(id) => Self::Local(id),
                Owner::Engine(_) => Self::Other,
            },
            _ => Self::Other,
        }
    }
}
