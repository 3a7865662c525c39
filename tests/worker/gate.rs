//! A primary whose device is GEOM gate's: over a model of the kernel.

use std::sync::Arc;

use hast::control::Condition;
use hast::engine::primary::Promotion;
use hast::provider::gate::kernel::Kernel;
use hast::worker::Surroundings;
use hast::worker::channel::{DeviceFate, FromWorker, ToWorker};

use crate::harness::{Host, Node, Worker};
use crate::model::{Client, Model};
use crate::pairs::{nodes, noise, nowhere};

const NAME: &str = "hast/disk1";

fn model() -> Model {
    Model::new(128 << 10)
}

/// A system whose devices are GEOM gate's.
fn with_gate(gate: Option<Arc<dyn Kernel>>) -> Surroundings {
    Surroundings {
        gate,
        always_gate: true,
        ..Surroundings::default()
    }
}

/// A primary that serves a device of the model's.
fn primary(node: &Node, model: &Model, host: Option<&Host>) -> Worker {
    let connector = host.map_or_else(nowhere, Host::connector);
    let surroundings = with_gate(Some(Arc::new(model.clone())));
    let worker = Worker::primary_in(surroundings, node, Promotion::Asked, connector);
    worker.started();
    worker
}

fn open(model: &Model) -> Client {
    model.tasted();
    model.open(NAME).unwrap()
}

fn info_says(model: &Model, text: &str) {
    model.wait_until(text, |model| model.configuration().unwrap().contains(text));
}

#[test]
fn without_geom_gate_a_resource_that_wants_it_is_refused() {
    let (_folder, a, _) = nodes("");
    let mut worker = Worker::primary_in(with_gate(None), &a, Promotion::Asked, nowhere());
    let heard = worker.hear(|message| matches!(message, FromWorker::Refused { .. }));
    let FromWorker::Refused { exit, message } = heard else {
        unreachable!()
    };
    assert!(message.contains("'provider nbd'"), "{message}");
    assert_eq!((worker.join(), exit), (78, 78));
}

#[test]
fn what_is_written_to_the_device_is_on_both_nodes_and_its_info_is_current() {
    let (_folder, a, b) = nodes("replication fullsync");
    let model = model();
    let (path, other) = (a.resource.local.clone(), b.resource.local.clone());
    let host = Host::new(b);
    let worker = primary(&a, &model, Some(&host));
    worker.becomes(Condition::Complete);
    info_says(&model, "<info>HAST resource disk1: primary, complete; peer");
    let client = open(&model);
    let data = noise(3, 3 << 20);
    client.write(1 << 20, &data).unwrap();
    client.flush().unwrap();
    assert!(client.read(1 << 20, 3 << 20).unwrap() == data);
    for path in [path, other] {
        let bytes = std::fs::read(path).unwrap();
        let start = crate::harness::DATA + (1 << 20);
        assert!(bytes[start..start + data.len()] == data);
    }
    drop(client);
    drop(host);
    info_says(&model, "primary, degraded; peer");
    assert_eq!(worker.stop(), 0);
    assert_eq!(
        model.units(),
        [],
        "a device that nobody has open goes with the role"
    );
    assert_eq!(model.crash(), None);
}

#[test]
fn a_role_is_not_given_up_under_an_open_device_unless_by_force() {
    let (_folder, a, _) = nodes("");
    let model = model();
    let worker = primary(&a, &model, None);
    let client = open(&model);
    worker.tell(&ToWorker::Stop(DeviceFate::Release));
    let busy = worker.hear(|message| matches!(message, FromWorker::Busy { .. }));
    let text = format!("{busy:?}");
    assert!(
        text.contains("a program has /dev/hast/disk1 open"),
        "{text}"
    );
    client.write(0, &[1; 512]).unwrap();
    worker.tell(&ToWorker::Stop(DeviceFate::Destroy));
    let mut worker = worker;
    assert_eq!(worker.join(), 0);
    assert!(client.read(0, 512).is_err());
    assert_eq!(model.units(), []);
    assert_eq!(model.crash(), None);
}

#[test]
fn a_device_outlives_its_worker_and_is_taken_over_by_the_next() {
    let (_folder, a, _) = nodes("");
    let model = model();
    for fate in [DeviceFate::Keep, DeviceFate::Vacate] {
        let mut worker = primary(&a, &model, None);
        let client = open(&model);
        client.write(4096, &[7; 4096]).unwrap();
        worker.tell(&ToWorker::Stop(fate));
        assert_eq!(worker.join(), 0);
        assert_eq!(model.units(), [(0, NAME.into())]);
        let waiting = client.begin_write(8192, &[8; 512]);
        assert!(waiting.is_waiting());
        let next = primary(&a, &model, None);
        waiting.wait().unwrap();
        assert_eq!(client.read(4096, 4096).unwrap(), [7; 4096]);
        drop(client);
        assert_eq!(next.stop(), 0);
        assert_eq!(model.units(), []);
    }
    assert_eq!(model.crash(), None);
}

#[test]
fn a_worker_whose_device_is_destroyed_asks_to_be_replaced() {
    let (_folder, a, _) = nodes("");
    let model = model();
    let mut worker = primary(&a, &model, None);
    model.tasted();
    model
        .destroy(hast::provider::gate::kernel::Unit(0), true)
        .unwrap();
    assert_eq!(worker.join(), 75);
}

#[test]
fn a_worker_that_can_not_see_its_device_s_users_asks_before_it_meets_its_peer() {
    let (_folder, a, _) = nodes("");
    let model = model();
    let worker = primary(&a, &model, None);
    model.set_blind(true);
    let FromWorker::AskOpen { number } =
        worker.hear(|message| matches!(message, FromWorker::AskOpen { .. }))
    else {
        unreachable!()
    };
    let open = false;
    worker.tell(&ToWorker::Open { number, open });
    // Not before that: the numbers are in order.
    worker.hear(|message| matches!(message, FromWorker::Connect { number: n } if *n == number + 1));
    assert_eq!(worker.stop(), 0);
}
