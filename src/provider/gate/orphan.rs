//! A device whose process is gone: it stays in the kernel, and what is mounted from it waits. Here it is
//! destroyed for somebody who does not want to serve it: hastd's main process, when a role is given up
//! that has no worker.
//!
//! Invariants: a device that a process serves, or that is open, is left alone, the latter unless by force.

use super::confxml::Mesh;
use super::error::{Busy, ReleaseError};
use super::holders::{Holder, holders};
use super::kernel::{Kernel, Unit};
use super::{CLASS, FOLDER};
use nix::errno::Errno;

/// Who has a device open, as far as it can be seen from here.
pub(super) fn holders_of(kernel: &dyn Kernel, name: &str) -> Vec<Holder> {
    let Ok(text) = kernel.configuration() else {
        return Vec::new();
    };
    let mounts = kernel.mounts().unwrap_or_default();
    holders(&Mesh::parse(&text), &mounts, name)
}

/// Why the device of a worker, which can not see who has it open, is not given up.
pub fn busy(kernel: &dyn Kernel, device: &str) -> Busy {
    let device = format!("{FOLDER}{device}");
    Busy {
        holders: holders_of(kernel, &device),
        device,
    }
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
    let Some(unit) = left_unit(kernel, &name).map_err(refused)? else {
        return Ok(false);
    };
    kernel.load().map_err(refused)?;
    match kernel.destroy(unit, force) {
        Ok(()) => {
            log::info!("/dev/{name}, left by a process that is gone, was destroyed");
            Ok(true)
        }
        Err(Errno::ENXIO) => Ok(false),
        Err(Errno::EBUSY) => Err(busy(kernel, device).into()),
        Err(errno) => Err(refused(errno)),
    }
}

/// The device of that name that nobody serves.
fn left_unit(kernel: &dyn Kernel, name: &str) -> Result<Option<Unit>, Errno> {
    let mesh = Mesh::parse(&kernel.configuration()?);
    let Some((geom, _)) = mesh.provider(CLASS, name).filter(|(geom, _)| !geom.withers) else {
        return Ok(None);
    };
    let number = |setting| {
        geom.setting(setting)
            .and_then(|value| value.trim().parse::<u32>().ok())
    };
    // One reference is the kernel's own while it writes this; more are threads that wait for requests.
    let is_served = number("ref").is_none_or(|holds| holds > 1);
    Ok(number("unit").filter(|_| !is_served).map(Unit))
}
