//! SIGHUP under load: modes, checksums and compressions change, resources come and go, and a bad
//! configuration changes nothing.

use std::fs;

use hast::terms::{Checksum, Compression, Replication, Role};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Setup};
use crate::observe::{finish, wait_for};

/// Has both daemons read what the setup says now.
fn reload(cluster: &Cluster) {
    cluster.write_config();
    cluster.a.signal(Signal::SIGHUP);
    cluster.b.signal(Signal::SIGHUP);
}

#[test]
fn modes_checksums_and_compressions_change_under_load() {
    let mut cluster = Setup::new("fullsync").pair();
    let load = cluster.a.load(31);
    let worker = cluster.a.worker_pid("disk1");
    for (replication, checksum, compression) in [
        (Replication::Memsync, Checksum::Crc32, Compression::Lzf),
        (Replication::Async, Checksum::Sha256, Compression::None),
        (Replication::Fullsync, Checksum::None, Compression::Hole),
        (Replication::Memsync, Checksum::Sha256, Compression::Lzf),
    ] {
        cluster.progress(&load, 50);
        cluster.setup.settings = format!(
            "replication {replication}\nchecksum {checksum}\ncompression {compression}\ntimeout 3\n"
        );
        reload(&cluster);
        for node in [&cluster.a, &cluster.b] {
            wait_for(
                "the new settings in force",
                || node.log(),
                || {
                    let status = node.status("disk1")?;
                    let now = (status.replication, status.checksum, status.compression);
                    (now == (replication, checksum, compression)).then_some(())
                },
            );
        }
        cluster.progress(&load, 50);
        cluster.a.until_complete("disk1");
    }
    let written = finish(load);
    assert_eq!(written.lost_connections, 0, "the device stayed");
    assert_eq!(cluster.a.worker_pid("disk1"), worker, "changed in place");
    cluster.a.verify(&written.ledger);
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let cluster = Setup::new("fullsync").pair();
    let load = cluster.a.load(32);
    cluster.progress(&load, 50);
    let good = fs::read_to_string(cluster.path("hast.conf")).unwrap();
    // Each is waited for: one that came during another's reading would be read with it.
    let refused = |times: usize| {
        let log = || cluster.a.log();
        let refusals = || log().matches("Configuration not reloaded").count();
        wait_for("a refusal", log, || (refusals() == times).then_some(()));
    };
    let bad = [
        (
            good.replace("replication", "replicating"),
            "line 1: found the unknown word 'replicating'",
        ),
        (format!("{good}resource"), "expected a resource's name"),
        (String::from("\0\u{1}\u{2}"), "line 1"),
    ];
    let count = bad.len();
    for (times, (bad, complaint)) in (1..).zip(bad) {
        fs::write(cluster.path("hast.conf"), bad).unwrap();
        cluster.a.signal(Signal::SIGHUP);
        cluster.a.until_logged(complaint);
        refused(times);
    }
    fs::remove_file(cluster.path("hast.conf")).unwrap();
    cluster.a.signal(Signal::SIGHUP);
    cluster.a.until_logged("cannot read the configuration");
    refused(count + 1);

    cluster.progress(&load, 50);
    cluster.write_config();
    cluster.a.signal(Signal::SIGHUP);
    cluster.a.until_logged("reloaded successfully");
    cluster.a.until_complete("disk1");
    let written = finish(load);
    assert_eq!(written.lost_connections, 0);
    cluster.a.verify(&written.ledger);
}

#[test]
fn resources_come_and_go() {
    let mut cluster = Setup::new("fullsync").pair();
    let load = cluster.a.load(33);
    cluster.setup.resources.push("disk2".into());
    for node in [&cluster.a, &cluster.b] {
        let file = fs::File::create(node.component("disk2")).unwrap();
        file.set_len(cluster.setup.size).unwrap();
    }
    reload(&cluster);
    for node in [&cluster.a, &cluster.b] {
        node.until_role("disk2", Role::Init);
        node.ctl("create disk2");
    }
    cluster.b.ctl("role secondary disk2");
    cluster.a.ctl("role primary disk2");
    cluster.a.until_complete("disk2");
    assert!(cluster.a.device("disk2").exists());

    cluster.setup.resources.pop();
    reload(&cluster);
    wait_for(
        "disk2 gone",
        || cluster.a.log(),
        || {
            (cluster.a.status("disk1").is_some() && cluster.a.status("disk2").is_none())
                .then_some(())
        },
    );
    wait_for(
        "its device gone",
        || cluster.a.log(),
        || (!cluster.a.device("disk2").exists()).then_some(()),
    );
    cluster.progress(&load, 20);
    let written = finish(load);
    assert_eq!(written.lost_connections, 0);
    cluster.a.verify(&written.ledger);
}
