//! The GEOM gate provider, against a model of the kernel.

#![allow(clippy::unwrap_used)] // helpers of tests fail tests

#[allow(dead_code)] // the NBD provider's tests need more of it
#[path = "../nbd/backend.rs"]
mod backend;
mod endings;
mod holders;
mod load;
mod model;
mod opening;
mod orphan;
mod process;
mod reads;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use hast::provider::Backend;
use hast::provider::gate::kernel::Kernel;
use hast::provider::gate::{Device, Gate, GateError, Limits};
use model::{Client, Model};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// The size of most devices, in bytes.
const SIZE: u64 = 8 << 20;
/// The name of most devices.
const NAME: &str = "hast/disk1";
/// kern.maxphys of most kernels here: small, so that there are requests that are longer.
const MAX_TRANSFER: usize = 128 << 10;

/// A device of [`SIZE`] bytes.
fn device() -> Device {
    Device {
        name: "disk1".into(),
        size: SIZE,
        sector_size: 512,
        info: "a test".into(),
        source: None,
    }
}

/// Limits with so many threads, for which a test need not wait long.
fn limits(receivers: usize) -> Limits {
    Limits {
        receivers,
        drain: PATIENCE,
        patience: Duration::from_millis(300),
    }
}

fn open(kernel: impl Kernel + 'static, backend: Arc<dyn Backend>) -> Result<Gate, GateError> {
    Gate::open_with(Arc::new(kernel), device(), backend, limits(4))
}

/// A kernel with a device, and someone who has it open.
struct Served {
    model: Model,
    // Closed before the device is left.
    client: Option<Client>,
    gate: Gate,
}

impl Served {
    fn new(backend: Arc<dyn Backend>) -> Self {
        Self::on(Model::new(MAX_TRANSFER), backend, device(), limits(4))
    }

    /// Where nobody but the test asks for anything.
    fn untasted(backend: Arc<dyn Backend>, device: Device, limits: Limits) -> Self {
        Self::on(Model::untasted(MAX_TRANSFER), backend, device, limits)
    }

    fn on(model: Model, backend: Arc<dyn Backend>, device: Device, limits: Limits) -> Self {
        let gate = Gate::open_with(Arc::new(model.clone()), device, backend, limits).unwrap();
        model.tasted();
        let client = Some(model.open(NAME).unwrap());
        Self {
            model,
            client,
            gate,
        }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// What GEOM says of the device.
    fn description(&self) -> String {
        self.model.configuration().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.model.crash(), None);
        }
    }
}

/// Bytes that differ from place to place.
fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}
