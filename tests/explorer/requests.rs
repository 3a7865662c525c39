//! A consumer's requests: what is stored before they reach a disk, and when they are acknowledged.
//!
//! Invariants: an extent's mark is durable before either disk is written to there; `own` is durable
//! before a write alone reaches the disk, and before what only this node has is acknowledged; nothing is
//! acknowledged alone without a permit, nor by a node that lacks something.

use crate::judge;
use crate::meetings::separate;
use crate::mutants::Mutant;
use crate::naming::unused_generation;
use crate::rules::{Mode, Moves, Rules, Step};
use crate::world::{BLOCKS, Event, Kind, Phase, REQUESTS, Request, Side, Stage, World};

/// What a secondary has in memory reaches its disk also after its session.
pub fn drain(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    for block in 0..BLOCKS {
        let write = world.nodes[n].received[block];
        let answers =
            |request: &Request| request.remote == Side::Received && request.block as usize == block;
        let live = world.is_served(n) && world.nodes[1 - n].requests.iter().any(answers);
        if write != 0 && !live && !world.nodes[n].data_dead {
            moves.add(Step::Drain, block as u8, |world| {
                let here = &mut world.nodes[n];
                here.disk.cache[block] = write;
                here.received[block] = 0;
            });
        }
    }
}

pub fn steps(moves: &mut Moves<'_>) {
    if moves.from.nodes[moves.node].superseded {
        return;
    }
    for which in 0..REQUESTS {
        let request = moves.from.nodes[moves.node].requests[which];
        match (request.kind, request.stage) {
            (Kind::None, _) | (_, Stage::Leading) => {}
            (Kind::Write, Stage::Waiting) => start_write(moves, which),
            (Kind::Flush, Stage::Waiting) => start_flush(moves, which),
            (_, Stage::Counted) => acknowledge_counted(moves, which),
            (_, Stage::Running) => {
                if request.kind == Kind::Write {
                    write_here(moves, which);
                    write_there(moves, which);
                    acknowledge_early(moves, which);
                } else {
                    flush_here(moves, which);
                    flush_there(moves, which);
                }
                hear(moves, which);
                if request.local.is_settled() && request.remote.is_settled() {
                    settle(moves, which);
                }
            }
        }
        give_up(moves, which);
    }
}

pub fn may_go_alone(rules: &Rules, world: &World, n: usize) -> bool {
    let here = &world.nodes[n];
    let complete = !here.lacks() || rules.is(Mutant::LackingGoesAlone);
    (here.permit || rules.is(Mutant::PermitIgnored)) && complete
}

/// Whether the other has to hear, durably, that it lacks something before anything reaches it.
pub fn must_mark_other(rules: &Rules, world: &World, n: usize) -> bool {
    let (here, there) = (&world.nodes[n], &world.nodes[1 - n]);
    world.is_together(n)
        && here.behind != 0
        && !here.lacks()
        && !there.record().lacks
        && !rules.is(Mutant::TargetNotMarked)
        && !rules.is(Mutant::TargetUnmarkedAtMeeting)
        && !rules.is(Mutant::FailedSecondaryUnmarked)
}

/// Whether the other's copy may be relied on: it is complete, and nothing here is that it lacks.
pub fn may_lead(rules: &Rules, world: &World, n: usize) -> bool {
    let (here, there) = (&world.nodes[n], &world.nodes[1 - n]);
    let rec = here.record();
    let unheard = here
        .requests
        .iter()
        .any(|request| request.remote == Side::Failing);
    world.is_together(n)
        && (here.behind == 0 || rules.is(Mutant::LeadWhileBehind))
        && (unheard || !there.record().lacks)
        && (rec.own == 0 || rec.lacks || rules.is(Mutant::LeadWithOwn))
        && !here.meta_dead
        && !here.unsure
}

fn give_up(moves: &mut Moves<'_>, which: usize) {
    let (n, world) = (moves.node, moves.from);
    let here = &world.nodes[n];
    let waits =
        here.requests[which].kind != Kind::None && here.requests[which].stage == Stage::Waiting;
    if waits && here.lacks() && !world.is_together(n) {
        moves.add(Step::GiveUp, which as u8, |world| fail(world, n, which));
    }
}

