//! Synchronisation: copies extents between the nodes, a piece at a time, many in flight.
//!
//! A piece holds its range, so that no write overtakes it and it overtakes none. It never copies
//! over what is current: behind extents go to the peer, stale ones come from it. An extent counts as
//! copied when all its pieces were written and nothing failed or changed its standing meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::making::Making;
use super::{Action, Direction, DisconnectReason, Holder, Notice, Primary, Progress, Sent};
use crate::engine::{Command, Operation, Outcome, Owner, PeerNote, Range};

/// How long an extent that could not be copied is left alone, in milliseconds: a disk that fails is
/// not helped by haste, and one that recovers should not wait for long.
const RETRY_AFTER: u64 = 5_000;

/// So many requests from one tick to the next, and the application counts as busy: it would be slowed
/// down. One that asks less often waits for itself, and a synchronisation need not creep for it.
const BUSY: u64 = 20;

/// While it is busy, this part of the window is used.
const SHARE_WHILE_BUSY: u64 = 64;

/// The longest piece then: what the application sends waits behind it.
const PIECE_WHILE_BUSY: u64 = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// For its range.
    Waiting,
    /// The source's disk.
    Reading,
    /// The target's disk.
    Writing,
}

#[derive(Debug)]
struct Piece {
    extent: u64,
    range: Range,
    direction: Direction,
    step: Step,
    /// The connection it belonged to is gone: what it does no longer counts.
    abandoned: bool,
}

#[derive(Debug)]
struct Extent {
    direction: Direction,
    next: u64,
    end: u64,
    outstanding: u32,
    /// A piece could not be copied.
    failed: bool,
    /// The local disk refused a piece.
    local_refused: bool,
    /// Written to in a way that makes this copy worthless.
    repeat: bool,
}

/// The state of synchronisation.
#[derive(Debug)]
pub(super) struct Copies {
    window: u64,
    /// The longest piece, in bytes.
    piece: u64,
    in_flight: u64,
    extents: BTreeMap<u64, Extent>,
    pieces: BTreeMap<u64, Piece>,
    next_piece: u64,
    /// Somebody waits for these.
    wanted: VecDeque<u64>,
    /// Left alone until `retry_at`.
    failed: BTreeSet<u64>,
    /// The local disk refuses to take them.
    broken: BTreeSet<u64>,
    retry_at: u64,
    cursor: u64,
    /// Bytes this synchronisation began with, and what is left, while one is running.
    running: Option<(Direction, u64)>,
    left: u64,
}

