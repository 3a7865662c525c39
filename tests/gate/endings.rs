//! Giving a device up: destroyed, destroyed by force, left in place, or taken away by somebody else.

use std::sync::Arc;
use std::time::Duration;

use hast::provider::gate::kernel::{Kernel, Unit};
use hast::provider::gate::{Gate, ReleaseError};
use nix::errno::Errno;

use crate::backend::{Gated, Memory, Shuffled};
use crate::model::{Model, bio};
use crate::{MAX_TRANSFER, NAME, SIZE, Served, device, limits, open, pattern};

fn memory() -> Arc<Memory> {
    Memory::new(SIZE as usize)
}

#[test]
fn a_device_that_nobody_has_open_is_destroyed() {
    let mut served = Served::new(memory());
    served.client = None;
    served.gate.release(false).unwrap();
    assert_eq!(served.model.units(), []);
    assert!(!served.gate.is_lost());
    // Once more changes nothing.
    served.gate.release(false).unwrap();
    served.gate.leave();
}

#[test]
fn an_open_device_is_kept_and_goes_on_being_served() {
    let served = Served::new(memory());
    served.model.add_mount("/dev/hast/disk1", "/mnt");
    let mounted = served.model.open_as(NAME, "VFS", "ffs.hast/disk1").unwrap();
    let Err(ReleaseError::Busy(busy)) = served.gate.release(false) else {
        panic!("it is open");
    };
    assert_eq!(
        busy.to_string(),
        "/dev/hast/disk1 is open (a program has /dev/hast/disk1 open, /dev/hast/disk1 is mounted on /mnt); \
         end that first, or use force"
    );
    mounted.write(0, &pattern(4096, 1)).unwrap();
    // In capability mode it can not be known who it is.
    served.model.set_blind(true);
    let Err(ReleaseError::Busy(busy)) = served.gate.release(false) else {
        panic!("it is open");
    };
    assert_eq!(busy.holders, []);
    served.client().read(0, 4096).unwrap();
}

#[test]
fn force_destroys_it_and_whoever_waits_finds_it_gone() {
    let gated = Gated::new(memory());
    let served = Served::untasted(gated.clone(), device(), limits(2));
    let pending: Vec<_> = (0..10)
        .map(|_| served.client().begin_write(0, &[1; 512]))
        .collect();
    gated.wait_for(2);
    served.gate.release(true).unwrap();
    for pending in pending {
        assert_eq!(pending.wait(), Err(Errno::ENXIO));
    }
    assert_eq!(served.model.units(), []);
    assert_eq!(served.client().read(0, 512), Err(Errno::ENXIO));
    // What is answered now must not reach whoever has the unit next.
    let new = open(served.model.clone(), Gated::new(memory())).unwrap();
    let client = served.model.open(NAME).unwrap();
    let pending = client.ask(bio::READ, 0, 512, &[]);
    served
        .model
        .wait_until("it to be handed over", |model| model.queues(0) == (0, 1));
    gated.open();
    assert!(
        pending.is_waiting(),
        "its number is the same as of one that was answered"
    );
    served.model.destroy(Unit(0), true).unwrap();
    drop(new);
}

#[test]
fn a_device_is_destroyed_under_load() {
    for round in 0..20 {
        let mut served = Served::new(Shuffled::new(memory()));
        let client = served.client.take().unwrap();
        let asker = std::thread::spawn(move || {
            let data = pattern(64 << 10, round);
            loop {
                let batch: Vec<_> = (0..16)
                    .map(|at| client.begin_write(at << 16, &data))
                    .collect();
                for pending in batch {
                    match pending.wait() {
                        Ok(_) => {}
                        Err(error) => return error,
                    }
                }
            }
        });
        served
            .model
            .wait_until("some load", |model| model.queues(0) != (0, 0));
        assert!(matches!(
            served.gate.release(false),
            Err(ReleaseError::Busy(_))
        ));
        served.gate.release(true).unwrap();
        assert_eq!(asker.join().unwrap(), Errno::ENXIO);
        assert_eq!(served.model.units(), []);
    }
}

