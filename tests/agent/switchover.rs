//! Changing places on purpose.

use nix::sys::signal::Signal;

use crate::pair::Pair;
use hast::terms::Role;

#[test]
fn the_nodes_change_places_and_back() {
    let pair = Pair::with_master("");
    pair.let_the_address_move();
    let why = pair.b.failover("switchover storage").failure();
    assert!(why.contains("run it on the master"), "{why}");
    for (from, to, old, new) in [
        (&pair.a, &pair.b, &pair.cluster.a, &pair.cluster.b),
        (&pair.b, &pair.a, &pair.cluster.b, &pair.cluster.a),
    ] {
        new.until_role("disk1", Role::Secondary);
        let said = from.failover("switchover storage").success();
        assert!(
            said.contains("wait for the peer to be primary ... done"),
            "{said}"
        );
        from.assert_bare();
        assert_eq!(from.machine("carp").unwrap(), "BACKUP");
        to.until("master");
        to.assert_serves();
        assert_eq!(to.machine("carp").unwrap(), "MASTER");
        assert_eq!(to.machine("demotion").unwrap(), "0");
        old.until_role("disk1", Role::Secondary);
        new.until_complete("disk1");
        new.until_complete("disk2");
        // Its agent has to have seen that, too.
        from.until_fresh();
        to.until_complete();
    }
}

#[test]
fn a_switchover_that_the_peer_does_not_follow_is_taken_back() {
    let mut pair = Pair::with_master("");
    // A master keeps what it has when its configuration changes.
    pair.a.write_config("[group.storage.limits]\ntakeover = 3");
    pair.a.signal(Signal::SIGHUP);
    pair.a.until_logged("Reloaded.");
    pair.a.until("master");
    pair.a.until_complete();
    assert_eq!(pair.a.changes(), [] as [&str; 0]);
    // The invitation goes unheard.
    pair.b.kill();
    let why = pair.a.failover("switchover storage").failure();
    assert!(why.contains("taking the group back"), "{why}");
    pair.a.until("master");
    pair.a.assert_serves();
    pair.cluster.a.until_role("disk1", Role::Primary);
    assert_eq!(pair.a.machine("carp").unwrap(), "MASTER");
}
