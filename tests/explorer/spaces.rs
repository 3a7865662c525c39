//! Bounded spaces.
use std::time::Duration;
use crate::rules::{Rules, Mode};
use crate::search::{Limits, explore};
use crate::world::{Budget, Event, Node, Rec, Spot, World};

pub fn used() -> World {
    let rec = Rec { used: true, at: Spot { generation: 1, number: 1 }, ..Rec::default() };
    let mut world = World::default();
    for node in &mut world.nodes {
        *node = Node { up: true, permit: true, ..Node::default() };
        node.disk.rec = rec;
    }
    world
}

#[test]
fn try_one() {
    let spec = std::env::var("SPACE").unwrap_or_else(|_| "total=4,writes=2,flushes=1,promote=2,cuts=1,disc=1".to_owned());
    let mut rules = Rules { parallel: 1, ..Rules::default() };
    let mut world = used();
    let mut limits = Limits { states: 60_000_000, time: Duration::from_secs(60), healed: Some(7) };
    let mut b = Budget::default();
    for (key, value) in spec.split(',').filter_map(|pair| pair.split_once('=')) {
        let n: u64 = value.parse().unwrap();
        let e = match key {
            "total" => { b.total = n as u8; continue }
            "writes" => { b.writes = n as u8; continue }
            "flushes" => { b.flushes = n as u8; continue }
            "parallel" => { rules.parallel = n as usize; continue }
            "memsync" => { rules.mode = Mode::Memsync; continue }
            "async" => { rules.mode = Mode::Async; continue }
            "heal" => { limits.healed = (n != 9).then_some(n); continue }
            "secs" => { limits.time = Duration::from_secs(n); continue }
            "promote" => Event::Promote,
            "force" => Event::Force,
            "cuts" => Event::Cut,
            "disc" => Event::Disconnect,
            "kill" => Event::KillPrimary,
            "skill" => Event::KillSecondary,
            "wf" => Event::WriteError,
            "ff" => Event::FlushError,
            "slot" => Event::SlotError,
            "meta" => Event::MetadataDies,
            "dead" => Event::DataDies,
            "snap" => Event::Image,
            "restore" => Event::PutBack,
            "permit" => Event::Permit,
            "discard" => Event::Discard,
            _ => panic!("{key}"),
        };
        b = b.with(e, n as u8);
    }
    world.budget = b;
    let report = explore(&rules, &world, limits);
    println!("{spec}: {} states, healed {}, depth {}, {:?}, end {}", report.states, report.healed, report.depth, report.time, report.to_the_end);
    if let Some(fault) = report.fault {
        println!("{:?} after {} steps\n{}", fault.wrong, fault.steps, fault.story);
    }
}
