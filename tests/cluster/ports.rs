//! TCP ports for daemons that must know theirs before they start, and keep them over restarts.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below the ports that Linux (from 32768 on) and FreeBSD (from 10000 on) give to outgoing
/// connections: a port from among those could be taken by somebody while its daemon is down.
const RANGE: std::ops::Range<u16> = 2000..10000;

/// Given to other tests of this process.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens at. Another process may take it in the moment before its daemon
/// does: then that says so, and the caller takes another.
pub fn free_port() -> u16 {
    let mut given = GIVEN.lock().expect("no panic under it");
    loop {
        let port = fastrand::u16(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && given.insert(port) {
            return port;
        }
    }
}
