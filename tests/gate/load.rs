//! A device that changes hands while it is used: by hand-over, and by death.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use hast::provider::gate::Gate;

use crate::backend::{Memory, Shuffled};
use crate::model::Model;
use crate::process::Process;
use crate::{MAX_TRANSFER, NAME, SIZE, device, limits};

/// Users, each with a part of the device.
const USERS: u64 = 4;
/// The part of each, in bytes.
const PART: u64 = SIZE / USERS;
/// Writes and reads that a user does before the device changes hands.
const BETWEEN: u64 = 40;

/// What a user writes somewhere: its place and its number, all over.
fn stamp(offset: u64, number: u64, length: usize) -> Vec<u8> {
    let sector = |index: u64| {
        let mut bytes = (offset + index * 512).to_le_bytes().to_vec();
        bytes.extend(number.to_le_bytes());
        bytes.repeat(32)
    };
    (0..length as u64 / 512).flat_map(sector).collect()
}

/// Users who write, and check that what was acknowledged is what they read.
struct Users {
    stop: Arc<AtomicBool>,
    steps: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Users {
    fn start(model: &Model) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let steps: Vec<_> = (0..USERS).map(|_| Arc::new(AtomicU64::new(0))).collect();
        let user = |(number, steps): (usize, &Arc<AtomicU64>)| {
            let (model, stop, steps) = (model.clone(), stop.clone(), steps.clone());
            thread::spawn(move || use_part(&model, number as u64, &stop, &steps))
        };
        let threads = steps.iter().enumerate().map(user).collect();
        Self {
            stop,
            steps,
            threads,
        }
    }

    /// Waits until each did so much more.
    fn go_on(&self, model: &Model) {
        let before: Vec<_> = self
            .steps
            .iter()
            .map(|steps| steps.load(Ordering::Relaxed))
            .collect();
        model.wait_until("users to go on", |_| {
            let mut now = self.steps.iter().zip(&before);
            now.all(|(steps, before)| steps.load(Ordering::Relaxed) >= before + BETWEEN)
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

fn use_part(model: &Model, number: u64, stop: &AtomicBool, steps: &AtomicU64) {
    let client = model.open(NAME).unwrap();
    let mut random = fastrand::Rng::with_seed(number);
    let start = number * PART;
    let mut acknowledged = vec![0; PART as usize];
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Several at once that do not overlap, as a file system has.
        let lanes = 4;
        let lane = PART / lanes;
        let writes: Vec<_> = (0..lanes)
            .map(|index| {
                let length = if random.u8(..) < 8 {
                    lane as usize
                } else {
                    512 * random.usize(1..=64)
                };
                let most = (lane - length as u64) / 512;
                let offset = index * lane + 512 * random.u64(0..=most);
                let data = stamp(start + offset, round, length);
                (offset, client.begin_write(start + offset, &data), data)
            })
            .collect();
        for (offset, pending, data) in writes {
            pending.wait().expect("a user only sees a pause");
            acknowledged[offset as usize..offset as usize + data.len()].copy_from_slice(&data);
        }
        if round % 8 == 0 {
            client.flush().unwrap();
        }
        let offset = 512 * random.u64(0..PART / 512 - 64);
        let read = client.read(start + offset, 64 * 512).unwrap();
        let expected = &acknowledged[offset as usize..offset as usize + 64 * 512];
        assert!(
            read == expected,
            "what was acknowledged is there, round {round}"
        );
        steps.fetch_add(1, Ordering::Relaxed);
    }
    assert!(client.read(start, PART).unwrap() == acknowledged);
}

#[test]
fn handing_over_under_load_loses_nothing() {
    let model = Model::untasted(MAX_TRANSFER);
    let memory = Memory::new(SIZE as usize);
    let open = |receivers| {
        let backend = Shuffled::new(memory.clone());
        Gate::open_with(
            Arc::new(model.clone()),
            device(),
            backend,
            limits(receivers),
        )
        .unwrap()
    };
    let mut gate = open(4);
    let users = Users::start(&model);
    for round in 0..12 {
        users.go_on(&model);
        gate.leave();
        gate = open(1 + round % 5);
    }
    users.go_on(&model);
    users.end();
    gate.release(false).unwrap();
    assert_eq!(model.crash(), None);
}

#[test]
fn dying_under_load_loses_nothing() {
    let model = Model::untasted(MAX_TRANSFER);
    let memory = Memory::new(SIZE as usize);
    let open = || {
        let process = Process::new(&model, &memory);
        let (kernel, backend) = (Arc::new(process.clone()), Arc::new(process.clone()));
        let gate = Gate::open_with(kernel, device(), backend, limits(4)).unwrap();
        (process, gate)
    };
    let (mut process, mut gate) = open();
    let users = Users::start(&model);
    let mut dead = Vec::new();
    for _ in 0..12 {
        users.go_on(&model);
        process.kill();
        // What is left of it can do nothing any more.
        dead.push(gate);
        (process, gate) = open();
    }
    users.go_on(&model);
    users.end();
    gate.release(false).unwrap();
    assert_eq!(model.crash(), None);
}
