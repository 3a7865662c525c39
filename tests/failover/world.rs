//! The two nodes and what is between them, played a quarter of a second at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use hast::failover::step::LeaseAnswer;
use hast::failover::supervisor::{Action, Carp, Input, Level, Request, Supervisor, Watch};

use crate::machine::{Agent, Machine, Renewal, Role};
use crate::profile::{Profile, Sabotage};
use crate::witness::{LEASE, Witness};

const TICK: Duration = Duration::from_millis(250);
/// Mishaps happen for so long; then everything is made well.
const TROUBLED: Duration = Duration::from_mins(15);
/// A person's last word comes so long after that.
const CLEARED: Duration = Duration::from_mins(2);
/// And so long it has to come to rest.
const HEALED: Duration = Duration::from_mins(25);
/// CARP hears no master for so long before it takes an address.
const CARP_SILENCE: Duration = Duration::from_secs(3);

pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What a run has left.
pub struct Run {
    pub violation: Option<String>,
    pub trace: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
}

pub struct World {
    pub now: Duration,
    pub rng: Rng,
    pub profile: Profile,
    pub sabotage: Option<Sabotage>,
    pub nodes: [Machine; 2],
    pub witness: Witness,
    /// The witness, or the way to it, fails in this run.
    pub witness_fails: bool,
    /// Replication's network.
    link: bool,
    /// The clients' network is one.
    clients: bool,
    /// The primary of a connection.
    pub connected: Option<usize>,
    /// A loss of the connection is not noticed before: until then writes wait.
    unnoticed: Duration,
    pub synced: bool,
    sync_done: Duration,
    pub split_brain: bool,
    /// Who has the pool, unless it was exported.
    pub last_host: Option<usize>,
    /// The newest write that was acknowledged.
    pub acknowledged: u64,
    next_mishap: Duration,
    pub healing: bool,
    pub excused: bool,
    pub violation: Option<String>,
    pub trace: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    /// What happens to the step of this number, counted from the first that any node was told.
    pub fault: Option<(u32, Fault)>,
    /// Steps told so far.
    pub steps: u32,
    /// CARP says only what a test has it say.
    pub carp_is_told: bool,
}

/// What can happen to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Fails,
    FailsLate,
    Hangs,
    /// The agent dies before it takes effect, and is started again.
    DiesBefore,
    /// After that.
    DiesAfter,
}