/// EIO, or the end of a request that was acknowledged before.
pub fn fail(world: &mut World, n: usize, which: usize) {
    world.nodes[n].requests[which] = Request::default();
}

/// Goes on alone: `own` is durable, once for each worker and each proposal, before `then` happens.
fn alone(
    moves: &mut Moves<'_>,
    label: (Step, u8),
    mut world: World,
    then: &dyn Fn(&mut World),
    otherwise: &dyn Fn(&mut World),
) {
    let n = moves.node;
    if world.nodes[n].fresh {
        then(&mut world);
        return moves.push(label.0, label.1, &world);
    }
    if world.is_meeting(n) && matches!(world.link.phase, Phase::Agreed | Phase::Merged) {
        // The record is not what the other was told any more: leave, and meet again.
        separate(&mut world);
    }
    let mut rec = world.nodes[n].record();
    if !(moves.rules.is(Mutant::OwnKeptAcrossLives) && rec.own != 0) {
        rec.own = unused_generation(&world);
    }
    let counted = |world: &mut World| {
        world.nodes[n].fresh = true;
        world.nodes[n].promise.tried = true;
        then(world);
    };
    let uncounted = |world: &mut World| {
        // The write failed, and its record may be on the disk all the same.
        world.nodes[n].promise.tried |= world.nodes[n].disk.rec.own == rec.own;
        otherwise(world);
    };
    moves.store(label, &world, (n, rec), &counted, &uncounted);
}

fn start_write(moves: &mut Moves<'_>, which: usize) {
    let (n, rules, world) = (moves.node, moves.rules, moves.from);
    let here = &world.nodes[n];
    let (together, request) = (world.is_together(n), here.requests[which]);
    let (block, bit) = (request.block as usize, request.bit());
    let elsewhere_only = here.stale & bit != 0;
    let waits = world.is_meeting(n)
        || (!together && !may_go_alone(rules, world, n))
        || (here.is_leading() && !rules.is(Mutant::LeadWithoutDrain))
        || must_mark_other(rules, world, n)
        || (elsewhere_only && !here.data_dead)
        || here.busy() & bit != 0;
    if waits {
        return;
    }
    let mut base = *world;
    if here.disk.map & bit == 0 {
        if here.meta_dead {
            return moves.add(Step::Start, 4, |world| fail(world, n, which));
        }
        base.nodes[n].disk.map |= bit;
    }
    let before = if elsewhere_only {
        world.nodes[1 - n].disk.cache[block]
    } else {
        here.disk.cache[block]
    };
    if before != request.write {
        base.over[request.write as usize] |= world.over[before as usize] | 1 << before;
    }
    let forgets = rules.is(Mutant::MarksGoThoughWritten);
    let begin = |world: &mut World| {
        let here = &mut world.nodes[n];
        here.requests[which].stage = Stage::Running;
        here.requests[which].local = if elsewhere_only {
            Side::Unused
        } else {
            Side::Out
        };
        here.requests[which].remote = if together { Side::Out } else { Side::Unused };
        here.uncovered |= bit;
        here.image.untold |= here.image.taken && together;
        if together {
            if !forgets {
                world.link.since |= bit;
            }
        } else {
            here.behind |= bit;
            here.promise.tried = true;
        }
    };
    if together || rules.is(Mutant::OwnOnlyBeforeAnswer) {
        begin(&mut base);
        moves.push(Step::Start, which as u8, &base);
    } else {
        alone(moves, (Step::Start, which as u8), base, &begin, &|world| {
            fail(world, n, which);
        });
    }
}

