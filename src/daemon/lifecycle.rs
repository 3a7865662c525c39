//! What a resource does next: its role, the stage its worker is in, and one function
//! that makes the next state and the actions from the present state and an event.
//!
//! ```text
//!                 spawn            started
//!        Idle ------------> Starting ------> Running
//!         ^ ^                |  |  |            |
//!         | |   ended        |  |  | stop       | stop
//!         | +----------------+  |  v            v
//!         |      ended          | Stopping <----+
//!         +---------------------|---+
//!                               v  died by a signal or EX_TEMPFAIL (primary only)
//!                            BackOff ------> Starting
//! ```
//!
//! A primary whose engine finds that the other node went on without it goes from Running over Stopping, in which
//! its device is destroyed, to Superseded: it has no worker, and becomes secondary when whoever had the device open
//! has closed it.
//!
//! A primary whose device is open does not stop when it is only asked to: it goes from Stopping
//! back to Running, and is primary still.
//!
//! Decides and does nothing itself: no process, clock or descriptor. There is at most one
//! worker of a resource: the next one is started only after the last has ended.

use std::time::Duration;

use crate::engine::primary::Promotion;
use crate::terms::Role;
use crate::worker::channel::DeviceFate;

/// First wait before a primary that died is started again; doubled each time.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// Longest such wait.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// A worker that lived this long begins with the first wait again.
const LONG_LIFE: Duration = Duration::from_mins(1);

/// What a resource's worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is none, and none is wanted.
    Idle,
    /// It has been started and has not yet taken its role.
    Starting,
    /// It is at work.
    Running,
    /// It has been told to end.
    Stopping,
    /// It died, and will be started again.
    BackOff,
    /// There is none: the other node went on as primary, and the device, which was destroyed, is open still.
    Superseded,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The administrator wants a role.
    Command {
        /// Which.
        role: Role,
        /// Even where the component is known to lack data of the other node.
        force: bool,
    },
    /// The resource changed so much that its worker must begin anew.
    Restart {
        /// As what.
        promotion: Promotion,
        /// What becomes of the device meanwhile.
        device: DeviceFate,
    },
    /// hastd ends.
    End(DeviceFate),
    /// A primary opened a first connection: an older one's worker must go.
    Displaced,
    /// A primary opened the second connection too.
    Met,
    /// The worker has taken its role.
    Started,
    /// The worker says that it can not take its role.
    Refused,
    /// The worker was told to stop and does not: its device is open.
    Busy,
    /// The worker says that the other node went on as primary: nothing that is asked of the device is done any more.
    Superseded,
    /// Nobody has the destroyed device open any more.
    Closed,
    /// The worker has ended.
    Ended {
        /// By a signal, or with EX_TEMPFAIL, or it could not even be started.
        may_return: bool,
        /// How long it was there.
        lived: Duration,
    },
    /// The present stage has lasted as long as it may.
    StageOver,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a worker that takes the device over.
    SpawnPrimary(Promotion),
    /// Start a worker for the two connections that are there.
    SpawnSecondary,
    /// Tell the worker to end, and what becomes of its device; say [`Event::StageOver`] when it takes
    /// too long.
    Stop(DeviceFate),
    /// End the worker now.
    Kill,
    /// Say [`Event::StageOver`] after this time.
    Wait(Duration),
    /// Look whether the destroyed device is open: say [`Event::Closed`], or [`Event::StageOver`] after a while.
    LookWhetherOpen,
    /// The role is taken: whoever waits for it may go on.
    Settled,
    /// The role that was announced last is no longer the resource's.
    Announce {
        /// What it was.
        old: Role,
        /// What it is.
        new: Role,
    },
}

/// A resource's role and stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    role: Role,
    stage: Stage,
    /// With what a primary's next worker starts.
    promotion: Promotion,
    /// The worker said that it can not take its role.
    refused: bool,
    /// The worker said that the other node went on as primary.
    superseded: bool,
    /// A primary that is restarted leaves its role for a moment, and that is announced.
    leaves_role: bool,
    /// The role last told to the world.
    announced: Role,
    /// The wait before the next restart.
    back_off: Duration,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            role: Role::Init,
            stage: Stage::Idle,
            promotion: Promotion::Asked,
            refused: false,
            superseded: false,
            leaves_role: false,
            announced: Role::Init,
            back_off: BACK_OFF_FIRST,
        }
    }
}

