//! The NBD provider: against our own client, against clients nobody here wrote, and against
//! peers that misbehave.

#![allow(clippy::unwrap_used)] // helpers of tests fail tests

mod backend;
mod malformed;
mod own_client;
#[path = "../support/mod.rs"]
mod support;
mod tools;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hast::provider::Backend;
use hast::provider::nbd::client::Client;
use hast::provider::nbd::{Export, Limits, ListenAddress, Server};
use tempfile::TempDir;

/// How long our client waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a unix socket in a folder of its own.
struct Served {
    server: Server,
    folder: TempDir,
}

impl Served {
    fn new(size: u64, backend: Arc<dyn Backend>) -> Self {
        Self::with(size, backend, Limits::default())
    }

    fn with(size: u64, backend: Arc<dyn Backend>, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = ListenAddress::Unix(folder.path().join("socket"));
        let export = Export {
            name: "disk1".into(),
            size,
            sector_size: 512,
        };
        let server = Server::start_with(&address, export, backend, limits).unwrap();
        Self { server, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn uri(&self) -> String {
        uri(&self.socket())
    }

    fn client(&self) -> Client {
        Client::connect(self.server.address(), "disk1", PATIENCE).unwrap()
    }
}

fn uri(socket: &Path) -> String {
    format!("nbd+unix:///disk1?socket={}", socket.display())
}

/// Bytes that differ from place to place.
fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}
