//! What the agent can be told to do, one thing at a time, and what can come of it.
//!
//! Every step may be told again: where it is done already, doing it is nothing. That is what makes giving up
//! the same as undoing, wherever the way up was left.

use std::fmt;
use std::time::Duration;

use super::group::{Group, HookPoint, Mount};

/// How much a demotion is raised by: above any `advskew`, as the kernel's own factors.
pub const DEMOTION: u32 = 240;

/// How long a claim is asked for; see [`crate::failover`].
pub const CLAIM: Duration = Duration::from_secs(10);

/// One thing to do. It ends in exactly one [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Waits until hastd answers for every resource.
    WaitForHastd,
    /// Asks the peer what it is, and claims the resources there.
    AskPeer,
    /// Asks the peer what it is.
    LookAtPeer,
    /// Runs the fencing command.
    Fence,
    /// Asks the witness for the lease.
    AcquireLease,
    /// From now on hastd acknowledges nothing that the peer does not have, until it is permitted.
    Hold,
    /// Makes the resources primary; unless forced, only while no claim of the peer stands.
    Promote {
        /// A person says so.
        force: bool,
    },
    /// Waits for the devices.
    WaitForDevices,
    /// Waits until the peer is connected and this copy is up to date.
    WaitForPeer,
    /// `zpool import`
    Import {
        /// The pool.
        pool: String,
        /// With `-f`.
        force: bool,
    },
    /// fsck(8)
    Check(Mount),
    /// mount(8)
    Mount(Mount),
    /// Starts a service.
    Start(String),
    /// The address is to be here.
    TakeAddress,
    /// Takes this node's CARP demotion back.
    LowerDemotion,
    /// Stops a service.
    Stop(String),
    /// umount(8)
    Unmount {
        /// What is mounted.
        mount: Mount,
        /// With `-f`.
        force: bool,
    },
    /// `zpool export`
    Export {
        /// The pool.
        pool: String,
        /// With `-f`.
        force: bool,
    },
    /// Makes the resources secondary.
    Demote {
        /// Takes the devices away from whoever has them open.
        force: bool,
    },
    /// Tells the witness that the lease is not needed.
    ReleaseLease,
    /// Raises this node's CARP demotion.
    RaiseDemotion,
    /// The address is to be elsewhere.
    YieldAddress,
    /// Tells the peer that it may take over.
    Invite,
    /// Waits until the peer is primary.
    WaitForTakeover,
    /// Looks whether everything of a master is in place, and touches nothing.
    Verify,
    /// Restarts the machine at once.
    Reboot,
    /// Runs the administrator's program for this point.
    Hook(HookPoint),
}

impl Step {
    /// How long it may take.
    pub fn limit(&self, group: &Group) -> Duration {
        let limits = &group.limits;
        match self {
            Self::WaitForHastd => limits.hastd,
            Self::AskPeer | Self::LookAtPeer | Self::Invite => limits.peer,
            Self::AcquireLease | Self::ReleaseLease => limits.peer,
            Self::Fence => limits.fence,
            Self::Hold | Self::Promote { .. } | Self::WaitForDevices => limits.promote,
            Self::Demote { .. } => limits.promote,
            Self::WaitForPeer | Self::WaitForTakeover => limits.takeover,
            Self::Import { .. } => limits.import,
            Self::Check(_) => limits.fsck,
            Self::Mount(_) => limits.mount,
            Self::Start(_) | Self::Stop(_) => limits.service,
            Self::Unmount { .. } | Self::Export { .. } => limits.export,
            Self::TakeAddress | Self::YieldAddress => limits.hook,
            Self::RaiseDemotion | Self::LowerDemotion => limits.hook,
            Self::Verify => limits.export,
            Self::Reboot | Self::Hook(_) => limits.hook,
        }
    }

    /// Whether it does nothing but wait, and ends when it is hurried.
    pub const fn only_waits(&self) -> bool {
        matches!(
            self,
            Self::WaitForHastd | Self::WaitForDevices | Self::WaitForPeer | Self::WaitForTakeover
        )
    }

