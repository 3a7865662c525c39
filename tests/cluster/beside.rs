//! A secondary that is connected is not made primary beside its living primary.

use std::time::{Duration, Instant};

use hast::moment::Moment;
use hast::terms::Role;

use crate::cluster::Setup;
use crate::observe::{LIMIT, finish, wait_for};
use crate::proxy::Way;

#[test]
fn a_connected_secondary_is_not_made_primary_while_its_primary_lives() {
    let cluster = Setup::new("fullsync").setting("exec HOOK").pair();
    let workers = [cluster.a.worker_pid("disk1"), cluster.b.worker_pid("disk1")];
    let load = cluster.a.load(71);
    cluster.progress(&load, 20);

    let refused = cluster.b.hastctl("role primary all");
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let remote = format!("tcp4://127.0.0.1:{}", cluster.ports[0]);
    let sentence = format!(
        "hastctl: disk1: {remote} is primary and connected; make it secondary first ('hastctl role secondary disk1' \
         there), or use 'role primary --force' (if it is dead, its connection ends within 20 s of its last word: try \
         again then)"
    );
    assert_eq!(refused.stderr.trim(), sentence);

    cluster.progress(&load, 20);
    assert_eq!(cluster.b.status("disk1").unwrap().role, Role::Secondary);
    let now = [cluster.a.worker_pid("disk1"), cluster.b.worker_pid("disk1")];
    assert_eq!(now, workers, "nobody was disturbed");
    assert!(!cluster.b.log().contains("Role changed to primary"));
    assert_eq!(finish(load).lost_connections, 0);

    // As it says: the other way round at once, as often as one likes.
    for (old, new) in [(&cluster.a, &cluster.b), (&cluster.b, &cluster.a)] {
        old.ctl("role secondary all");
        new.ctl("role primary all");
        new.until_complete("disk1");
    }
    cluster.b.ctl("role --force primary all");
    cluster.b.until_role("disk1", Role::Primary);
}

#[test]
fn a_primary_that_died_without_a_word_is_in_the_way_for_its_connection_s_time_only() {
    let cluster = Setup::new("fullsync").proxied().pair();
    let silent = Instant::now();
    for way in [Way::There, Way::Back] {
        cluster.to_b().silence(way, true);
    }
    let promote = || cluster.b.hastctl("role primary all");
    let refused = promote().failure();
    assert!(refused.contains("is primary and connected"), "{refused}");
    wait_for(
        "the silent primary given up",
        || cluster.b.log(),
        || promote().status.success().then_some(()),
    );
    // The longest silence, and what a busy machine adds.
    assert!(silent.elapsed() < Duration::from_secs(35));
}

#[test]
fn an_agent_whose_question_found_nobody_is_not_held_up_by_a_dead_connection() {
    let cluster = Setup::new("fullsync").proxied().pair();
    // hastd promotes nobody for an agent just after its start.
    let too_late = || cluster.b.promote("disk1", Moment::now());
    wait_for(
        "agents promote",
        || cluster.b.log(),
        || {
            let why = too_late().unwrap_err().message.unwrap();
            why.contains("no longer stays out").then_some(())
        },
    );
    for way in [Way::There, Way::Back] {
        cluster.to_b().silence(way, true);
    }
    let before = cluster.b.promote("disk1", Moment::now().after(LIMIT));
    assert_eq!(before, Ok(Role::Secondary));
    cluster.b.until_role("disk1", Role::Primary);
}
