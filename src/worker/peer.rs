//! A pair of connections to the peer: one that requests go along, one that replies come back on.
//!
//! Never reads or writes: it sets the sockets up, and closes both at once.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

use super::confinement;

/// Probes a silent peer gets before the system gives it up.
const PROBES: u32 = 3;
/// The least time between two probes that systems know.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// The two sockets of a peer.
#[derive(Debug)]
pub struct Connection {
    /// What this node sends goes here.
    pub outgoing: Arc<Socket>,
    /// What it receives comes from here.
    pub incoming: Arc<Socket>,
}

impl Connection {
    /// Closes both, whoever is sending or receiving.
    pub fn shut(&self) {
        // Fails only where the connection is gone already.
        let _ = self.outgoing.shutdown(Shutdown::Both);
        let _ = self.incoming.shutdown(Shutdown::Both);
    }
}

/// Sets a connected socket up: blocking, without delay, and such that the system finds out within
/// about `timeout` that the other machine is gone, even when nothing is to be sent.
pub fn prepare(descriptor: OwnedFd, timeout: Duration) -> io::Result<Arc<Socket>> {
    let socket = Socket::from(descriptor);
    socket.set_nonblocking(false)?;
    socket.set_write_timeout(Some(timeout))?;
    socket.set_read_timeout(Some(timeout))?;
    if let Err(error) = tune(&socket, timeout) {
        // A connection that is not TCP works, too.
        log::debug!("setting up a connection: {error}");
    }
    confinement::limit_socket(&socket);
    Ok(Arc::new(socket))
}

fn tune(socket: &Socket, timeout: Duration) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let half = (timeout / 2).max(LEAST_INTERVAL);
    let keepalive = TcpKeepalive::new()
        .with_time(half)
        .with_interval((half / PROBES).max(LEAST_INTERVAL))
        .with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(timeout))?;
    Ok(())
}
