//! Making the device, or taking over one whose process died.
//!
//! Invariants: a device that another process serves is left alone; requests that were handed to a dead
//! process are put back before the first is received. The device is always named by its unit: while
//! another is being made, looking a device up by its name makes the kernel crash (g_gate_hold reads
//! `sc_provider`, which is set last).

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::CLASS;
use super::confxml::Mesh;
use super::error::GateError;
use super::kernel::{Change, Kernel, NewDevice, Unit};
use crate::pause::pause;

/// How often it is looked whether a device has become free. The kernel does not say when.
const LOOK: Duration = Duration::from_millis(50);

/// A device that is ours now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// It was made.
    New(Unit),
    /// It was there.
    TakenOver(Unit),
}

/// Makes a device, or takes it over. Waits for so long for a process that is ending, or a device that is.
pub(super) fn claim(
    kernel: &dyn Kernel,
    device: &NewDevice<'_>,
    patience: Duration,
) -> Result<Claimed, GateError> {
    let deadline = Instant::now() + patience;
    loop {
        let name = || device.name.to_owned();
        match kernel.create(device) {
            Ok(unit) => return Ok(Claimed::New(unit)),
            Err(Errno::EEXIST) => {}
            Err(Errno::ENFILE) => return Err(GateError::TooMany { name: name() }),
            Err(errno) => {
                return Err(GateError::Kernel {
                    operation: "make",
                    name: name(),
                    errno,
                });
            }
        }
        let found = existing(kernel, device.name).map_err(|errno| GateError::Kernel {
            operation: "look up",
            name: name(),
            errno,
        })?;
        let obstacle = match found {
            Some(found) if found.is_served => GateError::InUse { name: name() },
            Some(found) => {
                found.check(device)?;
                match take_over(kernel, found.unit, device.info) {
                    Ok(()) => return Ok(Claimed::TakenOver(found.unit)),
                    // Gone since.
                    Err(Errno::ENXIO) => continue,
                    Err(errno) => {
                        return Err(GateError::Kernel {
                            operation: "take over",
                            name: name(),
                            errno,
                        });
                    }
                }
            }
            None => GateError::Stuck { name: name() },
        };
        if Instant::now() >= deadline {
            return Err(obstacle);
        }
        pause(LOOK);
    }
}

/// A device that is there already.
pub(super) struct Existing {
    pub unit: Unit,
    size: u64,
    sector_size: u32,
    /// By a process that waits for its requests.
    pub is_served: bool,
}

impl Existing {
    fn check(&self, device: &NewDevice<'_>) -> Result<(), GateError> {
        if (self.size, self.sector_size) == (device.size, device.sector_size) {
            return Ok(());
        }
        let sizes = |size, sector| format!("{size} bytes in sectors of {sector}");
        Err(GateError::Size {
            name: device.name.to_owned(),
            theirs: sizes(self.size, self.sector_size),
            ours: sizes(device.size, device.sector_size),
        })
    }
}

/// The device of that name, unless it is on its way in or out.
pub(super) fn existing(kernel: &dyn Kernel, name: &str) -> Result<Option<Existing>, Errno> {
    let mesh = Mesh::parse(&kernel.configuration()?);
    let Some((geom, provider)) = mesh.provider(CLASS, name) else {
        return Ok(None);
    };
    let number = |name| {
        geom.setting(name)
            .and_then(|value| value.trim().parse().ok())
    };
    let (Some(unit), Some(holds)) = (number("unit"), number("ref")) else {
        return Ok(None);
    };
    if geom.withers || provider.withers {
        return Ok(None);
    }
    Ok(Some(Existing {
        unit: Unit(unit),
        size: provider.media_size,
        sector_size: provider.sector_size,
        // One is held by the kernel while it writes this, the others by threads waiting for requests.
        is_served: holds > 1,
    }))
}

fn take_over(kernel: &dyn Kernel, unit: Unit, info: &str) -> Result<(), Errno> {
    // What the dead process knew of the local copy need not be so any more.
    kernel.modify(unit, Change::ReadNothing)?;
    kernel.modify(unit, Change::Info(info))?;
    kernel.cancel(unit, None)
}
