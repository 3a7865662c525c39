//! Two nodes, what lies between them, and time. Everything that happens is an entry of one queue,
//! in the order of virtual time; everything left to chance is drawn from one generator. So one seed
//! is one run, and a run repeats.

use std::collections::BTreeMap;

use fastrand::Rng;
use hast::engine::{self, Operation, Outcome};
use hast::terms::Replication;
use nix::errno::Errno;

use crate::disk::sectors;
use crate::network::{Connection, Message, Time};
use crate::node::{Job, Node, Work, Worker};
use crate::oracle::{Checked, Oracle, Rule, Violation};
use crate::profile::{self, Profile};
use crate::sabotage::{Sabotage, Saboteur};

/// How long a request may take in all. The longest waits add up to: a silent connection, then the
/// wait for a peer that holds the only copy, then the pause after a failed copy or barrier (5 s each).
pub const PATIENCE_BOUND: Time = 25_000_000;

/// Something that is going to happen.
#[derive(Debug)]
pub enum Happening {
    /// A disk operation ends.
    JobDone { node: usize, job: u64 },
    /// A message arrives, if it does.
    Deliver {
        connection: u64,
        to: usize,
        number: u64,
        message: Box<Message>,
    },
    /// A node learns that a connection is closed.
    Closed { connection: u64, node: usize },
    /// The clock of a primary worker.
    Tick { node: usize, worker: u64 },
    /// The clock of a secondary worker, if one runs.
    Look { node: usize },
    /// A primary worker tries to connect.
    Connect { node: usize, worker: u64 },
    /// A primary hears that the connection it closed is gone.
    LinkGone {
        node: usize,
        worker: u64,
        connection: u64,
    },
    /// The daemon replaces a worker that died.
    Resume { node: usize, worker: u64 },
    /// A stop takes too long for its daemon.
    Impatience { node: usize, worker: u64 },
    /// The applications of a node do something.
    Application { node: usize },
    /// Something bad happens.
    Adversary,
    /// A primary, or both nodes, lose their power at the worst moment: soon after the two met, or after a flush.
    Ambush { node: usize, both: bool },
    /// The operators look after things.
    Review,
    /// The power is back.
    PowerOn { node: usize },
    /// The network is back.
    NetworkUp,
    /// A node is given its permit to go on alone, or it runs out.
    Permit { node: usize },
    /// The cache of a node lets go of what is clean.
    Evict { node: usize },
    /// An operator tries again to make a node the primary, so many times more.
    TakeOver {
        node: usize,
        promotion: engine::primary::Promotion,
        left: u8,
    },
}

/// All there is.
#[derive(Debug)]
pub struct World {
    /// Chance.
    pub rng: Rng,
    /// Virtual time.
    pub now: Time,
    /// What kind of run this is.
    pub profile: Profile,
    queue: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    /// The machines.
    pub nodes: [Node; 2],
    /// Connections with an open end.
    pub connections: BTreeMap<u64, Connection>,
    /// The next connection's number.
    pub next_connection: u64,
    /// The next request's number.
    pub next_request: u64,
    /// Whether connections can be made.
    pub network_up: bool,
    /// A meeting was refused.
    pub split: bool,
    /// No more harm is done.
    pub calm: bool,
    /// When somebody decides between two nodes that do not become equal by themselves.
    pub decide_at: Option<Time>,
    /// Which node operators want as the primary.
    pub favourite: usize,
    /// The judge.
    pub oracle: Oracle,
    /// Whoever breaks the engines on purpose.
    pub saboteur: Saboteur,
    trace: Option<Vec<String>>,
}

