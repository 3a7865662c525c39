//! What people, machines and fate do. Each costs one of the events that a space allows, but what a
//! consumer asks for and what mends something.

use crate::judge;
use crate::meetings::separate;
use crate::mutants::Mutant;
use crate::naming::unused_generation;
use crate::points::coverable;
use crate::product;
use crate::rules::{Moves, Rules, Step};
use crate::world::{
    ALL, BLOCKS, Event, Image, Kind, Making, Node, Promise, Rec, Request, Side, Spot, Stage,
    WRITES, World,
};

pub fn steps(moves: &mut Moves<'_>) {
    let (n, here) = (moves.node, moves.from.nodes[moves.node]);
    if !here.up {
        return down(moves);
    }
    if here.primary {
        demote(moves);
        consumer(moves);
        moves.spend(Event::KillPrimary, Step::KillPrimary, 0, |world| {
            kill_primary(world, n);
        });
        if here.permit {
            moves.spend(Event::Permit, Step::LosePermit, 0, |world| {
                world.nodes[n].permit = false;
            });
        } else {
            moves.add(Step::GainPermit, 0, |world| world.nodes[n].permit = true);
        }
        if moves.from.is_together(n) || moves.from.is_meeting(n) {
            moves.spend(Event::Disconnect, Step::Disconnect, 0, separate);
        }
    } else {
        promote(moves);
        force(moves);
        kill_secondary(moves);
        discard(moves);
    }
    disk(moves);
    image(moves);
}

fn down(moves: &mut Moves<'_>) {
    let (n, here) = (moves.node, moves.from.nodes[moves.node]);
    moves.add(Step::Boot, 0, |world| {
        world.nodes[n].up = true;
        world.nodes[n].meta_dead = false;
        world.nodes[n].data_dead = false;
    });
    if here.image.taken && !here.image.untold {
        moves.spend(Event::PutBack, Step::PutBack, 0, |world| {
            world.rolled_back = true;
            world.nodes[n].disk = here.image.disk;
            world.nodes[n].promise = here.image.promise;
            world.nodes[n].image = Image::default();
        });
    }
}

fn demote(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    let here = &world.nodes[n];
    if here.open || !here.is_idle() || world.is_meeting(n) {
        return;
    }
    let together = world.is_together(n);
    let pointed = world.link.making == Making::None && coverable(world, n) == 0;
    if together && !pointed && !here.meta_dead && !here.unsure {
        return; // an orderly demotion makes a point first
    }
    moves.add(Step::Demote, 0, |world| {
        world.nodes[n].flush();
        if together {
            world.nodes[1 - n].flush();
        }
        separate(world);
        leave(&mut world.nodes[n]);
    });
}

/// What the worker of a primary knew is gone.
pub fn leave(here: &mut Node) {
    here.primary = false;
    here.open = false;
    here.superseded = false;
    here.stale = 0;
    here.behind = 0;
    here.uncovered = 0;
    here.fresh = false;
    here.leans = false;
    here.resumed = false;
    here.seen = [0; BLOCKS];
    here.drop_requests();
}

fn consumer(moves: &mut Moves<'_>) {
    let (n, rules, world) = (moves.node, moves.rules, moves.from);
    let here = &world.nodes[n];
    if !here.open {
        return open(moves);
    }
    if here.is_idle() {
        moves.add(Step::Close, 0, |world| close(world, n));
    }
    let busy = here
        .requests
        .iter()
        .filter(|request| request.kind != Kind::None)
        .count();
    let free = here
        .requests
        .iter()
        .position(|request| request.kind == Kind::None);
    let Some(free) = free.filter(|_| busy < rules.parallel.max(1) && !here.superseded) else {
        return;
    };
    let waits = |block: usize| {
        here.requests
            .iter()
            .any(|request| request.kind == Kind::Write && request.block as usize == block)
    };
    for block in (0..BLOCKS).filter(|block| !waits(*block)) {
        if world.budget.writes > 0 && (world.writes as usize) < WRITES - 1 {
            moves.add(Step::Write, block as u8, |world| {
                world.budget.writes -= 1;
                world.writes += 1;
                let write = world.writes;
                world.nodes[n].seen[block] |= 1 << write;
                world.nodes[n].requests[free] = Request {
                    kind: Kind::Write,
                    block: block as u8,
                    write,
                    ..Request::default()
                };
            });
        }
    }
    let flushes = here
        .requests
        .iter()
        .any(|request| request.kind == Kind::Flush);
    if world.budget.flushes > 0 && !flushes {
        moves.add(Step::Flush, 0, |world| {
            world.budget.flushes -= 1;
            world.nodes[n].requests[free] = Request {
                kind: Kind::Flush,
                covers: world.nodes[n].promise.held,
                ..Request::default()
            };
        });
    }
}

