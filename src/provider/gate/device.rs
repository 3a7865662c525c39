//! A gate device's life in this process: from being made or taken over, to being destroyed or left.
//!
//! Dropping a [`Gate`] leaves the device in place, as a crash would: whatever is mounted from it waits for the
//! next process instead of failing. Invariants: requests are received before anybody can wait for
//! long for the first one; after [`Gate::leave`], everything not answered is handed out again by the kernel.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::claim::{Claimed, claim};
use super::confxml::Mesh;
use super::desk::Desk;
use super::error::{Busy, GateError, ReleaseError};
use super::holders::is_open;
use super::kernel::{Change, Kernel, MAX_INFO, MAX_NAME, NewDevice, Unit};
use super::reads::{ReadSource, Reads};
use super::receive::Receivers;
use super::split::Split;
use super::standing::{Standing, Step};
use super::{CLASS, FOLDER};
use crate::pause::pause;
use crate::provider::follower::Follower;
use crate::provider::{Backend, MAX_REQUEST, lock};

/// The device that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name in /dev/hast.
    pub name: String,
    /// In bytes, whole sectors.
    pub size: u64,
    /// In bytes, a power of two.
    pub sector_size: u32,
    /// What `geom gate list` shows of it.
    pub info: String,
    /// What the kernel may read from when told so.
    pub source: Option<ReadSource>,
}

/// What a device puts up with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Threads that wait for requests.
    pub receivers: usize,
    /// How long requests under way may take when the device is left.
    pub drain: Duration,
    /// How long a process that served the device before may take to end.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // One may wait for a slow disk or for buffers while the others serve.
            receivers: 8,
            drain: Duration::from_secs(5),
            patience: Duration::from_secs(5),
        }
    }
}

/// How long threads have to end.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// How long reads of the kernel's own may take before a device is destroyed by force.
const READS_END: Duration = Duration::from_secs(5);
/// How often it is looked whether they have. The kernel does not say when.
const LOOK: Duration = Duration::from_millis(20);
/// How long to wait for them where the kernel's state can not be seen.
const BLIND: Duration = Duration::from_secs(1);

/// A device that is served.
pub struct Gate {
    desk: Arc<Desk>,
    /// Below /dev.
    name: String,
    receivers: Receivers,
    info: Mutex<String>,
    reads: Mutex<Reads>,
    limits: Limits,
}

impl Gate {
    /// Makes the device, or takes it over from a process that died, and serves it.
    ///
    /// # Errors
    /// The kernel has no GEOM gate, or refuses; a device of that name has other sizes, or is served by
    /// another process.
    pub fn open(
        kernel: Arc<dyn Kernel>,
        device: Device,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, GateError> {
        Self::open_with(kernel, device, backend, Limits::default())
    }

    /// As [`Gate::open`], with other limits.
    ///
    /// # Errors
    /// As [`Gate::open`].
    pub fn open_with(
        kernel: Arc<dyn Kernel>,
        device: Device,
        backend: Arc<dyn Backend>,
        limits: Limits,
    ) -> Result<Self, GateError> {
        let name = format!("{FOLDER}{}", device.name);
        check(&device, &name, backend.budget())?;
        kernel.load().map_err(GateError::Load)?;
        let info = clean(&device.info);
        let advance = |split: &Arc<Split>| split.advance();
        let follower = Follower::start("gate follower", advance).map_err(GateError::Thread)?;
        let (size, sector_size) = (device.size, device.sector_size);
        let desk = Arc::new(Desk::new(kernel, backend, follower, size, sector_size));
        let receivers = Receivers::start(&desk, limits.receivers).map_err(GateError::Thread)?;
        let new = NewDevice {
            name: &name,
            size,
            sector_size,
            info: &info,
            max_count: 0,
            timeout: 0,
        };
        // On failure the receivers, who have not begun, end when what they wait for is dropped.
        let claimed = claim(&*desk.kernel, &new, limits.patience)?;
        let (Claimed::New(unit) | Claimed::TakenOver(unit)) = claimed;
        desk.step(Step::Opened(unit));
        receivers.begin(unit);
        match claimed {
            Claimed::New(_) => log::info!("/dev/{name} was made"),
            Claimed::TakenOver(_) => log::info!("/dev/{name} was there, and was taken over"),
        }
        Ok(Self {
            desk,
            name,
            receivers,
            info: Mutex::new(info),
            reads: Mutex::new(Reads::new(device.source)),
            limits,
        })
    }

    /// The device's name, below /dev.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives up what serving the device does not take: this process is about to be confined. Who has the
    /// device open can not be seen from then on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn confine(&self) -> Result<(), GateError> {
        self.desk
            .kernel
            .confine()
            .map_err(|errno| GateError::Kernel {
                operation: "limit what can be done with",
                name: self.name.clone(),
                errno,
            })
    }