impl World {
    pub fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut profile = Profile::new(&mut rng);
        if sabotage == Some(Sabotage::StaleIsFresh) {
            profile.group.freshness = Duration::from_hours(24);
        }
        let witness_fails = rng.bool();
        Self {
            now: Duration::ZERO,
            profile,
            sabotage,
            nodes: [Machine::new(), Machine::new()],
            witness: Witness::default(),
            witness_fails,
            link: true,
            clients: true,
            connected: None,
            unnoticed: Duration::ZERO,
            synced: true,
            sync_done: Duration::ZERO,
            split_brain: false,
            last_host: None,
            acknowledged: 0,
            // The first master is left in peace.
            next_mishap: Duration::from_mins(1),
            healing: false,
            excused: false,
            violation: None,
            trace: Vec::new(),
            counts: BTreeMap::new(),
            fault: None,
            steps: 0,
            carp_is_told: false,
            rng,
        }
    }

    /// A world without mishaps, in which nothing fails by itself.
    pub fn calm(seed: u64, group: impl FnOnce(&mut hast::failover::group::Group)) -> Self {
        let mut world = Self::new(seed, None);
        world.profile = Profile::plain();
        group(&mut world.profile.group);
        world.next_mishap = Duration::MAX;
        for node in &mut world.nodes {
            node.carp = Carp::Backup;
        }
        world
    }

    /// Lets time pass until it is so, or a rule is broken, or it takes too long.
    pub fn play_until(&mut self, limit: Duration, mut so: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while self.now < end && self.violation.is_none() {
            if so(self) {
                return true;
            }
            self.play();
        }
        so(self)
    }

    pub fn run(mut self) -> Run {
        for node in &mut self.nodes {
            node.carp = Carp::Backup;
        }
        while self.now < TROUBLED + HEALED && self.violation.is_none() && !self.excused {
            self.play();
        }
        if self.violation.is_none() && !self.excused && !self.profile.risky {
            self.check_healed();
        }
        if self.profile.risky {
            // The policy named it. Panics are faults there, too.
            self.violation = None;
        }
        Run {
            violation: self.violation,
            trace: self.trace,
            counts: self.counts,
        }
    }

    fn play(&mut self) {
        self.now += TICK;
        self.mishaps();
        self.machines();
        if !self.carp_is_told {
            self.carp();
        }
        self.replicate();
        self.write();
        for node in 0..2 {
            self.agent(node);
        }
        if !self.profile.risky {
            self.check_writers();
        }
    }

    pub fn note(&mut self, what: impl AsRef<str>) {
        self.trace
            .push(format!("{:9.2} {}", self.now.as_secs_f64(), what.as_ref()));
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Messages go both ways between the nodes.
    pub fn link(&self, _node: usize) -> bool {
        self.link
    }

    /// The peer's hastd hears this node.
    pub fn hears(&self, node: usize) -> bool {
        let peer = &self.nodes[1 - node];
        self.link && peer.up && peer.hastd.up
    }

    pub fn lose_power(&mut self, node: usize, back: Duration) {
        self.note(format!("node {node} loses power"));
        self.count("power lost");
        self.nodes[node].lose_power(back);
        self.unnoticed = self.now + ms(self.rng.u64(..20_000));
    }

    fn mishaps(&mut self) {
        if self.now >= TROUBLED {
            if !self.healing {
                self.heal();
            } else if self.now == TROUBLED + CLEARED {
                // Those whose agents were away did not hear it.
                for node in 0..2 {
                    self.give(node, Input::Asked(Request::Clear));
                }
            }
            return;
        }
        if self.now < self.next_mishap {
            return;
        }
        let mean = self.profile.mishap.as_millis() as u64;
        self.next_mishap = self.now + ms(self.rng.u64(..2 * mean));
        let node = self.rng.usize(..2);
        match self.rng.u8(..14) {
            0 | 1 => {
                let back = self.now + secs(self.rng.u64(15..200));
                self.lose_power(node, back);
            }
            2..=4 => self.set_link(!self.link),
            5 => {
                self.clients = !self.clients;
                self.note(format!("the clients' network is whole: {}", self.clients));
            }
            6 => self.toggle_network(node),
            7 | 8 => self.lose_agent(node),
            9 => {
                self.note(format!("node {node}: hastd dies"));
                self.nodes[node].lose_hastd();
                // Its supervisor (rc, daemon(8)) starts it again.
                self.nodes[node].back = self.now + secs(self.rng.u64(1..20));
            }
            10 | 11 if self.witness_fails => {
                self.nodes[node].hears_witness ^= true;
                let hears = self.nodes[node].hears_witness;
                self.note(format!("node {node} hears the witness: {hears}"));
            }
            10 if self.profile.witness => {
                self.note("the witness is restarted");
                self.witness.restart(self.now);
            }
            12 | 13 => self.person(node),
            _ => {}
        }
    }

    fn person(&mut self, node: usize) {
        let request = match self.rng.u8(..8) {
            0 => Request::Backup,
            1..=3 => Request::Switchover,
            4 | 5 => Request::Clear,
            _ => Request::Master { force: false },
        };
        if request == Request::Switchover {
            self.count("switchover");
        }
        self.note(format!("node {node}: a person says {request:?}"));
        self.give(node, Input::Asked(request));
    }

    fn toggle_network(&mut self, node: usize) {
        let network = !self.nodes[node].network;
        self.nodes[node].network = network;
        self.note(format!("node {node} is on the clients' network: {network}"));
        self.nodes[node].quiet = self.now;
        if self.nodes[node].up {
            let state = if network { Carp::Backup } else { Carp::Init };
            self.carp_becomes(node, state);
        }
    }

    fn set_link(&mut self, link: bool) {
        self.link = link;
        self.note(format!("the nodes reach each other: {link}"));
        self.unnoticed = self.now + ms(self.rng.u64(..20_000));
    }

    pub fn lose_agent(&mut self, node: usize) {
        if self.nodes[node].agent.take().is_some() {
            self.note(format!("node {node}: the agent dies"));
            self.count("agent restarted");
            self.nodes[node].agent_back = self.now + secs(self.rng.u64(1..30));
        }
    }

    /// Everything works from here on; people have looked after what machines can not.
    fn heal(&mut self) {
        self.healing = true;
        self.note("all is well again");
        if !self.link {
            self.set_link(true);
        }
        self.clients = true;
        for node in 0..2 {
            if !self.nodes[node].network {
                self.toggle_network(node);
            }
            let this = &mut self.nodes[node];
            this.hears_witness = true;
            if !this.up || !this.hastd.up {
                this.back = self.now;
            }
            // A pool whose device went away: that machine is restarted.
            let this = &self.nodes[node];
            if this.up && this.pool && !this.serves() {
                self.lose_power(node, self.now);
            }
            self.give(node, Input::Asked(Request::Clear));
        }
        // Somebody has imported it by hand once.
        self.last_host = None;
    }

    fn machines(&mut self) {
        let now = self.now;
        for node in 0..2 {
            let this = &mut self.nodes[node];
            if !this.up && now >= this.back {
                this.start(now);
                self.note(format!("node {node} starts"));
            } else if this.up && !this.hastd.up && now >= this.back {
                this.start_hastd(now);
                self.note(format!("node {node}: hastd starts"));
            }
            let this = &mut self.nodes[node];
            if this.up && this.agent.is_none() && now >= this.agent_back {
                self.begin(node);
            }
        }
    }

    fn begin(&mut self, node: usize) {
        let lease = self.profile.witness.then_some(LEASE);
        let seed = self.rng.u64(..);
        let this = &mut self.nodes[node];
        this.agent = Some(Agent {
            supervisor: Supervisor::new(self.profile.group.clone(), lease, seed),
            job: None,
            renewal: None,
            watched: Duration::ZERO,
        });
        let same_boot = this
            .saved
            .as_ref()
            .is_some_and(|(boot, _)| *boot == this.boot);
        let begin = Input::Begin {
            saved: this.saved.as_ref().map(|(_, saved)| saved.clone()),
            same_boot,
            carp: Some(this.carp),
        };
        self.note(format!("node {node}: the agent starts: {begin:?}"));
        self.give(node, begin);
    }

    pub fn carp_becomes(&mut self, node: usize, state: Carp) {
        if self.nodes[node].carp == state {
            return;
        }
        self.nodes[node].carp = state;
        self.note(format!("node {node}: CARP says {state:?}"));
        self.give(node, Input::Carp(state));
    }

    /// Who has the address.
    fn carp(&mut self) {
        let skew = |node: &Machine, index: usize| u64::from(node.raised) * 240 + index as u64;
        let takes_part = self.nodes.each_ref().map(|node| node.up && node.network);
        for node in 0..2 {
            if !takes_part[node] {
                continue;
            }
            let other = 1 - node;
            let hears = takes_part[other] && self.clients;
            let peer = &self.nodes[other];
            let hears_master = hears && peer.carp == Carp::Master;
            let better = skew(&self.nodes[node], node) < skew(peer, other);
            match self.nodes[node].carp {
                Carp::Master if hears_master && !better => self.carp_becomes(node, Carp::Backup),
                Carp::Backup if hears_master => {
                    self.nodes[node].quiet = self.now;
                    if self.profile.preempt && better {
                        self.carp_becomes(node, Carp::Master);
                    }
                }
                Carp::Backup => {
                    // The better one waits less.
                    let patience = if better || !hears {
                        CARP_SILENCE
                    } else {
                        CARP_SILENCE * 2
                    };
                    if self.now.saturating_sub(self.nodes[node].quiet) > patience {
                        self.carp_becomes(node, Carp::Master);
                    }
                }
                _ => {}
            }
        }
    }

    fn replicate(&mut self) {
        let roles = self.nodes.each_ref().map(|node| {
            if node.up && node.hastd.up {
                node.hastd.role
            } else {
                Role::Init
            }
        });
        let primary = match roles {
            [Role::Primary, Role::Secondary] if self.link => Some(0),
            [Role::Secondary, Role::Primary] if self.link => Some(1),
            _ => None,
        };
        if primary.is_none() || self.split_brain {
            self.connected = None;
            return;
        }
        if self.connected != primary {
            self.connected = primary;
            self.synced = false;
            self.sync_done = self.now + ms(self.rng.u64(500..20_000));
            if self.nodes.iter().all(|node| node.lone.is_some()) {
                self.split_brain = true;
                self.connected = None;
                if self.profile.risky {
                    self.excuse("split brain, as the policy allows");
                } else {
                    self.broken("both nodes were written to apart".to_owned());
                }
                return;
            }
        }
        if !self.synced && self.now >= self.sync_done {
            self.synced = true;
            let newest = self.nodes[0].data.max(self.nodes[1].data);
            for node in &mut self.nodes {
                node.data = newest;
                node.lone = None;
            }
        }
    }

    /// Programs write wherever they can.
    fn write(&mut self) {
        for node in 0..2 {
            if !self.nodes[node].serves() {
                continue;
            }
            if self.connected == Some(node) && self.synced {
                self.acknowledged += 1;
                let number = self.acknowledged;
                self.nodes.iter_mut().for_each(|it| it.data = number);
                continue;
            }
            if self.is_held(node) {
                self.count("held");
                continue;
            }
            // A lost peer is waited for until it is known to be lost; one that is being brought up to date gets new
            // writes, and is not complete yet.
            if self.now < self.unnoticed {
                continue;
            }
            self.acknowledged += 1;
            self.nodes[node].data = self.acknowledged;
            self.nodes[node].lone.get_or_insert(self.now);
        }
    }

    /// Writes that only this node has are not acknowledged.
    pub fn is_held(&self, node: usize) -> bool {
        let complete = self.connected == Some(node) && self.synced;
        !complete
            && self.sabotage != Some(Sabotage::PermitForEver)
            && self.nodes[node]
                .hastd
                .permit
                .is_some_and(|until| until <= self.now)
    }

    fn agent(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        if let Some(outcome) = self.work(node) {
            self.give(node, Input::Finished(outcome));
        }
        self.renewals(node);
        let now = self.now;
        let Some(agent) = &mut self.nodes[node].agent else {
            return;
        };
        if now.saturating_sub(agent.watched) >= secs(1) {
            agent.watched = now;
            let watch = self.watch(node);
            self.give(node, Input::Watched(watch));
            if std::mem::take(&mut self.nodes[node].hastd.invited) {
                self.give(node, Input::Invited);
            }
        } else {
            self.give(node, Input::Tick);
        }
    }

    fn watch(&self, node: usize) -> Watch {
        let hastd = &self.nodes[node].hastd;
        if !hastd.up {
            return Watch::default();
        }
        let role = hastd.role;
        let connected = self.connected.is_some() || self.now < self.unnoticed && !self.link;
        Watch {
            answered: true,
            primary: role == Role::Primary,
            connected,
            complete: role == Role::Primary && self.connected == Some(node) && self.synced,
            fresh: role == Role::Secondary && self.connected == Some(1 - node) && self.synced,
            init: role == Role::Init,
            split_brain: self.split_brain,
            superseded: false,
        }
    }

    fn renewals(&mut self, node: usize) {
        let now = self.now;
        let Some(agent) = self.nodes[node].agent.as_mut() else {
            return;
        };
        let Some(mut renewal) = agent.renewal.take() else {
            return;
        };
        if now >= renewal.acts && renewal.answer.is_none() {
            renewal.answer = Some(self.acquire(node, renewal.sent, Some(renewal.alone)));
        }
        if now < renewal.ends {
            if let Some(agent) = self.nodes[node].agent.as_mut() {
                agent.renewal = Some(renewal);
            }
            return;
        }
        let answer = renewal
            .answer
            .unwrap_or(LeaseAnswer::Unreachable("no answer".to_owned()));
        let alone = renewal.alone;
        self.give(node, Input::Renewed { alone, answer });
    }

    /// An agent hears of something, and does what it is told.
    pub fn give(&mut self, node: usize, input: Input) {
        let now = self.now;
        let Some(agent) = self.nodes[node].agent.as_mut() else {
            return;
        };
        let before = agent.supervisor.status().phase;
        let actions = agent.supervisor.handle(now, input);
        let after = agent.supervisor.status();
        if before != after.phase {
            self.note(format!("node {node} is {}", after.phase.word()));
            if after.phase.word() == "master" {
                self.count("master");
            }
        }
        for action in actions {
            self.carry_out(node, action);
        }
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        let now = self.now;
        match action {
            Action::Save(saved) => {
                let boot = self.nodes[node].boot;
                self.nodes[node].saved = Some((boot, saved));
            }
            Action::Perform(step) => self.told(node, step),
            Action::Hurry => {
                let job = self.nodes[node]
                    .agent
                    .as_mut()
                    .and_then(|it| it.job.as_mut());
                if let Some(job) = job.filter(|job| job.acts.is_none()) {
                    job.ends = now;
                }
            }
            Action::Answer(answer) => self.note(format!("node {node} answers {answer:?}")),
            Action::Renew { alone } => {
                let acts = now + ms(self.rng.u64(20..800));
                let ends = acts + ms(self.rng.u64(20..800));
                if let Some(agent) = self.nodes[node].agent.as_mut() {
                    agent.renewal = Some(Renewal {
                        alone,
                        sent: now,
                        acts,
                        ends,
                        answer: None,
                    });
                }
            }
            Action::Permit(time) => {
                if self.nodes[node].hastd.up {
                    self.nodes[node].hastd.permit = Some(now + time);
                }
            }
            Action::Say(level, what) => self.said(node, level, &what),
        }
    }

    fn said(&mut self, node: usize, level: Level, what: &str) {
        for (words, counted) in [
            ("giving up", "undone"),
            ("taking the group back", "rolled back"),
            ("may come back here", "fail-back"),
            ("the peer is primary", "refused"),
        ] {
            if what.contains(words) {
                self.count(counted);
            }
        }
        self.note(format!("node {node} says ({level:?}): {what}"));
    }
}
