//! What a supervisor says of itself.

use std::time::Duration;

use super::{Carp, Phase, Supervisor};

/// Where a group is on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseWord {
    /// The agent looks what it has found.
    Starting,
    /// Not served here.
    Backup,
    /// Served here.
    Master,
    /// On its way up.
    BecomingMaster,
    /// On its way down.
    BecomingBackup,
}

impl PhaseWord {
    /// As `status` shows it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Backup => "backup",
            Self::Master => "master",
            Self::BecomingMaster => "becoming-master",
            Self::BecomingBackup => "becoming-backup",
        }
    }
}

/// What is known of a group on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where it is.
    pub phase: PhaseWord,
    /// What is being done.
    pub step: Option<String>,
    /// Why the last way up failed.
    pub trouble: Option<String>,
    /// CARP's last word.
    pub carp: Option<Carp>,
    /// CARP is not followed.
    pub pinned: bool,
    /// This node's demotion is raised for this group.
    pub raised: bool,
    /// How long the lease has yet to run, where there is one.
    pub lease: Option<Duration>,
    /// How long ago this copy was last known to be up to date, with the peer there.
    pub fresh: Option<Duration>,
}

impl Supervisor {
    /// As of the last input.
    pub fn status(&self) -> Status {
        Status {
            phase: match self.phase {
                Phase::Starting => PhaseWord::Starting,
                Phase::Backup => PhaseWord::Backup,
                Phase::Master => PhaseWord::Master,
                Phase::Up(_) => PhaseWord::BecomingMaster,
                Phase::Down(_) => PhaseWord::BecomingBackup,
            },
            step: self.performing.as_ref().map(ToString::to_string),
            trouble: self.trouble.as_ref().map(|trouble| trouble.why.clone()),
            carp: self.carp,
            pinned: self.pinned,
            raised: self.raised,
            lease: self
                .lease
                .until()
                .map(|until| until.saturating_sub(self.now)),
            fresh: self.fresh_at.map(|at| self.now.saturating_sub(at)),
        }
    }

    /// Nothing is under way and nothing is wished for.
    pub fn is_settled(&self) -> bool {
        self.performing.is_none()
            && self.pending.is_none()
            && matches!(self.phase, Phase::Backup | Phase::Master)
    }
}
