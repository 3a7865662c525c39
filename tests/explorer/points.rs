//! What goes on in a session besides requests: copying, and points.
//!
//! Invariants: nothing is copied to a node that does not know, durably, that it lacks something; a mark
//! leaves the primary's map only across a point; a point that was sent is waited for; only a full point
//! takes `lacks` away, and a secondary that failed something since the flush refuses it.

use hast::engine::points::Copy;

use crate::judge;
use crate::meetings::separate;
use crate::mutants::Mutant;
use crate::product::{self, Told};
use crate::requests::{fail, fail_behind, may_lead, must_mark_other};
use crate::rules::{Moves, Rules, Step};
use crate::world::{BLOCKS, Event, Making, REQUESTS, Request, Side, Spot, Stage, World};

pub fn copies(moves: &mut Moves<'_>) {
    let (n, o, world) = (moves.node, 1 - moves.node, moves.from);
    if !world.is_together(n) {
        return;
    }
    if must_mark_other(moves.rules, world, n) {
        return mark_other(moves);
    }
    let (here, there) = (&world.nodes[n], &world.nodes[o]);
    for block in 0..BLOCKS {
        let bit = 1 << block;
        if here.busy() & bit != 0 || here.data_dead || there.data_dead {
            continue;
        }
        if here.behind & bit != 0 {
            moves.add(Step::CopyThere, block as u8, |world| {
                judge::copy(world, n, o);
                world.nodes[o].disk.cache[block] = here.disk.cache[block];
                world.nodes[n].behind &= !bit;
                copied(world, n, bit);
            });
        } else if here.stale & bit != 0 && here.record().lacks {
            moves.add(Step::Fetch, block as u8, |world| {
                world.nodes[n].promise.mixture = true;
                world.nodes[n].disk.cache[block] = there.disk.cache[block];
                world.nodes[n].stale &= !bit;
                copied(world, n, bit);
            });
        }
    }
}

fn copied(world: &mut World, n: usize, bit: u8) {
    world.nodes[n].uncovered |= bit;
    world.link.since |= bit;
}

fn mark_other(moves: &mut Moves<'_>) {
    let o = 1 - moves.node;
    let mut world = *moves.from;
    world.link.failed |= world.link.making != Making::None;
    let mut rec = world.nodes[o].record();
    rec.lacks = true;
    moves.store((Step::MarkOther, 0), &world, (o, rec), &|_| (), &separate);
}

pub fn steps(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    let here = &world.nodes[n];
    if !world.is_together(n) || here.meta_dead || here.unsure {
        return;
    }
    match world.link.making {
        Making::None if here.is_leading() => begin_to_lead(moves),
        Making::None => begin(moves),
        Making::Flushed => propose(moves),
        Making::Proposed => store(moves),
        Making::Stored => finish(moves),
    }
    let gives_up = moves.rules.is(Mutant::SentPointGivenUp)
        && matches!(world.link.making, Making::Proposed | Making::Stored)
        && (world.link.failed || !is_complete(world, n));
    if gives_up {
        moves.add(Step::FinishPoint, 9, forget);
    }
}

fn is_complete(world: &World, n: usize) -> bool {
    world.nodes[n].behind == 0 && world.nodes[n].stale == 0
}

/// What can be pointed to: marks that are no longer needed once both copies were flushed.
pub fn coverable(world: &World, n: usize) -> u8 {
    let here = &world.nodes[n];
    here.disk.map & !here.behind & !here.stale & !here.busy()
}

fn forget(world: &mut World) {
    world.link.making = Making::None;
    world.link.point = Spot::default();
    world.link.cover = 0;
    world.link.since = 0;
    world.link.full = false;
    world.link.leads = false;
    world.link.failed = false;
}

fn begin(moves: &mut Moves<'_>) {
    let (n, o, world) = (moves.node, 1 - moves.node, moves.from);
    let full = is_complete(world, n);
    let cover = coverable(world, n);
    let unsaid = !world.link.reached || world.nodes[n].record().own != 0;
    if cover == 0 && !(full && unsaid) {
        return;
    }
    let (here, there) = (&world.nodes[n], &world.nodes[o]);
    // Answers come in order: what failed before the flush is heard before the flush's answer. And what
    // that comes to counts in this point, not after it.
    let late = moves.rules.is(Mutant::FailureHeardLate);
    let unsettled = |request: &Request| {
        request.remote == Side::Failing || (request.remote == Side::Failed && !late)
    };
    if here.requests.iter().any(unsettled) || here.data_dead || there.data_dead {
        return;
    }
    let early = moves.rules.is(Mutant::MarksGoBeforePoint);
    moves.add(Step::Barrier, u8::from(full), |world| {
        world.nodes[n].flush();
        world.nodes[o].flush();
        flushed(world, n, full, cover);
        if early {
            world.nodes[n].disk.map &= !cover;
        }
    });
    moves.spend(Event::FlushError, Step::Barrier, 2, |world| {
        world.faulty = true;
    });
}

fn flushed(world: &mut World, n: usize, full: bool, cover: u8) {
    forget(world);
    world.link.making = Making::Flushed;
    world.link.full = full;
    world.link.cover = cover;
    world.link.since = world.nodes[n].busy();
}

/// Waits for every other request: the other may fail one of them, and both would lack something.
fn begin_to_lead(moves: &mut Moves<'_>) {
    let (n, o, world) = (moves.node, 1 - moves.node, moves.from);
    let here = &world.nodes[n];
    let running = here
        .requests
        .iter()
        .any(|request| request.stage == Stage::Running);
    if running && !moves.rules.is(Mutant::LeadWithoutDrain) {
        return;
    }
    if !may_lead(moves.rules, world, n) || world.nodes[o].data_dead {
        return moves.add(Step::Barrier, 9, |world| lead_not(world, n));
    }
    let again = here.record().lacks;
    moves.add(Step::Barrier, 4, |world| {
        world.nodes[o].flush();
        if again {
            lead(world, n);
        } else {
            flushed(world, n, false, 0);
            world.link.leads = true;
        }
    });
    moves.spend(Event::FlushError, Step::Barrier, 9, |world| {
        world.faulty = true;
        lead_not(world, n);
    });
}

