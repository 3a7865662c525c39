//! Direct reads: the kernel reads from the local component by itself, and asks us only where that fails.
//!
//! Invariants: never on unless asked for, and never again after [`Reads::bar`], in this process's life; an
//! offset is given only if it fits, because the kernel keeps GEOM locked for ever when it does not
//! (g_gate_modify returns without g_topology_unlock).

use nix::errno::Errno;

use super::kernel::{Change, Kernel, MAX_NAME, Unit};

/// What the kernel may read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSource {
    provider: String,
    /// In bytes.
    offset: u64,
    /// In bytes.
    media_size: u64,
}

impl ReadSource {
    /// From the GEOM provider at `path` (below /dev, and no link), of `media_size` bytes, on which the device
    /// begins at `offset`. None if the kernel could not find it.
    pub fn new(path: &str, offset: u64, media_size: u64) -> Option<Self> {
        let provider = path.strip_prefix("/dev/")?;
        if provider.is_empty() || provider.len() > MAX_NAME {
            return None;
        }
        Some(Self {
            provider: provider.to_owned(),
            offset,
            media_size,
        })
    }

    /// Whether the kernel takes it for a device of this size, in sectors of that size.
    fn fits(&self, size: u64, sector_size: u32) -> bool {
        let end = self.offset.checked_add(size);
        self.offset.is_multiple_of(u64::from(sector_size))
            && end.is_some_and(|end| end <= self.media_size)
    }
}

/// Whether the kernel reads by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    On,
    /// Off, for good.
    Barred,
}

/// Switches direct reads of one device.
#[derive(Debug)]
pub(super) struct Reads {
    source: Option<ReadSource>,
    state: State,
}

impl Reads {
    pub(super) fn new(source: Option<ReadSource>) -> Self {
        Self {
            source,
            state: State::Off,
        }
    }

    pub(super) fn are_on(&self) -> bool {
        self.state == State::On
    }

    /// Whether there is anything to read from.
    pub(super) fn are_possible(&self) -> bool {
        self.source.is_some()
    }

    /// Switches them on, if there is what to read from.
    ///
    /// # Errors
    /// ENXIO: there is no such device. Whatever else is wrong is logged, and bars them.
    pub(super) fn on(
        &mut self,
        kernel: &dyn Kernel,
        unit: Unit,
        size: u64,
        sector_size: u32,
    ) -> Result<(), Errno> {
        let Some(source) = &self.source else {
            return Ok(());
        };
        if self.state != State::Off {
            return Ok(());
        }
        let change = Change::ReadFrom {
            provider: &source.provider,
            offset: source.offset,
        };
        let result = if source.fits(size, sector_size) {
            kernel.modify(unit, change)
        } else {
            Err(Errno::EINVAL)
        };
        match result {
            Ok(()) => {
                self.state = State::On;
                log::info!("the kernel reads from {} by itself", source.provider);
                Ok(())
            }
            Err(Errno::ENXIO) => Err(Errno::ENXIO),
            Err(error) => {
                self.state = State::Barred;
                log::warn!(
                    "the kernel does not read from {} by itself ({error}); all reads go through hastd",
                    source.provider
                );
                Ok(())
            }
        }
    }

    /// Switches them off.
    ///
    /// # Errors
    /// ENXIO: there is no such device.
    pub(super) fn off(&mut self, kernel: &dyn Kernel, unit: Unit) -> Result<(), Errno> {
        if self.state == State::On {
            kernel.modify(unit, Change::ReadNothing)?;
            self.state = State::Off;
        }
        Ok(())
    }

    /// Switches them off for good.
    ///
    /// # Errors
    /// ENXIO: there is no such device.
    pub(super) fn bar(&mut self, kernel: &dyn Kernel, unit: Unit) -> Result<(), Errno> {
        let was_on = std::mem::replace(&mut self.state, State::Barred) == State::On;
        if was_on {
            kernel.modify(unit, Change::ReadNothing)
        } else {
            Ok(())
        }
    }
}
