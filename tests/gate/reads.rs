//! Direct reads, `info` and size: what is changed of a device while it is served.

use std::sync::Arc;

use hast::provider::Command;
use hast::provider::gate::{Device, Gate, ReadSource};
use nix::errno::Errno;

use crate::backend::Memory;
use crate::model::{Call, Model, bio};
use crate::process::Process;
use crate::{MAX_TRANSFER, NAME, SIZE, Served, device, limits, pattern};

/// Where the device begins on its disk, in bytes.
const OFFSET: u64 = 1 << 20;

/// A device with a disk to read from, which holds other bytes than the backend: it is seen who read.
fn served(media_size: u64) -> (Served, Arc<Memory>) {
    let memory = Memory::new(SIZE as usize);
    let model = Model::new(MAX_TRANSFER);
    model.add_disk("da0", pattern((OFFSET + SIZE) as usize, 9));
    let device = Device {
        source: ReadSource::new("/dev/da0", OFFSET, media_size),
        ..device()
    };
    let served = Served::on(model, memory.clone(), device, limits(4));
    (served, memory)
}

fn of_disk(offset: usize, length: usize) -> Vec<u8> {
    let start = OFFSET as usize + offset;
    pattern((OFFSET + SIZE) as usize, 9)[start..start + length].to_vec()
}

#[test]
fn the_kernel_reads_by_itself_exactly_while_told_so() {
    let (served, memory) = served(OFFSET + SIZE);
    let client = served.client();
    let before = memory.seen(Command::Read);
    assert_eq!(client.read(4096, 512).unwrap(), [0; 512], "off at first");
    served.gate.set_direct_reads(true);
    assert!(served.gate.has_direct_reads());
    assert_eq!(client.read(4096, 1024).unwrap(), of_disk(4096, 1024));
    assert!(
        served
            .description()
            .contains("<read_provider>da0</read_provider>")
    );
    // Whatever is not a read goes its usual way.
    client.write(4096, &[7; 512]).unwrap();
    client.flush().unwrap();
    assert_eq!(memory.seen(Command::Write), 1);
    served.gate.set_direct_reads(true);
    served.gate.set_direct_reads(false);
    assert_eq!(client.read(4096, 512).unwrap(), [7; 512]);
    assert!(!served.description().contains("read_provider"));
    served.gate.set_direct_reads(true);
    assert_eq!(client.read(0, 512).unwrap(), of_disk(0, 512));
    assert_eq!(memory.seen(Command::Read), before + 2);
    assert_eq!(served.model.direct_reads("da0"), 2);
}

#[test]
fn a_direct_read_that_fails_comes_to_us() {
    let (served, memory) = served(OFFSET + SIZE);
    served.gate.set_direct_reads(true);
    served.model.set_failing("da0", true);
    let before = memory.seen(Command::Read);
    assert_eq!(served.client().read(0, 4096).unwrap(), [0; 4096]);
    assert_eq!(memory.seen(Command::Read), before + 1);
}

#[test]
fn after_a_local_error_the_kernel_never_reads_by_itself_again() {
    let (served, _) = served(OFFSET + SIZE);
    served.gate.set_direct_reads(true);
    served.model.set_holding("da0", true);
    let under_way = served.client().ask(bio::READ, 0, 512, &[]);
    served.gate.bar_direct_reads();
    assert_eq!(served.client().read(0, 512).unwrap(), [0; 512], "at once");
    served.gate.set_direct_reads(true);
    assert!(!served.gate.has_direct_reads());
    assert_eq!(served.client().read(0, 512).unwrap(), [0; 512]);
    // One that had begun ends as it would have.
    served.model.set_holding("da0", false);
    assert_eq!(under_way.wait().unwrap(), of_disk(0, 512));
    assert!(
        !served.description().contains("<consumer id=\"0xc"),
        "and the disk is let go"
    );
}

#[test]
fn a_disk_that_is_too_small_or_not_there_is_not_read_from() {
    let (small, _) = served(OFFSET + SIZE - 512);
    small.gate.set_direct_reads(true);
    assert!(!small.gate.has_direct_reads());
    let asked = |call: &Call| matches!(call, Call::ReadFrom(..));
    // The kernel would never let go of GEOM's lock.
    assert!(!small.model.calls().iter().any(asked));
    assert_eq!(small.client().read(0, 512).unwrap(), [0; 512]);

    let memory = Memory::new(SIZE as usize);
    let device = Device {
        source: ReadSource::new("/dev/da1", 0, SIZE),
        ..device()
    };
    let absent = Served::on(Model::new(MAX_TRANSFER), memory, device, limits(1));
    absent.gate.set_direct_reads(true);
    assert!(!absent.gate.has_direct_reads());
    assert_eq!(absent.client().read(0, 512).unwrap(), [0; 512]);

    let source = ReadSource::new("/dev/da0", 100, 2 * SIZE);
    assert!(
        source.is_some(),
        "whether it is aligned depends on the device's sectors"
    );
    for path in ["/var/disk1", "da0", "/dev/"] {
        assert_eq!(ReadSource::new(path, 0, SIZE), None, "{path}");
    }
}