    /// Whether somebody else destroyed the device: nothing comes from it any more.
    pub fn is_lost(&self) -> bool {
        self.desk.standing() == Standing::Vanished
    }

    /// Whether somebody has the device open; none where that can not be seen, as in a process that is confined.
    pub fn is_open(&self) -> Option<bool> {
        is_open(&*self.desk.kernel, &self.name).ok()
    }

    /// Says something else in `geom gate list`. What GEOM's description can not carry is left out.
    pub fn set_info(&self, text: &str) {
        let text = clean(text);
        let mut info = lock(&self.info);
        if *info != text {
            self.modify("describe", Change::Info(&text));
            *info = text;
        }
    }

    /// Lets the kernel read from the local component by itself, or not. Where there is nothing to read from,
    /// or reading was barred, it never does.
    pub fn set_direct_reads(&self, on: bool) {
        let desk = &*self.desk;
        let mut reads = lock(&self.reads);
        let size = desk.size.load(Ordering::Relaxed);
        let result = desk.tell(|unit| {
            if on {
                reads.on(&*desk.kernel, unit, size, desk.sector_size)
            } else {
                reads.off(&*desk.kernel, unit)
            }
        });
        self.told("switch direct reads of", result);
    }

    /// Ends direct reads for good: the local component failed. To be called before anybody is told of what
    /// the component lacks; after it, no read that begins is the kernel's own.
    pub fn bar_direct_reads(&self) {
        let desk = &*self.desk;
        let mut reads = lock(&self.reads);
        let result = desk.tell(|unit| reads.bar(&*desk.kernel, unit));
        self.told("switch direct reads of", result);
    }

    /// Whether the kernel reads by itself.
    pub fn has_direct_reads(&self) -> bool {
        lock(&self.reads).are_on()
    }

    /// Makes the device larger or smaller. The kernel tells its users.
    ///
    /// # Errors
    /// The size is 0, or not whole sectors; or the device is gone.
    pub fn resize(&self, size: u64) -> Result<(), GateError> {
        let desk = &*self.desk;
        // Held, so that direct reads are switched on for one size or the other.
        let mut reads = lock(&self.reads);
        let before = desk.size.load(Ordering::Relaxed);
        // Requests for what is new may come before the call returns.
        desk.size.store(before.max(size), Ordering::Relaxed);
        let result = desk.tell(|unit| {
            reads.off(&*desk.kernel, unit)?;
            desk.kernel.modify(unit, Change::Size(size))
        });
        let now = if result.is_ok() { size } else { before };
        desk.size.store(now, Ordering::Relaxed);
        result.map_err(|errno| GateError::Kernel {
            operation: "resize",
            name: self.name.clone(),
            errno,
        })
    }

    /// Destroys the device. With `force` also while it is open: whoever has it open finds it gone, and
    /// what was not answered fails.
    ///
    /// # Errors
    /// It is open: then it goes on being served.
    pub fn release(&self, force: bool) -> Result<(), ReleaseError> {
        let Some(unit) = self.desk.standing().unit() else {
            return Ok(());
        };
        if force {
            self.end_direct_reads(unit);
            self.desk.step(Step::End);
        } else {
            self.desk.step(Step::Release);
        }
        match self.desk.kernel.destroy(unit, force) {
            // Gone already.
            Ok(()) | Err(Errno::ENXIO) => {
                self.desk.step(Step::End);
                self.end_threads();
                log::info!("/dev/{} was destroyed", self.name);
                Ok(())
            }
            Err(errno) => {
                self.desk.step(Step::Kept);
                if errno == Errno::EBUSY {
                    return Err(Busy::of(&*self.desk.kernel, self.name.clone()).into());
                }
                let name = self.name.clone();
                Err(ReleaseError::Kernel { name, errno })
            }
        }
    }