    /// The same with force, where there is such a thing.
    pub fn forced(&self) -> Option<Self> {
        match self {
            Self::Unmount { mount, .. } => Some(Self::Unmount {
                mount: mount.clone(),
                force: true,
            }),
            Self::Export { pool, .. } => Some(Self::Export {
                pool: pool.clone(),
                force: true,
            }),
            Self::Demote { .. } => Some(Self::Demote { force: true }),
            _ => None,
        }
    }
}

/// For people: what is being done.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_force = |force: &bool| if *force { " by force" } else { "" };
        match self {
            Self::WaitForHastd => f.write_str("wait for hastd"),
            Self::AskPeer => f.write_str("ask the peer and claim the resources"),
            Self::LookAtPeer => f.write_str("ask the peer"),
            Self::Fence => f.write_str("fence the peer"),
            Self::AcquireLease => f.write_str("ask the witness for the lease"),
            Self::Hold => f.write_str("put writes under the lease"),
            Self::Promote { force } => write!(f, "make the resources primary{}", by_force(force)),
            Self::WaitForDevices => f.write_str("wait for the devices"),
            Self::WaitForPeer => f.write_str("wait for the peer's data"),
            Self::Import { pool, force } => write!(f, "import pool {pool}{}", by_force(force)),
            Self::Check(mount) => write!(f, "check the file system of {}", mount.path.display()),
            Self::Mount(mount) => write!(f, "mount {}", mount.path.display()),
            Self::Start(service) => write!(f, "start {service}"),
            Self::TakeAddress => f.write_str("take the address"),
            Self::LowerDemotion => f.write_str("lower the CARP demotion"),
            Self::Stop(service) => write!(f, "stop {service}"),
            Self::Unmount { mount, force } => {
                write!(f, "unmount {}{}", mount.path.display(), by_force(force))
            }
            Self::Export { pool, force } => write!(f, "export pool {pool}{}", by_force(force)),
            Self::Demote { force } => write!(f, "make the resources secondary{}", by_force(force)),
            Self::ReleaseLease => f.write_str("give the lease back"),
            Self::RaiseDemotion => f.write_str("raise the CARP demotion"),
            Self::YieldAddress => f.write_str("give the address away"),
            Self::Invite => f.write_str("tell the peer to take over"),
            Self::WaitForTakeover => f.write_str("wait for the peer to be primary"),
            Self::Verify => f.write_str("look whether everything is in place"),
            Self::Reboot => f.write_str("restart this machine"),
            Self::Hook(point) => write!(f, "run the hook {}", point.word()),
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, or was before.
    Done,
    /// Of [`Step::AskPeer`] and [`Step::LookAtPeer`].
    Peer(PeerAnswer),
    /// Of [`Step::Fence`].
    Fence(FenceAnswer),
    /// Of [`Step::AcquireLease`].
    Lease(LeaseAnswer),
    /// Of [`Step::Promote`]: the peer has claimed the resources.
    Claimed,
    /// It did not work; why, as a sentence without its period.
    Failed(String),
    /// It was not done within its limit.
    Overdue,
}

/// What the peer says of a group's resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAnswer {
    /// One of them at least is primary there.
    Primary,
    /// All are secondary, and our claim is noted (where one was made).
    Secondary,
    /// None is primary, one at least is in no role, and our claim is noted.
    Init,
    /// None is primary, but it can not promise to leave it so: base's hastd.
    NoPromise,
    /// It does not answer; why.
    Unreachable(String),
}

/// What the fencing command says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceAnswer {
    /// The peer is off.
    Fenced,
    /// It is not.
    NotFenced,
    /// Nobody knows.
    Unknown,
}

/// What the witness says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// Ours until then, by the supervisor's clock.
    Granted {
        /// When it runs out.
        until: Duration,
    },
    /// The other node's, for so long yet.
    Held {
        /// At most.
        left: Duration,
    },
    /// The other node has writes that this one lacks.
    OtherIsCurrent,
    /// It does not answer; why.
    Unreachable(String),
}