#[test]
fn what_a_dead_process_let_the_kernel_read_is_not_read_on() {
    let model = Model::untasted(MAX_TRANSFER);
    let memory = Memory::new(SIZE as usize);
    model.add_disk("da0", pattern((OFFSET + SIZE) as usize, 9));
    let device = || Device {
        source: ReadSource::new("/dev/da0", OFFSET, OFFSET + SIZE),
        ..device()
    };
    let process = Process::new(&model, &memory);
    let kernel = Arc::new(process.clone());
    let dead = Gate::open_with(kernel, device(), memory.clone(), limits(1)).unwrap();
    dead.set_direct_reads(true);
    process.kill();
    let client = model.open(NAME).unwrap();
    assert_eq!(
        client.read(0, 512).unwrap(),
        of_disk(0, 512),
        "it does, until then"
    );
    let next = Gate::open_with(Arc::new(model.clone()), device(), memory, limits(1)).unwrap();
    assert_eq!(client.read(0, 512).unwrap(), [0; 512]);
    next.set_direct_reads(true);
    assert_eq!(client.read(0, 512).unwrap(), of_disk(0, 512));
    next.leave();
    let pending = client.ask(bio::READ, 0, 512, &[]);
    assert!(
        pending.is_waiting(),
        "nobody reads from a device that was left"
    );
    assert_eq!(model.crash(), None);
    drop(dead);
}

#[test]
fn force_waits_for_reads_of_the_kernels_own() {
    let (served, _) = served(OFFSET + SIZE);
    served.gate.set_direct_reads(true);
    served.model.set_holding("da0", true);
    let under_way = served.client().ask(bio::READ, 0, 512, &[]);
    let releaser = {
        let model = served.model.clone();
        std::thread::spawn(move || {
            model.wait_until("direct reads to be off", |model| {
                model.calls().contains(&Call::ReadNothing)
            });
            assert_eq!(model.units().len(), 1);
            model.set_holding("da0", false);
        })
    };
    served.gate.release(true).unwrap();
    releaser.join().unwrap();
    assert_eq!(under_way.wait().unwrap(), of_disk(0, 512));
    assert_eq!(served.model.crash(), None);
}

#[test]
fn info_is_kept_current_and_does_not_break_geoms_xml() {
    let (served, _) = served(OFFSET + SIZE);
    assert!(served.description().contains("<info>a test</info>"));
    served.gate.set_info("primary; complete");
    assert!(
        served
            .description()
            .contains("<info>primary; complete</info>")
    );
    served.gate.set_info("</info></config> & <b>");
    assert!(
        served
            .description()
            .contains("<info>?/info??/config? ? ?b?</info>")
    );
    // A device that is taken over says what its new process says.
    served.gate.leave();
    let device = Device {
        info: "taken over".into(),
        ..device()
    };
    let memory = Memory::new(SIZE as usize);
    let next = Gate::open_with(Arc::new(served.model.clone()), device, memory, limits(1)).unwrap();
    assert!(served.description().contains("<info>taken over</info>"));
    drop(next);
}

#[test]
fn a_device_grows_and_shrinks_while_it_is_used() {
    let memory = Memory::new(2 * SIZE as usize);
    let served = Served::new(memory);
    let client = served.client();
    assert_eq!(client.write(SIZE, &[1; 512]), Err(Errno::EIO));
    served.gate.resize(2 * SIZE).unwrap();
    assert_eq!(client.write(SIZE, &[1; 512]), Ok(()));
    assert_eq!(client.read(2 * SIZE - 512, 512).unwrap(), [0; 512]);
    assert!(served.gate.resize(SIZE + 1).is_err());
    assert!(served.gate.resize(0).is_err());
    assert_eq!(client.write(SIZE, &[1; 512]), Ok(()));
    served.gate.resize(SIZE).unwrap();
    assert_eq!(client.read(SIZE, 512), Err(Errno::EIO));
}

#[test]
fn a_device_that_grew_beyond_its_disk_is_read_by_us() {
    let (served, _) = served(OFFSET + SIZE);
    served.gate.set_direct_reads(true);
    served.gate.resize(2 * SIZE).unwrap();
    assert!(!served.gate.has_direct_reads());
    served.gate.set_direct_reads(true);
    assert_eq!(served.client().read(0, 512).unwrap(), [0; 512]);
    assert_eq!(served.model.crash(), None);
}