fn start_flush(moves: &mut Moves<'_>, which: usize) {
    let (n, rules, world) = (moves.node, moves.rules, moves.from);
    let here = &world.nodes[n];
    let together = world.is_together(n);
    let waits = world.is_meeting(n)
        || (!together && !may_go_alone(rules, world, n))
        || (here.is_leading() && !rules.is(Mutant::LeadWithoutDrain))
        || (here.lacks() && here.behind != 0 && !rules.is(Mutant::FlushWhileOtherBehind));
    if !waits {
        moves.add(Step::Start, which as u8, |world| {
            let request = &mut world.nodes[n].requests[which];
            request.stage = Stage::Running;
            request.local = Side::Out;
            request.remote = if together { Side::Out } else { Side::Unused };
        });
    }
}

fn write_here(moves: &mut Moves<'_>, which: usize) {
    let n = moves.node;
    let here = moves.from.nodes[n];
    let request = here.requests[which];
    if request.local != Side::Out {
        return;
    }
    let failed = |world: &mut World| {
        world.faulty = true;
        world.nodes[n].requests[which].local = Side::Failed;
    };
    if here.data_dead {
        return moves.add(Step::FailHere, which as u8, failed);
    }
    moves.add(Step::ApplyHere, which as u8, |world| {
        world.nodes[n].disk.cache[request.block as usize] = request.write;
        world.nodes[n].requests[which].local = Side::Done;
    });
    moves.spend(Event::WriteError, Step::FailHere, which as u8, failed);
}

fn write_there(moves: &mut Moves<'_>, which: usize) {
    let (n, o, rules) = (moves.node, 1 - moves.node, moves.rules);
    let here = moves.from.nodes[n];
    let there = moves.from.nodes[o];
    let request = here.requests[which];
    let block = request.block as usize;
    let reliable = !here.lacks() || rules.is(Mutant::MemsyncWhileLeaning);
    if request.remote == Side::Out && rules.mode == Mode::Memsync && reliable {
        moves.add(Step::Receive, which as u8, |world| {
            world.nodes[o].received[block] = request.write;
            world.nodes[n].requests[which].remote = Side::Received;
        });
    }
    if !matches!(request.remote, Side::Out | Side::Received) {
        return;
    }
    if !there.data_dead {
        moves.add(Step::ApplyThere, which as u8, |world| {
            world.nodes[o].disk.cache[block] = request.write;
            world.nodes[o].received[block] = 0;
            world.nodes[n].requests[which].remote = Side::Answered;
        });
    }
    if there.data_dead || moves.from.budget.allows(Event::WriteError) {
        let mut world = *moves.from;
        if !there.data_dead {
            world.budget.spend(Event::WriteError);
        }
        world.nodes[o].received[block] = 0;
        world.nodes[n].requests[which].remote = Side::Failing;
        fail_there(moves, (Step::FailThere, which as u8), &world);
    }
}

/// The secondary failed something: its record says so before it answers, unless it leads. Where that
/// can not be stored it ends the session instead.
pub fn fail_there(moves: &mut Moves<'_>, (step, detail): (Step, u8), base: &World) {
    let (o, rules) = (1 - moves.node, moves.rules);
    let mut world = *base;
    world.faulty = true;
    world.link.failed = true;
    let marks_itself = !world.nodes[o].leads || rules.is(Mutant::LeaderMarksItself);
    if !marks_itself || rules.is(Mutant::FailedSecondaryUnmarked) {
        if world.nodes[o].leads {
            // What it had not flushed it may have lost: as a power cut of the one complete copy.
            world.nodes[o].promise.held = world.nodes[o].promise.flushed;
        }
        return moves.push(step, detail, &world);
    }
    let mut rec = world.nodes[o].record();
    rec.lacks = true;
    moves.store((step, detail), &world, (o, rec), &|_| (), &separate);
}

fn acknowledge_early(moves: &mut Moves<'_>, which: usize) {
    let (n, rules, world) = (moves.node, moves.rules, moves.from);
    let request = world.nodes[n].requests[which];
    if request.acknowledged || request.local != Side::Done || request.remote.is_settled() {
        return;
    }
    if request.remote == Side::Received {
        moves.add(Step::Acknowledge, which as u8, |world| {
            judge::write(world, n, which, true);
            world.nodes[n].requests[which].acknowledged = true;
        });
    } else if rules.mode == Mode::Async && may_go_alone(rules, world, n) {
        moves.add(Step::Acknowledge, which as u8, |world| {
            judge::write_early(world, n, which);
            world.nodes[n].requests[which].acknowledged = true;
        });
    }
}

