//! The GEOM gate provider: a device in /dev whose requests this process answers (FreeBSD).
//!
//! The device belongs to the kernel. It stays when its process dies, with what is mounted from it, and
//! requests wait until another process takes it over. Invariants: no request is answered twice, or
//! answered without having been done; one that was not answered is handed over again.
//!
//! | file | what |
//! | --- | --- |
//! | [`kernel`] | the kernel's calls, as a trait; `system`: the kernel itself (FreeBSD) |
//! | [`device`] | a device's life: [`Gate`] |
//! | `claim` | making it, or taking it over |
//! | `receive`, `desk`, `split` | a request's way: received, handed to the backend, answered |
//! | `reads` | when the kernel reads by itself |
//! | [`orphan`] | a device that a process which is gone left behind |
//! | `standing`, `areas` | whether the device is ours; memory for long reads |
//! | [`confxml`], [`holders`] | what GEOM says of itself, and who has a device open |

mod areas;
mod claim;
pub mod confxml;
mod desk;
pub mod device;
mod error;
pub mod holders;
pub mod kernel;
pub mod orphan;
mod reads;
mod receive;
mod split;
mod standing;
#[cfg(target_os = "freebsd")]
mod system;

pub use device::{Device, Gate, Limits};
pub use error::{Busy, GateError, ReleaseError};
pub use reads::ReadSource;
#[cfg(target_os = "freebsd")]
pub use system::System;

/// The name of GEOM's class for gate devices.
pub const CLASS: &str = "GATE";
/// Where our devices are, below /dev.
pub const FOLDER: &str = "hast/";

/// The kernel's GEOM gate, where there is one.
#[cfg(target_os = "freebsd")]
pub fn of_this_system() -> Option<std::sync::Arc<dyn kernel::Kernel>> {
    Some(std::sync::Arc::new(System::default()))
}

/// The kernel's GEOM gate, where there is one.
#[cfg(not(target_os = "freebsd"))]
pub fn of_this_system() -> Option<std::sync::Arc<dyn kernel::Kernel>> {
    None
}
