//! What the disk of a node does wrong in a run: errors of each kind of operation, an area that is bad, a
//! death, operations that take very long, a flush that gives up what it was to write. Draws and decides;
//! what a failed operation leaves on the disk is the node's.
//!
//! All of it ends when the world is calm: the disk was mended, with what it holds.

use fastrand::Rng;

use crate::disk::sectors;
use crate::network::Time;
use crate::node::Work;

/// Which part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Reads,
    Writes,
    Flushes,
    Metadata,
    Map,
}

impl Part {
    /// What an operation needs.
    fn of(work: &Work) -> Self {
        match work {
            Work::Read(..) => Self::Reads,
            Work::Write(..) | Work::Delete(..) => Self::Writes,
            Work::Flush(_) => Self::Flushes,
            Work::Metadata(..) | Work::Agree(..) => Self::Metadata,
            Work::Map(..) | Work::ClearMap => Self::Map,
        }
    }
}

/// How a disk dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It does nothing any more.
    Whole,
    /// It is read, and nothing else.
    Writes,
    /// Its metadata can not be written.
    Metadata,
    /// Its map can not be written.
    Map,
}

impl Death {
    fn takes(self, part: Part) -> bool {
        match self {
            Self::Whole => true,
            Self::Writes => part != Part::Reads,
            Self::Metadata => part == Part::Metadata,
            Self::Map => part == Part::Map,
        }
    }
}

/// What a disk does wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Operations of any kind that fail, of 10000.
    pub any: u32,
    /// The same by kind: reads, writes, flushes, metadata, map.
    pub rates: [u32; 5],
    /// Sectors that can not be read, or written, or neither.
    pub bad: Option<(std::ops::Range<usize>, [bool; 2])>,
    pub death: Option<(Time, Death)>,
    /// A flush that fails gives up what it was to write.
    pub gives_up: bool,
    /// Operations that take very long, of 10000.
    pub stalls: u32,
}

/// A rate of failures, of 10000: now and then up to a third.
fn rate(rng: &mut Rng) -> u32 {
    [30, 200, 1_000, 3_333][rng.usize(..4)]
}

impl Faults {
    /// A few things that are wrong with a disk, in a run that lasts so long.
    pub fn draw(duration: Time, sectors: usize, rng: &mut Rng) -> Self {
        let mut faults = Self::default();
        for _ in 0..rng.u8(1..=3) {
            match rng.u8(..10) {
                kind @ 0..5 => faults.rates[usize::from(kind)] = rate(rng),
                5 => {
                    let start = rng.usize(..sectors);
                    let end = (start + rng.usize(1..=sectors / 4)).min(sectors);
                    let how = [[true, false], [false, true], [true, true]][rng.usize(..3)];
                    faults.bad = Some((start..end, how));
                }
                6 => {
                    let deaths = [Death::Whole, Death::Writes, Death::Metadata, Death::Map];
                    faults.death = Some((rng.u64(..duration), deaths[rng.usize(..4)]));
                }
                7 => {
                    faults.gives_up = true;
                    faults.rates[Part::Flushes as usize] = rate(rng);
                }
                8 => faults.stalls = [10, 100, 500][rng.usize(..3)],
                _ => faults.any = rate(rng) / 4,
            }
        }
        faults.gives_up |= rng.u8(..4) == 0;
        faults
    }

    /// Whether an operation that begins now fails.
    pub fn strikes(&self, work: &Work, now: Time, rng: &mut Rng) -> bool {
        let part = Part::of(work);
        let rate = self.rates[part as usize].max(self.any);
        self.is_dead(part, now) || self.is_bad(work) || (rate > 0 && rng.u32(..10_000) < rate)
    }

    /// Whether nothing of this kind succeeds any more.
    pub fn is_dead(&self, part: Part, now: Time) -> bool {
        let death = self.death.filter(|(when, _)| now >= *when);
        death.is_some_and(|(_, death)| death.takes(part))
    }

    fn is_bad(&self, work: &Work) -> bool {
        let Some((area, [reads, writes])) = &self.bad else {
            return false;
        };
        let (range, fails) = match work {
            Work::Read(_, range, _) => (*range, *reads),
            Work::Write(_, range, _) | Work::Delete(_, range) => (*range, *writes),
            _ => return false,
        };
        fails && sectors(range).any(|sector| area.contains(&sector))
    }

    /// How much longer an operation takes: the disk is busy with itself.
    pub fn stall(&self, rng: &mut Rng) -> Time {
        if self.stalls > 0 && rng.u32(..10_000) < self.stalls {
            let most = [100_000, 1_000_000, 4_000_000][rng.usize(..3)];
            rng.u64(..=most)
        } else {
            0
        }
    }
}
