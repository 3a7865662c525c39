//! Components that fail, or do not fit.

use std::fs;

use hast::control::Condition;
use hast::disk::{self, CreateOptions};
use hast::engine::primary::Promotion;
use hast::worker::channel::FromWorker;

use crate::harness::{Host, Node, Worker};
use crate::pairs::{nodes, noise, nowhere, read_all};

/// The code and message with which a primary on this node refuses to start.
fn refusal(node: &Node) -> (u8, String) {
    let mut worker = Worker::primary(node, Promotion::Asked, nowhere());
    let heard =
        worker.hear(|message| matches!(message, FromWorker::Refused { .. } | FromWorker::Started));
    let FromWorker::Refused { exit, message } = heard else {
        panic!("it started")
    };
    assert_eq!(worker.join(), exit);
    (exit, message)
}

#[test]
fn a_component_that_does_not_fit_is_refused_and_left_alone() {
    let (_folder, a, b) = nodes("");
    let path = &a.resource.local;

    let locked = Worker::primary(&a, Promotion::Asked, nowhere());
    locked.started();
    assert_eq!(refusal(&a).0, 75, "in use");
    assert_eq!(locked.stop(), 0);

    fs::copy(&b.resource.local, path).unwrap();
    disk::create(path, "disk2", CreateOptions::default()).unwrap();
    let before = fs::read(path).unwrap();
    let (exit, message) = refusal(&a);
    assert_eq!(exit, 65);
    assert!(
        message.contains("disk2") && message.contains("disk1"),
        "{message}"
    );
    assert!(fs::read(path).unwrap() == before);

    fs::write(path, noise(1, 1 << 20)).unwrap();
    assert_eq!(refusal(&a).0, 65, "not a component");
    assert!(fs::read(path).unwrap() == noise(1, 1 << 20));

    fs::copy(&b.resource.local, path).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(8 << 20)
        .unwrap();
    assert_eq!(refusal(&a).0, 65, "cut short");

    fs::remove_file(path).unwrap();
    let (exit, message) = refusal(&a);
    assert_eq!(exit, 66);
    assert!(message.contains("does not exist"), "{message}");
}

#[test]
fn reads_that_the_disk_fails_are_answered_by_the_peer() {
    let (_folder, a, b) = nodes("");
    let host = Host::new(b);
    let primary = Worker::primary(&a, Promotion::Asked, host.connector());
    primary.becomes(Condition::Complete);
    let mut client = a.client();
    let bytes = noise(3, 1 << 20);
    client.write(12 << 20, &bytes, true).unwrap();
    // The local component loses its second half.
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&a.resource.local)
        .unwrap();
    file.set_len(8 << 20).unwrap();
    assert!(client.read(12 << 20, 1 << 20).unwrap() == bytes);
    let status = primary.status();
    assert!(status.statistics.read_error > 0);
    let reason = status.details.unwrap().reason.unwrap();
    assert!(reason.contains("cut short"), "{reason}");
    drop(primary);
}

