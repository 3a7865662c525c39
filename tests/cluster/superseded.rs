//! What is under an open device never changes but by that device's own requests: a primary that was cut off, while
//! the other node went on, does not follow under its users. They lose the device; then it follows.

use hast::control::Condition;
use hast::terms::Role;

use crate::cluster::{Cluster, Setup};
use crate::load::connect;
use crate::node::Node;
use crate::observe::wait_for;

const LENGTH: usize = 4096;

fn write(node: &Node, byte: u8) {
    let mut client = connect(&node.device("disk1")).unwrap();
    client.write(0, &[byte; LENGTH], true).unwrap();
    client.disconnect().unwrap();
}

/// Node a is primary and cut off; node b went on, and is its secondary again.
fn while_a_was_away(cluster: &Cluster) {
    cluster.to_b().unplug();
    cluster.to_a().unplug();
    cluster.a.until_degraded("disk1");
    cluster.b.ctl("role primary disk1");
    cluster.b.until_role("disk1", Role::Primary);
    write(&cluster.b, 2);
    cluster.b.ctl("role secondary disk1");
    cluster.to_b().plug();
    cluster.to_a().plug();
}

#[test]
fn an_open_device_is_taken_away_before_newer_data_comes_under_it() {
    let cluster = Setup::new("fullsync").setting("exec HOOK").proxied().pair();
    write(&cluster.a, 1);
    cluster.a.until_complete("disk1");
    let mut user = connect(&cluster.a.device("disk1")).unwrap();
    assert!(user.read(0, LENGTH as u32).unwrap() == [1; LENGTH]);
    while_a_was_away(&cluster);

    let served = wait_for(
        "the device is taken away",
        || cluster.a.log(),
        || match user.read(0, LENGTH as u32) {
            // Until it is: what was there, and nothing newer.
            Ok(bytes) => (bytes != [1; LENGTH]).then_some(bytes),
            Err(_) => Some(Vec::new()),
        },
    );
    assert!(served.is_empty(), "newer data came under an open device");
    cluster.a.until_logged("superseded: ");
    cluster.a.until_hook("superseded disk1");
    drop(user);

    // By itself; and it follows.
    cluster.a.until_role("disk1", Role::Secondary);
    cluster.b.ctl("role primary disk1");
    cluster.b.until_complete("disk1");
    let mut reader = connect(&cluster.b.device("disk1")).unwrap();
    assert!(reader.read(0, LENGTH as u32).unwrap() == [2; LENGTH]);
    reader.disconnect().unwrap();
    cluster.assert_equal("disk1");
}

#[test]
fn a_primary_whose_device_nobody_has_open_simply_follows() {
    let cluster = Setup::new("fullsync").proxied().pair();
    write(&cluster.a, 1);
    cluster.a.until_complete("disk1");
    while_a_was_away(&cluster);
    cluster.a.until("disk1", "brought up to date", |worker| {
        worker.condition == Condition::Complete
    });
    let mut reader = connect(&cluster.a.device("disk1")).unwrap();
    assert!(reader.read(0, LENGTH as u32).unwrap() == [2; LENGTH]);
    reader.disconnect().unwrap();
    assert!(!cluster.a.log().contains("superseded"));
}
