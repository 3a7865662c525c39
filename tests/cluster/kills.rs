//! kill -9 at random points under a verifying writer, in each replication mode: a worker, the
//! main process, a whole node.

use crate::cluster::{Cluster, Setup};
use crate::load::Load;
use crate::observe::finish;
use hast::terms::Role;

/// How many kills a test does.
const ROUNDS: u64 = 3;

/// Lets the writer go on for a random while.
fn some_writes(cluster: &Cluster, load: &Load, random: &mut fastrand::Rng) {
    cluster.progress(load, random.u64(20..300));
}

/// Ends the writer, reads everything back, and waits for both copies to be equal.
fn settle(cluster: &Cluster, load: Load, seed: u64) {
    cluster.progress(&load, 50);
    let written = finish(load);
    cluster.a.verify(&written.ledger);
    cluster.a.until_complete("disk1");
    cluster.assert_equal("disk1");
    cluster.a.verify(&written.ledger);
    assert!(written.reads > 0, "seed {seed}: {written:?}");
}

fn kill_workers(mode: &str, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = Setup::new(mode).pair();
    let load = cluster.a.load(seed);
    for round in 0..ROUNDS {
        some_writes(&cluster, &load, &mut random);
        // The primary's is started again after a second; the secondary's at the next meeting.
        let node = if round % 2 == 0 {
            &cluster.b
        } else {
            &cluster.a
        };
        let before = node.worker_pid("disk1");
        node.kill_worker("disk1");
        cluster.a.until_complete("disk1");
        assert_ne!(node.worker_pid("disk1"), before, "a new worker");
    }
    settle(&cluster, load, seed);
}

fn kill_main_processes(mode: &str, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cluster = Setup::new(mode).pair();
    let load = cluster.a.load(seed);
    for round in 0..ROUNDS {
        some_writes(&cluster, &load, &mut random);
        if round % 2 == 0 {
            cluster.a.kill_main();
            cluster.a.start();
            cluster.a.ctl("role primary disk1");
        } else {
            cluster.b.kill_main();
            cluster.progress(&load, 20);
            cluster.b.start();
            cluster.b.ctl("role secondary disk1");
        }
        cluster.a.until_complete("disk1");
    }
    settle(&cluster, load, seed);
}

fn kill_nodes(mode: &str, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cluster = Setup::new(mode).pair();
    let load = cluster.a.load(seed);
    for round in 0..ROUNDS {
        some_writes(&cluster, &load, &mut random);
        if round % 2 == 0 {
            cluster.b.kill();
            cluster.progress(&load, 20);
            cluster.b.start();
            cluster.b.ctl("role secondary disk1");
        } else {
            cluster.a.kill();
            cluster.a.start();
            cluster.a.ctl("role primary disk1");
        }
        // Half of the time the next kill comes before the copies are equal again.
        if random.bool() {
            cluster.a.until_complete("disk1");
        }
    }
    settle(&cluster, load, seed);
}

/// Kills the primary in mid-write, goes on at the other node, takes the first one back as
/// secondary and, at the end, as primary.
fn fail_over(mode: &str, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cluster = Setup::new(mode).pair();
    let load = cluster.a.load(seed);
    some_writes(&cluster, &load, &mut random);
    cluster.a.kill();
    let mut written = finish(load);
    assert!(written.acknowledged > 0);

    cluster.b.ctl("role primary disk1");
    cluster.b.until_role("disk1", Role::Primary);
    if mode == "async" {
        // What the peer had not yet got is lost, but nothing else may be there.
        let ledger = &mut written.ledger;
        let blocks = ledger.blocks();
        crate::load::read_all(&cluster.b.device("disk1"), blocks, |first, bytes| {
            ledger.adopt(first, bytes)
        })
        .unwrap();
    } else {
        cluster.b.verify(&written.ledger);
    }
    let load = Load::start(
        &cluster.b.device("disk1"),
        written.ledger,
        crate::load::Plan::new(seed + 1),
    );
    cluster.progress(&load, 100);

    cluster.a.start();
    cluster.a.ctl("role secondary disk1");
    cluster.b.until_complete("disk1");
    cluster.progress(&load, 100);
    let written = finish(load);
    cluster.b.verify(&written.ledger);
    cluster.b.until_complete("disk1");
    cluster.assert_equal("disk1");

    cluster.b.ctl("role secondary disk1");
    cluster.a.ctl("role primary disk1");
    cluster.a.until_complete("disk1");
    cluster.a.verify(&written.ledger);
}

/// Another series of random points than the usual one, for long runs by hand:
/// `for n in $(seq 99); do HAST_CLUSTER_SEED=$n cargo test --test cluster kills || break; done`.
fn series() -> u64 {
    let chosen = std::env::var("HAST_CLUSTER_SEED").ok();
    chosen.map_or(0, |number| number.parse::<u64>().unwrap() << 32)
}

macro_rules! in_each_mode {
    ($($test:ident: $kill:ident $seed:literal,)+) => {
        $(mod $test {
            #[test]
            fn fullsync() { super::$kill("fullsync", super::series() + $seed); }
            #[test]
            fn memsync() { super::$kill("memsync", super::series() + $seed + 1000); }
            #[test]
            fn asynchronous() { super::$kill("async", super::series() + $seed + 2000); }
        })+
    };
}

in_each_mode! {
    workers_killed: kill_workers 1,
    main_processes_killed: kill_main_processes 2,
    nodes_killed: kill_nodes 3,
    primary_lost: fail_over 4,
}
