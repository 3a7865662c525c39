//! Two workers: what is written is on both, whatever the mode, and whatever happens to the
//! connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hast::control::{Condition, Direction, PeerState};
use hast::disk::{Access, Component};
use hast::engine::primary::Promotion;
use hast::provider::nbd::client::Client;

use hast::worker::channel::{FromWorker, HookEvent};

use crate::harness::{Connector, Host, LIMIT, Node, Worker, eventually};

/// Random bytes that depend on nothing but the seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// Writes of all kinds; returns what the device holds then.
fn write_all_sorts(client: &mut Client) -> Vec<u8> {
    let size = client.size() as usize;
    let mut expected = vec![0; size];
    let mut put = |client: &mut Client, offset: usize, bytes: &[u8]| {
        client.write(offset as u64, bytes, false).unwrap();
        expected[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(client, 0, &noise(1, 4096));
    put(client, 512, &noise(2, 512));
    put(client, 1 << 20, &noise(3, 1 << 20));
    put(client, size - 4096, &noise(4, 4096));
    put(client, 3 << 20, &vec![b'x'; 64 << 10]);
    put(
        client,
        5 << 20,
        &"the quick brown fox. ".repeat(2000).as_bytes()[..40960],
    );
    put(client, 6 << 20, &vec![0; 128 << 10]);
    client.zeroes(512, 1024).unwrap();
    expected[512..1536].fill(0);
    client.flush().unwrap();
    expected
}

/// What the device holds.
pub fn read_all(client: &mut Client) -> Vec<u8> {
    let size = client.size() as usize;
    let piece = 1 << 20;
    let pieces = (0..size)
        .step_by(piece)
        .map(|offset| (offset, piece.min(size - offset)));
    pieces
        .flat_map(|(offset, length)| client.read(offset as u64, length as u32).unwrap())
        .collect()
}

fn writes_reach_both(settings: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (
        Node::new(folder.path(), "a", settings),
        Node::new(folder.path(), "b", settings),
    );
    let host = Host::new(b);
    let primary = Worker::primary(&a, Promotion::Asked, host.connector());
    primary.started();
    primary.becomes(Condition::Complete);
    let mut client = a.client();
    let expected = write_all_sorts(&mut client);
    assert!(read_all(&mut client) == expected);
    client.disconnect().unwrap();
    assert_eq!(primary.stop(), 0);
    let b = host.end();
    assert!(a.data() == expected, "the primary's component");
    assert!(b.data() == expected, "the secondary's component");
}

#[test]
fn fullsync_writes_reach_both() {
    writes_reach_both("replication fullsync checksum none compression none");
}

#[test]
fn memsync_writes_reach_both() {
    writes_reach_both("replication memsync checksum crc32 compression hole");
}

#[test]
fn async_writes_reach_both() {
    writes_reach_both("replication async checksum sha256 compression lzf");
}

/// A network that leads nowhere.
pub fn nowhere() -> Connector {
    Box::new(|| Err("no route".to_owned()))
}

/// Two nodes with new components, and the folder they are in.
pub fn nodes(settings: &str) -> (tempfile::TempDir, Node, Node) {
    let folder = tempfile::tempdir().unwrap();
    let a = Node::new(folder.path(), "a", settings);
    let b = Node::new(folder.path(), "b", settings);
    (folder, a, b)
}

/// Brings two new nodes together and apart again, so that they are of one data set.
pub fn acquaint(a: &Node, b: Node) -> Node {
    let host = Host::new(b);
    let primary = Worker::primary(a, Promotion::Asked, host.connector());
    primary.becomes(Condition::Complete);
    a.client().write(0, &noise(9, 4096), true).unwrap();
    assert_eq!(primary.stop(), 0);
    host.end()
}

/// Writes blocks over and over, each with its own content, reading some back; what the device holds
/// in the end is returned.
fn scribble(client: &mut Client, seed: u64, until: &AtomicBool) -> Vec<u8> {
    const BLOCK: usize = 4096;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut expected = read_all(client);
    let blocks = expected.len() / BLOCK;
    while !until.load(Ordering::Relaxed) {
        let count = random.usize(1..=8);
        let at = random.usize(..blocks - count) * BLOCK;
        let bytes = noise(random.u64(..), count * BLOCK);
        client.write(at as u64, &bytes, random.u8(..) < 8).unwrap();
        expected[at..at + bytes.len()].copy_from_slice(&bytes);
        let at = random.usize(..blocks) * BLOCK;
        assert!(client.read(at as u64, BLOCK as u32).unwrap() == expected[at..at + BLOCK]);
    }
    expected
}

fn survives_cuts(settings: &str) {
    let (_folder, a, b) = nodes(settings);
    let host = Host::new(b);
    let primary = Worker::primary(&a, Promotion::Asked, host.connector());
    primary.becomes(Condition::Complete);
    let done = AtomicBool::new(false);
    let expected = thread::scope(|scope| {
        let writer = scope.spawn(|| scribble(&mut a.client(), 5, &done));
        for _ in 0..3 {
            let connected = primary.hooks(HookEvent::Connect);
            let written = primary.status().statistics.write;
            eventually("writes go on", || {
                primary.status().statistics.write > written + 20
            });
            host.cut();
            eventually("connected again", || {
                primary.hooks(HookEvent::Connect) > connected
            });
        }
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    primary.becomes(Condition::Complete);
    assert_eq!(primary.stop(), 0);
    let codes = host.codes();
    let b = host.end();
    assert!(a.data() == expected, "the primary's component");
    assert!(b.data() == expected, "the secondary's component");
    assert!(
        codes.len() >= 3 && codes.iter().all(|code| *code == 75 || *code == 0),
        "{codes:?}"
    );
}

#[test]
fn fullsync_survives_cuts_under_load() {
    survives_cuts("replication fullsync");
}

#[test]
fn memsync_survives_cuts_under_load() {
    survives_cuts("replication memsync checksum crc32");
}

#[test]
fn async_survives_cuts_under_load() {
    survives_cuts("replication async compression lzf");
}

#[test]
fn what_was_written_alone_is_copied_to_the_peer() {
    let (_folder, a, b) = nodes("");
    let b = acquaint(&a, b);
    let host = Host::new(b);
    host.set_deaf(true);
    let primary = Worker::primary(&a, Promotion::Asked, host.connector());
    primary.started();
    let expected = write_all_sorts(&mut a.client());
    assert_eq!(primary.status().condition, Condition::Degraded);
    assert!(primary.status().dirty > 0);
    host.set_deaf(false);
    primary.becomes(Condition::Complete);
    assert_eq!(primary.hooks(HookEvent::SyncStart), 1);
    assert_eq!(primary.hooks(HookEvent::SyncDone), 1);
    assert_eq!(primary.stop(), 0);
    let b = host.end();
    let expected = [&noise(9, 4096)[..0], &expected].concat();
    assert!(a.data() == expected && b.data() == expected);
    let (here, there) = (a.metadata().record, b.metadata().record);
    assert!(!here.lacks && !there.lacks, "{here}; {there}");
    assert!(here.at.is_some() && here.at == there.at, "{here}; {there}");
    assert_eq!(a.metadata().localcnt, b.metadata().remotecnt);
}

#[test]
fn what_the_secondary_has_alone_is_fetched_and_served_meanwhile() {
    let (_folder, a, b) = nodes("");
    let b = acquaint(&a, b);
    // b is promoted while a is away, and moves on.
    let primary = Worker::primary(&b, Promotion::Asked, nowhere());
    primary.started();
    let expected = write_all_sorts(&mut b.client());
    assert_eq!(primary.stop(), 0);
    // Then a comes back as primary.
    let host = Host::new(b);
    let primary = Worker::primary(&a, Promotion::Asked, host.connector());
    primary.hear(|message| *message == FromWorker::Hook(HookEvent::SyncStart));
    assert!(
        read_all(&mut a.client()) == expected,
        "current while being fetched"
    );
    primary.becomes(Condition::Complete);
    let later = noise(77, 8192);
    a.client().write(0, &later, false).unwrap();
    assert_eq!(primary.stop(), 0);
    let b = host.end();
    let expected = [&later, &expected[8192..]].concat();
    assert!(a.data() == expected && b.data() == expected);
}

#[test]
fn both_written_apart_is_split_brain_on_both() {
    let (_folder, a, b) = nodes("");
    let b = acquaint(&a, b);
    for (node, seed) in [(&a, 1), (&b, 2)] {
        let primary = Worker::primary(node, Promotion::Asked, nowhere());
        primary.started();
        node.client().write(0, &noise(seed, 4096), false).unwrap();
        assert_eq!(primary.stop(), 0);
    }
    let before = (a.data(), b.data());
    let host = Host::new(b);
    let primary = Worker::primary(&a, Promotion::Asked, host.connector());
    primary.hear(|message| *message == FromWorker::Hook(HookEvent::SplitBrain));
    let status = primary.status();
    assert_eq!(status.condition, Condition::Degraded);
    let details = status.details.unwrap();
    assert_eq!(details.peer, PeerState::SplitBrain);
    let reason = details.reason.unwrap();
    assert!(reason.contains("hastctl create disk1"), "{reason}");
    let heard = host.with_worker(|worker| {
        worker.hear(|message| *message == FromWorker::Hook(HookEvent::SplitBrain));
        worker.hear(|message| matches!(message, FromWorker::Refused { .. }))
    });
    let message = reason;
    assert_eq!(
        heard,
        Some(FromWorker::Refused { exit: 78, message }),
        "in the same words"
    );
    // Tried again, and refused again, but told once.
    eventually("another try", || host.codes().contains(&78));
    assert_eq!(primary.hooks(HookEvent::SplitBrain), 1);
    assert_eq!(primary.stop(), 0);
    let b = host.end();
    assert!((a.data(), b.data()) == before, "nothing was touched");
}

#[test]
fn a_component_that_lacks_data_is_promoted_by_force_only() {
    let (_folder, a, b) = nodes("");
    acquaint(&a, b);
    // As when its node died while the component was being synchronised onto.
    let mut metadata = a.metadata();
    assert!(metadata.record.at.is_some(), "they have met");
    metadata.record.lacks = true;
    let component = Component::open(&a.resource.local, Access::Exclusive).unwrap();
    component.write_metadata(&metadata).unwrap();
    drop(component);
    let mut refused = Worker::primary(&a, Promotion::Asked, nowhere());
    let message = refused.hear(|message| matches!(message, FromWorker::Refused { .. }));
    let FromWorker::Refused { exit, message } = message else {
        unreachable!()
    };
    assert_eq!(exit, 78);
    assert!(
        message.contains("lacks data that the other node has") && message.contains("--force"),
        "{message}"
    );
    assert_eq!(refused.join(), 78);
    let forced = Worker::primary(&a, Promotion::Forced, nowhere());
    forced.started();
    assert_eq!(forced.stop(), 0);
    let forced = a.metadata().record;
    assert!(!forced.lacks && forced.at.is_none(), "{forced}");
    assert!(
        forced.own.is_some(),
        "what is there counts as its own: {forced}"
    );
}

#[test]
fn a_first_copy_shows_its_progress() {
    let (_folder, a, b) = nodes("");
    // a was used alone before b was made: everything has to be copied.
    let primary = Worker::primary(&a, Promotion::Asked, nowhere());
    primary.started();
    let expected = write_all_sorts(&mut a.client());
    primary.stop();
    let host = Host::new(b);
    let primary = Worker::primary(&a, Promotion::Asked, host.connector());
    let deadline = Instant::now() + LIMIT;
    let mut seen = None;
    while primary.status().condition != Condition::Complete {
        assert!(Instant::now() < deadline);
        let details = primary.status().details.unwrap();
        seen = details.synchronisation.or(seen);
        thread::sleep(Duration::from_millis(1));
    }
    if let Some(seen) = seen {
        assert_eq!(seen.direction, Direction::ToPeer);
        assert!(
            seen.done <= seen.total && seen.total <= 16 << 20,
            "{seen:?}"
        );
    }
    let complete = host.with_worker(|secondary| secondary.becomes(Condition::Complete));
    assert!(complete.is_some(), "the secondary knows it, too");
    primary.stop();
    assert!(host.end().data() == expected && a.data() == expected);
}
