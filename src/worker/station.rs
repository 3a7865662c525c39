//! The control thread of a worker, for either role: ticks, status, reload and stop.
//!
//! Never does I/O on the component or the peer. It ends when the role has ended, or a bounded time
//! after it was told to stop or hastd's main process was gone.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::channel::{DeviceFate, FromWorker, ToWorker};
use super::exit;
use super::link::{Link, LinkError};
use crate::config::Resource;
use crate::control::{Permit, WorkerStatus};

/// How often a role looks at the time.
const TICK: Duration = Duration::from_secs(1);
/// How long a role may take to end cleanly. (The main process may be less patient.)
const STOP: Duration = Duration::from_mins(1);
/// How long it may take when nobody is left to take its place in an orderly way.
const ABANDONED: Duration = Duration::from_secs(2);

/// A role, as the control thread sees it. No method waits for the component or the peer.
pub trait Station {
    /// A second passed. `milliseconds` since the role was taken.
    fn tick(&self, milliseconds: u64);
    /// How it is.
    fn status(&self) -> WorkerStatus;
    /// What it may acknowledge alone; nothing to a secondary.
    fn permit(&self, permit: Permit);
    /// The configuration changed in place.
    fn reload(&self, resource: Resource);
    /// A connection that was asked for, or why there is none.
    fn connection(&self, number: u32, result: Result<OwnedFd, String>);
    /// Whether the device is open, as the main process was asked.
    fn opened(&self, number: u32, open: bool);
    /// Begin to end, and say so through the [`Ending`] when done; or say why it does not: the device is
    /// to be released, and is open.
    fn stop(&self, device: DeviceFate) -> Result<(), Busy>;
}

/// Who has the device open: one sentence for the administrator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Busy(pub String);

/// How a role says that it has ended.
#[derive(Debug)]
pub struct Ending {
    link: Arc<Link>,
    ended: AtomicBool,
}

impl Ending {
    /// A role that goes on.
    pub fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            ended: AtomicBool::new(false),
        }
    }

    /// The role has ended: lets [`attend`] return.
    pub fn reached(&self) {
        self.ended.store(true, Ordering::Release);
        self.link.hang_up();
    }
}

/// Serves the main process until the role has ended. Returns the exit code, where that is not the
/// role's to say.
pub fn attend(link: &Link, ending: &Ending, station: &dyn Station) -> Option<u8> {
    let begun = Instant::now();
    let mut next_tick = begun + TICK;
    let mut give_up: Option<Instant> = None;
    let mut abandoned = false;
    loop {
        let now = Instant::now();
        if ending.ended.load(Ordering::Acquire) {
            return None;
        }
        if give_up.is_some_and(|deadline| now >= deadline) {
            log::warn!("the role could not be ended in time; what is left is as after a crash");
            return Some(exit::TEMPORARY);
        }
        if now >= next_tick {
            station.tick(begun.elapsed().as_millis() as u64);
            log::logger().flush();
            next_tick = now + TICK;
        }
        let received = if abandoned {
            // Nothing comes any more: an early end is found out within this.
            crate::pause::pause(Duration::from_millis(10));
            continue;
        } else {
            link.receive(Some(
                give_up.map_or(next_tick, |deadline| deadline.min(next_tick)),
            ))
        };
        match received {
            Ok(None) => {}
            Ok(Some((ToWorker::Stop(device), _))) if give_up.is_none() => {
                match station.stop(device) {
                    Ok(()) => give_up = Some(Instant::now() + STOP),
                    Err(Busy(message)) => link.send(&FromWorker::Busy { message }),
                }
            }
            Ok(Some((message, descriptors))) => obey(link, station, message, descriptors),
            Err(_) if ending.ended.load(Ordering::Acquire) => return None,
            Err(error) => {
                match error {
                    LinkError::Closed => log::warn!("{error}: ending"),
                    error => log::error!("{error}"),
                }
                abandoned = true;
                // Whoever has the device open is served again by the next worker.
                if give_up.is_none()
                    && let Err(busy) = station.stop(DeviceFate::Keep)
                {
                    log::error!("{busy}");
                }
                give_up = Some(Instant::now() + ABANDONED);
            }
        }
    }
}

fn obey(link: &Link, station: &dyn Station, message: ToWorker, mut descriptors: Vec<OwnedFd>) {
    match message {
        ToWorker::Connection { number } => {
            if let Some(descriptor) = descriptors.pop() {
                station.connection(number, Ok(descriptor));
            }
        }
        ToWorker::ConnectionFailed { number, reason } => station.connection(number, Err(reason)),
        ToWorker::Open { number, open } => station.opened(number, open),
        ToWorker::Permit(permit) => station.permit(permit),
        ToWorker::Reload(resource) => station.reload(*resource),
        ToWorker::Status { number } => {
            let status = station.status().to_nv();
            link.send(&FromWorker::Report { number, status });
        }
        ToWorker::Begin(_) => log::warn!("told to begin while at it: ignored"),
        // The caller sees to the first; it is under way.
        ToWorker::Stop(_) => {}
    }
}
