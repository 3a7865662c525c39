//! Meetings: what two nodes agree on, and in which order it is stored.
//!
//! The primary merges both maps on its disk, its record proposes a point, the secondary stores it, the
//! primary stores it; then the secondary clears its map. Invariants: what the secondary's record settles
//! of an earlier proposal is stored with the new one; a copy that is the source flushes before anybody
//! leans on it.

use hast::engine::meeting::{Refusal, Scope, Source};
use hast::engine::points::Copy;

use crate::judge;
use crate::mutants::Mutant;
use crate::product::{self, Told};
use crate::rules::{Moves, Step};
use crate::world::{ALL, BLOCKS, Link, Phase, Side, Spot, Stage, World};

pub fn steps(moves: &mut Moves<'_>, fate: bool) {
    let link = moves.from.link;
    if link.phase == Phase::Apart {
        connect(moves);
        if fate {
            hear_of_primary(moves);
        }
    } else if link.primary as usize == moves.node {
        match link.phase {
            Phase::Agreed => merge_maps(moves),
            Phase::Merged => propose(moves),
            Phase::Proposed => store(moves),
            Phase::Stored => finish(moves),
            Phase::Apart | Phase::Together => {}
        }
        let early = link.phase == Phase::Agreed && moves.rules.is(Mutant::ClearsBeforeMerged);
        if link.clears && matches!(link.phase, Phase::Stored | Phase::Together) || early {
            let other = 1 - moves.node;
            moves.add(Step::ClearMap, 0, |world| {
                world.nodes[other].disk.map = 0;
                world.link.clears = false;
            });
        }
    }
}

fn connect(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    let (here, there) = (&world.nodes[n], &world.nodes[1 - n]);
    let sure = (!here.unsure && !there.unsure) || moves.rules.is(Mutant::UnsureMeets);
    let ready = !here.superseded && !here.meta_dead && sure;
    let answers = there.up && !there.primary && !there.has_received();
    if !ready || !answers {
        return;
    }
    match product::decide(world, n, moves.rules.mutant) {
        Ok(agreement) if agreement.source == Source::Primary => {
            let keeps = moves.rules.is(Mutant::StaleKeptThoughComplete);
            moves.add(Step::Connect, 0, |world| {
                judge::source(world, n, 0);
                if !keeps {
                    // A full point was made after all: nothing is missing here.
                    world.nodes[n].stale = 0;
                    world.nodes[n].leans = false;
                }
                world.link = agreed(world, n, agreement.scope);
            });
        }
        Ok(agreement) => {
            if here
                .requests
                .iter()
                .any(|request| request.stage != Stage::Waiting)
            {
                return;
            }
            let settled = product::resolved(&there.record(), &here.record());
            let lean = here.leans
                && here.lacks()
                && settled.own == 0
                && agreement.scope == Scope::Marked
                && !moves.rules.is(Mutant::LiveLeanForgetsItsSets);
            moves.add(Step::Connect, 1, |world| {
                let spared = if lean { !world.nodes[n].stale } else { 0 };
                judge::source(world, 1 - n, spared);
                world.link = Link {
                    secondary_is_source: true,
                    lean,
                    ..agreed(world, n, agreement.scope)
                };
            });
        }
        Err(Refusal::Superseded) => supersede(moves, Step::Connect, true),
        Err(refusal) => {
            moves.add(Step::Connect, 3, |world| judge::refusal(world, refusal));
        }
    }
}

fn agreed(world: &World, n: usize, scope: Scope) -> Link {
    let everything = scope == Scope::Everything;
    let both = world.nodes[0].disk.map | world.nodes[1].disk.map;
    Link {
        phase: Phase::Agreed,
        primary: n as u8,
        everything,
        union: if everything { ALL } else { both },
        ..Link::default()
    }
}

/// Two primaries: the refusal carries the other's record and whether it has a permit.
pub fn hear_of_primary(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    let (here, there) = (&world.nodes[n], &world.nodes[1 - n]);
    let both = there.up && there.primary && !there.superseded && !here.superseded && here.open;
    if !both || here.unsure || there.unsure {
        return;
    }
    let verdict = product::decide(world, n, moves.rules.mutant);
    let newer = verdict == Err(Refusal::Superseded);
    let marked = |scope| scope == Scope::Marked;
    let yields = verdict
        .is_ok_and(|agreement| agreement.source == Source::Primary && marked(agreement.scope));
    if newer || (yields && !here.permit && there.permit) {
        supersede(moves, Step::HearOfPrimary, newer);
    }
}

/// This node's consumer is served no more. Where the other is newer the record says so, durably; what
/// the other's record settles is settled first, or a full proposal might take that back later.
fn supersede(moves: &mut Moves<'_>, step: Step, newer: bool) {
    let (n, rules) = (moves.node, moves.rules);
    let mut world = *moves.from;
    world.nodes[n].superseded = true;
    world.nodes[n].drop_requests();
    world.nodes[n].promise.older |= newer && !world.nodes[n].meta_dead;
    if !newer || rules.is(Mutant::SupersededUnmarked) {
        return moves.push(step, 1, &world);
    }
    let (here, there) = (world.nodes[n].record(), world.nodes[1 - n].record());
    let mut rec = product::resolved(&here, &there);
    if rules.is(Mutant::SupersededKeepsNext) {
        rec = here;
    } else if here.lacks && !rec.lacks {
        judge::completed(&mut world, n);
    }
    rec.lacks = true;
    moves.store((step, 2), &world, (n, rec), &|_| (), &|world| {
        world.nodes[n].promise.older = false;
    });
}