fn hear(moves: &mut Moves<'_>, which: usize) {
    let n = moves.node;
    let request = moves.from.nodes[n].requests[which];
    let heard = match request.remote {
        Side::Answered => Side::Done,
        Side::Failing => Side::Failed,
        _ => return,
    };
    let late = moves.rules.is(Mutant::FailureHeardLate);
    moves.add(Step::Hear, which as u8, |world| {
        let here = &mut world.nodes[n];
        here.requests[which].remote = heard;
        if heard == Side::Failed && !late {
            // At once, not only when the request is over: a point may come first.
            let lost = if request.kind == Kind::Write {
                request.bit()
            } else {
                here.disk.map
            };
            here.behind |= lost & !here.stale;
        }
    });
}

fn flush_here(moves: &mut Moves<'_>, which: usize) {
    let n = moves.node;
    if moves.from.nodes[n].requests[which].local != Side::Out {
        return;
    }
    let failed = |world: &mut World| {
        world.faulty = true;
        world.nodes[n].requests[which].local = Side::Failed;
    };
    if moves.from.nodes[n].data_dead {
        return moves.add(Step::FailHere, which as u8, failed);
    }
    moves.add(Step::ApplyHere, which as u8, |world| {
        world.nodes[n].flush();
        world.nodes[n].requests[which].local = Side::Done;
    });
    moves.spend(Event::FlushError, Step::FailHere, which as u8, failed);
}

fn flush_there(moves: &mut Moves<'_>, which: usize) {
    let (n, o) = (moves.node, 1 - moves.node);
    if moves.from.nodes[n].requests[which].remote != Side::Out {
        return;
    }
    // An error, and nothing else: a later flush that succeeds is believed.
    let failed = |world: &mut World| {
        world.faulty = true;
        world.nodes[n].requests[which].remote = Side::Failing;
    };
    if moves.from.nodes[o].data_dead {
        return moves.add(Step::FailThere, which as u8, failed);
    }
    moves.add(Step::ApplyThere, which as u8, |world| {
        world.nodes[o].flush();
        world.nodes[n].requests[which].remote = Side::Answered;
    });
    moves.spend(Event::FlushError, Step::FailThere, which as u8, failed);
}

fn settle(moves: &mut Moves<'_>, which: usize) {
    let (n, world) = (moves.node, moves.from);
    if world.is_meeting(n) && world.link.secondary_is_source {
        return;
    }
    let request = world.nodes[n].requests[which];
    let label = (Step::Settle, which as u8);
    match (request.kind, request.local, request.remote) {
        (Kind::Write, Side::Done, Side::Done) => moves.add(label.0, label.1, |world| {
            judge::write(world, n, which, true);
            fail(world, n, which);
        }),
        (Kind::Write, Side::Done, _) => only_here(moves, which),
        (Kind::Write, _, Side::Done) => only_there(moves, which),
        (Kind::Write, _, remote) => moves.add(label.0, label.1, |world| {
            let here = &mut world.nodes[n];
            here.behind |= request.bit() & !here.stale;
            if remote == Side::Lost && here.lacks() {
                return here.requests[which].again();
            }
            if request.acknowledged {
                // Said so from memory, and neither is sure to have it: two failures.
                here.promise.held = here.promise.flushed;
            }
            fail(world, n, which);
        }),
        (_, local, remote) => settle_flush(moves, which, local, remote),
    }
}

