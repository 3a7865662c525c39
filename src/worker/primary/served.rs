//! What requests come from: the primary's provider, whichever kind it is.
//!
//! Never decides when the kernel may read by itself, nor what becomes of the device: it is told. Invariant: a
//! device that others have open (consumers of GEOM gate's, clients of NBD's) is never taken from them unless asked
//! for with force, or unless it can not outlive this process, which ends.

use std::sync::{Arc, Mutex};

use crate::config::{Address, Provider, Resource, Target};
use crate::provider::Backend;
use crate::provider::gate::kernel::Kernel;
use crate::provider::gate::{self, Gate, ReleaseError};
use crate::provider::nbd::{Export, ListenAddress, Server};
use crate::worker::channel::DeviceFate;
use crate::worker::local::Local;
use crate::worker::lock;
use crate::worker::refusal::RoleError;
use crate::worker::station::Busy;

/// A provider that serves.
pub(super) enum Served {
    /// An NBD server, until it is stopped.
    Nbd(Mutex<Option<Server>>),
    /// A device of the kernel's.
    Gate(Gate),
}

impl Served {
    /// Begins to take requests, from `gate` if that is what the resource wants. The device says `info` of
    /// itself, where it can.
    pub(super) fn open(
        gate: Option<Arc<dyn Kernel>>,
        resource: &Resource,
        local: &Local,
        info: &str,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, RoleError> {
        match &resource.provider {
            Provider::Gate => {
                let kernel = gate.ok_or(RoleError::NoGate)?;
                Self::open_gate(kernel, resource, local, info, backend)
            }
            Provider::Nbd(address) => {
                let geometry = local.geometry();
                let export = Export {
                    name: resource.provname.clone(),
                    size: geometry.data_size,
                    sector_size: geometry.sector_size,
                };
                let server = Server::start(&listen_address(address), export, backend)?;
                Ok(Self::Nbd(Mutex::new(Some(server))))
            }
        }
    }

    fn open_gate(
        kernel: Arc<dyn Kernel>,
        resource: &Resource,
        local: &Local,
        info: &str,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, RoleError> {
        let geometry = local.geometry();
        let device = gate::Device {
            name: resource.provname.clone(),
            size: geometry.data_size,
            sector_size: geometry.sector_size,
            info: info.to_owned(),
            source: local.read_source(),
        };
        Ok(Self::Gate(Gate::open(kernel, device, backend)?))
    }

    /// Gives up what serving does not take, before the process is confined.
    pub(super) fn confine(&self) -> Result<(), RoleError> {
        match self {
            // It has done so already.
            Self::Nbd(_) => Ok(()),
            Self::Gate(gate) => Ok(gate.confine()?),
        }
    }

    /// Says something else of the device, where that can be seen.
    pub(super) fn set_info(&self, info: &str) {
        if let Self::Gate(gate) = self {
            gate.set_info(info);
        }
    }

    /// Lets whoever asks read the local component without us, where that is possible.
    pub(super) fn set_direct_reads(&self, on: bool) {
        if let Self::Gate(gate) = self {
            gate.set_direct_reads(on);
        }
    }

    /// Lets nobody read the local component without us any more.
    pub(super) fn bar_direct_reads(&self) {
        if let Self::Gate(gate) = self {
            gate.bar_direct_reads();
        }
    }

    /// Whether somebody has the device open; none where this process can not see that.
    pub(super) fn is_open(&self) -> Option<bool> {
        match self {
            Self::Nbd(server) => Some(lock(server).as_ref().is_some_and(|it| it.clients() > 0)),
            Self::Gate(gate) => gate.is_open(),
        }
    }

    /// Whether no requests come any more, though nobody here ended it.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Nbd(_) => false,
            Self::Gate(gate) => gate.is_lost(),
        }
    }

    /// Takes no more requests; those in flight are given a moment. Refuses if the device is to be released,
    /// and is open.
    pub(super) fn stop(&self, fate: DeviceFate) -> Result<(), Busy> {
        let gate = match self {
            Self::Nbd(server) => return stop_nbd(server, fate),
            Self::Gate(gate) => gate,
        };
        let result = match fate {
            DeviceFate::Release | DeviceFate::Vacate => gate.release(false),
            DeviceFate::Destroy => gate.release(true),
            DeviceFate::Keep => {
                gate.leave();
                Ok(())
            }
        };
        match (result, fate) {
            (Ok(()), _) => Ok(()),
            (Err(ReleaseError::Busy(busy)), DeviceFate::Release) => Err(Busy(busy.to_string())),
            (Err(error), _) => {
                log::warn!("{error}: it is left in place");
                gate.leave();
                Ok(())
            }
        }
    }
}

/// NBD's device goes with its server: it is kept only by not ending that.
fn stop_nbd(server: &Mutex<Option<Server>>, fate: DeviceFate) -> Result<(), Busy> {
    let mut server = lock(server);
    if fate == DeviceFate::Release
        && let Some(server) = &*server
    {
        server.close().map_err(|open| Busy(open.to_string()))?;
    }
    let server = server.take();
    drop(server);
    Ok(())
}

fn listen_address(address: &Address) -> ListenAddress {
    match address.target() {
        Target::Unix(path) => ListenAddress::Unix(path.clone()),
        Target::Tcp { host, port, .. } if host.contains(':') => {
            ListenAddress::Tcp(format!("[{host}]:{port}"))
        }
        Target::Tcp { host, port, .. } => ListenAddress::Tcp(format!("{host}:{port}")),
    }
}
