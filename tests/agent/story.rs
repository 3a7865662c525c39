//! The article's whole story: a master under load loses its power in mid-write, the other node takes over, the old one
//! comes back, and nothing that was acknowledged is missing on either.

use std::fs;

use crate::observe::finish;
use crate::pair::Pair;
use hast::terms::Role;

#[test]
fn a_hard_reset_of_the_master_loses_nothing() {
    let mut pair = Pair::with_master("fence = [\"FENCE\"]\nforce-import = \"confirmed\"");
    let load = pair.cluster.a.load(7);
    pair.cluster.progress(&load, 500);

    // Power loss: everything of node a ends at one moment; what its kernel knew is gone.
    load.aim(&pair.cluster.b.device("disk1"));
    pair.a.kill();
    pair.cluster.a.kill();
    pair.a.reset_machine();
    pair.a.pretend_another_boot();
    fs::remove_dir(pair.cluster.path("pool.tank")).unwrap();

    pair.b.carp("MASTER");
    pair.b.until("master");
    pair.b.assert_serves();
    let mut changes = pair.b.changes();
    // Where the dead node's claim still stood it is fenced again.
    changes.dedup();
    assert_eq!(
        changes[..3],
        [
            "fence ",
            "zpool import -o cachefile=none -d /dev/hast tank",
            "zpool import -o cachefile=none -d /dev/hast -f tank"
        ]
    );
    pair.cluster.progress(&load, 500);

    // It comes back as what it should be: backup, with everything that was written meanwhile.
    pair.cluster.a.start();
    pair.a.start();
    pair.a.until("backup");
    pair.a.assert_bare();
    assert_eq!(
        pair.a.machine("demotion").unwrap(),
        "240",
        "no fail-back by itself"
    );
    pair.cluster.a.until_role("disk1", Role::Secondary);
    pair.cluster.b.until_complete("disk1");
    pair.cluster.b.until_complete("disk2");
    pair.cluster.progress(&load, 200);
    let written = finish(load);
    assert!(written.lost_connections > 0, "{written:?}");
    pair.cluster.b.verify(&written.ledger);
    pair.cluster.b.until_complete("disk1");
    pair.cluster.assert_equal("disk1");

    // And home again, on purpose.
    pair.let_the_address_move();
    pair.b.until_complete();
    pair.a.until_fresh();
    pair.b.failover("switchover storage").success();
    pair.a.until("master");
    pair.a.assert_serves();
    pair.cluster.a.verify(&written.ledger);
}