/// This node's disk has it, the other has not.
fn only_here(moves: &mut Moves<'_>, which: usize) {
    let (n, rules) = (moves.node, moves.rules);
    let label = (Step::Settle, which as u8);
    let mut world = *moves.from;
    let request = world.nodes[n].requests[which];
    let here = &mut world.nodes[n];
    here.behind |= request.bit() & !here.stale;
    let lacks = here.lacks();
    let allowed = may_go_alone(rules, &world, n);
    if !allowed && !lacks && !request.acknowledged {
        // Held: the other may be copied to meanwhile, and both are written again.
        world.nodes[n].requests[which].again();
        moves.push(label.0, label.1, &world);
    } else if lacks {
        if request.acknowledged || request.remote == Side::Failed {
            fail(&mut world, n, which);
        } else {
            world.nodes[n].requests[which].again();
        }
        moves.push(label.0, label.1, &world);
    } else if rules.is(Mutant::AnswerBeforeOwn) {
        judge::write(&mut world, n, which, false);
        fail(&mut world, n, which);
        moves.push(label.0, label.1, &world);
    } else {
        let counted = |world: &mut World| world.nodes[n].requests[which].stage = Stage::Counted;
        alone(moves, label, world, &counted, &|world| {
            fail(world, n, which);
        });
    }
}

/// The other has it, this node's disk has not: an error, unless the other's record comes to say so.
fn only_there(moves: &mut Moves<'_>, which: usize) {
    let (n, rules) = (moves.node, moves.rules);
    let leads = may_lead(rules, moves.from, n);
    let (unmarked, before) = (
        rules.is(Mutant::FailedHereNotBehind),
        moves.from.nodes[n].behind,
    );
    moves.add(Step::Settle, which as u8, |world| {
        if leads {
            world.nodes[n].requests[which].stage = Stage::Leading;
        } else {
            fail_behind(world, n, which);
            if unmarked {
                world.nodes[n].behind = before;
            }
        }
    });
}

/// An error; what the other has of it will be undone.
pub fn fail_behind(world: &mut World, n: usize, which: usize) {
    let here = &mut world.nodes[n];
    here.behind |= here.requests[which].bit() & !here.stale;
    fail(world, n, which);
}

fn settle_flush(moves: &mut Moves<'_>, which: usize, local: Side, remote: Side) {
    let (n, rules) = (moves.node, moves.rules);
    let label = (Step::Settle, which as u8);
    let mut world = *moves.from;
    let together = world.is_together(n) && !rules.is(Mutant::FlushStaysAlone);
    let here = &mut world.nodes[n];
    let other_lacks = here.lacks() && here.behind != 0 && !rules.is(Mutant::FlushWhileOtherBehind);
    let counts = here.uncovered != 0 || here.behind != 0;
    let counts = counts && !rules.is(Mutant::FlushAloneNeverCounts);
    if local == Side::Failed || remote == Side::Failed {
        fail(&mut world, n, which);
    } else if remote == Side::Done && !other_lacks {
        judge::flush(&mut world, n, which, true);
        fail(&mut world, n, which);
    } else if remote == Side::Done || here.lacks() || together {
        // Alone it would count, though the other is there again: both.
        here.requests[which].again();
    } else if !may_go_alone(rules, &world, n) {
        world.nodes[n].requests[which].again();
    } else if counts {
        let counted = |world: &mut World| world.nodes[n].requests[which].stage = Stage::Counted;
        return alone(moves, label, world, &counted, &|world| {
            fail(world, n, which);
        });
    } else {
        judge::flush(&mut world, n, which, false);
        fail(&mut world, n, which);
    }
    moves.push(label.0, label.1, &world);
}

/// `own` is durable: said to the consumer, if there is a permit still.
fn acknowledge_counted(moves: &mut Moves<'_>, which: usize) {
    let (n, rules) = (moves.node, moves.rules);
    let here = moves.from.nodes[n];
    let request = here.requests[which];
    let allowed = here.permit || request.acknowledged || rules.is(Mutant::PermitIgnored);
    moves.add(Step::Acknowledge, which as u8, |world| {
        if !allowed {
            world.nodes[n].requests[which].again();
        } else if request.kind == Kind::Write {
            judge::write(world, n, which, false);
            fail(world, n, which);
        } else {
            judge::flush(world, n, which, false);
            fail(world, n, which);
        }
    });
}
