//! A primary that may not always go on alone.

use std::thread;
use std::time::Duration;

use hast::control::{Condition, Holding, Permit};
use hast::engine::primary::Promotion;
use hast::worker::channel::ToWorker;

use crate::harness::{Connector, Host, Node, Worker, eventually};

/// Nobody is there.
fn nobody() -> Connector {
    Box::new(|| Err("no route".to_owned()))
}

fn holding(worker: &Worker) -> Option<Holding> {
    worker.status().details.unwrap().holding
}

fn held(worker: &Worker) -> u64 {
    holding(worker).map_or(0, |holding| holding.held)
}

/// Writes in a thread of its own; ends when that is acknowledged.
fn write(node: &Node, byte: u8) -> thread::JoinHandle<()> {
    let mut client = node.client();
    thread::spawn(move || {
        client.write(4096, &[byte; 4096], false).unwrap();
        client.flush().unwrap();
        client.disconnect().unwrap();
    })
}

#[test]
fn alone_it_acknowledges_while_its_permit_holds_and_not_longer() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(folder.path(), "a", "");
    let over = Permit::lasting(Duration::ZERO);
    let worker = Worker::primary_under(&node, over, nobody());
    worker.started();
    assert_eq!(holding(&worker), Some(Holding { left: 0, held: 0 }));
    let writer = write(&node, 1);
    eventually("the write is held", || held(&worker) == 1);
    let mut reader = node.client();
    assert_eq!(reader.read(1 << 20, 4096).unwrap(), [0; 4096]);
    let reason = worker.status().details.unwrap().reason.unwrap();
    assert!(reason.contains("1 requests are held"), "{reason}");
    assert!(!writer.is_finished());

    worker.tell(&ToWorker::Permit(Permit::lasting(Permit::LONGEST)));
    writer.join().unwrap();
    assert_eq!(reader.read(4096, 4096).unwrap(), [1; 4096]);
    let left = holding(&worker).unwrap().left;
    assert!(left > 0 && Duration::from_secs(left.into()) <= Permit::LONGEST);

    // It runs out by itself, without anybody saying so.
    let short = Permit::lasting(Duration::from_millis(200));
    worker.tell(&ToWorker::Permit(short));
    eventually("it has run out", || !short.holds());
    let writer = write(&node, 2);
    eventually("the next write is held", || held(&worker) == 1);
    worker.tell(&ToWorker::Permit(Permit::Free));
    writer.join().unwrap();
    assert_eq!(holding(&worker), None);
    reader.disconnect().unwrap();
    assert_eq!(worker.stop(), 0);
}

#[test]
fn beside_its_peer_it_needs_none() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (
        Node::new(folder.path(), "a", ""),
        Node::new(folder.path(), "b", ""),
    );
    let host = Host::new(b);
    let worker = Worker::primary(&a, Promotion::Asked, host.connector());
    worker.started();
    worker.becomes(Condition::Complete);
    worker.tell(&ToWorker::Permit(Permit::lasting(Duration::ZERO)));
    write(&a, 1).join().unwrap();

    host.set_deaf(true);
    host.cut();
    worker.becomes(Condition::Degraded);
    let writer = write(&a, 2);
    eventually("the write is held", || held(&worker) == 1);
    assert!(!writer.is_finished());
    host.set_deaf(false);
    writer.join().unwrap();
    worker.becomes(Condition::Complete);
    assert_eq!(held(&worker), 0);
    assert_eq!(worker.stop(), 0);
    let b = host.end();
    assert!(a.data() == b.data());
}
