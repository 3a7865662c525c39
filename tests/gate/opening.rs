//! Making a device, and taking one over.

use std::sync::Arc;

use hast::provider::gate::kernel::{Kernel, NewDevice, Unit};
use hast::provider::gate::{Device, Gate, GateError};
use hast::provider::{Backend, Command};
use nix::errno::Errno;

use crate::backend::{Gated, Memory};
use crate::model::{Call, Model, Module, bio};
use crate::process::Process;
use crate::{MAX_TRANSFER, NAME, SIZE, device, limits, open, pattern};

fn memory() -> Arc<Memory> {
    Memory::new(SIZE as usize)
}

fn error_of(result: Result<Gate, GateError>) -> String {
    result.err().expect("there is no device").to_string()
}

#[test]
fn the_module_is_loaded_if_absent_and_the_device_made_without_limits() {
    let model = Model::new(MAX_TRANSFER);
    let gate = open(model.clone(), memory()).unwrap();
    model.tasted();
    let create = Call::Create {
        name: NAME.into(),
        // Otherwise the kernel answers ENOMEM when it gets much, and EIO when it waits long.
        max_count: 0,
        timeout: 0,
    };
    assert_eq!(model.calls(), [Call::Load, create]);
    assert_eq!(model.units(), [(0, NAME.into())]);
    assert_eq!(gate.name(), NAME);
}

#[test]
fn without_the_module_there_is_one_clear_error() {
    let model = Model::new(MAX_TRANSFER);
    model.set_module(Module::Missing);
    let error = error_of(open(model, memory()));
    assert!(error.contains("kldload geom_gate"), "{error}");
}

#[test]
fn what_could_not_be_served_is_refused_before_anything_is_made() {
    let model = Model::new(MAX_TRANSFER);
    let with = |change: fn(&mut Device), backend: Arc<dyn Backend>| {
        let mut device = device();
        change(&mut device);
        error_of(Gate::open_with(
            Arc::new(model.clone()),
            device,
            backend,
            limits(1),
        ))
    };
    for (change, expected) in [
        (
            (|device| device.size = 0) as fn(&mut Device),
            "whole sectors",
        ),
        (|device| device.size += 1, "whole sectors"),
        (|device| device.sector_size = 1000, "power of two"),
        (|device| device.name = String::new(), "its name"),
        (|device| device.name = "x".repeat(250), "its name"),
    ] {
        let error = with(change, memory());
        assert!(error.contains(expected), "{error}");
    }
    let error = with(|_| {}, Memory::with_budget(4096, 4096));
    assert!(error.contains("budget"), "{error}");
    assert_eq!(model.calls(), []);
}

#[test]
fn each_device_has_its_unit_and_what_is_free_is_used_again() {
    let model = Model::new(MAX_TRANSFER);
    let make = |name: &str| {
        let device = Device {
            name: name.into(),
            ..device()
        };
        Gate::open_with(Arc::new(model.clone()), device, memory(), limits(1)).unwrap()
    };
    let gates = [make("a"), make("b"), make("c")];
    model.tasted();
    gates[1].release(false).unwrap();
    let other = make("d");
    model.tasted();
    let names = |units: Vec<(usize, String)>| units.into_iter().map(|(_, name)| name);
    assert_eq!(
        names(model.units()).collect::<Vec<_>>(),
        ["hast/a", "hast/d", "hast/c"]
    );
    drop((gates, other));
    let makes = (0..).map(|number| {
        let name = format!("e{number}");
        let device = Device { name, ..device() };
        Gate::open_with(Arc::new(model.clone()), device, memory(), limits(1))
    });
    let mut made = Vec::new();
    let error = makes
        .map(|gate| gate.map(|gate| made.push(gate)))
        .find_map(Result::err);
    let error = error.unwrap().to_string();
    assert!(error.contains("kern.geom.gate.maxunits"), "{error}");
    assert_eq!(made.len(), 13);
}

