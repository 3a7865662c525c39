//! Everything that can happen to a pair, in random order, under a verifying writer: kills, cuts,
//! silence, delays, reloads, planned and unplanned changes of role.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Setup};
use crate::load::Load;
use crate::node::Node;
use crate::observe::{finish, series, wait_for};
use crate::proxy::Way;

/// Events of one run.
const EVENTS: usize = 10;

/// What can happen. The primary stays reachable for the writer, or comes back.
#[derive(Debug, Clone, Copy)]
enum Event {
    KillPrimaryWorker,
    KillSecondaryWorker,
    RestartPrimary,
    RestartSecondary,
    Cut,
    Silence(Way),
    Delay,
    Reload,
    SwitchOver,
    FailOver,
}

const ALL: [Event; 11] = [
    Event::KillPrimaryWorker,
    Event::KillSecondaryWorker,
    Event::RestartPrimary,
    Event::RestartSecondary,
    Event::Cut,
    Event::Silence(Way::There),
    Event::Silence(Way::Back),
    Event::Delay,
    Event::Reload,
    Event::SwitchOver,
    Event::FailOver,
];

const CHECKSUMS: [&str; 3] = ["none", "crc32", "sha256"];

/// A pair, and what happened to it.
struct Run {
    cluster: Cluster,
    /// Whether `b` is the primary.
    swapped: bool,
    load: Load,
    random: fastrand::Rng,
    history: Vec<Event>,
    mode: String,
    /// Which of [`CHECKSUMS`] is configured.
    checksum: usize,
}

impl Run {
    fn start(mode: &str, seed: u64) -> Self {
        let cluster = Setup::new(mode).proxied().pair();
        let load = cluster.a.load(seed);
        Self {
            cluster,
            swapped: false,
            load,
            random: fastrand::Rng::with_seed(seed),
            history: Vec::new(),
            mode: mode.to_owned(),
            checksum: 0,
        }
    }

    fn primary(&mut self) -> &mut Node {
        if self.swapped {
            &mut self.cluster.b
        } else {
            &mut self.cluster.a
        }
    }

    fn secondary(&mut self) -> &mut Node {
        if self.swapped {
            &mut self.cluster.a
        } else {
            &mut self.cluster.b
        }
    }

    fn happen(&mut self, event: Event) {
        self.history.push(event);
        match event {
            Event::KillPrimaryWorker => self.primary().kill_worker("disk1"),
            Event::KillSecondaryWorker => self.and_meet_again(|run| {
                run.secondary().kill_worker("disk1");
            }),
            Event::RestartPrimary => {
                self.primary().kill();
                self.primary().start();
                self.primary().ctl("role primary disk1");
            }
            Event::RestartSecondary => self.and_meet_again(|run| {
                run.secondary().kill_main();
                run.secondary().start();
                run.secondary().ctl("role secondary disk1");
            }),
            Event::Cut => self.and_meet_again(|run| run.proxy().cut()),
            Event::Silence(way) => {
                self.proxy().silence(way, true);
                self.primary().until_degraded("disk1");
                self.proxy().silence(way, false);
            }
            Event::Delay => {
                let delay = Duration::from_millis(self.random.u64(0..10));
                self.proxy().delay(delay);
            }
            // The secondary's worker is another one then.
            Event::Reload => self.and_meet_again(|run| {
                let turns = run.random.usize(1..CHECKSUMS.len());
                run.checksum = (run.checksum + turns) % CHECKSUMS.len();
                let checksum = CHECKSUMS[run.checksum];
                let mode = &run.mode;
                run.cluster.setup.settings =
                    format!("replication {mode}\ntimeout 3\nchecksum {checksum}\n");
                run.cluster.write_config();
                run.primary().signal(Signal::SIGHUP);
                run.secondary().signal(Signal::SIGHUP);
            }),
            Event::SwitchOver => self.change_primary(false),
            Event::FailOver => self.change_primary(true),
        }
    }

    /// Does something that ends the connection, and waits for the next: while the primary has not
    /// noticed, its status still speaks of the other node as it was.
    fn and_meet_again(&mut self, something: impl FnOnce(&mut Self)) {
        const MET: &str = "connected to ";
        self.primary().until_complete("disk1");
        let meetings = self.primary().log().matches(MET).count();
        something(self);
        let node = self.primary();
        wait_for(
            "the nodes meet again",
            || node.log(),
            || (node.log().matches(MET).count() > meetings).then_some(()),
        );
    }

    fn proxy(&self) -> &crate::proxy::Proxy {
        if self.swapped {
            self.cluster.to_a()
        } else {
            self.cluster.to_b()
        }
    }

    /// Only where the other node has everything: what an operator may do.
    fn change_primary(&mut self, kill: bool) {
        self.primary().until_complete("disk1");
        if kill {
            self.primary().kill();
        } else {
            // Under the writer, who goes on at the other node.
            self.primary().ctl("role --force secondary disk1");
        }
        self.swapped = !self.swapped;
        // The word that the old connection is over may still be on its way.
        let node = self.primary();
        wait_for(
            "the other node is primary",
            || node.log(),
            || {
                node.hastctl("role primary disk1")
                    .status
                    .success()
                    .then_some(())
            },
        );
        let device = self.primary().device("disk1");
        self.load.aim(&device);
        if kill {
            self.secondary().start();
            self.secondary().ctl("role secondary disk1");
        }
    }

    fn go(mut self) {
        for _ in 0..EVENTS {
            let writes = self.random.u64(0..100);
            self.cluster.progress(&self.load, writes);
            if self.load.has_ended() {
                let found = self.load.finish();
                panic!("after {:?} the writer found: {found:?}", self.history);
            }
            let event = ALL[self.random.usize(..ALL.len())];
            self.happen(event);
        }
        self.cluster.progress(&self.load, 20);
        self.primary().until_complete("disk1");
        let written = finish(self.load);
        let node = if self.swapped {
            &self.cluster.b
        } else {
            &self.cluster.a
        };
        node.verify(&written.ledger);
        node.until_complete("disk1");
        self.cluster.assert_equal("disk1");
    }
}

/// What a failing run shows: how to do it again.
fn run(mode: &str, seed: u64) {
    eprintln!("{mode}, seed {seed}");
    Run::start(mode, seed).go();
}

#[test]
fn fullsync() {
    run("fullsync", series() + 81);
}

#[test]
fn memsync() {
    run("memsync", series() + 82);
}
