//! Every step of a way up, a way down and a switchover failing, hanging, failing although it is done, and the
//! agent dying before and after it; events in every order, close together and apart.

use std::time::Duration;

use hast::failover::group::{FailBack, Group, OnHang};
use hast::failover::supervisor::{Carp, Input, Request};

use crate::world::{Fault, World};

const FAULTS: [Fault; 5] = [
    Fault::Fails,
    Fault::FailsLate,
    Fault::Hangs,
    Fault::DiesBefore,
    Fault::DiesAfter,
];
/// Anything here takes less.
const LIMIT: Duration = Duration::from_mins(40);

fn stands(at: &World, index: usize, wanted: &str) -> bool {
    let agent = at.nodes[index].agent.as_ref();
    agent.is_some_and(|agent| {
        agent.supervisor.is_settled() && agent.supervisor.status().phase.word() == wanted
    })
}

/// One node is master and the other backup, with everything that belongs to it.
fn is_served(world: &World) -> bool {
    let served_by = |node: usize| {
        world.nodes[node].serves()
            && stands(world, node, "master")
            && stands(world, 1 - node, "backup")
            && !world.nodes[1 - node].pool
            && world.connected == Some(node)
            && world.synced
    };
    served_by(0) || served_by(1)
}

fn started(group: impl FnOnce(&mut Group)) -> World {
    let mut world = World::calm(7, group);
    world.nodes.iter_mut().for_each(|node| node.raised = true);
    assert!(
        world.play_until(LIMIT, is_served),
        "{}",
        world.trace.join("\n")
    );
    world
}

fn master(world: &World) -> usize {
    usize::from(!world.nodes[0].serves())
}

/// Plays a story with a fault at each of its steps in turn, until there is no such step.
fn at_every_step(group: impl Fn(&mut Group), story: impl Fn(&mut World)) {
    for fault in FAULTS {
        for number in 1.. {
            let mut world = started(&group);
            let before = world.steps;
            world.fault = Some((before + number, fault));
            story(&mut world);
            // A person looks after it when the machines have given up.
            let rested = world.play_until(LIMIT, is_served) || {
                for node in 0..2 {
                    world.give(node, Input::Asked(Request::Clear));
                }
                world.play_until(LIMIT, is_served)
            };
            let told = world.steps - before;
            assert!(
                rested && world.violation.is_none(),
                "{fault:?} at step {number}: {:?}\n{}",
                world.violation,
                world.trace.join("\n")
            );
            if told < number {
                assert!(number > 8, "the story has steps");
                break;
            }
        }
    }
}

#[test]
fn an_address_that_moves_with_every_step_going_wrong() {
    let story = |world: &mut World| {
        let node = master(world);
        world.carp_becomes(node, Carp::Backup);
        world.carp_becomes(1 - node, Carp::Master);
    };
    for on_hang in [OnHang::Retry, OnHang::Force, OnHang::Reboot] {
        at_every_step(|group| group.on_hang = on_hang, story);
    }
}

#[test]
fn a_switchover_with_every_step_going_wrong() {
    let story = |world: &mut World| {
        let node = master(world);
        world.give(node, Input::Asked(Request::Switchover));
    };
    at_every_step(|group| group.fail_back = FailBack::Synchronised, story);
    at_every_step(|_| {}, story);
}

#[test]
fn power_lost_and_fenced_with_every_step_going_wrong() {
    let story = |world: &mut World| {
        let node = master(world);
        let back = world.now + Duration::from_mins(3);
        world.lose_power(node, back);
    };
    let group = |group: &mut Group| {
        group.fence = Some(vec!["/fence".to_owned()]);
        group.force_import = hast::failover::group::ForceImport::Confirmed;
    };
    at_every_step(group, story);
}

#[test]
fn a_switchover_brings_the_group_to_the_other_node_and_back() {
    let mut world = started(|_| {});
    for _ in 0..2 {
        let node = master(&world);
        world.give(node, Input::Asked(Request::Switchover));
        let there = |world: &World| is_served(world) && master(world) != node;
        assert!(world.play_until(LIMIT, there), "{}", world.trace.join("\n"));
        assert_eq!(world.nodes[1 - node].carp, Carp::Master, "the address, too");
    }
}

/// All sequences of so many events.
fn sequences(length: usize) -> Vec<Vec<Carp>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        let longer = shorter.iter().flat_map(|events| {
            [Carp::Master, Carp::Backup, Carp::Init].map(|event| {
                let mut events = events.clone();
                events.push(event);
                events
            })
        });
        longer.collect()
    })
}

#[test]
fn of_events_in_any_order_the_last_one_counts() {
    for events in sequences(4) {
        for apart in [0, 1, 7] {
            // A backup, whose peer is there and secondary and has no agent.
            let mut world = started(|_| {});
            let node = 1 - master(&world);
            world.carp_is_told = true;
            world.lose_agent(1 - node);
            world.nodes[1 - node].agent_back = Duration::MAX;
            world.nodes[1 - node].pool = false;
            world.nodes[1 - node].hastd.role = crate::machine::Role::Secondary;
            world.last_host = None;
            for event in &events {
                world.give(node, Input::Carp(*event));
                let until = world.now + Duration::from_secs(apart);
                world.play_until(Duration::from_secs(apart), |world| world.now >= until);
            }
            let last = *events.last().expect("there are some");
            let wanted = if last == Carp::Master {
                "master"
            } else {
                "backup"
            };
            world.nodes[node].carp = last;
            let so = world.play_until(Duration::from_mins(5), |world| stands(world, node, wanted));
            assert!(
                so,
                "{events:?}, {apart} s apart: not {wanted}\n{}",
                world.trace.join("\n")
            );
        }
    }
}

#[test]
fn a_burst_of_events_is_one() {
    let mut world = started(|_| {});
    let node = master(&world);
    let before = world.steps;
    for _ in 0..50 {
        world.give(node, Input::Carp(Carp::Backup));
        world.give(node, Input::Carp(Carp::Master));
    }
    world.play_until(Duration::from_secs(30), |_| false);
    assert_eq!(world.steps, before, "it ended where it began");
    assert!(is_served(&world));
}
