//! How hastd begins and ends: wrong command lines, signals, and that what a SIGKILL leaves behind
//! does not keep it from starting again.

use std::fs;

use nix::sys::signal::Signal;

use crate::cluster::Setup;
use crate::support::run;

#[test]
fn wrong_command_lines_and_configurations_end_with_their_exit_code() {
    let cluster = Setup::new("fullsync").start();
    let bare = || std::process::Command::new(env!("CARGO_BIN_EXE_hastd"));
    let config = cluster.path("other.conf");
    for (arguments, code, complaint) in [
        (&["-x"] as &[&str], 64, "'-x'"),
        (&["extra"], 64, "'extra'"),
        (
            &["-F", "-c", "/nonexistent/hast.conf"],
            72,
            "cannot read the configuration /nonexistent",
        ),
    ] {
        let ended = run(bare().args(arguments));
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        assert!(ended.stderr.contains(complaint), "{ended:?}");
    }
    let help = run(bare().arg("-h"));
    assert!(
        help.status.success() && help.stdout.contains("Usage: hastd"),
        "{help:?}"
    );

    let good = fs::read_to_string(cluster.path("hast.conf")).unwrap();
    for (text, complaint) in [
        (
            "resource disk1 {\n\tlocl /dev/x\n}\n",
            "other.conf, line 2: found the unknown word 'locl'",
        ),
        ("timeout 0\n", "other.conf, line 1"),
        (
            &good.replace("nodea", "elsewhere"),
            "no 'on' section for this node",
        ),
    ] {
        fs::write(&config, text).unwrap();
        let ended = run(bare()
            .arg("-F")
            .arg("-n")
            .arg("nodea")
            .arg("-c")
            .arg(&config));
        assert_eq!(ended.status.code(), Some(78), "{ended:?}");
        assert!(ended.stderr.contains(complaint), "{ended:?}");
    }
}

#[test]
fn a_second_hastd_is_refused_and_disturbs_nothing() {
    let cluster = Setup::new("fullsync").pair();
    let load = cluster.a.load(51);
    cluster.progress(&load, 20);
    let second = cluster.a.hastd().status().unwrap();
    assert_eq!(second.code(), Some(75));
    let pid = cluster.a.main_pid();
    cluster.a.until_logged(&format!(
        "another hastd is already running, pidfile: {}, pid: {pid}",
        cluster.a.pidfile().display()
    ));
    // Without the pid file in its way the sockets are.
    let config = cluster.path("hast.conf");
    let mut other = std::process::Command::new(env!("CARGO_BIN_EXE_hastd"));
    let other = run(other.arg("-F").arg("-n").arg("nodea").arg("-c").arg(config));
    assert_eq!(other.status.code(), Some(71), "{other:?}");
    assert!(
        other.stderr.contains("another process answers there"),
        "{other:?}"
    );
    cluster.progress(&load, 20);
    let written = crate::observe::finish(load);
    assert_eq!(written.lost_connections, 0);
    cluster.a.until_complete("disk1");
}

#[test]
fn signals_end_it_with_nothing_left_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut cluster = Setup::new("fullsync").pair();
        let load = cluster.a.load(52);
        cluster.progress(&load, 100);
        assert!(cluster.a.pidfile().exists());
        for node in [&mut cluster.a, &mut cluster.b] {
            let ended = node.end(signal);
            assert!(ended.success(), "{signal}: {ended}");
            for left in [node.control(), node.device("disk1"), node.pidfile()] {
                assert!(!left.exists(), "{} after {signal}", left.display());
            }
        }
        // It finds everything again.
        for (node, role) in [(&mut cluster.b, "secondary"), (&mut cluster.a, "primary")] {
            node.start();
            node.ctl(&format!("role {role} disk1"));
        }
        cluster.progress(&load, 20);
        let written = crate::observe::finish(load);
        cluster.a.verify(&written.ledger);
        cluster.a.until_complete("disk1");
        cluster.assert_equal("disk1");
    }
}

#[test]
fn what_sigkill_leaves_behind_is_no_obstacle() {
    let mut cluster = Setup::new("fullsync").pair();
    for _ in 0..2 {
        cluster.a.kill();
        for left in [
            cluster.a.control(),
            cluster.a.device("disk1"),
            cluster.a.pidfile(),
        ] {
            assert!(left.exists(), "{}: nobody could remove it", left.display());
        }
        cluster.a.start();
        cluster.a.ctl("role primary disk1");
        cluster.a.until_complete("disk1");
        let pid = fs::read_to_string(cluster.a.pidfile()).unwrap();
        assert_eq!(pid.trim(), cluster.a.main_pid().to_string());
    }
    cluster.a.kill_main();
    cluster.a.start();
    cluster.a.ctl("role primary disk1");
    cluster.a.until_complete("disk1");
}

#[test]
fn a_worker_has_its_title() {
    let cluster = Setup::new("fullsync").pair();
    for (node, role) in [(&cluster.a, "primary"), (&cluster.b, "secondary")] {
        let pid = node.worker_pid("disk1").to_string();
        let shown =
            run(std::process::Command::new("ps").args(["-o", "args=", "-p", &pid])).success();
        let title = format!("hastd: disk1 ({role})");
        assert!(shown.trim_start().starts_with(&title), "{shown}");
    }
}