#[test]
fn a_device_that_somebody_else_destroyed_is_lost() {
    let served = Served::new(memory());
    assert!(!served.gate.is_lost());
    served.model.destroy(Unit(0), true).unwrap();
    served
        .model
        .wait_until("the loss to be seen", |_| served.gate.is_lost());
    // The unit is another's now, and nothing of ours reaches it.
    let other = open(served.model.clone(), memory()).unwrap();
    served.gate.set_info("not ours");
    served.gate.set_direct_reads(true);
    served.gate.release(true).unwrap();
    served.gate.leave();
    assert!(served.description().contains("<info>a test</info>"));
    assert_eq!(served.model.units(), [(0, NAME.into())]);
    drop(other);
}

#[test]
fn a_device_that_is_left_keeps_what_was_not_answered() {
    let gated = Gated::new(memory());
    let mut limits = limits(2);
    limits.drain = Duration::from_millis(50);
    let served = Served::untasted(gated.clone(), device(), limits);
    let pending: Vec<_> = (0..10)
        .map(|number: u8| {
            served
                .client()
                .begin_write(u64::from(number) * 512, &[number; 512])
        })
        .collect();
    gated.wait_for(10);
    served.gate.leave();
    assert_eq!(served.model.queues(0), (10, 0), "all are put back");
    // Too late to be an answer.
    for request in gated.take() {
        request.completion.complete(Err(Errno::EIO));
    }
    assert!(pending.iter().all(crate::model::Pending::is_waiting));
    let memory = memory();
    let next = open(served.model.clone(), memory.clone()).unwrap();
    for pending in pending {
        pending.wait().unwrap();
    }
    assert_eq!(memory.bytes(9 * 512, 512), [9; 512]);
    drop(next);
}

#[test]
fn what_is_under_way_is_answered_before_a_device_is_left() {
    let gated = Gated::new(memory());
    let served = Served::untasted(gated.clone(), device(), limits(2));
    let pending = served.client().begin_write(0, &[1; 512]);
    gated.wait_for(1);
    let opener = {
        let (gated, model) = (gated.clone(), served.model.clone());
        std::thread::spawn(move || {
            // None waits for requests any more.
            model.wait_until("the threads to end", |model| {
                model.configuration().unwrap().contains("<ref>1</ref>")
            });
            gated.open();
        })
    };
    served.gate.leave();
    pending.wait().unwrap();
    assert_eq!(served.model.queues(0), (0, 0));
    opener.join().unwrap();
}

#[test]
fn a_thread_that_waits_for_a_buffer_does_not_take_its_request_along() {
    let memory = Memory::with_budget(SIZE as usize, 1 << 20);
    let gated = Gated::new(memory.clone());
    let mut limits = limits(1);
    limits.drain = Duration::from_millis(50);
    let served = Served::untasted(gated.clone(), device(), limits);
    let first = served.client().begin_write(0, &pattern(1 << 20, 1));
    gated.wait_for(1);
    // There is no buffer for this one.
    let second = served.client().begin_write(4 << 20, &[1; 512]);
    served
        .model
        .wait_until("it to be handed over", |model| model.queues(0) == (0, 2));
    served.gate.leave();
    assert_eq!(served.model.queues(0), (2, 0));
    gated.open();
    let next = open(served.model.clone(), memory.clone()).unwrap();
    first.wait().unwrap();
    second.wait().unwrap();
    drop(next);
}

#[test]
fn dropping_leaves_the_device_in_place() {
    let model = Model::new(MAX_TRANSFER);
    let gate = open(model.clone(), memory()).unwrap();
    model.tasted();
    let client = model.open(NAME).unwrap();
    drop(gate);
    let pending = client.begin_write(0, &[1; 512]);
    let gate = Gate::open(Arc::new(model.clone()), device(), memory()).unwrap();
    pending.wait().unwrap();
    drop(client);
    gate.release(false).unwrap();
    assert_eq!(model.crash(), None);
}
