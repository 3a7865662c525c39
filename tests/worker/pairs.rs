//! Two workers: what is written is on both, whatever the mode, and whatever happens to the
//! connection.

use hast::control::Condition;
use hast::engine::primary::Promotion;
use hast::provider::nbd::client::Client;

use crate::harness::{Host, Node, Worker};

/// Random bytes that depend on nothing but the seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
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
        "the quick brown fox. ".repeat(2000)[..40960].as_bytes(),
    );
    put(client, 6 << 20, &vec![0; 128 << 10]);
    client.zeroes(512, 1024).unwrap();
    expected[512..1536].fill(0);
    client.flush().unwrap();
    expected
}

/// What the device holds.
fn read_all(client: &mut Client) -> Vec<u8> {
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