#[test]
fn after_a_crash_requests_are_done_again_in_order_and_their_users_only_see_a_pause() {
    let (model, memory) = (Model::untasted(MAX_TRANSFER), memory());
    let first = Process::new(&model, &memory);
    let stuck = Gated::new(memory.clone());
    let dead =
        Gate::open_with(Arc::new(first.clone()), device(), stuck.clone(), limits(2)).unwrap();
    let client = model.open(NAME).unwrap();
    let mut pending: Vec<_> = (0..5)
        .map(|number: u8| {
            let pending = client.begin_write(u64::from(number) * 4096, &[number + 1; 4096]);
            stuck.wait_for(usize::from(number) + 1);
            pending
        })
        .collect();
    first.kill();
    // These come while nobody is there.
    pending.push(client.begin_write(5 * 4096, &[6; 4096]));
    pending.push(client.ask(bio::READ, 0, 4096, &[]));
    assert!(pending.iter().all(crate::model::Pending::is_waiting));
    assert_eq!(model.queues(0), (2, 5));
    let gate =
        Gate::open_with(Arc::new(model.clone()), device(), memory.clone(), limits(1)).unwrap();
    let read = pending.pop().unwrap();
    for pending in pending {
        pending.wait().unwrap();
    }
    assert_eq!(read.wait().unwrap(), [1; 4096]);
    let offsets: Vec<_> = memory
        .log()
        .iter()
        .map(|(_, offset, _)| offset / 4096)
        .collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5, 0]);
    assert_eq!(model.units(), [(0, NAME.into())], "it is the same device");
    // What the dead process would have answered now reaches nobody.
    stuck.open();
    client.write(0, &[9; 512]).unwrap();
    assert_eq!(model.crash(), None);
    drop((gate, dead));
}

#[test]
fn a_device_of_another_size_is_one_clear_error() {
    for change in [
        (|device: &mut Device| device.size *= 2) as fn(&mut Device),
        |device| device.sector_size = 4096,
    ] {
        let model = Model::new(MAX_TRANSFER);
        drop(open(model.clone(), memory()).unwrap());
        let mut other = device();
        change(&mut other);
        let calls = model.calls().len();
        let result = Gate::open_with(Arc::new(model.clone()), other, memory(), limits(1));
        assert!(matches!(result, Err(GateError::Size { .. })));
        let error = error_of(result);
        assert!(error.contains("8388608 bytes in sectors of 512"), "{error}");
        assert_eq!(model.calls().len(), calls, "it is left as it was");
    }
}

#[test]
fn a_device_that_another_process_serves_is_left_alone() {
    let model = Model::new(MAX_TRANSFER);
    let (mine, other) = (memory(), memory());
    let gate = open(model.clone(), mine.clone()).unwrap();
    model.tasted();
    model.wait_until("a thread to wait", |model| {
        model.configuration().unwrap().contains("<ref>5</ref>")
    });
    let result = open(model.clone(), other.clone());
    assert!(matches!(result, Err(GateError::InUse { .. })));
    let client = model.open(NAME).unwrap();
    client.write(0, &pattern(4096, 1)).unwrap();
    assert_eq!(mine.seen(Command::Write), 1);
    assert_eq!(other.log(), []);
    drop(gate);
}

#[test]
fn a_process_that_is_just_ending_is_waited_for() {
    let model = Model::new(MAX_TRANSFER);
    let gate = open(model.clone(), memory()).unwrap();
    model.tasted();
    let mut patient = limits(1);
    patient.patience = crate::PATIENCE;
    let next = {
        let model = model.clone();
        std::thread::spawn(move || {
            Gate::open_with(Arc::new(model), device(), memory(), patient).unwrap()
        })
    };
    drop(gate);
    let next = next.join().unwrap();
    let client = model.open(NAME).unwrap();
    assert_eq!(client.write(0, &[1; 512]), Ok(()));
    drop(next);
}

#[test]
fn an_old_device_that_does_not_go_away_is_one_clear_error() {
    let model = Model::new(MAX_TRANSFER);
    drop(open(model.clone(), memory()).unwrap());
    model.set_withering(0);
    let error = error_of(open(model, memory()));
    assert!(error.contains("does not go away"), "{error}");
}

#[test]
fn the_model_numbers_and_refuses_as_the_kernel_does() {
    let model = Model::untasted(MAX_TRANSFER);
    model.load().unwrap();
    let new = NewDevice {
        name: NAME,
        size: SIZE,
        sector_size: 512,
        info: "",
        max_count: 2,
        timeout: 0,
    };
    assert_eq!(model.create(&new), Ok(Unit(0)));
    assert_eq!(model.create(&new), Err(Errno::EEXIST));
    let client = model.open(NAME).unwrap();
    let asked: Vec<_> = (0..4).map(|_| client.ask(bio::READ, 0, 512, &[])).collect();
    assert_eq!(
        model.queues(0),
        (3, 0),
        "one more than the limit is refused"
    );
    assert_eq!(
        asked.into_iter().next_back().unwrap().wait(),
        Err(Errno::ENOMEM)
    );
    assert_eq!(model.destroy(Unit(0), false), Err(Errno::EBUSY));
    assert_eq!(model.destroy(Unit(1), true), Err(Errno::ENXIO));
    assert_eq!(model.cancel(Unit(1), None), Err(Errno::ENXIO));
}
