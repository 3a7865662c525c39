//! The agent is killed, ended, and told to read its configuration again.

use nix::sys::signal::Signal;

use crate::pair::Pair;
use hast::terms::Role;

#[test]
fn a_way_up_that_a_crash_has_cut_off_is_undone_and_gone_again() {
    let mut pair = Pair::start("");
    pair.a.fault("zpool import", "hold");
    pair.a.carp("MASTER");
    pair.a.until_called("zpool import");
    pair.a.kill();
    // The import goes on without it, and succeeds late.
    pair.a.heal("zpool import");
    crate::observe::wait_for(
        "the late import",
        || pair.a.log(),
        || pair.a.machine("pool.tank"),
    );
    pair.forget_calls();
    pair.a.start();
    pair.a.until("master");
    pair.a.assert_serves();
    let changes = pair.a.changes();
    let pool: Vec<&String> = changes
        .iter()
        .filter(|it| it.starts_with("zpool"))
        .collect();
    assert_eq!(
        pool,
        [
            "zpool export tank",
            "zpool import -o cachefile=none -d /dev/hast tank"
        ]
    );
}

#[test]
fn a_master_is_found_again_and_left_alone() {
    let mut pair = Pair::with_master("");
    pair.a.kill();
    pair.a.start();
    pair.a.until("master");
    assert_eq!(pair.a.changes(), [] as [&str; 0]);
    pair.a.end();
    pair.a.assert_serves();
    pair.cluster.a.until_role("disk1", Role::Primary);
    pair.a.start();
    pair.a.until("master");
    assert_eq!(pair.a.changes(), [] as [&str; 0]);

    // Where something of it is missing it is taken down and made master anew, for CARP says so.
    pair.a.kill();
    std::fs::remove_file(pair.a.folder.join("machine/service.nfs")).unwrap();
    pair.a.start();
    pair.a.until("master");
    pair.a.assert_serves();
    let changes = pair.a.changes();
    assert!(
        changes.contains(&"zpool export tank".to_owned()),
        "{changes:?}"
    );
}

#[test]
fn a_new_configuration_is_taken_where_the_group_is_settled() {
    let pair = Pair::start("");
    pair.a.write_config("services = []");
    pair.a.signal(Signal::SIGHUP);
    pair.a.until_logged("Not reloaded");
    pair.a.write_config("[group.storage.limits]\nhook = 7");
    pair.a.signal(Signal::SIGHUP);
    pair.a.until_logged("Reloaded.");
    pair.a.until("backup");
    pair.a.carp("MASTER");
    pair.a.until("master");
    pair.a.assert_serves();
}
