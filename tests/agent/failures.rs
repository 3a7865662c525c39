//! Becoming master and backup, and what is done where a step does not do what it should.

use crate::pair::Pair;
use hast::terms::Role;

#[test]
fn an_event_makes_a_node_master_in_order_and_no_other() {
    let pair = Pair::start("");
    pair.a.carp("MASTER");
    pair.a.until("master");
    pair.a.assert_serves();
    let device = pair.cluster.a.device("disk2").display().to_string();
    assert_eq!(
        pair.a.changes(),
        [
            "zpool import -o cachefile=none -d /dev/hast tank",
            &format!("fsck -t ufs -p {device}"),
            &format!("mount {device} /data"),
            "service samba onestart",
            "service nfs onestart",
            "sysctl net.inet.carp.demotion=-240",
        ]
    );
    assert_eq!(pair.a.machine("demotion").unwrap(), "0");
    pair.cluster.a.until_role("disk1", Role::Primary);

    // The address moves by mistake: the peer is primary, and stays so.
    let why = pair.b.failover("master storage").failure();
    assert!(why.contains("the peer is primary"), "{why}");
    pair.b.carp("MASTER");
    pair.b.until_logged("the peer is primary");
    pair.b.carp("BACKUP");
    pair.b.until("backup");
    pair.b.assert_bare();
    pair.cluster.b.until_role("disk1", Role::Secondary);

    // And back, in reverse.
    pair.a.carp("BACKUP");
    pair.a.until("backup");
    assert_eq!(
        pair.a.changes(),
        [
            "service nfs onestop",
            "service samba onestop",
            "umount /data",
            "zpool export tank",
        ]
    );
    pair.cluster.a.until_role("disk1", Role::Secondary);
}

#[test]
fn an_import_that_fails_is_undone_and_the_address_given_away() {
    let pair = Pair::start("");
    pair.a.failover("clear storage").success();
    assert_eq!(pair.a.machine("demotion").unwrap(), "0");
    pair.a.fault("zpool import", "fail");
    pair.a.carp("MASTER");
    pair.a.until_called("zpool import");
    pair.a.until("backup");
    pair.a.assert_bare();
    assert_eq!(pair.a.machine("demotion").unwrap(), "240");
    assert_eq!(pair.a.machine("carp").unwrap(), "BACKUP");
    let trouble = pair.a.says("trouble").unwrap();
    assert!(trouble.contains("it fails on demand"), "{trouble}");
    pair.cluster.a.until_role("disk1", Role::Secondary);
    let table = pair.a.failover("status").success();
    assert!(table.contains("demotion is raised"), "{table}");

    // It stays raised until a person, or a way up that works, takes it back.
    pair.a.heal("zpool import");
    let said = pair.a.failover("master storage").success();
    assert!(said.contains("import pool tank"), "{said}");
    pair.a.assert_serves();
    assert_eq!(pair.a.machine("demotion").unwrap(), "0");
    assert_eq!(pair.a.machine("carp").unwrap(), "MASTER");
}

#[test]
fn an_export_that_hangs_is_forced_where_the_policy_says_so() {
    let pair = Pair::with_master("on-hang = \"force\"\n[group.storage.limits]\nexport = 1");
    pair.a.fault("zpool export tank", "hang");
    let said = pair.a.failover("backup storage").success();
    assert!(said.contains("is lost"), "{said}");
    pair.a.assert_bare();
    let changes = pair.a.changes();
    let exports: Vec<&String> = changes.iter().filter(|it| it.contains("export")).collect();
    assert_eq!(exports, ["zpool export tank", "zpool export -f tank"]);

    // What a person has said stands until another word.
    pair.a.carp("MASTER");
    pair.a.until_logged("not followed until 'clear'");
    assert_eq!(pair.a.says("state").unwrap(), "backup");
}

#[test]
fn without_its_peer_a_node_forces_no_import_that_the_policy_does_not_name() {
    let mut pair = Pair::with_master("fence = [\"FENCE\"]");
    pair.cluster.a.kill();
    pair.b.carp("MASTER");
    pair.b
        .until_logged("pool was previously in use from another system");
    pair.b.until("backup");
    pair.b.assert_bare();
    let changes = pair.b.changes();
    assert!(changes.contains(&"fence ".to_owned()), "{changes:?}");
    let forced = changes
        .iter()
        .any(|it| it.contains("import") && it.contains(" -f "));
    assert!(!forced, "{changes:?}");
    let trouble = pair.b.says("trouble").unwrap();
    assert!(trouble.contains("import pool tank"), "{trouble}");
}

#[test]
fn a_peer_that_can_not_be_fenced_is_not_taken_over() {
    let mut pair = Pair::with_master("fence = [\"FENCE\"]");
    std::fs::write(pair.b.folder.join("fence"), "2").unwrap();
    pair.cluster.a.kill();
    pair.b.carp("MASTER");
    pair.b.until_called("fence");
    pair.b.until("backup");
    pair.b.assert_bare();
    assert_eq!(pair.b.machine("demotion").unwrap(), "240");
    let trouble = pair.b.says("trouble").unwrap();
    assert!(trouble.contains("on-unreachable = refuse"), "{trouble}");
}
