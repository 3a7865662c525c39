//! A device whose process is gone: it stays in the kernel, and what is mounted from it waits. Here it is
//! destroyed for somebody who does not want to serve it: hastd's main process, when a role is given up
//! that has no worker.
//!
//! Invariants: a device that a process serves, or that is open, is left alone, the latter unless by force.

use nix::errno::Errno;

use super::FOLDER;
use super::claim::existing;
use super::error::{Busy, ReleaseError};
use super::kernel::Kernel;

/// Destroys the device that a process left behind, if there is one. Whether there was.
///
/// # Errors
/// It is open, and there is no force; or the kernel refuses.
pub fn remove(kernel: &dyn Kernel, device: &str, force: bool) -> Result<bool, ReleaseError> {
    let name = format!("{FOLDER}{device}");
    let refused = |errno| ReleaseError::Kernel {
        name: name.clone(),
        errno,
    };
    let found = existing(kernel, &name).map_err(refused)?;
    let Some(left) = found.filter(|found| !found.is_served) else {
        return Ok(false);
    };
    kernel.load().map_err(refused)?;
    match kernel.destroy(left.unit, force) {
        Ok(()) => {
            log::info!("/dev/{name}, left by a process that is gone, was destroyed");
            Ok(true)
        }
        Err(Errno::ENXIO) => Ok(false),
        Err(Errno::EBUSY) => Err(Busy::of(kernel, name).into()),
        Err(errno) => Err(refused(errno)),
    }
}
