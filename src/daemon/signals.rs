//! Signals as readable bytes: the handler writes to a socket that the event loop watches.
//! Never does anything in a handler itself.

use std::io;
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// What a signal asks of the main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM, SIGINT: end.
    End,
    /// SIGUSR2: end, and leave the devices to the hastd that is started next.
    HandOver,
    /// SIGCHLD: a child may have ended.
    Child,
}

/// Signals that have come. SIGPIPE is ignored by the Rust runtime from the start.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Catches the signals from here on. A program started ignoring some of them (under
    /// nohup, say) catches them all the same.
    pub fn catch() -> io::Result<Self> {
        Self::catch_these(&[SIGHUP, SIGTERM, SIGINT, SIGUSR2, SIGCHLD])
    }

    /// Catches some of them only.
    pub fn catch_these(signals: &[i32]) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        write.set_nonblocking(true)?;
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, signals)?;
        Ok(Self { delivery })
    }

    /// The socket to watch.
    pub fn readable(&self) -> &UnixStream {
        self.delivery.get_read()
    }

    /// What has come since the last call; each at most once.
    pub fn take(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        for signal in self.delivery.pending() {
            let request = match signal {
                SIGHUP => Request::Reload,
                SIGCHLD => Request::Child,
                SIGUSR2 => Request::HandOver,
                _ => Request::End,
            };
            if !requests.contains(&request) {
                requests.push(request);
            }
        }
        requests
    }
}
