//! A device whose process is gone: it stays in the kernel, and what is mounted from it waits. Here it is
//! destroyed for somebody who does not want to serve it: hastd's main process, when a role is given up
//! that has no worker. And looked at for the other node, which must not have the data meanwhile.
//!
//! Invariants: a device that a process serves, or that is open, is left alone, the latter unless by force.

use nix::errno::Errno;

use super::FOLDER;
use super::claim::existing;
use super::error::{Busy, ReleaseError};
use super::holders::{self, holders_of};
use super::kernel::Kernel;

/// Whether somebody has a device open that a process left behind: a file system on it waits, and goes on writing
/// when the device is served again. Where it can not be seen it may be so.
pub fn is_open(kernel: &dyn Kernel, device: &str) -> bool {
    let name = format!("{FOLDER}{device}");
    match existing(kernel, &name) {
        Ok(Some(left)) => !left.is_served && !holders_of(kernel, &name).is_empty(),
        Ok(None) => false,
        Err(errno) => {
            log::error!("unable to see whether /dev/{name} is open: {errno}");
            true
        }
    }
}

/// Whether somebody has a device open, however it is served, or although it was destroyed. Where it can not be
/// seen it may be so.
pub fn has_holders(kernel: &dyn Kernel, device: &str) -> bool {
    let name = format!("{FOLDER}{device}");
    holders::is_open(kernel, &name).unwrap_or_else(|errno| {
        log::error!("unable to see whether /dev/{name} is open: {errno}");
        true
    })
}

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
