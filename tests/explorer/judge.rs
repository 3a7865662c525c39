//! Who sees everything: what was promised, and whether it is kept.
//!
//! It only looks; no rule asks it. It excuses what nobody can promise: unflushed writes after two
//! failures, the content of a write that was answered with an error, refusals after a disk failed, an
//! image was put back or somebody forced a role, and in async what the other node had not got.

use hast::engine::meeting::Refusal;

use crate::product;
use crate::world::{BLOCKS, Promise, World, Wrong};

/// What an open device gives must be what its consumer wrote.
pub fn look(world: &mut World) {
    for n in 0..2 {
        let here = &world.nodes[n];
        if !(here.up && here.primary && here.open && !here.superseded) {
            continue;
        }
        for block in 0..BLOCKS {
            // Where the disk can not be read, the other node answers.
            let stale = here.stale & (1 << block) != 0;
            let elsewhere = if stale {
                None
            } else {
                world.elsewhere(n, block)
            };
            let seen = here.seen[block];
            let found = [world.visible(n, block), elsewhere];
            if found.iter().flatten().any(|found| seen & (1 << found) == 0) {
                return world.accuse(Wrong::ViewChanged);
            }
        }
    }
}

pub fn promoted(world: &mut World, n: usize) {
    let here = world.nodes[n];
    for block in 0..BLOCKS {
        if !world.holds(here.disk.cache[block], here.promise.held[block]) {
            world.accuse(Wrong::Lost);
        }
    }
    if here.promise.mixture {
        world.accuse(Wrong::MixturePromoted);
    }
    if here.promise.older && !here.meta_dead {
        world.accuse(Wrong::OlderPromoted);
    }
}

/// A worker that took over from one that leaned knows no more than what the other has now; what that had
/// not flushed when it lost its power is gone by two failures.
pub fn relies(world: &mut World, n: usize, blocks: u8) {
    let there = world.nodes[1 - n].disk.cache;
    for block in (0..BLOCKS).filter(|block| blocks & (1 << block) != 0) {
        let kept = world.holds(there[block], world.nodes[n].promise.held[block]);
        let here = &mut world.nodes[n];
        here.seen[block] |= 1 << there[block];
        if !kept {
            here.promise.held[block] = here.promise.flushed[block];
        }
    }
}

/// Forced: what is here is what counts from now on.
pub fn forced(world: &mut World, n: usize) {
    world.forced = true;
    let disk = world.nodes[n].disk;
    let mut flushed = disk.medium;
    for block in (0..BLOCKS).filter(|block| disk.cache[*block] != disk.medium[*block]) {
        flushed[block] = 0; // one or the other
    }
    world.nodes[n].promise = Promise {
        held: disk.cache,
        flushed,
        alone: true,
        alone_flushed: true,
        tried: true,
        ..Promise::default()
    };
}

/// A record that said `lacks` comes to say, by what the other's settles, that it does not: what it
/// promises was settled when the full point was stored.
pub fn completed(world: &mut World, n: usize) {
    let here = &mut world.nodes[n].promise;
    here.mixture = false;
}

/// Node `source` is taken as the source; blocks of `spared` are not copied from it.
pub fn source(world: &mut World, source: usize, spared: u8) {
    let target = 1 - source;
    for n in 0..2 {
        let (here, there) = (world.nodes[n].record(), world.nodes[1 - n].record());
        if here.lacks && !product::resolved(&here, &there).lacks {
            completed(world, n);
        }
    }
    let (from, onto) = (world.nodes[source], world.nodes[target]);
    // A person chose what is to be lost.
    let chosen = world.forced && onto.record().lacks;
    if !chosen {
        for block in 0..BLOCKS {
            let spared = spared & (1 << block) != 0;
            if !spared && !world.holds(from.disk.cache[block], onto.promise.flushed[block]) {
                world.accuse(Wrong::Overwritten);
            }
        }
        if onto.promise.alone {
            world.accuse(Wrong::DivergenceUnreported);
        }
    }
    if from.promise.mixture {
        world.accuse(Wrong::MixtureTaken);
    }
}

pub fn refusal(world: &mut World, refusal: Refusal) {
    if refusal == Refusal::SplitBrain {
        if !diverged(world) {
            world.accuse(Wrong::SplitWithoutDivergence);
        }
    } else if !(world.forced || world.rolled_back || world.faulty) {
        world.accuse(Wrong::RefusedWithoutReason);
    }
}

pub fn diverged(world: &World) -> bool {
    world.forced || world.rolled_back || world.nodes.iter().all(|node| node.promise.tried)
}

