//! A network that can be spoiled: a TCP proxy between the nodes which can cut connections,
//! fall silent in one direction or both while the connection stays, and delay.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces on their way in one direction of one connection.
const IN_FLIGHT: usize = 1024;
const PIECE: usize = 64 << 10;

/// A direction, seen from the node that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    There = 0,
    Back = 1,
}

#[derive(Debug, Default)]
struct State {
    silent: [bool; 2],
    delay: Duration,
    /// Bytes a second of each direction of a connection.
    rate: Option<u32>,
    refusing: bool,
    ended: bool,
    connections: Vec<Weak<(TcpStream, TcpStream)>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The proxy in front of one address. Ends with all its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts to pass connections on to a port of this machine.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                let state = own.state.lock().unwrap();
                if state.ended {
                    return;
                }
                if state.refusing {
                    continue;
                }
                drop(state);
                // Nobody listens: the client finds its connection closed.
                if let (Ok(client), Ok(server)) =
                    (client, TcpStream::connect((Ipv4Addr::LOCALHOST, target)))
                {
                    own.pass(client, server);
                }
            }
        });
        Self { address, shared }
    }

    /// Where to connect to instead.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends every connection there is; new ones are passed on.
    pub fn cut(&self) {
        let connections = std::mem::take(&mut self.shared.state.lock().unwrap().connections);
        for connection in connections.iter().filter_map(Weak::upgrade) {
            let _ = connection.0.shutdown(Shutdown::Both);
            let _ = connection.1.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
    }

    /// Whether new connections are closed at once; those there are stay.
    fn refuse(&self, refusing: bool) {
        self.change(|state| state.refusing = refusing);
    }

    /// As if the cable were out: no connection, and none can be made.
    pub fn unplug(&self) {
        self.refuse(true);
        self.cut();
    }

    /// Connections can be made again.
    pub fn plug(&self) {
        self.refuse(false);
    }

    /// Whether what is sent that way stays where it is, with no end of the connection to be seen.
    pub fn silence(&self, way: Way, silent: bool) {
        self.change(|state| state.silent[way as usize] = silent);
    }

    /// How long everything takes, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    /// How many bytes a second each direction of a connection carries.
    pub fn throttle(&self, rate: Option<u32>) {
        self.change(|state| state.rate = rate);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|state| {
            state.ended = true;
            state.silent = [false; 2];
        });
        self.cut();
        // So that the listening thread looks up.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn pass(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let pair = Arc::new((client, server));
        let mut state = self.state.lock().unwrap();
        state.connections.retain(|other| other.strong_count() > 0);
        state.connections.push(Arc::downgrade(&pair));
        drop(state);
        for way in [Way::There, Way::Back] {
            let (sender, receiver) = sync_channel(IN_FLIGHT);
            let (shared, reading) = (Arc::clone(self), Arc::clone(&pair));
            thread::spawn(move || shared.take(way, &reading, &sender));
            let (shared, writing) = (Arc::clone(self), Arc::clone(&pair));
            thread::spawn(move || shared.give(way, &writing, &receiver));
        }
    }

    fn take(&self, way: Way, pair: &(TcpStream, TcpStream), to: &SyncSender<(Instant, Vec<u8>)>) {
        let mut from = [&pair.0, &pair.1][way as usize];
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let delay = self.state.lock().unwrap().delay;
            if to
                .send((Instant::now() + delay, piece[..length].to_vec()))
                .is_err()
            {
                return;
            }
        }
    }

    fn give(&self, way: Way, pair: &(TcpStream, TcpStream), from: &Receiver<(Instant, Vec<u8>)>) {
        let mut to = [&pair.1, &pair.0][way as usize];
        while let Ok((due, piece)) = from.recv() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let rate = self.wait_while_silent(way);
            if to.write_all(&piece).is_err() {
                break;
            }
            if let Some(rate) = rate {
                thread::sleep(Duration::from_secs(piece.len() as u64) / rate);
            }
        }
        self.wait_while_silent(way);
        let _ = to.shutdown(Shutdown::Write);
    }

    /// The rate once there is no silence.
    fn wait_while_silent(&self, way: Way) -> Option<u32> {
        let state = self.state.lock().unwrap();
        let silent = |state: &mut State| state.silent[way as usize];
        self.changed.wait_while(state, silent).unwrap().rate
    }
}
