//! How a gate device and this process stand to each other.
//!
//! Invariant: a unit that is not ours any more is never used again. The kernel gives the numbers of
//! destroyed devices to new ones, and numbers their requests from 1 again.

use super::kernel::Unit;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is no device yet.
    Opening,
    /// Requests are received and answered.
    Serving(Unit),
    /// The same, while the kernel is asked to destroy the device.
    Releasing(Unit),
    /// No more are received; those under way are answered.
    Leaving(Unit),
    /// Somebody else destroyed the device.
    Vanished,
    /// It is no affair of this process any more.
    Ended,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The device was made, or taken over.
    Opened(Unit),
    /// The kernel is going to be asked to destroy it.
    Release,
    /// It did not: the device is open.
    Kept,
    /// The device is to be left in place.
    Leave,
    /// A call said that the device is being destroyed, or gone.
    Vanished,
    /// From now on nothing is answered.
    End,
}

impl Standing {
    /// How it stands after a step.
    pub(super) fn after(self, step: Step) -> Self {
        match (self, step) {
            (Self::Ended, _) | (_, Step::End) => Self::Ended,
            (Self::Opening, Step::Opened(unit)) => Self::Serving(unit),
            (Self::Serving(unit), Step::Release) => Self::Releasing(unit),
            (Self::Releasing(unit), Step::Kept) => Self::Serving(unit),
            (Self::Serving(unit) | Self::Releasing(unit), Step::Leave) => Self::Leaving(unit),
            (Self::Serving(_) | Self::Leaving(_), Step::Vanished) => Self::Vanished,
            // It is ours to destroy, and whoever does knows how it ended.
            (Self::Releasing(unit), Step::Vanished) => Self::Releasing(unit),
            (
                Self::Opening | Self::Vanished,
                Step::Release | Step::Kept | Step::Leave | Step::Vanished,
            ) => self,
            (Self::Vanished | Self::Serving(_), Step::Opened(_)) => self,
            (Self::Releasing(_) | Self::Leaving(_), Step::Opened(_) | Step::Release) => self,
            (Self::Serving(_) | Self::Leaving(_), Step::Kept) => self,
            (Self::Leaving(_), Step::Leave) => self,
        }
    }

    /// The device, as long as it may be told anything.
    pub(super) fn unit(self) -> Option<Unit> {
        match self {
            Self::Serving(unit) | Self::Releasing(unit) | Self::Leaving(unit) => Some(unit),
            Self::Opening | Self::Vanished | Self::Ended => None,
        }
    }

    /// Whether requests are received.
    pub(super) fn receives(self) -> bool {
        match self {
            Self::Serving(_) | Self::Releasing(_) => true,
            Self::Opening | Self::Leaving(_) | Self::Vanished | Self::Ended => false,
        }
    }
}
