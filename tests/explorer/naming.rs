//! Makes states that differ in names only the same one.
//!
//! Generations are random in the product: here they are renamed by their first appearance, and the
//! numbers of a generation's points by rank. The two nodes are exchangeable. Without this the space
//! would be infinite.

use std::hash::{Hash, Hasher};

use crate::world::{Rec, Spot, World};

/// More generations or numbers than a state ever holds at once.
const NAMES: usize = 64;

/// Renames generations and ranks points.
pub fn rename(world: &mut World) {
    let mut names = [0_u8; NAMES];
    let mut next = 1;
    for_each_generation(world, &mut |generation| {
        let slot = &mut names[*generation as usize % NAMES];
        if *generation != 0 {
            if *slot == 0 {
                *slot = next;
                next += 1;
            }
            *generation = *slot;
        }
    });
    let mut used = [0_u64; NAMES];
    for_each_spot(world, &mut |spot| {
        used[spot.generation as usize] |= 1 << spot.number;
    });
    for_each_spot(world, &mut |spot| {
        let smaller = used[spot.generation as usize] & ((1 << spot.number) - 1);
        spot.number = if spot.generation == 0 {
            0
        } else {
            1 + smaller.count_ones() as u8
        };
    });
}

/// A generation that no record names.
pub fn unused_generation(world: &World) -> u8 {
    let mut highest = 0;
    for_each_generation(&mut world.clone(), &mut |generation| {
        highest = highest.max(*generation);
    });
    highest + 1
}

/// The same for two worlds that differ in names only, or in which node is which.
pub fn fingerprint(world: &World) -> u64 {
    let mut swapped = *world;
    swapped.nodes.swap(0, 1);
    if swapped.link.phase != crate::world::Phase::Apart {
        swapped.link.primary = 1 - swapped.link.primary;
    }
    rename(&mut swapped);
    hash(world).min(hash(&swapped))
}

fn hash(world: &World) -> u64 {
    let mut hasher = Mixer::default();
    world.hash(&mut hasher);
    hasher.finish()
}

fn records(world: &mut World) -> [&mut Rec; 6] {
    let [one, two] = &mut world.nodes;
    [
        &mut one.disk.rec,
        &mut two.disk.rec,
        &mut one.told,
        &mut two.told,
        &mut one.image.disk.rec,
        &mut two.image.disk.rec,
    ]
}

fn for_each_generation(world: &mut World, change: &mut impl FnMut(&mut u8)) {
    for rec in records(world) {
        change(&mut rec.at.generation);
        change(&mut rec.next.generation);
        change(&mut rec.own);
        for spot in &mut rec.past {
            change(&mut spot.generation);
        }
    }
    change(&mut world.link.point.generation);
}

fn for_each_spot(world: &mut World, change: &mut impl FnMut(&mut Spot)) {
    for rec in records(world) {
        change(&mut rec.at);
        change(&mut rec.next);
        rec.past.iter_mut().for_each(&mut *change);
    }
    change(&mut world.link.point);
}

/// Quick, and good enough: 64 bits for some millions of states. Takes the bytes as they come.
#[derive(Default)]
struct Mixer {
    one: u64,
    two: u64,
    word: u64,
    filled: u32,
}

impl Mixer {
    fn mix(&mut self, word: u64) {
        self.one = (self.one.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.two = (self.two ^ word)
            .wrapping_mul(0xff51_afd7_ed55_8ccd)
            .rotate_left(23);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        let mut last = Self { ..*self };
        last.mix(self.word);
        let mixed = last.one ^ last.two.rotate_left(32);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.word = self.word << 8 | u64::from(byte);
        self.filled += 1;
        if self.filled == 8 {
            self.mix(self.word);
            self.word = 0;
            self.filled = 0;
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u8(number as u8);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u8(number as u8);
    }
}