    /// Stops serving and leaves the device in place, for another process to take over. Requests under way
    /// are given a moment; what is not answered then the kernel hands out again.
    pub fn leave(&self) {
        let desk = &*self.desk;
        if desk.standing().unit().is_some() {
            self.set_direct_reads(false);
        }
        desk.step(Step::Leave);
        desk.areas.close();
        if !self.receivers.end(&*desk.kernel, LAST_MOMENT) {
            log::warn!("gate: a thread does not end: it waits for a buffer or the backend");
        }
        // Nobody waits for answers of a device that is gone.
        if desk.standing().unit().is_some() && !desk.settle(self.limits.drain) {
            log::warn!("/dev/{} is left with requests unanswered", self.name);
        }
        let unit = desk.step(Step::End).unit();
        desk.follower.stop();
        if let Some(unit) = unit {
            match desk.kernel.cancel(unit, None) {
                Ok(()) => log::info!("/dev/{} is left in place", self.name),
                Err(errno) => log::error!("cannot leave /dev/{} in place: {errno}", self.name),
            }
        }
    }

    fn modify(&self, operation: &'static str, change: Change<'_>) {
        let desk = &*self.desk;
        let result = desk.tell(|unit| desk.kernel.modify(unit, change));
        self.told(operation, result);
    }

    /// Notes how a call ended that nobody waits for.
    fn told(&self, operation: &'static str, result: Result<(), Errno>) {
        match result {
            Ok(()) => {}
            Err(Errno::ENXIO) => self.desk.vanished(),
            Err(errno) => log::error!("cannot {operation} /dev/{}: {errno}", self.name),
        }
    }

    /// Ends direct reads, and waits for those under way: destroying a device by force while the kernel reads
    /// for it makes the kernel crash (g_gate_done uses what g_gate_destroy frees).
    fn end_direct_reads(&self, unit: Unit) {
        self.bar_direct_reads();
        let deadline = Instant::now() + READS_END;
        while Instant::now() < deadline {
            let Ok(text) = self.desk.kernel.configuration() else {
                if lock(&self.reads).are_possible() {
                    pause(BLIND);
                }
                return;
            };
            let mesh = Mesh::parse(&text);
            // The consumer goes with the last of its reads.
            let reading = |name| {
                mesh.provider(CLASS, name)
                    .is_some_and(|(geom, _)| !geom.consumers.is_empty())
            };
            if !reading(&self.name) {
                return;
            }
            pause(LOOK);
        }
        log::warn!(
            "/dev/{} (unit {}) is destroyed while the kernel reads for it",
            self.name,
            unit.0
        );
    }

    fn end_threads(&self) {
        self.desk.areas.close();
        if !self.receivers.end(&*self.desk.kernel, LAST_MOMENT) {
            log::warn!("gate: a thread does not end: it waits for a buffer or the backend");
        }
        self.desk.follower.stop();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Refuses what the kernel or we could not serve.
fn check(device: &Device, name: &str, budget: usize) -> Result<(), GateError> {
    let reason = if name.len() > MAX_NAME || device.name.is_empty() {
        format!(
            "its name has to have 1 to {} bytes",
            MAX_NAME - FOLDER.len()
        )
    } else if !device.sector_size.is_power_of_two() {
        format!(
            "its sectors have {} bytes, which is no power of two",
            device.sector_size
        )
    } else if device.size == 0 || !device.size.is_multiple_of(u64::from(device.sector_size)) {
        let (size, sector) = (device.size, device.sector_size);
        format!("its size of {size} bytes is not whole sectors of {sector}")
    } else if budget < MAX_REQUEST as usize {
        format!("a buffer budget of {budget} bytes is too small; {MAX_REQUEST} is the least")
    } else {
        return Ok(());
    };
    let name = name.to_owned();
    Err(GateError::Unfit { name, reason })
}

/// A text as the kernel can put it into GEOM's XML, where it escapes nothing: printable, without markup,
/// and short enough.
fn clean(text: &str) -> String {
    let allowed = |c: char| match c {
        '<' | '>' | '&' => '?',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(allowed).take(MAX_INFO).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_text_is_plain_and_short() {
        assert_eq!(clean("primary, peer 10.0.0.2"), "primary, peer 10.0.0.2");
        assert_eq!(clean("</info>&x\n\u{fc}"), "?/info??x??");
        assert_eq!(clean(&"x".repeat(5000)).len(), MAX_INFO);
    }
}