/// A write is acknowledged, or one that was is found to be on both, or on this node alone.
pub fn write(world: &mut World, n: usize, which: usize, both: bool) {
    let request = world.nodes[n].requests[which];
    let block = request.block as usize;
    if !both && !world.nodes[n].permit && !request.acknowledged {
        world.accuse(Wrong::AloneWithoutPermit);
    }
    if !both && world.is_together(n) && !world.nodes[1 - n].record().lacks {
        world.accuse(Wrong::AloneBesideComplete);
    }
    let here = &mut world.nodes[n];
    here.promise.early &= !request.bit();
    here.promise.alone |= !both;
    here.promise.tried |= !both;
    if !request.acknowledged {
        here.seen[block] = 1 << request.write;
        here.promise.held[block] = request.write;
    }
    let there = &mut world.nodes[1 - n];
    if both && !request.apart && !there.record().lacks && !there.promise.mixture {
        there.promise.held[block] = request.write;
    }
}

/// In async: promised by this node alone, as long as no other is taken for newer.
pub fn write_early(world: &mut World, n: usize, which: usize) {
    let here = &mut world.nodes[n];
    let request = here.requests[which];
    let block = request.block as usize;
    here.promise.early |= request.bit();
    here.seen[block] = 1 << request.write;
    here.promise.held[block] = request.write;
}

pub fn flush(world: &mut World, n: usize, which: usize, both: bool) {
    let here = world.nodes[n];
    let request = here.requests[which];
    for (block, covered) in request.covers.into_iter().enumerate() {
        let newer = world.holds(covered, here.promise.flushed[block]);
        if newer && here.promise.early & (1 << block) == 0 {
            world.nodes[n].promise.flushed[block] = covered;
        }
        let there = world.nodes[1 - n];
        let complete = !there.record().lacks && !there.promise.mixture;
        let promises = complete && world.holds(there.promise.held[block], covered);
        let newer = world.holds(covered, there.promise.flushed[block]);
        if both && !request.apart && promises && newer {
            world.nodes[1 - n].promise.flushed[block] = covered;
        }
    }
    if !both && (here.promise.alone || here.uncovered != 0 || here.behind != 0) {
        world.nodes[n].promise.tried = true;
        world.nodes[n].promise.alone_flushed |= here.promise.alone;
    }
}

/// A secondary whose record was in doubt lost its power: what is on its disk counts. What the primary
/// did alone since it proposed is not there.
pub fn doubt_ends(world: &mut World, n: usize) {
    if !world.nodes[n].promise.maybe_full {
        return;
    }
    world.nodes[n].promise.maybe_full = false;
    world.nodes[n].promise.mixture = false;
    let rec = world.nodes[1 - n].record();
    let moved_on = rec.own != 0 && rec.own != rec.next.generation;
    if rec.next == world.nodes[n].disk.rec.at && !moved_on {
        full_stored(world, 1 - n, n);
    }
}

pub fn copy(world: &mut World, from: usize, onto: usize) {
    if !world.nodes[from].lacks() {
        if !world.nodes[onto].record().lacks {
            world.accuse(Wrong::CopiedUnmarked);
        }
        world.nodes[onto].promise.mixture = true;
    }
}

/// The secondary says from here on that it is complete; the primary as soon as it hears of it.
pub fn full_stored(world: &mut World, n: usize, o: usize) {
    share(world, n);
    world.nodes[o].promise.mixture = false;
    world.nodes[o].promise.older = false;
    for node in &mut world.nodes {
        for promise in [&mut node.promise, &mut node.image.promise] {
            promise.alone = false;
            promise.alone_flushed = false;
        }
    }
}

/// Both promise what either did, but what async acknowledged before the other had it.
fn share(world: &mut World, n: usize) {
    let (ours, theirs) = (world.nodes[n].promise, world.nodes[1 - n].promise);
    for block in (0..BLOCKS).filter(|block| ours.early & (1 << block) == 0) {
        let held = later(world, ours.held[block], theirs.held[block]);
        let flushed = later(world, ours.flushed[block], theirs.flushed[block]);
        for node in &mut world.nodes {
            node.promise.held[block] = held;
            node.promise.flushed[block] = flushed;
        }
    }
}

/// Both say that they are complete and the same.
pub fn reached(world: &mut World, n: usize) {
    let o = 1 - n;
    for block in 0..BLOCKS {
        let busy = world.nodes[n].busy() & (1 << block) != 0 || world.nodes[o].has_received();
        if !busy && world.nodes[n].disk.cache[block] != world.nodes[o].disk.cache[block] {
            world.accuse(Wrong::UpToDateThoughDifferent);
        }
    }
    share(world, n);
    for node in &mut world.nodes {
        node.promise.alone = false;
        node.promise.alone_flushed = false;
        node.promise.tried = false;
        node.promise.mixture = false;
        node.promise.older = false;
    }
}

fn later(world: &World, ours: u8, theirs: u8) -> u8 {
    let link = world.link;
    if link.secondary_is_source && !link.lean {
        theirs
    } else if !link.secondary_is_source || world.holds(ours, theirs) || !world.holds(theirs, ours) {
        ours
    } else {
        theirs
    }
}