impl Lifecycle {
    /// The role: the one wanted, from the moment it is.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The stage.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether this is a primary whose data the other node went on without.
    pub const fn is_superseded(&self) -> bool {
        self.superseded && matches!(self.role, Role::Primary)
    }

    /// Whether the role is really taken (or none is): nothing is under way.
    pub const fn is_settled(&self) -> bool {
        match self.stage {
            Stage::Idle | Stage::Running | Stage::Superseded => true,
            // A primary that was at work is one still; one that never was has yet to be.
            Stage::BackOff => matches!(self.promotion, Promotion::Resumed),
            // A secondary's workers come and go with its primary's connections.
            Stage::Starting => matches!(self.role, Role::Secondary),
            Stage::Stopping => false,
        }
    }

    /// Takes an event in.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match (self.stage, event) {
            (stage, Event::Command { role, force: true }) => {
                self.command(stage, role, Promotion::Forced, DeviceFate::Destroy)
            }
            (stage, Event::Command { role, force: false }) => {
                self.command(stage, role, Promotion::Asked, DeviceFate::Release)
            }
            (stage, Event::Restart { promotion, device }) => self.restart(stage, promotion, device),
            (stage, Event::End(device)) => {
                self.command(stage, Role::Init, Promotion::Asked, device)
            }

            (Stage::Idle, Event::Met) if self.role == Role::Secondary => {
                self.stage = Stage::Starting;
                vec![Action::SpawnSecondary]
            }
            (Stage::Starting | Stage::Running, Event::Displaced)
                if self.role == Role::Secondary =>
            {
                self.stage = Stage::Stopping;
                vec![Action::Stop(DeviceFate::Keep)]
            }
            (Stage::Starting, Event::Started) => {
                self.stage = Stage::Running;
                self.promotion = Promotion::Resumed;
                self.settled()
            }
            (Stage::Starting | Stage::Running, Event::Refused) => {
                self.refused = true;
                Vec::new()
            }
            (Stage::Starting | Stage::Running, Event::Superseded) if self.role == Role::Primary => {
                self.superseded = true;
                self.stage = Stage::Stopping;
                vec![Action::Stop(DeviceFate::Destroy)]
            }
            (Stage::Stopping, Event::Superseded) => {
                self.superseded = true;
                Vec::new()
            }
            (Stage::Starting | Stage::Running, Event::Ended { may_return, lived }) => {
                self.ended(may_return, lived)
            }
            (Stage::Stopping, Event::Ended { .. }) => self.stopped(),
            (Stage::Stopping, Event::Busy) => self.stays_primary(),
            (Stage::Stopping, Event::StageOver) => vec![Action::Kill],
            (Stage::BackOff, Event::StageOver) => self.spawn_primary(),
            (Stage::Superseded, Event::StageOver) => vec![Action::LookWhetherOpen],
            (Stage::Superseded, Event::Closed) => {
                self.role = Role::Secondary;
                self.begin()
            }