/// A component that can be made read-only while it is in use: a file in memory, to be sealed.
#[cfg(target_os = "linux")]
mod sealed {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, OwnedFd};

    use hast::wire::frame::{Limits, Message};
    use hast::wire::request::RecordChange;
    use hast::worker::channel::HookEvent;
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;
    use crate::harness::{SIZE, eventually};
    use crate::strangers::{agreed_on, point_request, record_request};

    fn memory_node(folder: &std::path::Path, name: &'static str) -> (Node, OwnedFd) {
        let memory = memfd_create(c"component", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        File::from(memory.try_clone().unwrap())
            .set_len(SIZE)
            .unwrap();
        let mut node = Node::over(folder, name, "");
        node.resource.local = format!("/proc/self/fd/{}", memory.as_raw_fd()).into();
        drop(disk::create(&node.resource.local, "disk1", CreateOptions::default()).unwrap());
        (node, memory)
    }

    fn seal(memory: &OwnedFd) {
        fcntl(memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).unwrap();
    }

    /// From here on the disk's second half fails; its metadata does not.
    fn lose_second_half(memory: &OwnedFd) {
        File::from(memory.try_clone().unwrap())
            .set_len(SIZE / 2)
            .unwrap();
        fcntl(memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW)).unwrap();
    }

    #[test]
    fn a_write_that_only_the_peer_takes_is_kept_and_read_back_from_there() {
        let (folder, a, b) = nodes("");
        drop(a);
        let (a, memory) = memory_node(folder.path(), "a");
        let host = Host::new(b);
        let primary = Worker::primary(&a, Promotion::Asked, host.connector());
        primary.becomes(Condition::Complete);
        let mut client = a.client();
        let there = 12 << 20;
        client.write(there, &noise(1, 4096), true).unwrap();
        lose_second_half(&memory);
        client.write(there, &noise(2, 4096), false).unwrap();
        assert!(client.read(there, 4096).unwrap() == noise(2, 4096));
        let status = primary.status();
        assert!(status.statistics.write_error > 0);
        assert_ne!(status.condition, Condition::Complete);
        let record = a.metadata().record;
        assert!(record.lacks, "before it was acknowledged: {record}");
        drop((client, primary));
        let b = host.end();
        assert!(b.data()[there as usize..][..4096] == noise(2, 4096));
        let newer = b.metadata().record;
        assert!(
            !newer.lacks && newer.at > record.past.first().copied(),
            "{newer}"
        );
    }

    /// A pair whose primary's disk fails every write from here on, the record's too.
    fn pair_over_a_dead_disk() -> (tempfile::TempDir, Host, Node, Worker) {
        let (folder, a, b) = nodes("");
        drop(a);
        let (a, memory) = memory_node(folder.path(), "a");
        let host = Host::new(b);
        let primary = Worker::primary(&a, Promotion::Asked, host.connector());
        primary.becomes(Condition::Complete);
        a.client().write(0, &noise(1, 4096), true).unwrap();
        seal(&memory);
        (folder, host, a, primary)
    }

    /// Neither node would know that the other's copy is the only one with it.
    #[test]
    fn a_write_that_only_the_peer_takes_and_of_which_no_record_can_say_so_fails() {
        let (_folder, host, a, primary) = pair_over_a_dead_disk();
        a.client()
            .write(0, &noise(2, 4096), false)
            .expect_err("only the peer has it");
        assert!(primary.status().statistics.write_error > 0);
        drop((primary, host));
    }

    /// The primary's disk can take no point any more: what it began to copy to the peer it could not end. So it does
    /// not begin.
    #[test]
    fn a_primary_whose_disk_is_dead_leaves_its_peer_fit_to_be_promoted() {
        let (_folder, host, a, primary) = pair_over_a_dead_disk();
        let failed = a.client().write(0, &noise(2, 4096), false);
        failed.expect_err("only the peer has it");
        eventually("the copies are seen to differ", || {
            primary.status().condition != Condition::Complete
        });
        // Whatever the peer was told has reached it when it has answered this.
        let again = a.client().write(0, &noise(3, 4096), false);
        again.expect_err("only the peer has it");
        drop(primary);
        let b = host.end();
        let record = b.metadata().record;
        assert!(!record.lacks, "{record}");
        let promoted = Worker::primary(&b, Promotion::Asked, nowhere());
        promoted.started();
        assert_eq!(promoted.stop(), 0);
    }

    /// An answer would say that the component knows what its primary knows.
    #[test]
    fn a_secondary_that_cannot_store_its_record_ends_the_connection_without_an_answer() {
        let (folder, _a, _b) = nodes("");
        let (b, memory) = memory_node(folder.path(), "b");
        let (mut worker, mut first, mut second) = agreed_on(&b, 1);
        first.write_all(&point_request(1, 0)).unwrap();
        let reply = Message::read_from(&mut second, Limits::PEER).unwrap();
        assert_eq!(reply.nv.u64("seq"), Some(1));
        seal(&memory);
        let before = b.metadata();
        first
            .write_all(&record_request(2, RecordChange::Lacking))
            .unwrap();
        let mut rest = Vec::new();
        let _ = second.read_to_end(&mut rest);
        assert_eq!(rest, b"", "nothing is answered any more");
        let refused = worker.hear(|message| matches!(message, FromWorker::Refused { .. }));
        let FromWorker::Refused { message, exit: 75 } = refused else {
            panic!("{refused:?}")
        };
        assert!(
            message.contains("this node could not store its metadata, and so may answer nothing; look at its disk"),
            "{message}"
        );
        assert_eq!(
            message.matches("lost").count(),
            1,
            "one sentence: {message}"
        );
        assert_eq!(worker.join(), 75);
        assert_eq!(b.metadata(), before);
    }

    #[test]
    fn a_secondary_that_fails_is_marked_behind_and_writes_go_on() {
        let (folder, a, b) = nodes("replication fullsync");
        drop(b);
        let (b, memory) = memory_node(folder.path(), "b");
        let host = Host::new(b);
        let primary = Worker::primary(&a, Promotion::Asked, host.connector());
        primary.becomes(Condition::Complete);
        seal(&memory);
        let mut client = a.client();
        client.write(0, &noise(2, 4096), false).unwrap();
        eventually("it shows", || {
            primary.status().condition != Condition::Complete
        });
        assert!(client.read(0, 4096).unwrap() == noise(2, 4096));
        assert!(primary.hooks(HookEvent::Connect) >= 1);
        client.disconnect().unwrap();
        primary.abandon();
    }
}

#[test]
fn a_primary_alone_serves_and_counts_that_it_is_ahead() {
    let (_folder, a, _b) = nodes("");
    let primary = Worker::primary(&a, Promotion::Asked, nowhere());
    primary.started();
    let mut client = a.client();
    client.write(4096, &noise(1, 4096), true).unwrap();
    assert!(read_all(&mut client)[4096..8192] == noise(1, 4096));
    let status = primary.status();
    assert_eq!(status.condition, Condition::Degraded);
    assert!(status.details.unwrap().reason.unwrap().contains("no route"));
    assert_eq!(primary.stop(), 0);
    let metadata = a.metadata();
    assert_eq!((metadata.localcnt, metadata.remotecnt), (1, 0));
    assert_ne!(metadata.resuid, 0);
}
