//! One node: its hastd, its copy of the data, its pool, its address, and its agent.

use std::time::Duration;

use hast::failover::step::Step;
use hast::failover::supervisor::{Carp, Saved, Supervisor};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Init,
    Secondary,
    Primary,
}

pub struct Hastd {
    pub up: bool,
    pub started: Duration,
    pub role: Role,
    /// The peer's.
    pub claim: Duration,
    /// None: whatever it likes.
    pub permit: Option<Duration>,
    pub invited: bool,
}

/// What an agent is doing.
pub struct Job {
    pub step: Step,
    pub since: Duration,
    /// When it takes effect; none where it only waits for something.
    pub acts: Option<Duration>,
    pub ends: Duration,
    pub fate: Fate,
    pub outcome: Option<hast::failover::step::Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Works,
    /// Without effect.
    Fails,
    /// It is done all the same.
    FailsLate,
    Hangs,
}

/// A question to the witness beside the steps.
pub struct Renewal {
    pub alone: bool,
    pub sent: Duration,
    pub acts: Duration,
    pub ends: Duration,
    pub answer: Option<hast::failover::step::LeaseAnswer>,
}

pub struct Agent {
    pub supervisor: Supervisor,
    pub job: Option<Job>,
    pub renewal: Option<Renewal>,
    pub watched: Duration,
}

pub struct Machine {
    pub up: bool,
    /// When it comes back, where it is down.
    pub back: Duration,
    pub boot: u32,
    pub agent: Option<Agent>,
    /// When the agent is started, where there is none.
    pub agent_back: Duration,
    pub saved: Option<(u32, Saved)>,
    pub hastd: Hastd,
    pub pool: bool,
    pub carp: Carp,
    /// Since when nobody is heard who has the address.
    pub quiet: Duration,
    pub network: bool,
    pub raised: bool,
    /// The newest write on this disk.
    pub data: u64,
    /// It has writes that the other one lacks, since.
    pub lone: Option<Duration>,
    pub hears_witness: bool,
}

impl Machine {
    pub fn new() -> Self {
        Self {
            up: true,
            back: Duration::ZERO,
            boot: 0,
            agent: None,
            agent_back: Duration::from_secs(1),
            saved: None,
            hastd: Hastd {
                up: true,
                started: Duration::ZERO,
                role: Role::Init,
                claim: Duration::ZERO,
                permit: None,
                invited: false,
            },
            pool: false,
            carp: Carp::Init,
            quiet: Duration::ZERO,
            network: true,
            raised: true,
            data: 0,
            lone: None,
            hears_witness: true,
        }
    }

    pub fn lose_power(&mut self, back: Duration) {
        self.up = false;
        self.back = back;
        self.agent = None;
        self.lose_hastd();
        self.pool = false;
        self.carp = Carp::Init;
    }

    pub fn lose_hastd(&mut self) {
        self.hastd.up = false;
        self.hastd.role = Role::Init;
        self.hastd.claim = Duration::ZERO;
        self.hastd.permit = None;
        self.hastd.invited = false;
    }

    pub fn start_hastd(&mut self, now: Duration) {
        self.hastd.up = true;
        self.hastd.started = now;
    }

    pub fn start(&mut self, now: Duration) {
        self.up = true;
        self.boot += 1;
        // By rc.d/hast_carp.
        self.raised = true;
        self.start_hastd(now);
        self.agent_back = now + Duration::from_secs(2);
        self.quiet = now;
        if self.network {
            self.carp = Carp::Backup;
        }
    }

    /// Whether its hastd acknowledges writes by itself.
    pub fn may_write_alone(&self, now: Duration) -> bool {
        self.serves() && self.hastd.permit.is_none_or(|until| until > now)
    }

    /// Whether programs can write to the pool here.
    pub fn serves(&self) -> bool {
        self.up && self.hastd.up && self.hastd.role == Role::Primary && self.pool
    }
}
