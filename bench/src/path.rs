//! The way between the nodes: loopback as it is, or with time added to every round trip.
//!
//! A network namespace with netem is the real thing, TCP's windows included; it needs root and
//! the kernel's netem. Where there is none, a relay that holds every byte back stands in: it
//! shows what waiting for answers costs, but TCP itself sees no delay.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use crate::Result;
use crate::process::output_of;

/// Added to each direction: 40 ms of round trip.
pub const ONE_WAY: Duration = Duration::from_millis(20);

/// Packets that netem may hold: its own 1000 would drop at these rates.
const NETEM_PACKETS: &str = "200000";

/// Bytes that the relay moves at once.
const RELAY_PIECE: usize = 256 << 10;

/// Where the nodes meet.
#[derive(Debug)]
pub enum Path {
    /// Loopback.
    Direct,
    /// Loopback of a network namespace, delayed by netem.
    Namespace(Namespace),
    /// Loopback through relays of this program.
    Relay,
}

impl Path {
    /// One that adds [`ONE_WAY`] to each direction.
    pub fn delayed() -> Self {
        match Namespace::new() {
            Ok(namespace) => Self::Namespace(namespace),
            Err(error) => {
                eprintln!("   no netem here ({error}): a relay delays instead");
                Self::Relay
            }
        }
    }

    /// What to say of it in the table.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Direct => "loopback",
            Self::Namespace(_) => "netem",
            Self::Relay => "relay, no netem here",
        }
    }

    /// What stands before the command line of a program that uses it.
    pub fn prefix(&self) -> Vec<String> {
        match self {
            Self::Namespace(namespace) => ["ip", "netns", "exec", &namespace.name]
                .map(str::to_owned)
                .to_vec(),
            Self::Direct | Self::Relay => Vec::new(),
        }
    }

    /// The address by which `target` is reached: its own, or that of a new relay before it.
    pub fn through(&self, target: &str) -> Result<String> {
        match self {
            Self::Relay => relay(target.to_owned()),
            Self::Direct | Self::Namespace(_) => Ok(target.to_owned()),
        }
    }
}

/// A network namespace; it goes when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Err("not root".into());
        }
        let namespace = Self {
            name: format!("hast-bench-{}", std::process::id()),
        };
        let name = namespace.name.as_str();
        let milliseconds = format!("{}ms", ONE_WAY.as_millis());
        output_of(Command::new("ip").args(["netns", "add", name]))?;
        output_of(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]))?;
        output_of(Command::new("tc").args([
            "-n",
            name,
            "qdisc",
            "add",
            "dev",
            "lo",
            "root",
            "netem",
            "delay",
            &milliseconds,
            "limit",
            NETEM_PACKETS,
        ]))?;
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // If it was never added there is nothing to delete.
        let _ = output_of(Command::new("ip").args(["netns", "delete", &self.name]));
    }
}

/// Accepts connections for `target` for as long as this program runs; returns where.
fn relay(target: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let Ok(near) = near else { return };
            // Nobody there: closing says so.
            if let Ok(far) = TcpStream::connect(&target) {
                join(&near, &far);
            }
        }
    });
    Ok(address)
}

fn join(near: &TcpStream, far: &TcpStream) {
    for (from, to) in [(near, far), (far, near)] {
        let ends = from
            .try_clone()
            .and_then(|from| Ok((from, to.try_clone()?)));
        let Ok((from, to)) = ends else { return };
        let (queue, held) = channel();
        std::thread::spawn(move || take(from, &queue));
        std::thread::spawn(move || give(to, &held));
    }
}

type Held = (Instant, Vec<u8>);

fn take(mut from: TcpStream, queue: &Sender<Held>) {
    let mut buffer = vec![0; RELAY_PIECE];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if queue
            .send((Instant::now(), buffer[..count].to_vec()))
            .is_err()
        {
            break;
        }
    }
    // Let the sender know that nobody reads any more; it may be gone already.
    let _ = from.shutdown(Shutdown::Read);
}

fn give(mut to: TcpStream, held: &Receiver<Held>) {
    // Without this small messages would wait for the acknowledgement of earlier ones.
    let _ = to.set_nodelay(true);
    for (taken, bytes) in held {
        std::thread::sleep((taken + ONE_WAY).saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // The other end may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}
