//! What is played: the mode, the dropped condition if any, and the steps that can follow a state.
//!
//! A step is whatever happens at once: everything that can come between two of them does, in some
//! history. Invariants: a record or map that a step stores is durable at its end; no step stores two
//! records.

use crate::events;
use crate::judge;
use crate::meetings;
use crate::mutants::Mutant;
use crate::naming::rename;
use crate::points;
use crate::requests;
use crate::world::{Event, Rec, World};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    #[default]
    Fullsync,
    Memsync,
    Async,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    pub mode: Mode,
    pub mutant: Option<Mutant>,
    /// Requests that a consumer has under way at once.
    pub parallel: usize,
}

impl Rules {
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Step {
    Promote,
    Force,
    Demote,
    Open,
    Close,
    Write,
    Flush,
    Cut,
    Boot,
    KillPrimary,
    KillSecondary,
    Disconnect,
    MetadataDies,
    DataDies,
    TakeImage,
    PutBack,
    LosePermit,
    GainPermit,
    Discard,
    /// A record that failed to be written is written again.
    WriteAgain,
    Connect,
    HearOfPrimary,
    MergeMaps,
    ProposeMeeting,
    StoreMeeting,
    FinishMeeting,
    ClearMap,
    Start,
    ApplyHere,
    FailHere,
    Receive,
    ApplyThere,
    FailThere,
    Hear,
    Drain,
    Settle,
    Acknowledge,
    GiveUp,
    MarkOther,
    CopyThere,
    Fetch,
    Barrier,
    Propose,
    StorePoint,
    FinishPoint,
}

/// Names a step among those that can follow a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    pub step: Step,
    pub node: u8,
    pub detail: u8,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} at {}",
            self.step,
            if self.node == 0 { "A" } else { "B" }
        )?;
        if self.detail == 0 {
            Ok(())
        } else {
            write!(f, " ({})", self.detail)
        }
    }
}

/// The steps that can follow a state, collected.
pub struct Moves<'a> {
    pub rules: &'a Rules,
    pub from: &'a World,
    pub node: usize,
    pub list: &'a mut Vec<(Label, World)>,
}

impl Moves<'_> {
    /// Adds one: what becomes of the state by `change`.
    pub fn add(&mut self, step: Step, detail: u8, change: impl FnOnce(&mut World)) {
        let mut world = *self.from;
        change(&mut world);
        self.push(step, detail, &world);
    }

    pub fn push(&mut self, step: Step, detail: u8, world: &World) {
        let label = Label {
            step,
            node: self.node as u8,
            detail,
        };
        self.list.push((label, *world));
    }

    /// The same, where it costs one of the events allowed.
    pub fn spend(&mut self, event: Event, step: Step, detail: u8, change: impl FnOnce(&mut World)) {
        if self.from.budget.allows(event) {
            self.add(step, detail, |world| {
                world.budget.spend(event);
                change(world);
            });
        }
    }

    /// Stores a record at `whose`, after what `base` is already: then either `stored` follows, or the
    /// write fails, leaves the old or the new one, and `failed` follows.
    pub fn store(
        &mut self,
        (step, detail): (Step, u8),
        base: &World,
        (whose, rec): (usize, Rec),
        stored: &dyn Fn(&mut World),
        failed: &dyn Fn(&mut World),
    ) {
        if base.nodes[whose].meta_dead {
            let mut world = *base;
            failed(&mut world);
            return self.push(step, detail | 4, &world);
        }
        let mut world = *base;
        world.nodes[whose].set_record(rec);
        stored(&mut world);
        self.push(step, detail, &world);
        if !base.budget.allows(Event::SlotError) {
            return;
        }
        for new in [false, true] {
            let mut world = *base;
            world.budget.spend(Event::SlotError);
            world.faulty = true;
            world.unwritten = true;
            let node = &mut world.nodes[whose];
            node.told = node.record();
            node.unsure = true;
            if new {
                node.disk.rec = rec;
            }
            failed(&mut world);
            self.push(step, detail | if new { 12 } else { 8 }, &world);
        }
    }
}

/// Every step that can follow; without `fate`, those only that the two nodes take by themselves.
pub fn successors(rules: &Rules, from: &World, fate: bool, list: &mut Vec<(Label, World)>) {
    let first = list.len();
    for node in 0..2 {
        let mut moves = Moves {
            rules,
            from,
            node,
            list,
        };
        if fate {
            events::steps(&mut moves);
        }
        own_steps(&mut moves, fate);
    }
    for (_, world) in &mut list[first..] {
        judge::look(world);
        rename(world);
    }
}

fn own_steps(moves: &mut Moves<'_>, fate: bool) {
    let node = moves.from.nodes[moves.node];
    if !node.up {
        return;
    }
    if node.unsure && !node.meta_dead {
        let which = moves.node;
        moves.add(Step::WriteAgain, 0, |world| {
            world.nodes[which].set_record(node.told);
        });
    }
    requests::drain(moves);
    if node.primary {
        meetings::steps(moves, fate);
        requests::steps(moves);
        points::copies(moves);
        points::steps(moves);
    }
}