/// How a run went.
#[derive(Debug)]
pub struct Played {
    pub violation: Option<Violation>,
    pub checked: Checked,
    pub trace: Vec<String>,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, sabotage: Option<Sabotage>, tracing: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (kind, strict) = profile::wanted();
        let mut profile = Profile::draw(seed, kind, &mut rng);
        if sabotage == Some(Sabotage::FlushOvertakes) {
            // In the other modes nothing is acknowledged that a flush could overtake.
            profile.replication = Replication::Memsync;
            profile.memsync = true;
        }
        let node = || Node::new(profile.geometry, profile.keepdirty);
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: [node(), node()],
            connections: BTreeMap::new(),
            next_connection: 1,
            next_request: 1,
            network_up: true,
            split: false,
            calm: false,
            decide_at: None,
            favourite: rng.usize(..2),
            oracle: Oracle::new(profile.sectors(), strict),
            saboteur: Saboteur::new(sabotage),
            trace: tracing.then(Vec::new),
            rng,
            profile,
        };
        world.note(|| format!("seed {seed}"));
        world.after(0, Happening::Review);
        for node in 0..2 {
            world.after_up_to(10_000, Happening::Application { node });
            world.after_up_to(world.profile.tick, Happening::Look { node });
            if let Some(most) = world.profile.permits {
                world.after_up_to(most, Happening::Permit { node });
            }
        }
        world.after_up_to(world.profile.calamity * 2, Happening::Adversary);
        world
    }

    /// Plays the run to its end.
    pub fn run(mut self) -> Played {
        let harm = self.profile.duration;
        while self.now < harm && self.step() {}
        self.conclude();
        Played {
            violation: self.oracle.violation,
            checked: self.oracle.checked,
            trace: self.trace.unwrap_or_default(),
        }
    }

    /// Lets time pass until `until`, or until `done`.
    pub fn pass(&mut self, time: Time, done: impl Fn(&mut Self) -> bool) -> bool {
        let until = self.now + time;
        while self.now < until {
            if done(self) {
                return true;
            }
            if !self.step() {
                return false;
            }
        }
        done(self)
    }

    fn step(&mut self) -> bool {
        if self.oracle.violation.is_some() {
            return false;
        }
        let Some(((time, _), happening)) = self.queue.pop_first() else {
            return false;
        };
        self.now = time;
        self.happen(happening);
        true
    }

    /// Schedules something.
    pub fn after(&mut self, delay: Time, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    /// Schedules something at a random time not later than `most` from now.
    pub fn after_up_to(&mut self, most: Time, happening: Happening) {
        let delay = self.rng.u64(..=most);
        self.after(delay, happening);
    }

    pub fn at(&mut self, time: Time, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), happening);
    }

    /// Whether a trace is kept.
    pub fn is_tracing(&self) -> bool {
        self.trace.is_some()
    }

    /// Adds a line to the trace, if there is one.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            // The rest of a map is nearly always empty.
            let line = line().replace(", 0, 0, 0, 0, 0, 0, 0, 0", "");
            trace.push(format!("{:>10} {line}", self.now));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::JobDone { node, job } => self.job_done(node, job),
            Happening::Deliver {
                connection,
                to,
                number,
                message,
            } => {
                let link = self.connections.get_mut(&connection);
                if link.is_some_and(|link| link.arrives(to, number)) {
                    self.deliver(connection, to, *message);
                }
            }
            Happening::Closed { connection, node } => self.closed(connection, node),
            Happening::Tick { node, worker } if self.runs(node, worker) => {
                let interval = self.profile.tick;
                self.after(interval / 2 + 1, Happening::Tick { node, worker });
                self.oracle.check_patience(self.now, PATIENCE_BOUND);
                self.feed_primary(node, engine::primary::Event::Tick(self.now / 1000));
            }
            Happening::Connect { node, worker } if self.runs(node, worker) => self.connect(node),
            Happening::LinkGone {
                node,
                worker,
                connection,
            } if self.runs(node, worker) => self.link_gone(node, connection),
            Happening::Look { node } => {
                self.after(self.profile.tick, Happening::Look { node });
                self.feed_secondary(node, engine::secondary::Event::Tick);
            }
            Happening::Impatience { node, worker } if self.runs(node, worker) => {
                self.oracle
                    .broken(Rule::Stuck, || format!("node {node} does not stop"));
            }
            Happening::Resume { node, worker } => self.resume(node, worker),
            Happening::Tick { .. }
            | Happening::Connect { .. }
            | Happening::LinkGone { .. }
            | Happening::Impatience { .. } => {}
            Happening::Application { node } => self.application(node),
            Happening::Adversary => self.adversary(),
            Happening::Ambush { node, both } => self.ambush(node, both),
            Happening::Review => self.review(),
            Happening::PowerOn { node } => self.power_on(node),
            Happening::NetworkUp => self.network_up = true,
            Happening::Permit { node } => self.change_permit(node),
            Happening::Evict { node } => self.evict(node),
            Happening::TakeOver {
                node,
                promotion,
                left,
            } => self.insist(node, promotion, left),
        }
    }

    /// Whether this primary worker still runs.
    pub fn runs(&mut self, node: usize, worker: u64) -> bool {
        self.nodes[node].incarnation == worker && self.nodes[node].primary().is_some()
    }

    /// Begins a disk operation.
    pub fn begin(&mut self, node: usize, work: Work) {
        self.sequence += 1;
        let job = self.sequence;
        let faults = &self.profile.faults[node];
        let fails = !self.calm && faults.strikes(&work, self.now, &mut self.rng);
        let gives_up = fails && faults.gives_up && matches!(work, Work::Flush(_));
        let stall = if self.calm {
            0
        } else {
            faults.stall(&mut self.rng)
        };
        if fails {
            self.note(|| format!("node {node} disk fault: {work:?}"));
            self.oracle.faulted(node);
        }
        let unflushed = self.saboteur.unflushed(&work);
        self.nodes[node].jobs.insert(
            job,
            Job {
                work,
                begun: self.oracle.step(),
                fails,
                gives_up,
                unflushed,
            },
        );
        let delay = self.profile.disk_delay(node, &mut self.rng) + stall;
        self.after(delay, Happening::JobDone { node, job });
    }

    fn job_done(&mut self, node: usize, number: u64) {
        let Some(mut job) = self.nodes[node].jobs.remove(&number) else {
            return;
        };
        if job.fails {
            self.failed(node, &mut job);
        }
        if matches!(job.work, Work::Metadata(..) | Work::Agree(..)) {
            self.nodes[node].record_fails = job.fails;
        }
        self.nodes[node].carry_out(&job, &mut self.rng);
        let outcome = if job.fails { Err(Errno::EIO) } else { Ok(()) };
        match &job.work {
            Work::Flush(_) if !job.fails => self.oracle.flushed(node, job.begun),
            Work::Write(operation, range, _) | Work::Delete(operation, range)
                if self.is_applications(node, *operation) =>
            {
                self.oracle.written(node, sectors(*range));
            }
            _ => {}
        }
        match job.work {
            Work::Read(operation, ..) | Work::Flush(operation) => {
                self.local_done(node, operation, outcome);
            }
            Work::Write(operation, ..) | Work::Delete(operation, _) => {
                if job.fails || matches!(self.nodes[node].worker, Worker::Secondary(_)) {
                    self.executed(node, operation);
                }
                self.local_done(node, operation, outcome);
            }
            Work::Map(ticket, _) => {
                self.feed_primary(node, engine::primary::Event::MapWritten(ticket, outcome));
            }
            Work::Metadata(ticket, _) => {
                if !job.fails && self.nodes[node].secondary().is_some() {
                    self.joined(node);
                }
                self.feed_primary(
                    node,
                    engine::primary::Event::MetadataWritten(ticket, outcome),
                );
                self.feed_secondary(
                    node,
                    engine::secondary::Event::MetadataWritten(ticket, outcome),
                );
            }
            Work::ClearMap => self.let_successor_in(node),
            Work::Agree(connection, agreement) => {
                self.agreed(node, connection, &agreement, job.fails);
                self.let_successor_in(node);
            }
        }
    }

    /// An operation ends in an error.
    fn failed(&mut self, node: usize, job: &mut Job) {
        self.nodes[node].last_fault = self.oracle.step();
        self.oracle.faulted(node);
        if self.profile.torn {
            self.nodes[node].tear(job, &mut self.rng);
        }
        if job.gives_up {
            // Read back for a while, and time enough to be told.
            let delay = self.rng.u64(1_000..=1_000_000);
            self.after(delay, Happening::Evict { node });
        }
    }

    /// The cache of a node lets go of what a failed flush gave up.
    pub fn evict(&mut self, node: usize) {
        let sectors = self.nodes[node].disk.given_up();
        if sectors.is_empty() {
            return;
        }
        self.note(|| {
            format!("node {node}: sectors {sectors:?} are as they were before a flush that failed")
        });
        self.nodes[node].disk.evict();
        let excused = self.unseen_by(node);
        self.oracle.evicted(&sectors, excused);
    }

    /// For which nodes it is excused that the cache of one lost what was not flushed.
    fn unseen_by(&mut self, node: usize) -> [bool; 2] {
        let leant_on = self.nodes[1 - node].leans_on_peer();
        let recording = self.nodes[node].record_fails
            || self.nodes[node]
                .jobs
                .values()
                .any(|job| matches!(job.work, Work::Metadata(..)));
        let alone = self.oracle.complete_since[node].is_none();
        let is_primary = self.nodes[node].role == hast::terms::Role::Primary;
        let mut excused = [false; 2];
        excused[node] = recording || leant_on || (is_primary && alone);
        excused[1 - node] = leant_on;
        excused
    }

    fn local_done(&mut self, node: usize, operation: Operation, outcome: Outcome) {
        match self.nodes[node].worker {
            Worker::Primary(_) => {
                self.feed_primary(node, engine::primary::Event::LocalDone(operation, outcome));
            }
            Worker::Secondary(_) => {
                self.feed_secondary(
                    node,
                    engine::secondary::Event::LocalDone(operation, outcome),
                );
            }
            Worker::None => {}
        }
    }
}
