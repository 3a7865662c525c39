//! Where requests from the kernel are taken in, handed to the backend, and answered.
//!
//! Invariants: a request taken in is answered once, or given up unanswered because the kernel hands it
//! over again (to us or to whoever takes the device over); no answer is sent once the device is not
//! ours; an error that would make the kernel do something of its own is never an answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use nix::errno::Errno;

use super::areas::Areas;
use super::kernel::{GateCommand, GateRequest, Kernel, Sequence, Unit};
use super::split::Split;
use super::standing::{Standing, Step};
use crate::provider::follower::Follower;
use crate::provider::{
    Backend, Buffer, BufferError, Command, Done, MAX_REQUEST, ProviderRequest, Requester, lock,
};

/// What all threads of a device share.
pub(super) struct Desk {
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) areas: Arc<Areas>,
    pub(super) follower: Follower<Split>,
    /// In bytes.
    pub(super) size: AtomicU64,
    /// In bytes.
    pub(super) sector_size: u32,
    /// Held for reading while the kernel is told something, so that whoever ends that waits for it.
    standing: RwLock<Standing>,
    /// Requests taken in and not answered.
    under_way: Mutex<usize>,
    settled: Condvar,
}

impl Desk {
    pub(super) fn new(
        kernel: Arc<dyn Kernel>,
        backend: Arc<dyn Backend>,
        follower: Follower<Split>,
        size: u64,
        sector_size: u32,
    ) -> Self {
        Self {
            kernel,
            backend,
            areas: Arc::default(),
            follower,
            size: AtomicU64::new(size),
            sector_size,
            standing: RwLock::new(Standing::Opening),
            under_way: Mutex::new(0),
            settled: Condvar::new(),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        *self.standing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a step, once nothing is being answered. How it stood before.
    pub(super) fn step(&self, step: Step) -> Standing {
        let mut standing = self
            .standing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = *standing;
        *standing = before.after(step);
        before
    }

    /// Tells the kernel something of the device, unless it is not ours.
    pub(super) fn tell<T>(&self, what: impl FnOnce(Unit) -> Result<T, Errno>) -> Result<T, Errno> {
        let standing = self.standing.read().unwrap_or_else(PoisonError::into_inner);
        standing.unit().map_or(Err(Errno::ENXIO), what)
    }

    /// Takes a request in, with a write's data. Waits for buffers.
    pub(super) fn take(self: &Arc<Self>, request: GateRequest, data: &[u8]) {
        *lock(&self.under_way) += 1;
        let command = match request.command {
            GateCommand::Read => Command::Read,
            GateCommand::Write => Command::Write,
            GateCommand::Delete => Command::Delete,
            GateCommand::Flush => Command::Flush,
            // A hint: somebody waits for writes or deletes to finish. None is held back here.
            GateCommand::Speedup => return self.answer(&request, Ok(&[])),
            GateCommand::Other(number) => {
                log::debug!("gate: a request with the unknown command {number:#x} was refused");
                return self.answer(&request, Err(Errno::EOPNOTSUPP));
            }
        };
        if command == Command::Flush {
            // Its offset is the device's size (g_io_flush), and means nothing.
            return self.submit(&request, command, 0, 0, None);
        }
        if let Err(error) = self.check(&request) {
            log::warn!("gate: {request:?} was refused: it is not whole sectors of the device");
            return self.answer(&request, Err(error));
        }
        if request.length > u64::from(MAX_REQUEST) {
            return Split::begin(self, request, command, data);
        }
        let length = request.length as u32;
        let buffer = match command {
            Command::Read | Command::Write => match self.buffer(length as usize) {
                Ok(buffer) => Some(buffer),
                Err(_) => return self.give_up(),
            },
            Command::Delete | Command::Flush | Command::Zeroes => None,
        };
        let buffer = buffer.map(|mut buffer| {
            if command == Command::Write {
                buffer.copy_from_slice(&data[..length as usize]);
            }
            buffer
        });
        self.submit(&request, command, request.offset, length, buffer);
    }

    /// A buffer; an error if the request that it is for is to be given up.
    pub(super) fn buffer(&self, length: usize) -> Result<Buffer, BufferError> {
        let buffer = self.backend.buffer(length)?;
        // Waiting may have taken long.
        if self.standing().receives() {
            Ok(buffer)
        } else {
            Err(BufferError::Closed)
        }
    }

    fn submit(
        self: &Arc<Self>,
        request: &GateRequest,
        command: Command,
        offset: u64,
        length: u32,
        data: Option<Buffer>,
    ) {
        let id = request.sequence.0;
        let request = ProviderRequest::new(self.clone(), id, command, offset, length, data);
        self.backend.submit(request);
    }

    /// Answers a request that was taken in.
    pub(super) fn answer(&self, request: &GateRequest, result: Result<&[u8], Errno>) {
        let result = result.map_err(answerable);
        match self.tell(|unit| self.kernel.done(unit, request, result)) {
            Ok(()) => {}
            // Whoever waited was told by the kernel, or will be served by another.
            Err(Errno::ENXIO) => {}
            Err(Errno::ENOENT) => self.vanished(),
            Err(error) => log::error!("gate: cannot answer {request:?}: {error}"),
        }
        self.off_the_desk();
    }

    /// Leaves a request unanswered: the kernel is going to hand it over again.
    pub(super) fn give_up(&self) {
        self.off_the_desk();
    }

    fn off_the_desk(&self) {
        let mut under_way = lock(&self.under_way);
        *under_way -= 1;
        if *under_way == 0 {
            self.settled.notify_all();
        }
    }

    /// Waits until everything taken in is answered or given up. Whether it is.
    pub(super) fn settle(&self, limit: Duration) -> bool {
        let under_way = lock(&self.under_way);
        let waited = self
            .settled
            .wait_timeout_while(under_way, limit, |count| *count > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The kernel says that there is no such device any more.
    pub(super) fn vanished(&self) {
        if matches!(self.step(Step::Vanished), Standing::Serving(_)) {
            log::error!("gate: the device was destroyed by somebody else");
        }
    }

    /// GEOM checks all of this, for the size that it knows: a device may have shrunk since.
    fn check(&self, request: &GateRequest) -> Result<(), Errno> {
        let sector = u64::from(self.sector_size);
        let (offset, length) = (request.offset, request.length);
        if length == 0 || !offset.is_multiple_of(sector) || !length.is_multiple_of(sector) {
            return Err(Errno::EINVAL);
        }
        match offset.checked_add(length) {
            Some(end) if end <= self.size.load(Ordering::Relaxed) => Ok(()),
            _ => Err(Errno::EIO),
        }
    }
}

/// A request that is one for the backend, too.
impl Requester for Desk {
    fn completed(self: Arc<Self>, done: Done) {
        let command = match done.command {
            Command::Read => GateCommand::Read,
            Command::Write => GateCommand::Write,
            Command::Delete | Command::Zeroes => GateCommand::Delete,
            Command::Flush => GateCommand::Flush,
        };
        let request = GateRequest {
            sequence: Sequence(done.id),
            command,
            offset: done.offset,
            length: u64::from(done.length),
        };
        match done.data() {
            Ok(data) => self.answer(&request, Ok(data.as_deref().unwrap_or(&[]))),
            Err(error) => self.answer(&request, Err(error)),
        }
    }
}

/// An error as whoever uses the device may get it. Others mean something to the kernel: EAGAIN puts the
/// request back, ENOMEM makes GEOM try again and slow down, ENXIO makes file systems take the
/// device for gone.
fn answerable(error: Errno) -> Errno {
    match error {
        Errno::ENOSPC | Errno::EOPNOTSUPP | Errno::EROFS | Errno::EPERM | Errno::EINVAL => error,
        _ => Errno::EIO,
    }
}