fn merge_maps(moves: &mut Moves<'_>) {
    let (n, link) = (moves.node, moves.from.link);
    if moves.from.nodes[n].meta_dead {
        return moves.add(Step::MergeMaps, 4, separate);
    }
    moves.add(Step::MergeMaps, 0, |world| {
        let there = world.nodes[1 - n].disk.map;
        let here = &mut world.nodes[n];
        if link.lean {
            here.behind = (here.behind | here.disk.map) & !here.stale;
            here.stale |= there & !here.behind;
        } else if !link.secondary_is_source {
            here.behind |= link.union & !here.stale;
        }
        here.disk.map |= if link.everything { ALL } else { there };
        world.link.phase = Phase::Merged;
    });
}

fn propose(moves: &mut Moves<'_>) {
    let (n, link, rules) = (moves.node, moves.from.link, moves.rules);
    let mut world = *moves.from;
    let (old, there) = (world.nodes[n].record(), world.nodes[1 - n].record());
    let rec = product::resolved(&old, &there);
    if old.lacks && !rec.lacks {
        judge::completed(&mut world, n);
    }
    let source = if link.secondary_is_source {
        product::resolved(&there, &old)
    } else {
        rec
    };
    if link.secondary_is_source && !link.lean {
        world.nodes[n].stale = link.union;
        world.nodes[n].behind = 0;
        if link.union != 0 {
            // A copy that lacks something promises nothing.
            world.nodes[n].promise.held = [0; BLOCKS];
            world.nodes[n].promise.flushed = [0; BLOCKS];
        }
    }
    // Until a full point, not only while something is left to fetch.
    let leads =
        world.nodes[n].stale != 0 || (rec.lacks && !rules.is(Mutant::LeadsOnlyWhileFetching));
    let base = if rules.is(Mutant::NextOverwrittenUnresolved) {
        old
    } else {
        rec
    };
    let (mut next, point) = product::propose(&world, &base, &source, false, leads);
    if rules.is(Mutant::NoNext) {
        next.next = Spot::default();
    }
    world.link.point = point;
    world.link.leads = leads;
    let keeps_fresh = rules.is(Mutant::OwnKeptAfterProposal);
    moves.store(
        (Step::ProposeMeeting, 0),
        &world,
        (n, next),
        &|world| {
            world.nodes[n].fresh &= keeps_fresh;
            world.link.phase = Phase::Proposed;
        },
        &separate,
    );
}

fn told<'a>(world: &'a World, n: usize, copy: Copy, held: &'a mut crate::world::Rec) -> Told<'a> {
    let source = if world.link.secondary_is_source {
        1 - n
    } else {
        n
    };
    *held = world.nodes[source].record();
    Told {
        point: world.link.point,
        copy,
        leads: world.link.leads,
        source: held,
    }
}

fn store(moves: &mut Moves<'_>) {
    let (n, o, link, rules) = (moves.node, 1 - moves.node, moves.from.link, moves.rules);
    let mut world = *moves.from;
    let onto = !link.secondary_is_source && world.nodes[n].behind != 0;
    let copy = if onto && !rules.is(Mutant::TargetUnmarkedAtMeeting) {
        Copy::Lacking
    } else {
        Copy::Unchanged
    };
    if link.secondary_is_source && !rules.is(Mutant::SourceNotFlushed) {
        world.nodes[o].flush();
    }
    let (here, old) = (world.nodes[n].record(), world.nodes[o].record());
    let settled = if rules.is(Mutant::StoredUnsettled) {
        old
    } else {
        product::resolved(&old, &here)
    };
    if old.lacks && !settled.lacks {
        judge::completed(&mut world, o);
    }
    let mut held = here;
    let rec = product::store(&settled, &told(&world, n, copy, &mut held));
    moves.store(
        (Step::StoreMeeting, 0),
        &world,
        (o, rec),
        &|world| {
            world.nodes[o].leads = link.leads;
            world.nodes[o].promise.mixture |= onto;
            world.link.clears = world.nodes[o].disk.map != 0;
            world.link.phase = Phase::Stored;
        },
        &separate,
    );
}

fn finish(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    let old = world.nodes[n].record();
    let keeps = moves.rules.is(Mutant::OwnKeptAfterProposal);
    let own = if world.nodes[n].fresh && !keeps {
        old.own
    } else {
        0
    };
    let mut held = old;
    let rec = product::made(&old, &told(world, n, Copy::Unchanged, &mut held), own, true);
    moves.store(
        (Step::FinishMeeting, 0),
        world,
        (n, rec),
        &|world| {
            world.nodes[n].image.untold &= old.at == rec.at;
            world.nodes[n].leans |= world.nodes[n].lacks();
            world.nodes[n].resumed = false;
            world.link.phase = Phase::Together;
            world.link.point = Spot::default();
        },
        &separate,
    );
}

/// The connection is gone.
pub fn separate(world: &mut World) {
    if world.link.phase == Phase::Apart {
        return;
    }
    let n = world.link.primary as usize;
    let here = &mut world.nodes[n];
    for request in &mut here.requests {
        if request.stage == Stage::Leading {
            // The other has it, but not for sure: what is there is not what is here.
            here.behind |= request.bit() & !here.stale;
            request.again();
        }
        if request.stage == Stage::Running && !request.remote.is_settled() {
            request.remote = Side::Lost;
        }
        request.apart |= request.remote == Side::Done;
    }
    world.nodes[1 - n].leads = false;
    world.link = Link::default();
}