impl Copies {
    pub(super) fn new(window: u64, piece: u64) -> Self {
        Self {
            window: window.max(piece),
            piece,
            in_flight: 0,
            extents: BTreeMap::new(),
            pieces: BTreeMap::new(),
            next_piece: super::barrier::BARRIER + 1,
            wanted: VecDeque::new(),
            failed: BTreeSet::new(),
            broken: BTreeSet::new(),
            retry_at: 0,
            cursor: 0,
            running: None,
            left: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn is_broken(&self, extent: u64) -> bool {
        self.broken.contains(&extent)
    }

    pub(super) fn progress(&self, connected: bool) -> Option<Progress> {
        let (direction, total) = self.running.filter(|_| connected)?;
        let total = total.max(self.left);
        Some(Progress {
            direction,
            done: total - self.left,
            total,
        })
    }

    /// Somebody waits for these extents: they go first.
    pub(super) fn want(&mut self, extents: &[u64]) {
        for extent in extents {
            if !self.extents.contains_key(extent) && !self.wanted.contains(extent) {
                self.wanted.push_back(*extent);
            }
        }
    }

    /// The copy of this extent that may be under way has to be made again.
    pub(super) fn repeat(&mut self, extent: u64) {
        if let Some(extent) = self.extents.get_mut(&extent) {
            extent.repeat = true;
        }
    }

    /// Ends a synchronisation; true if one was running.
    pub(super) fn end(&mut self) -> bool {
        self.broken.clear();
        self.running.take().is_some()
    }
}

impl Primary {
    pub(super) fn begin_copies(&mut self, actions: &mut Vec<Action>) {
        self.copies.failed.clear();
        self.copies.broken.clear();
        self.copies.running = None;
        self.note_start(actions);
    }

    /// Says that a synchronisation begins, when there is one to begin.
    fn note_start(&mut self, actions: &mut Vec<Action>) {
        let (behind, stale) = (self.map.behind().count(), self.map.stale().count());
        let bytes = (behind + stale) * u64::from(self.geometry.extent_size);
        let bytes = bytes.min(self.geometry.data_size);
        self.copies.left = bytes;
        if bytes > 0 && self.copies.running.is_none() && self.together().is_some() {
            let direction = if stale > 0 {
                Direction::FromPeer
            } else {
                Direction::ToPeer
            };
            self.copies.running = Some((direction, bytes));
            actions.push(Action::Notice(Notice::SynchronisationStarted {
                direction,
                bytes,
            }));
        }
    }

    /// Tells a peer that can be told that it lacks something, before anything is copied to it. Not while this
    /// node leans on it: neither could be promoted then. What the peer lacks meanwhile was written after the
    /// last flush that was acknowledged, and none is until it has it: copying that breaks no order that was
    /// promised. Nor while this node's own record cannot be stored: it may be the disk that is dying, and the
    /// peer, which has all that was acknowledged, has to stay fit to go on.
    pub(super) fn tell_lacking(&mut self, actions: &mut Vec<Action>) {
        let leads = self.together().is_none_or(|peer| peer.leads);
        let undecided = matches!(self.making, Making::Telling(_));
        if leads || undecided || self.map.behind().is_empty() || self.metadata.is_failing() {
            return;
        }
        self.peer_lacks = true;
        let Some(peer) = self.peer_mut().filter(|peer| !peer.lacks && !peer.telling) else {
            return;
        };
        peer.telling = true;
        let seq = self.take_seq(Sent::Lacking);
        let note = PeerNote::Lacking;
        actions.push(Action::Tell { seq, note });
    }

    pub(super) fn lacking_told(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        if outcome.is_err() {
            return self.leave(DisconnectReason::PeerCannotStore, actions);
        }
        if let Some(peer) = self.peer_mut() {
            peer.telling = false;
            peer.lacks = true;
        }
    }

    /// Whether the peer may be copied to: its disk says that it lacks something, or that it is relied on.
    fn may_copy_to_peer(&self) -> bool {
        self.together().is_some_and(|peer| peer.lacks || peer.leads)
    }

    /// Begins as many pieces as the window has room for.
    pub(super) fn copy_more(&mut self, actions: &mut Vec<Action>) {
        if self.map.behind().is_empty() && self.map.stale().is_empty() {
            return;
        }
        // Before the end only what a request still waits for is copied.
        if self.together().is_none() || (self.is_stopping() && self.waiting_copy.is_empty()) {
            return;
        }
        self.note_start(actions);
        if self.now >= self.copies.retry_at && !self.copies.failed.is_empty() {
            self.copies.failed.clear();
        }
        let (share, longest) = if self.is_busy() {
            let longest = PIECE_WHILE_BUSY.min(self.copies.piece);
            let share = self.copies.window / SHARE_WHILE_BUSY;
            (share.max(longest), longest)
        } else {
            (self.copies.window, self.copies.piece)
        };
        while self.copies.in_flight < share {
            let Some(extent) = self.extent_to_continue().or_else(|| self.extent_to_begin()) else {
                return;
            };
            self.begin_piece(extent, longest, actions);
        }
    }

    /// Whether the application uses the device to a degree that it would notice.
    fn is_busy(&self) -> bool {
        self.submitted.max(self.submitted_before) >= BUSY
    }

    fn extent_to_continue(&self) -> Option<u64> {
        let mut extents = self.copies.extents.iter();
        let unfinished = extents
            .find(|(_, extent)| extent.next < extent.end && !extent.failed && !extent.repeat);
        unfinished.map(|(extent, _)| *extent)
    }

    /// The next extent to copy: one that is waited for, else one the peer lacks, else one we lack.
    fn extent_to_begin(&mut self) -> Option<u64> {
        let mut chosen = None;
        let may_fetch = self.is_lean_stored();
        while may_fetch && let Some(extent) = self.copies.wanted.pop_front() {
            if self.map.stale().test(extent) && !self.copies.extents.contains_key(&extent) {
                chosen = Some(extent);
                break;
            }
        }
        let extent = match chosen {
            Some(extent) => extent,
            None if self.is_stopping() => return None,
            None if self.map.behind().is_empty() || !self.may_copy_to_peer() => {
                self.next_to_fetch()?
            }
            None => self
                .next_of(Direction::ToPeer)
                .or_else(|| self.next_to_fetch())?,
        };
        let direction = if self.map.stale().test(extent) {
            Direction::FromPeer
        } else {
            Direction::ToPeer
        };
        let (start, length) = self.geometry.range_of(extent);
        self.copies.extents.insert(
            extent,
            Extent {
                direction,
                next: start,
                end: start + length,
                outstanding: 0,
                failed: false,
                local_refused: false,
                repeat: false,
            },
        );
        Some(extent)
    }

    /// The next extent that this node lacks, once its own disk says that it does.
    fn next_to_fetch(&mut self) -> Option<u64> {
        if self.is_lean_stored() {
            self.next_of(Direction::FromPeer)
        } else {
            None
        }
    }

    fn next_of(&mut self, direction: Direction) -> Option<u64> {
        let map = match direction {
            Direction::ToPeer => self.map.behind(),
            Direction::FromPeer => self.map.stale(),
        };
        let copies = &self.copies;
        let usable =
            |extent: &u64| !copies.extents.contains_key(extent) && !copies.failed.contains(extent);
        let from = |start: u64| {
            let mut at = map.first_set_from(start);
            while let Some(extent) = at.filter(|extent| !usable(extent)) {
                at = map.first_set_from(extent + 1);
            }
            at
        };
        let found = from(copies.cursor).or_else(|| from(0))?;
        self.copies.cursor = found;
        Some(found)
    }

    fn begin_piece(&mut self, extent: u64, longest: u64, actions: &mut Vec<Action>) {
        let Some(copying) = self.copies.extents.get_mut(&extent) else {
            return;
        };
        let length = longest.min(copying.end - copying.next);
        let range = Range::new(copying.next, length);
        copying.next += length;
        copying.outstanding += 1;
        let direction = copying.direction;
        let id = self.copies.next_piece;
        self.copies.next_piece += 1;
        self.copies.in_flight += length;
        let step = Step::Waiting;
        let piece = Piece {
            extent,
            range,
            direction,
            step,
            abandoned: false,
        };
        self.copies.pieces.insert(id, piece);
        if self.lock.acquire(range, Holder::Piece(id)) {
            self.piece_granted(id, actions);
        }
    }

    pub(super) fn piece_granted(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(piece) = self.copies.pieces.get_mut(&id) else {
            return;
        };
        if piece.abandoned {
            return self.forget_piece(id, actions);
        }
        piece.step = Step::Reading;
        let (range, direction) = (piece.range, piece.direction);
        match direction {
            Direction::ToPeer => actions.push(Action::ReadLocal(Self::piece_operation(id), range)),
            Direction::FromPeer => self.send_piece(id, Command::Read, range, actions),
        }
    }

    fn piece_operation(id: u64) -> Operation {
        Operation {
            owner: Owner::Engine(id),
            part: 0,
        }
    }

    fn send_piece(&mut self, id: u64, command: Command, range: Range, actions: &mut Vec<Action>) {
        let seq = self.take_seq(Sent::Piece(id));
        let operation = Self::piece_operation(id);
        actions.push(Action::Send {
            seq,
            operation,
            command,
            range,
            memsync: false,
        });
    }

    pub(super) fn piece_local_done(
        &mut self,
        id: u64,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let Some(piece) = self.copies.pieces.get_mut(&id) else {
            return;
        };
        if piece.abandoned {
            return self.end_piece(id, actions);
        }
        match (piece.step, outcome) {
            (Step::Reading, Ok(())) => {
                piece.step = Step::Writing;
                let range = piece.range;
                self.send_piece(id, Command::Write, range, actions);
            }
            (_, Ok(())) => self.end_piece(id, actions),
            (step, Err(_)) => {
                let extent = piece.extent;
                if let Some(copying) = self.copies.extents.get_mut(&extent) {
                    copying.failed = true;
                    copying.local_refused |= step == Step::Writing;
                }
                self.end_piece(id, actions);
            }
        }
    }

    pub(super) fn piece_replied(&mut self, id: u64, outcome: Outcome, actions: &mut Vec<Action>) {
        let Some(piece) = self.copies.pieces.get_mut(&id) else {
            return;
        };
        match (piece.step, outcome) {
            (Step::Reading, Ok(())) => {
                piece.step = Step::Writing;
                let range = piece.range;
                actions.push(Action::WriteLocal(Self::piece_operation(id), range));
            }
            (_, Ok(())) => self.end_piece(id, actions),
            (_, Err(_)) => {
                let (extent, direction) = (piece.extent, piece.direction);
                if let Some(copying) = self.copies.extents.get_mut(&extent) {
                    copying.failed = true;
                }
                if direction == Direction::ToPeer {
                    self.peer_failed();
                }
                self.end_piece(id, actions);
            }
        }
    }

    /// A piece is over: gives back what it held, and ends its extent if it was the last.
    fn end_piece(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(piece) = self.copies.pieces.get(&id) else {
            return;
        };
        let (extent, abandoned) = (piece.extent, piece.abandoned);
        if !abandoned && let Some(copying) = self.copies.extents.get_mut(&extent) {
            copying.outstanding -= 1;
            let over = copying.next >= copying.end || copying.failed || copying.repeat;
            if copying.outstanding == 0 && over {
                self.end_extent(extent, actions);
            }
        }
        self.forget_piece(id, actions);
    }

    fn forget_piece(&mut self, id: u64, actions: &mut Vec<Action>) {
        let Some(piece) = self.copies.pieces.remove(&id) else {
            return;
        };
        self.copies.in_flight -= piece.range.length;
        actions.push(Action::Release(Owner::Engine(id)));
        self.release_range(piece.range, actions);
    }

    fn end_extent(&mut self, number: u64, actions: &mut Vec<Action>) {
        let Some(extent) = self.copies.extents.remove(&number) else {
            return;
        };
        if extent.failed {
            self.copies.failed.insert(number);
            self.copies.retry_at = self.now + RETRY_AFTER;
            if extent.direction == Direction::FromPeer {
                if extent.local_refused {
                    self.copies.broken.insert(number);
                } else {
                    self.fail_waiting_copy(number, actions);
                }
            }
        } else if !extent.repeat {
            self.copies.broken.remove(&number);
            self.map.copied(number);
        }
        let (behind, stale) = (self.map.behind().count(), self.map.stale().count());
        self.copies.left = (behind + stale) * u64::from(self.geometry.extent_size);
        if extent.direction == Direction::FromPeer {
            self.wake_waiting_copy(actions);
        } else if behind == 0 {
            // Flushes, see `tell_lacking`.
            self.wake_waiting_peer(actions);
        }
    }

    /// The connection is gone: what waits for the peer ends here, what the local disk still does goes
    /// on holding its range until it is done.
    pub(super) fn abandon_pieces(&mut self, actions: &mut Vec<Action>) {
        self.copies.extents.clear();
        self.copies.wanted.clear();
        self.copies.running = None;
        let mut over = Vec::new();
        for (id, piece) in &mut self.copies.pieces {
            piece.abandoned = true;
            let at_peer = matches!(
                (piece.direction, piece.step),
                (Direction::ToPeer, Step::Writing) | (Direction::FromPeer, Step::Reading)
            );
            if at_peer {
                over.push(*id);
            }
        }
        for id in over {
            self.forget_piece(id, actions);
        }
    }
}