            // Late or out of place: a stop crossed a start, a meeting came to nothing, a timer
            // fired as its stage ended.
            (
                Stage::Idle,
                Event::Displaced
                | Event::Met
                | Event::Started
                | Event::Refused
                | Event::Busy
                | Event::Superseded
                | Event::Closed
                | Event::Ended { .. }
                | Event::StageOver,
            )
            | (
                Stage::Starting,
                Event::Displaced
                | Event::Met
                | Event::Busy
                | Event::Superseded
                | Event::Closed
                | Event::StageOver,
            )
            | (
                Stage::Running,
                Event::Displaced
                | Event::Met
                | Event::Started
                | Event::Busy
                | Event::Superseded
                | Event::Closed
                | Event::StageOver,
            )
            | (
                Stage::Stopping,
                Event::Displaced | Event::Met | Event::Started | Event::Refused | Event::Closed,
            )
            | (
                Stage::BackOff | Stage::Superseded,
                Event::Displaced
                | Event::Met
                | Event::Started
                | Event::Refused
                | Event::Busy
                | Event::Superseded
                | Event::Ended { .. },
            )
            | (Stage::BackOff, Event::Closed) => Vec::new(),
        }
    }

    fn command(
        &mut self,
        stage: Stage,
        role: Role,
        promotion: Promotion,
        device: DeviceFate,
    ) -> Vec<Action> {
        if role == self.role {
            return Vec::new();
        }
        self.role = role;
        self.leaves_role = false;
        self.promotion = promotion;
        self.back_off = BACK_OFF_FIRST;
        match stage {
            Stage::Idle | Stage::BackOff | Stage::Superseded => self.begin(),
            Stage::Starting | Stage::Running => {
                self.stage = Stage::Stopping;
                vec![Action::Stop(device)]
            }
            Stage::Stopping => Vec::new(),
        }
    }

    fn restart(&mut self, stage: Stage, promotion: Promotion, device: DeviceFate) -> Vec<Action> {
        self.promotion = promotion;
        match stage {
            Stage::Starting | Stage::Running => {
                self.stage = Stage::Stopping;
                self.leaves_role = self.role == Role::Primary;
                vec![Action::Stop(device)]
            }
            Stage::Idle | Stage::Stopping | Stage::BackOff | Stage::Superseded => Vec::new(),
        }
    }

    /// From having no worker, into the role.
    fn begin(&mut self) -> Vec<Action> {
        self.superseded = false;
        match self.role {
            Role::Primary => self.spawn_primary(),
            Role::Init | Role::Secondary => {
                self.stage = Stage::Idle;
                self.settled()
            }
        }
    }

    fn spawn_primary(&mut self) -> Vec<Action> {
        self.stage = Stage::Starting;
        self.refused = false;
        vec![Action::SpawnPrimary(self.promotion)]
    }

    /// The worker was told to stop, and serves on.
    fn stays_primary(&mut self) -> Vec<Action> {
        self.role = Role::Primary;
        self.promotion = Promotion::Resumed;
        self.leaves_role = false;
        if self.superseded {
            // Serving on is of no use to who has it open.
            return vec![Action::Stop(DeviceFate::Destroy)];
        }
        self.stage = Stage::Running;
        self.settled()
    }

    fn stopped(&mut self) -> Vec<Action> {
        if self.is_superseded() {
            self.leaves_role = false;
            self.stage = Stage::Superseded;
            return vec![Action::Settled, Action::LookWhetherOpen];
        }
        let mut actions = Vec::new();
        if std::mem::take(&mut self.leaves_role) {
            actions.extend(self.announce(Role::Init));
        }
        actions.extend(self.begin());
        actions
    }

    fn ended(&mut self, may_return: bool, lived: Duration) -> Vec<Action> {
        // Who asked for a role and was refused is told so, once; a primary that was at work
        // comes back by itself.
        let final_refusal = self.refused && self.promotion != Promotion::Resumed;
        self.refused = false;
        match self.role {
            Role::Primary if may_return && !final_refusal => {
                if lived >= LONG_LIFE {
                    self.back_off = BACK_OFF_FIRST;
                }
                let wait = self.back_off;
                self.back_off = (wait * 2).min(BACK_OFF_MAX);
                self.stage = Stage::BackOff;
                vec![Action::Wait(wait)]
            }
            Role::Primary => {
                self.role = Role::Init;
                self.begin()
            }
            Role::Init | Role::Secondary => self.begin(),
        }
    }

    fn settled(&mut self) -> Vec<Action> {
        let mut actions: Vec<Action> = self.announce(self.role).into_iter().collect();
        actions.push(Action::Settled);
        actions
    }

    fn announce(&mut self, new: Role) -> Option<Action> {
        let old = std::mem::replace(&mut self.announced, new);
        (old != new).then_some(Action::Announce { old, new })
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
