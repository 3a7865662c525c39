//! Both nodes written to apart: reported on both, nothing overwritten, until an operator
//! chooses; and never reported where only one of them was written to.

use hast::control::{Condition, PeerState};
use hast::terms::Role;

use crate::cluster::{Cluster, Setup};
use crate::load::connect;
use crate::node::Node;
use crate::observe::wait_for;

const LENGTH: usize = 4096;

fn write(node: &Node, offset: u64, byte: u8) {
    let mut client = connect(&node.device("disk1")).unwrap();
    client.write(offset, &[byte; LENGTH], true).unwrap();
    client.disconnect().unwrap();
}

fn read(node: &Node, offset: u64) -> u8 {
    let mut client = connect(&node.device("disk1")).unwrap();
    let bytes = client.read(offset, LENGTH as u32).unwrap();
    assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    bytes[0]
}

/// A pair with something on it whose nodes do not reach each other any more, both primary.
fn apart() -> Cluster {
    let cluster = Setup::new("fullsync").setting("exec HOOK").proxied().pair();
    write(&cluster.a, 0, 1);
    cluster.to_b().unplug();
    cluster.to_a().unplug();
    cluster.a.until_degraded("disk1");
    cluster.b.ctl("role primary disk1");
    cluster.b.until_role("disk1", Role::Primary);
    cluster
}

fn meet_again(cluster: &Cluster) {
    cluster.to_b().plug();
    cluster.to_a().plug();
}

fn assert_reported(cluster: &Cluster) {
    cluster.a.until("disk1", "split brain", |worker| {
        let peer = worker.details.as_ref().map(|details| details.peer);
        peer == Some(PeerState::SplitBrain)
    });
    cluster.a.until_hook("split-brain disk1");
    cluster.b.until_hook("split-brain disk1");
    let table = cluster.a.ctl("status disk1");
    assert!(table.contains("disk1\tdegraded primary "), "{table}");
    let list = cluster.a.ctl("list disk1").to_lowercase();
    assert!(list.contains("  peer: split-brain\n"), "{list}");
    assert!(
        list.contains("split brain") || list.contains("split-brain condition"),
        "{list}"
    );
    for node in [&cluster.a, &cluster.b] {
        let log = node.log().to_lowercase();
        assert!(
            log.contains("split-brain") || log.contains("split brain"),
            "{log}"
        );
    }
}

/// The secondary's side of it must say so, too, and not only in its log.
fn assert_reported_by_the_secondary(node: &Node) {
    let state = || format!("{:?}\n{}", node.ctl("list disk1"), node.log());
    wait_for("the secondary reports the split brain", state, || {
        let list = node.ctl("list disk1");
        list.contains("split-brain").then_some(())
    });
}

#[test]
fn is_reported_and_nothing_is_overwritten() {
    let cluster = apart();
    write(&cluster.a, 0, 2);
    write(&cluster.b, 8192, 3);
    cluster.b.ctl("role secondary disk1");
    let before = [cluster.a.data("disk1"), cluster.b.data("disk1")];
    meet_again(&cluster);
    assert_reported(&cluster);
    let after = [cluster.a.data("disk1"), cluster.b.data("disk1")];
    assert!(before == after, "something was overwritten");
    assert_eq!((read(&cluster.a, 0), read(&cluster.a, 8192)), (2, 0));

    // The operator chooses: b's data is given up.
    cluster.b.ctl("role init disk1");
    cluster.create(&cluster.b);
    cluster.b.ctl("role secondary disk1");
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
    assert_eq!((read(&cluster.a, 0), read(&cluster.a, 8192)), (2, 0));
}

#[test]
fn is_shown_by_the_secondary_too() {
    let cluster = apart();
    write(&cluster.a, 0, 2);
    write(&cluster.b, 8192, 3);
    cluster.b.ctl("role secondary disk1");
    meet_again(&cluster);
    assert_reported(&cluster);
    assert_reported_by_the_secondary(&cluster.b);
}

#[test]
fn is_noticed_whatever_restarts_lay_between() {
    let mut cluster = apart();
    write(&cluster.a, 0, 2);
    write(&cluster.b, 8192, 3);
    cluster.a.kill();
    cluster.b.kill();
    cluster.a.start();
    cluster.b.start();
    cluster.a.ctl("role primary disk1");
    cluster.b.ctl("role primary disk1");
    cluster.a.kill_worker("disk1");
    cluster.b.ctl("role secondary disk1");
    let before = [cluster.a.data("disk1"), cluster.b.data("disk1")];
    meet_again(&cluster);
    assert_reported(&cluster);
    assert!(before == [cluster.a.data("disk1"), cluster.b.data("disk1")]);
}

/// Base hastd misses this: the node that writes alone has not met the other one since it started.
#[test]
fn is_noticed_after_a_restart_before_the_lonely_write() {
    let mut cluster = apart();
    write(&cluster.b, 8192, 3);
    cluster.a.kill();
    cluster.a.start();
    cluster.a.ctl("role primary disk1");
    write(&cluster.a, 0, 2);
    cluster.b.ctl("role secondary disk1");
    meet_again(&cluster);
    assert_reported(&cluster);
}

#[test]
fn two_primaries_never_write_to_each_other() {
    let cluster = apart();
    write(&cluster.a, 0, 2);
    write(&cluster.b, 8192, 3);
    meet_again(&cluster);
    cluster.a.until_logged("acts as primary");
    cluster.b.until_logged("acts as primary");
    for node in [&cluster.a, &cluster.b] {
        let worker = node.worker("disk1").unwrap();
        assert_eq!(worker.condition, Condition::Degraded);
    }
    assert_eq!((read(&cluster.a, 0), read(&cluster.a, 8192)), (2, 0));
    assert_eq!((read(&cluster.b, 0), read(&cluster.b, 8192)), (1, 3));
}

/// Force takes what is there as the truth, on each node: neither may be thought a copy of the other.
#[test]
fn is_noticed_between_two_that_were_made_primary_by_force() {
    let mut cluster = apart();
    cluster.a.kill();
    cluster.b.kill();
    for node in [&mut cluster.a, &mut cluster.b] {
        node.start();
    }
    for (node, offset, byte) in [(&cluster.a, 0, 2), (&cluster.b, 8192, 3)] {
        node.ctl("role primary --force disk1");
        write(node, offset, byte);
    }
    let before = [cluster.a.data("disk1"), cluster.b.data("disk1")];
    meet_again(&cluster);
    cluster.a.until_logged("acts as primary");
    cluster.b.ctl("role secondary disk1");
    assert_reported(&cluster);
    assert_reported_by_the_secondary(&cluster.b);
    let after = [cluster.a.data("disk1"), cluster.b.data("disk1")];
    assert!(before == after, "something was overwritten");
    assert_eq!((read(&cluster.a, 0), read(&cluster.a, 8192)), (2, 0));
}

#[test]
fn is_not_reported_where_one_side_wrote_nothing() {
    let cluster = apart();
    write(&cluster.a, 0, 2);
    assert_eq!(read(&cluster.b, 0), 1);
    cluster.b.ctl("role secondary disk1");
    meet_again(&cluster);
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
    assert_eq!(read(&cluster.a, 0), 2);

    // And the other way round: only the promoted one wrote.
    let cluster = apart();
    write(&cluster.b, 0, 3);
    cluster.b.ctl("role secondary disk1");
    meet_again(&cluster);
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
    assert_eq!(read(&cluster.a, 0), 3);
    assert!(
        !cluster
            .a
            .hooks()
            .iter()
            .any(|hook| hook.starts_with("split-brain"))
    );
}