fn open(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    let mut seen = [0; BLOCKS];
    for (block, seen) in seen.iter_mut().enumerate() {
        match world.visible(n, block) {
            Some(found) => *seen = 1 << found,
            None => return,
        }
    }
    if !world.nodes[n].superseded && !world.is_meeting(n) {
        moves.add(Step::Open, 0, |world| {
            world.nodes[n].open = true;
            world.nodes[n].seen = seen;
        });
    }
}

/// A superseded node becomes the secondary by itself.
pub fn close(world: &mut World, n: usize) {
    world.nodes[n].open = false;
    world.nodes[n].seen = [0; BLOCKS];
    if world.nodes[n].superseded {
        separate(world);
        leave(&mut world.nodes[n]);
    }
}

pub fn promote(moves: &mut Moves<'_>) {
    let (n, rules, world) = (moves.node, moves.rules, moves.from);
    let (here, there) = (&world.nodes[n], &world.nodes[1 - n]);
    let mut rec = here.record();
    if there.up && rules.mutant != Some(Mutant::PromotedWithoutAsking) {
        // The other's record may say that a full point was made, which this node did not hear.
        let told = there.record();
        let settled = product::resolved(&rec, &told);
        if settled.at == told.at && told.own == 0 {
            rec = settled;
        }
    }
    let completed = here.record().lacks && !rec.lacks;
    let served = world.is_served(n) && there.up && !rules.is(Mutant::ConnectedPromoted);
    let lacks = rec.lacks && !rules.is(Mutant::LackingPromoted);
    let dead = here.meta_dead && !rules.is(Mutant::PromotedWithDeadMetadata);
    let fresh = rec.at == Spot::default() && rec.own == 0;
    // Nothing was ever written here: it may be promoted where that is so on both, or was before.
    let virgin = rec.used || !there.record().used;
    let drained = !here.has_received() || rules.is(Mutant::PromotedBeforeDrained);
    let refused = served || lacks || dead || (fresh && !virgin) || !drained;
    if refused || !world.budget.allows(Event::Promote) || here.primary || !here.up {
        return;
    }
    let mut world = *world;
    world.budget.spend(Event::Promote);
    separate(&mut world);
    let takes = |world: &mut World| {
        if completed {
            judge::completed(world, n);
        }
        take_over(rules, world, n);
        judge::promoted(world, n);
    };
    if here.meta_dead {
        takes(&mut world);
        return moves.push(Step::Promote, 0, &world);
    }
    moves.store(
        (Step::Promote, 0),
        &world,
        (n, Rec { used: true, ..rec }),
        &takes,
        &|_| (),
    );
}

/// A new worker begins.
fn take_over(rules: &Rules, world: &mut World, n: usize) {
    let here = &mut world.nodes[n];
    here.primary = true;
    here.stale = 0;
    here.behind = here.disk.map;
    here.fresh = false;
    here.leans = false;
    here.resumed = false;
    // What the other has of this, or has lost, nobody knows.
    here.uncovered = if rules.is(Mutant::FreshPrimaryFlushNotCounted) {
        here.disk.map
    } else {
        ALL
    };
    here.unsure = false;
    here.told = Rec::default();
}

fn force(moves: &mut Moves<'_>) {
    let (n, rules, world) = (moves.node, moves.rules, moves.from);
    let here = &world.nodes[n];
    let rec = here.record();
    let possible = here.disk.rec.used && !here.meta_dead && !here.has_received();
    if !possible || !rec.lacks || !world.budget.allows(Event::Force) {
        return;
    }
    let mut world = *world;
    world.budget.spend(Event::Force);
    separate(&mut world);
    let forced = Rec {
        used: true,
        forced: true,
        own: unused_generation(&world),
        at: if rules.is(Mutant::ForceKeepsAt) {
            rec.at
        } else {
            Spot::default()
        },
        ..Rec::default()
    };
    // Everything is marked before the role counts.
    world.nodes[n].disk.map = ALL;
    let takes = |world: &mut World| {
        take_over(rules, world, n);
        world.nodes[n].fresh = true;
        judge::forced(world, n);
    };
    moves.store((Step::Force, 0), &world, (n, forced), &takes, &|_| ());
}

