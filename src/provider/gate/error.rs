//! Why a gate device can not be served, or not be given up.

use std::io;

use nix::errno::Errno;

use super::holders::{Holder, holders_of};
use super::kernel::Kernel;

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// What GEOM gate does not do.
    #[error("cannot offer /dev/{name}: {reason}")]
    Unfit {
        /// The device.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no GEOM gate in this kernel.
    #[error("cannot use GEOM gate: {0}; run 'kldload geom_gate' to see what is wrong")]
    Load(Errno),
    /// There is a device of that name, and it is not the one that would be made.
    #[error(
        "/dev/{name} is there already with {theirs}, but the local component makes it {ours}; \
         unmount what is on it, destroy it with 'geom gate destroy' or 'hastctl role init', and try again"
    )]
    Size {
        /// The device.
        name: String,
        /// Its sizes.
        theirs: String,
        /// Those wanted.
        ours: String,
    },
    /// Another process answers its requests.
    #[error(
        "/dev/{name} is served by another process; end that one first, or give the resource another \
         'name'"
    )]
    InUse {
        /// The device.
        name: String,
    },
    /// There is one, and there is not.
    #[error("/dev/{name} cannot be made: an old device of that name does not go away")]
    Stuck {
        /// The device.
        name: String,
    },
    /// There are as many devices as the kernel takes.
    #[error(
        "/dev/{name} cannot be made: there are too many gate devices; set kern.geom.gate.maxunits in \
         /boot/loader.conf"
    )]
    TooMany {
        /// The device.
        name: String,
    },
    /// The kernel refused.
    #[error("cannot {operation} /dev/{name}: {errno}")]
    Kernel {
        /// What was tried.
        operation: &'static str,
        /// The device.
        name: String,
        /// Why not.
        errno: Errno,
    },
    /// The system gives no more threads.
    #[error("cannot start a thread for the gate device: {0}")]
    Thread(#[source] io::Error),
}

/// Why a device was not destroyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Somebody has it open.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The kernel refused.
    #[error("cannot destroy /dev/{name}: {errno}")]
    Kernel {
        /// The device.
        name: String,
        /// Why not.
        errno: Errno,
    },
}

/// A device that is open. It goes on being served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "/dev/{device} is open{}; end that first, or use force",
    listed(holders)
)]
pub struct Busy {
    /// The device, below /dev.
    pub device: String,
    /// Who has it open; empty where that can not be known.
    pub holders: Vec<Holder>,
}

impl Busy {
    /// Looks who has `device`, a name below /dev, open.
    pub fn of(kernel: &dyn Kernel, device: String) -> Self {
        Self {
            holders: holders_of(kernel, &device),
            device,
        }
    }
}

fn listed(holders: &[Holder]) -> String {
    let names: Vec<_> = holders.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" ({})", names.join(", "))
    }
}
