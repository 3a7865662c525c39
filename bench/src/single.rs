//! One plain copy: `nbdkit file`, what a user would have without replication.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::process::{Running, wait_until};

/// nbdkit serving a file.
#[derive(Debug)]
pub struct Single {
    /// Where it listens.
    pub socket: PathBuf,
    _server: Running,
}

impl Single {
    /// Serves `file` on a socket in `sockets`.
    pub fn start(file: &Path, sockets: &Path, name: &str) -> Result<Self> {
        let socket = sockets.join(format!("{name}.single"));
        let mut command = Command::new("nbdkit");
        command
            .args(["--foreground", "--unix"])
            .arg(&socket)
            .arg("file")
            .arg(file);
        let server = Running::start(command, &sockets.join(format!("{name}.nbdkit.log")))?;
        wait_until("nbdkit's socket", Duration::from_secs(10), || {
            Ok(socket.exists())
        })?;
        Ok(Self {
            socket,
            _server: server,
        })
    }
}
