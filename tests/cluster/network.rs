//! The network between the nodes fails: connections cut, silent in one direction or both,
//! slow. Writing goes on, nothing is lost, and status says how it is.

use std::time::{Duration, Instant};

use hast::control::{Connection, PeerState};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::cluster::{Cluster, Setup};
use crate::load::Load;
use crate::observe::finish;
use crate::proxy::Way;

/// The configured timeout is 3 seconds; the rest is for a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);

fn settle(cluster: &Cluster, load: Load) {
    cluster.a.until_complete("disk1");
    cluster.progress(&load, 50);
    let written = finish(load);
    assert_eq!(written.lost_connections, 0, "the device stayed");
    cluster.a.verify(&written.ledger);
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
}

fn until_noticed(cluster: &Cluster) {
    let since = Instant::now();
    cluster.a.until_degraded("disk1");
    let elapsed = since.elapsed();
    assert!(elapsed < NOTICED_WITHIN, "noticed after {elapsed:?} only");
}

#[test]
fn connections_cut_again_and_again() {
    for mode in ["fullsync", "memsync", "async"] {
        let cluster = Setup::new(mode).proxied().pair();
        let load = cluster.a.load(11);
        let mut random = fastrand::Rng::with_seed(12);
        for _ in 0..4 {
            cluster.progress(&load, random.u64(20..200));
            cluster.to_b().cut();
        }
        settle(&cluster, load);
    }
}

#[test]
fn a_cable_pulled_and_plugged_in_again() {
    let cluster = Setup::new("fullsync").proxied().pair();
    let load = cluster.a.load(13);
    cluster.progress(&load, 50);
    cluster.to_b().unplug();
    until_noticed(&cluster);
    cluster.progress(&load, 100);
    let worker = cluster.a.worker("disk1").unwrap();
    let details = worker.details.unwrap();
    assert_ne!(details.connection, Connection::Connected);
    assert_eq!(details.peer, PeerState::Outdated, "it missed writes");
    assert!(worker.dirty > 0);
    cluster.to_b().plug();
    settle(&cluster, load);
}

fn silent(mode: &str, ways: &[Way]) {
    let cluster = Setup::new(mode).proxied().pair();
    let load = cluster.a.load(14);
    cluster.progress(&load, 50);
    for way in ways {
        cluster.to_b().silence(*way, true);
    }
    until_noticed(&cluster);
    cluster.progress(&load, 100);
    for way in ways {
        cluster.to_b().silence(*way, false);
    }
    settle(&cluster, load);
}

#[test]
fn silence_both_ways() {
    silent("fullsync", &[Way::There, Way::Back]);
}

#[test]
fn silence_towards_the_secondary() {
    silent("memsync", &[Way::There]);
}

#[test]
fn silence_towards_the_primary() {
    silent("fullsync", &[Way::Back]);
}

#[test]
fn silence_in_async_mode() {
    silent("async", &[Way::Back]);
}

#[test]
fn an_idle_pair_stays_together() {
    let cluster = Setup::new("fullsync").pair();
    let workers = || [&cluster.a, &cluster.b].map(|node| node.worker_pid("disk1"));
    let before = workers();
    // Longer than a secondary waits for a silent primary, which nothing shortens.
    std::thread::sleep(Duration::from_secs(22));
    cluster.a.until_complete("disk1");
    assert_eq!(workers(), before);
    let log = cluster.a.log();
    assert_eq!(log.matches("connected to").count(), 1, "{log}");
}

#[test]
fn an_idle_pair_notices_silence_too() {
    let cluster = Setup::new("fullsync").proxied().pair();
    cluster.to_b().silence(Way::There, true);
    cluster.to_b().silence(Way::Back, true);
    // An idle connection is probed every 10 s.
    let since = Instant::now();
    cluster.a.until_degraded("disk1");
    assert!(since.elapsed() < Duration::from_secs(10) + NOTICED_WITHIN);
    cluster.to_b().silence(Way::There, false);
    cluster.to_b().silence(Way::Back, false);
    cluster.a.until_complete("disk1");
}

#[test]
fn a_frozen_secondary_holds_nothing_up_for_long() {
    let cluster = Setup::new("fullsync").pair();
    let load = cluster.a.load(15);
    cluster.progress(&load, 50);
    let group = Pid::from_raw(cluster.b.main_pid().cast_signed());
    killpg(group, Signal::SIGSTOP).unwrap();
    until_noticed(&cluster);
    cluster.progress(&load, 100);
    killpg(group, Signal::SIGCONT).unwrap();
    settle(&cluster, load);
}

/// What is in the network when a node dies is lost with it. So nothing may have been
/// acknowledged that was still there.
fn lost_with_what_was_on_its_way(mode: &str) {
    let mut cluster = Setup::new(mode).proxied().pair();
    let load = cluster.a.load(17);
    cluster.progress(&load, 100);
    cluster.to_b().silence(Way::There, true);
    // Long enough for acknowledgements that must not be given, much shorter than the timeout
    // after which the primary may go on alone.
    std::thread::sleep(Duration::from_millis(300));
    cluster.a.kill();
    cluster.to_b().unplug();
    let written = finish(load);
    assert!(written.unanswered > 0);
    cluster.b.ctl("role primary disk1");
    cluster.b.verify(&written.ledger);
}

#[test]
fn fullsync_acknowledges_nothing_that_is_still_on_its_way() {
    lost_with_what_was_on_its_way("fullsync");
}

#[test]
fn memsync_acknowledges_nothing_that_is_still_on_its_way() {
    lost_with_what_was_on_its_way("memsync");
}

#[test]
fn a_long_way() {
    let cluster = Setup::new("memsync").proxied().pair();
    cluster.to_b().delay(Duration::from_millis(20));
    let load = cluster.a.load(16);
    cluster.progress(&load, 200);
    settle(&cluster, load);
}