fn leading(world: &World, n: usize) -> impl Iterator<Item = usize> + use<> {
    let requests = world.nodes[n].requests;
    (0..REQUESTS).filter(move |which| requests[*which].stage == Stage::Leading)
}

fn lead_not(world: &mut World, n: usize) {
    for which in leading(world, n) {
        fail_behind(world, n, which);
    }
}

/// The other's record says that it is newer: what only it has is acknowledged.
fn lead(world: &mut World, n: usize) {
    for which in leading(world, n) {
        world.nodes[n].stale |= world.nodes[n].requests[which].bit();
        judge::write(world, n, which, true);
        fail(world, n, which);
    }
    world.nodes[n].leans = true;
}

fn propose(moves: &mut Moves<'_>) {
    let (n, rules) = (moves.node, moves.rules);
    let mut world = *moves.from;
    let link = world.link;
    if link.leads && !may_lead(rules, &world, n) {
        return moves.add(Step::Propose, 9, |world| {
            forget(world);
            lead_not(world, n);
        });
    }
    if link.full && !is_complete(&world, n) {
        return moves.add(Step::Propose, 9, forget);
    }
    if link.leads {
        for which in leading(&world, n) {
            world.nodes[n].stale |= world.nodes[n].requests[which].bit();
        }
    }
    let rec = world.nodes[n].record();
    let leads = world.nodes[n].lacks() && !link.full;
    let (mut next, point) = product::propose(&world, &rec, &rec, link.full, leads);
    if rules.is(Mutant::NoNext) {
        next.next = rec.next;
    }
    next.full &= !rules.is(Mutant::NextNotFull);
    world.link.point = point;
    let keeps_fresh = rules.is(Mutant::OwnKeptAfterProposal);
    let skips = link.leads && rules.is(Mutant::LeadWithoutOthersRecord);
    moves.store(
        (Step::Propose, 0),
        &world,
        (n, next),
        &|world| {
            world.nodes[n].fresh &= keeps_fresh;
            world.link.making = if skips {
                Making::Stored
            } else {
                Making::Proposed
            };
        },
        &|world| {
            let leads = world.link.leads;
            forget(world);
            if leads {
                // Not sent, so not made; what it says of this copy may be on the disk all the same.
                world.nodes[n].stale = moves_back(world, n);
                lead_not(world, n);
            }
        },
    );
}

/// The stale extents without those that a lead not begun would have made so.
fn moves_back(world: &World, n: usize) -> u8 {
    leading(world, n).fold(world.nodes[n].stale, |stale, which| {
        stale & !world.nodes[n].requests[which].bit()
    })
}

fn copy(rules: &Rules, world: &World) -> Copy {
    if world.link.full && !rules.is(Mutant::FullKeepsLacks) {
        Copy::Full
    } else {
        Copy::Unchanged
    }
}

fn store(moves: &mut Moves<'_>) {
    let (n, o, rules, world) = (moves.node, 1 - moves.node, moves.rules, moves.from);
    let link = world.link;
    let refused = link.failed && !rules.is(Mutant::FullNotRefused);
    if refused {
        return moves.add(Step::StorePoint, 9, |world| {
            let leads = world.link.leads;
            forget(world);
            if leads {
                leading(world, n).for_each(|which| fail(world, n, which));
            }
        });
    }
    let (source, leads) = (
        world.nodes[n].record(),
        world.nodes[n].lacks() && !link.full,
    );
    let told = Told {
        point: link.point,
        copy: copy(rules, world),
        leads,
        source: &source,
    };
    let rec = product::store(&world.nodes[o].record(), &told);
    moves.store(
        (Step::StorePoint, 0),
        world,
        (o, rec),
        &|world| {
            world.nodes[o].leads = leads;
            world.link.making = Making::Stored;
            if world.link.full {
                judge::full_stored(world, n, o);
            }
        },
        &|world| {
            let there = &mut world.nodes[o];
            there.promise.maybe_full = link.full && there.unsure && there.disk.rec == rec;
            separate(world);
        },
    );
}

fn finish(moves: &mut Moves<'_>) {
    let (n, rules, world) = (moves.node, moves.rules, moves.from);
    let (link, old) = (world.link, world.nodes[n].record());
    let keeps = rules.is(Mutant::OwnKeptAfterProposal);
    let own = if world.nodes[n].fresh && !keeps {
        old.own
    } else {
        0
    };
    let told = Told {
        point: link.point,
        copy: copy(rules, world),
        leads: false,
        source: &old,
    };
    let rec = product::made(&old, &told, own, world.nodes[n].stale == 0);
    moves.store(
        (Step::FinishPoint, 0),
        world,
        (n, rec),
        &|world| {
            finished(world, n);
            if link.leads {
                lead(world, n);
            }
        },
        &|_| (),
    );
}

fn finished(world: &mut World, n: usize) {
    let link = world.link;
    let covered = link.cover & !link.since & coverable(world, n);
    let here = &mut world.nodes[n];
    here.image.untold = false;
    here.disk.map &= !covered;
    here.uncovered &= if link.full { link.since } else { !covered };
    if link.full && here.stale == 0 {
        here.leans = false;
        world.link.reached = true;
        here.promise.mixture = false;
        if !link.failed && here.behind == 0 {
            judge::reached(world, n);
        }
    }
    forget(world);
}
