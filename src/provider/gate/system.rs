//! GEOM gate of the kernel that this runs on (FreeBSD).

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::thread::JoinHandle;

use hast_ffi::gate::{self, Access, Create, DirectReads, Modify, Request};
use hast_ffi::{capsicum, interrupt, modules, mounts, sysctl};
use nix::errno::Errno;

use super::kernel::{
    Change, GateCommand, GateRequest, Kernel, Mount, NewDevice, Sequence, Started, Unit,
};

/// kern.maxphys where it can not be read, in bytes: the default of 64-bit kernels.
const USUAL_TRANSFER: usize = 1 << 20;

/// The kernel. Everything but [`Kernel::load`], [`Kernel::create`], [`Kernel::configuration`] and
/// [`Kernel::mounts`] works in capability mode, too.
#[derive(Debug, Default)]
pub struct System {
    control: OnceLock<File>,
    max_transfer: OnceLock<usize>,
}

impl System {
    fn opened(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.control.get().map(AsFd::as_fd).ok_or(Errno::EBADF)
    }
}

impl Kernel for System {
    fn load(&self) -> Result<(), Errno> {
        interrupt::prepare()?;
        // In a kernel that has it built in there is nothing to load.
        if !modules::is_present(gate::MODULE)? {
            modules::load(gate::MODULE_FILE)?;
        }
        if self.control.get().is_none() {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .open(gate::CONTROL);
            let file =
                opened.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
            self.control.get_or_init(|| file);
        }
        let bytes = sysctl::number(c"kern.maxphys").ok();
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        self.max_transfer
            .get_or_init(|| bytes.unwrap_or(USUAL_TRANSFER));
        Ok(())
    }

    fn confine(&self) -> Result<(), Errno> {
        let control = self.opened()?;
        let limited = capsicum::limit(control, &capsicum::CONTROL)
            .and_then(|()| capsicum::limit_ioctls(control, &gate::WORKER_REQUESTS));
        match limited {
            // A kernel without capability mode.
            Err(Errno::ENOSYS) => Ok(()),
            limited => limited,
        }
    }

    fn max_transfer(&self) -> usize {
        self.max_transfer.get().copied().unwrap_or(USUAL_TRANSFER)
    }

    fn create(&self, device: &NewDevice<'_>) -> Result<Unit, Errno> {
        let create = Create {
            name: device.name,
            mediasize: device.size,
            sectorsize: device.sector_size,
            access: Access::Both,
            maxcount: device.max_count,
            timeout: device.timeout,
            info: device.info,
            direct_reads: None,
        };
        gate::create(self.opened()?, &create).map(Unit)
    }

    fn modify(&self, unit: Unit, change: Change<'_>) -> Result<(), Errno> {
        let change = match change {
            Change::Size(size) => Modify::MediaSize(size),
            Change::Info(info) => Modify::Info(info),
            Change::ReadFrom { provider, offset } => {
                Modify::DirectReads(DirectReads { provider, offset })
            }
            Change::ReadNothing => Modify::NoDirectReads,
        };
        gate::modify(self.opened()?, unit.0, &change)
    }

    fn destroy(&self, unit: Unit, force: bool) -> Result<(), Errno> {
        gate::destroy(self.opened()?, gate::Device::Unit(unit.0), force)
    }

    fn cancel(&self, unit: Unit, sequence: Option<Sequence>) -> Result<(), Errno> {
        let sequence = sequence.map(|sequence| sequence.0 as usize);
        gate::cancel(self.opened()?, gate::Device::Unit(unit.0), sequence).map(drop)
    }

    fn start(&self, unit: Unit, buffer: &mut [u8]) -> Result<Started, Errno> {
        match gate::start(self.opened()?, unit.0, buffer) {
            Ok(gate::Started::Request(request)) => Ok(Started::Request(GateRequest {
                sequence: Sequence(request.seq as u64),
                command: GateCommand::from_number(request.command),
                offset: request.offset,
                length: request.length,
            })),
            Ok(gate::Started::TooLong(length)) => Ok(Started::NeedsMore(length as usize)),
            Ok(gate::Started::Destroyed) => Ok(Started::Cancelled),
            Err(Errno::ENXIO) => Ok(Started::Gone),
            Err(Errno::EINTR) => Ok(Started::Interrupted),
            Err(error) => Err(error),
        }
    }

    fn done(
        &self,
        unit: Unit,
        request: &GateRequest,
        answer: Result<&[u8], Errno>,
    ) -> Result<(), Errno> {
        let request = Request {
            seq: request.sequence.0 as usize,
            command: request.command.number(),
            offset: request.offset,
            length: request.length,
        };
        gate::done(self.opened()?, unit.0, &request, answer)
    }

    fn interrupt(&self, thread: &JoinHandle<()>) {
        // One that has ended needs no interruption.
        let _ = interrupt::interrupt(thread);
    }

    fn configuration(&self) -> Result<String, Errno> {
        sysctl::text(c"kern.geom.confxml")
    }

    fn mounts(&self) -> Result<Vec<Mount>, Errno> {
        let mounts = mounts::list()?.into_iter().map(|mount| Mount {
            from: mount.from.to_string_lossy().into_owned(),
            on: mount.on.to_string_lossy().into_owned(),
        });
        Ok(mounts.collect())
    }
}
