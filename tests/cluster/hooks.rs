//! What `exec` is called with, and that it holds nothing up.

use std::fs;
use std::time::Instant;

use crate::cluster::Setup;
use crate::observe::wait_for;

#[test]
fn are_called_with_what_happened() {
    let cluster = Setup::new("fullsync").setting("exec HOOK").pair();
    cluster.a.until_hook("connect disk1");
    cluster.b.ctl("role init disk1");
    cluster.a.until_hook("disconnect disk1");
    cluster.b.until_hook("role disk1 secondary init");
    let mut client = crate::load::connect(&cluster.a.device("disk1")).unwrap();
    client.write(0, &[1; 4096], false).unwrap();
    cluster.b.ctl("role secondary disk1");
    cluster.a.until_complete("disk1");
    cluster.a.until_hook("syncdone disk1");
    drop(client);
    cluster.a.ctl("role init disk1");
    cluster.a.until_hook("role disk1 primary init");

    let events: Vec<String> = cluster.a.hooks();
    let expected = [
        "role disk1 init primary",
        "connect disk1",
        "disconnect disk1",
        "connect disk1",
        "syncstart disk1",
        "syncdone disk1",
    ];
    assert_eq!(events[..expected.len()], expected);
    cluster.b.until_hook("role disk1 init secondary");
}

#[test]
fn that_hang_or_can_not_be_run_hold_nothing_up() {
    // For as long as the test's folder is there, which is longer than hastd.
    for hook in [
        "#!/bin/sh\nwhile [ -e \"$0\" ]; do sleep 1; done\n",
        "no program at all",
    ] {
        let mut cluster = Setup::new("fullsync").setting("exec HOOK").start();
        fs::write(cluster.hook(), hook).unwrap();
        let since = Instant::now();
        for node in [&cluster.a, &cluster.b] {
            cluster.create(node);
        }
        cluster.b.ctl("role secondary disk1");
        cluster.a.ctl("role primary disk1");
        cluster.a.until_complete("disk1");
        let load = cluster.a.load(41);
        cluster.progress(&load, 50);
        crate::observe::finish(load);
        // Much less than the time that a hook may take.
        assert!(since.elapsed().as_secs() < 30);
        let ended = cluster.a.end(nix::sys::signal::Signal::SIGTERM);
        assert!(ended.success());
    }
}

#[test]
fn a_hook_that_fails_is_logged() {
    let cluster = Setup::new("fullsync").setting("exec HOOK").created();
    fs::write(cluster.hook(), "#!/bin/sh\necho from $1 on $2\nexit 3\n").unwrap();
    cluster.a.ctl("role primary disk1");
    cluster.a.until_logged("from role on disk1");
    let code = || cluster.a.log().contains("exitcode=3").then_some(());
    wait_for("the exit code in the log", || cluster.a.log(), code);
}
