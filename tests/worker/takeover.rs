//! A pair of components that base hastd has used before, and uses again in between: what it wrote is noticed,
//! and nothing is lost.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use hast::control::Condition;
use hast::disk::{Access, Component};
use hast::engine::primary::Promotion;
use hast::layout::{BASE_SIZE, Geometry, METADATA_SIZE};
use hast::worker::channel::{FromWorker, HookEvent};

use crate::harness::{DATA, Host, Node, SIZE, Worker};
use crate::pairs::noise;
use crate::replay::node;

/// Where this program, and base after it, writes; two extents.
const OURS: usize = 1 << 20;
const BASES: usize = 5 << 20;
const LENGTH: usize = 4096;

/// A pair as base left it, in step and with the same data; the data, too.
fn taken_over(folder: &std::path::Path) -> (Node, Node, Vec<u8>) {
    let data = noise(1, SIZE as usize - DATA);
    let a = node(folder, "a", "caught-up.a", &data, "");
    let b = node(folder, "b", "caught-up.b", &data, "");
    for node in [&a, &b] {
        assert!(node.metadata().record.counted, "base's counters speak");
    }
    (a, b, data)
}

/// What base does alone on a node as its primary: counts, marks, writes. It writes the whole block, or another
/// program only what it knows of.
fn base_writes_alone(node: &Node, seed: u64, length: usize) {
    let mut metadata = node.metadata();
    let component = Component::open(&node.resource.local, Access::Exclusive).unwrap();
    let geometry = Geometry::new(SIZE, component.sector_size(), metadata.extentsize).unwrap();
    let mut map = component.read_map(&geometry).unwrap();
    map.set(BASES as u64 / u64::from(geometry.extent_size));
    component.write_map(&geometry, &map).unwrap();
    drop(component);
    let file = OpenOptions::new()
        .write(true)
        .open(&node.resource.local)
        .unwrap();
    metadata.localcnt += 1;
    let block = metadata.encode().unwrap();
    file.write_all_at(&block[..length], 0).unwrap();
    file.write_all_at(&noise(seed, LENGTH), (DATA + BASES) as u64)
        .unwrap();
    let record = node.metadata().record;
    assert!(
        record.counted && record.at.is_none(),
        "base has written since: {record}"
    );
}

/// Runs the two as a pair until both are complete.
fn meet(a: &Node, b: Node, work: impl FnOnce(&Node)) -> Node {
    let host = Host::new(b);
    let primary = Worker::primary(a, Promotion::Asked, host.connector());
    primary.becomes(Condition::Complete);
    work(a);
    assert_eq!(primary.stop(), 0);
    host.end()
}

#[track_caller]
fn assert_equal(a: &Node, b: &Node, expected: &[u8]) {
    assert!(a.data() == expected, "the primary's component");
    assert!(b.data() == expected, "the secondary's component");
    let (ours, theirs) = (a.metadata(), b.metadata());
    assert_eq!(
        (ours.localcnt, ours.remotecnt),
        (theirs.remotecnt, theirs.localcnt)
    );
    for record in [&ours.record, &theirs.record] {
        assert!(!record.lacks && !record.counted, "{record}");
    }
    assert!(ours.record.at.is_some());
    assert_eq!(ours.record.at, theirs.record.at);
}

#[test]
fn what_base_wrote_in_between_is_copied_from_whichever_node_it_wrote_to() {
    for length in [METADATA_SIZE, BASE_SIZE] {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, mut expected) = taken_over(folder.path());
        let mut b = meet(&a, b, |a| {
            a.client()
                .write(OURS as u64, &noise(2, LENGTH), true)
                .unwrap();
        });
        expected[OURS..OURS + LENGTH].copy_from_slice(&noise(2, LENGTH));
        assert_equal(&a, &b, &expected);

        // On the node that is primary then, and on the other one.
        for (seed, on_a) in [(3, true), (4, false)] {
            base_writes_alone(if on_a { &a } else { &b }, seed, length);
            expected[BASES..BASES + LENGTH].copy_from_slice(&noise(seed, LENGTH));
            let host = Host::new(b);
            let primary = Worker::primary(&a, Promotion::Asked, host.connector());
            primary.becomes(Condition::Complete);
            assert_eq!(
                primary.hooks(HookEvent::SyncStart),
                1,
                "something was copied"
            );
            assert_eq!(primary.stop(), 0);
            b = host.end();
            assert_equal(&a, &b, &expected);
        }
    }
}

#[test]
fn what_base_wrote_on_both_in_between_is_split_brain() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, _) = taken_over(folder.path());
    let b = meet(&a, b, |_| {});
    base_writes_alone(&a, 3, METADATA_SIZE);
    base_writes_alone(&b, 4, METADATA_SIZE);
    let before = (a.data(), b.data());
    let host = Host::new(b);
    let primary = Worker::primary(&a, Promotion::Asked, host.connector());
    primary.hear(|message| *message == FromWorker::Hook(HookEvent::SplitBrain));
    assert_eq!(primary.stop(), 0);
    let b = host.end();
    assert!((a.data(), b.data()) == before, "nothing was touched");
}

/// Base reads nothing but its own part, and that says what happened while it was away.
#[test]
fn what_this_program_wrote_alone_base_finds_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, _) = taken_over(folder.path());
    let b = meet(&a, b, |_| {});
    let before = a.metadata();
    let primary = Worker::primary(&a, Promotion::Asked, crate::pairs::nowhere());
    primary.started();
    a.client()
        .write(OURS as u64, &noise(2, LENGTH), true)
        .unwrap();
    assert_eq!(primary.stop(), 0);
    let after = a.metadata();
    assert_eq!(after.localcnt, before.localcnt + 1, "counted once");
    assert_eq!(after.remotecnt, b.metadata().localcnt);
    let component = Component::open(&a.resource.local, Access::ReadOnly).unwrap();
    let geometry = Geometry::new(SIZE, component.sector_size(), after.extentsize).unwrap();
    let map = component.read_map(&geometry).unwrap();
    assert!(map.test(0), "and marked");
}
