//! Peers and control clients that talk nonsense, slowly, or not at all: writing and hastctl go on,
//! and the daemon drops them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hast::control::{Request, Selection, encode};
use hast::nv::Nv;
use hast::wire::frame;

use crate::cluster::{Cluster, Setup};
use crate::load::Load;
use crate::node::Node;
use crate::observe::finish;

/// More than there is room for.
const SILENT: usize = 500;
/// Between the bytes of those who are slow.
const SLOW_PAUSE: Duration = Duration::from_millis(100);
/// How long hastctl may take beside all of that, on a busy machine.
const PROMPT: Duration = Duration::from_secs(10);

/// A pair under load whose daemons must not notice what comes.
struct Undisturbed {
    cluster: Cluster,
    load: Load,
}

impl Undisturbed {
    fn start(seed: u64) -> Self {
        let cluster = Setup::new("fullsync").pair();
        let load = cluster.a.load(seed);
        cluster.progress(&load, 20);
        Self { cluster, load }
    }

    /// Writes and hastctl go on at this moment.
    #[track_caller]
    fn check(&self) {
        let since = Instant::now();
        for node in [&self.cluster.a, &self.cluster.b] {
            assert!(
                node.ctl("status").contains("disk1\tcomplete "),
                "{}",
                node.log()
            );
        }
        let elapsed = since.elapsed();
        assert!(elapsed < PROMPT, "hastctl took {elapsed:?}");
        self.cluster.progress(&self.load, 20);
    }

    #[track_caller]
    fn end(self) {
        self.check();
        let written = finish(self.load);
        assert_eq!(written.lost_connections, 0);
        self.cluster.a.verify(&written.ledger);
        self.cluster.a.until_complete("disk1");
        self.cluster.assert_equal("disk1");
    }
}

/// Both kinds of socket.
trait Stream: Read + Write {
    fn set_patience(&self);
    fn end(&self);
}

impl Stream for TcpStream {
    fn set_patience(&self) {
        self.set_read_timeout(Some(crate::observe::LIMIT)).unwrap();
    }
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Stream for UnixStream {
    fn set_patience(&self) {
        self.set_read_timeout(Some(crate::observe::LIMIT)).unwrap();
    }
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

fn peer(port: u16) -> Box<dyn Stream> {
    Box::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap())
}

fn client(node: &Node) -> Box<dyn Stream> {
    Box::new(UnixStream::connect(node.control()).unwrap())
}

/// Every door there is.
fn doors(cluster: &Cluster) -> Vec<Box<dyn Stream>> {
    let peers = cluster.ports.map(peer);
    let clients = [&cluster.a, &cluster.b].map(client);
    peers.into_iter().chain(clients).collect()
}

/// Waits until the daemon has ended the connection; what it said before.
#[track_caller]
fn until_dropped(stream: &mut dyn Stream) -> Vec<u8> {
    stream.set_patience();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => said,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => said,
        Err(error) => panic!("not dropped: {error}"),
    }
}

/// A message that says it is longer than it is.
fn claiming(length: u32) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend(length.to_le_bytes());
    bytes
}

fn nonsense() -> Vec<Vec<u8>> {
    let status = Request::Status {
        resources: Selection::All,
    };
    let whole = encode(&status.to_nv());
    let mut random = fastrand::Rng::with_seed(71);
    let mut noise = |length| (0..length).map(|_| random.u8(..)).collect::<Vec<u8>>();
    let mut entry = Nv::new();
    entry
        .add_str("resource", &"x".repeat(2000))
        .add_u8("version", 2);
    let mut hello = Nv::new();
    hello.add_str("resource", "disk1").add_u64("token", 1);
    vec![
        noise(1),
        noise(100),
        noise(100_000),
        b"GET / HTTP/1.1\r\nHost: disk1\r\n\r\n".to_vec(),
        vec![0; 5],
        vec![0xff; 4096],
        claiming(u32::MAX),
        claiming(1 << 31),
        claiming(100),
        frame::encode(2, &Nv::new(), &[]),
        frame::encode(2, &entry, &[]),
        frame::encode(2, &hello, &[]),
        whole[..whole.len() / 2].to_vec(),
    ]
}

#[test]
fn nonsense_is_dropped() {
    let pair = Undisturbed::start(71);
    for bytes in nonsense() {
        for mut stream in doors(&pair.cluster) {
            // It may be dropped before all of it is sent.
            let _ = stream.write_all(&bytes);
            stream.end();
            until_dropped(&mut *stream);
        }
    }
    pair.end();
}

#[test]
fn half_messages_and_slow_bytes_are_given_up() {
    let pair = Undisturbed::start(72);
    let request = encode(
        &Request::Status {
            resources: Selection::All,
        }
        .to_nv(),
    );
    // Those say no more, and do not close either.
    let mut halves = doors(&pair.cluster);
    for stream in &mut halves {
        stream.write_all(&request[..7]).unwrap();
    }
    // Those send a byte now and then: at this pace a message would take long.
    let mut slow = doors(&pair.cluster);
    for byte in &request[..request.len() / 2] {
        for stream in &mut slow {
            let _ = stream.write_all(&[*byte]);
        }
        std::thread::sleep(SLOW_PAUSE);
    }
    pair.check();
    for mut stream in halves.into_iter().chain(slow) {
        let said = until_dropped(&mut *stream);
        assert_eq!(said, b"", "no answer to half a message");
    }
    pair.end();
}

/// As many silent connections as there are, then all of them dropped.
fn silent(pair: &Undisturbed, connect: impl Fn() -> Box<dyn Stream>) {
    let mut streams: Vec<_> = (0..SILENT).map(|_| connect()).collect();
    pair.check();
    for stream in &mut streams {
        assert_eq!(until_dropped(&mut **stream), b"");
    }
}

#[test]
fn silent_connections_to_the_replication_port() {
    let pair = Undisturbed::start(73);
    let port = pair.cluster.ports[1];
    silent(&pair, || peer(port));
    pair.end();
}

#[test]
fn silent_connections_to_the_control_socket() {
    let pair = Undisturbed::start(74);
    silent(&pair, || client(&pair.cluster.a));
    pair.end();
}

/// The other node can meet a daemon at whose door five hundred stand.
#[test]
fn a_peer_gets_through_the_crowd() {
    let mut cluster = Setup::new("fullsync").pair();
    let crowd: Vec<_> = (0..SILENT).map(|_| peer(cluster.ports[1])).collect();
    cluster.a.kill();
    cluster.a.start();
    cluster.a.ctl("role primary disk1");
    cluster.a.until_complete("disk1");
    drop(crowd);
}

#[test]
fn strangers_can_not_take_a_resource() {
    let pair = Undisturbed::start(75);
    for name in ["nosuch", "", "all"] {
        let said = greeted(pair.cluster.ports[1], name);
        assert!(said.contains("errmsg"), "{name:?}: {said:?}");
    }
    // The primary is not to be reached as if it were a secondary.
    let said = greeted(pair.cluster.ports[0], "disk1");
    assert!(
        said.contains("Remote node acts as primary for the resource"),
        "{said:?}"
    );
    pair.end();
}

/// What a daemon says to a primary for this resource, up to the end.
fn greeted(port: u16, resource: &str) -> String {
    let mut hello = Nv::new();
    hello.add_str("resource", resource).add_u8("version", 2);
    let mut stream = peer(port);
    stream.write_all(&frame::encode(1, &hello, &[])).unwrap();
    String::from_utf8_lossy(&until_dropped(&mut *stream)).into_owned()
}