fn kill_secondary(moves: &mut Moves<'_>) {
    let (n, rules, world) = (moves.node, moves.rules, moves.from);
    if !world.nodes[n].has_received() || !world.budget.allows(Event::KillSecondary) {
        return;
    }
    let mut world = *world;
    world.budget.spend(Event::KillSecondary);
    if world.is_served(n) {
        separate(&mut world);
    }
    world.nodes[n].received = [0; BLOCKS];
    let unmarked = |world: &mut World| {
        // The main process remembers as long as it lives; after a power cut it may be so.
        world.nodes[n].promise.held = world.nodes[n].promise.flushed;
    };
    if rules.is(Mutant::KilledSecondaryUnmarked) {
        return moves.push(Step::KillSecondary, 0, &world);
    }
    let mut rec = world.nodes[n].record();
    rec.lacks = true;
    moves.store(
        (Step::KillSecondary, 0),
        &world,
        (n, rec),
        &|_| (),
        &unmarked,
    );
}

/// `hastctl discard`: the copy belongs to its data set, and is to be copied anew.
fn discard(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    let here = &world.nodes[n];
    if world.is_served(n) || here.has_received() || here.meta_dead || !here.record().used {
        return;
    }
    moves.spend(Event::Discard, Step::Discard, 0, |world| {
        world.forced = true;
        world.nodes[n].promise = Promise {
            mixture: true,
            ..Promise::default()
        };
        world.nodes[n].set_record(Rec {
            used: true,
            lacks: true,
            ..Rec::default()
        });
    });
}

fn disk(moves: &mut Moves<'_>) {
    let (n, here) = (moves.node, moves.from.nodes[moves.node]);
    let dirty: u8 = (0..BLOCKS)
        .filter(|block| here.disk.cache[*block] != here.disk.medium[*block])
        .map(|block| 1 << block)
        .sum();
    for kept in (0..=ALL).filter(|kept| kept & !dirty == 0) {
        moves.spend(Event::Cut, Step::Cut, kept, |world| cut(world, n, kept));
    }
    if !here.meta_dead {
        moves.spend(Event::MetadataDies, Step::MetadataDies, 0, |world| {
            world.nodes[n].meta_dead = true;
            world.faulty = true;
            world.unwritten = true;
        });
    }
    if !here.data_dead {
        moves.spend(Event::DataDies, Step::DataDies, 0, |world| {
            world.nodes[n].data_dead = true;
            world.faulty = true;
        });
    }
}

fn cut(world: &mut World, n: usize, kept: u8) {
    separate(world);
    judge::doubt_ends(world, n);
    let here = &mut world.nodes[n];
    for block in 0..BLOCKS {
        if kept & (1 << block) != 0 {
            here.disk.medium[block] = here.disk.cache[block];
        } else {
            here.disk.cache[block] = here.disk.medium[block];
        }
    }
    here.promise.held = here.promise.flushed;
    here.promise.alone = here.promise.alone_flushed;
    *here = Node {
        disk: here.disk,
        promise: here.promise,
        image: here.image,
        permit: true,
        ..Node::default()
    };
    if world.nodes[1 - n].resumed {
        judge::relies(world, 1 - n, ALL);
    }
}

/// An image is as a power cut that kept everything. While a point is proposed none is taken: what it
/// would come to say is what the point after that one says.
fn image(moves: &mut Moves<'_>) {
    let (n, world) = (moves.node, moves.from);
    let here = &world.nodes[n];
    if here.image.taken || here.record().next != Spot::default() || here.unsure {
        return;
    }
    let mut disk = here.disk;
    disk.medium = disk.cache;
    let mut promise = here.promise;
    for block in 0..BLOCKS {
        if !world.holds(disk.cache[block], promise.held[block]) {
            promise.held[block] = promise.flushed[block];
        }
    }
    let sent = |request: &Request| request.kind == Kind::Write && request.remote != Side::Unused;
    let untold = here
        .requests
        .iter()
        .any(|request| request.stage != Stage::Waiting && sent(request));
    moves.spend(Event::Image, Step::TakeImage, 0, |world| {
        world.nodes[n].image = Image {
            taken: true,
            disk,
            promise,
            untold,
        };
    });
}

/// The worker dies; the device stays, and the next worker takes it over.
fn kill_primary(world: &mut World, n: usize) {
    separate(world);
    let old = world.nodes[n];
    take_over(&Rules::default(), world, n);
    let here = &mut world.nodes[n];
    if old.meta_dead {
        here.superseded = true;
        return here.drop_requests();
    }
    if here.disk.rec.lacks {
        // It does not know any more which extents are whose: the other has them all. A write that was
        // answered with an error may be found, or not, also later.
        here.stale = here.disk.map;
        here.behind = 0;
        here.leans = true;
        here.resumed = true;
        judge::relies(world, n, old.disk.map & !old.stale);
    }
    let here = &mut world.nodes[n];
    for request in &mut here.requests {
        if request.acknowledged {
            *request = Request::default();
        } else if request.kind != Kind::None {
            request.again();
        }
    }
    if here.superseded {
        here.drop_requests();
    }
}
