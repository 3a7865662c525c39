//! What is asked of a device, and what is answered.

use std::collections::HashMap;
use std::sync::Arc;

use hast::provider::{Command, MAX_REQUEST};
use nix::errno::Errno;

use crate::backend::{Failing, Gated, Memory, Shuffled};
use crate::model::bio;
use crate::{SIZE, Served, device, limits, pattern};

#[test]
fn requests_of_every_size_and_alignment_do_what_they_say() {
    let memory = Memory::new(SIZE as usize);
    let served = Served::new(Shuffled::new(memory.clone()));
    let client = served.client();
    let mut expected = vec![0; SIZE as usize];
    let mut random = fastrand::Rng::with_seed(7);
    let lengths = [
        512,
        1024,
        4096,
        65_536,
        131_072,
        131_584,
        1 << 20,
        (1 << 20) + 512,
        3_000_320,
    ];
    for (seed, length) in lengths.into_iter().cycle().take(60).enumerate() {
        let sectors = (SIZE as usize - length) / 512;
        let offset = 512 * random.usize(..=sectors);
        let range = offset..offset + length;
        if seed % 7 == 6 {
            client.delete(offset as u64, length as u64).unwrap();
            expected[range.clone()].fill(0);
        } else {
            let data = pattern(length, seed as u64);
            client.write(offset as u64, &data).unwrap();
            expected[range.clone()].copy_from_slice(&data);
        }
        let read = client.read(offset as u64, length as u64).unwrap();
        assert!(read == expected[range], "{length} bytes at {offset}");
    }
    client.flush().unwrap();
    assert!(client.read(0, SIZE).unwrap() == expected);
    assert_eq!(memory.seen(Command::Flush), 1);
    assert!(
        memory
            .log()
            .iter()
            .all(|(_, _, length)| *length <= MAX_REQUEST)
    );
}

#[test]
fn a_write_longer_than_the_buffer_is_asked_for_again_with_room() {
    let memory = Memory::new(SIZE as usize);
    let served = Served::new(memory.clone());
    // 32 times kern.maxphys.
    let data = pattern(4 << 20, 1);
    served.client().write(512, &data).unwrap();
    assert!(memory.bytes(512, 4 << 20) == data);
    // In pieces that the backend takes.
    assert_eq!(memory.seen(Command::Write), 4);
    served.client().write(0, &data[..512]).unwrap();
    assert_eq!(memory.bytes(0, 512), &data[..512]);
}

#[test]
fn a_small_write_holds_a_small_buffer() {
    let memory = Memory::new(SIZE as usize);
    let gated = Gated::new(memory.clone());
    let served = Served::untasted(gated.clone(), device(), limits(4));
    let pending = served.client().begin_write(0, &[1; 512]);
    gated.wait_for(1);
    assert_eq!(memory.pool().in_use(), 4096);
    assert!(pending.is_waiting());
    gated.open();
    pending.wait().unwrap();
    assert_eq!(memory.pool().in_use(), 0);
}

#[test]
fn one_failed_piece_fails_the_request_and_nothing_else() {
    let memory = Memory::new(SIZE as usize);
    let piece = u64::from(MAX_REQUEST);
    let failures = HashMap::from([
        ((Command::Write, piece), Errno::ENOSPC),
        ((Command::Read, 2 * piece), Errno::EIO),
        ((Command::Delete, 5 * piece), Errno::EOPNOTSUPP),
        ((Command::Flush, 0), Errno::EIO),
    ]);
    let served = Served::new(Arc::new(Failing { memory, failures }));
    let client = served.client();
    assert_eq!(client.write(0, &pattern(3 << 20, 1)), Err(Errno::ENOSPC));
    assert_eq!(client.read(0, 3 << 20), Err(Errno::EIO));
    assert_eq!(client.read(0, 2 << 20).map(|data| data.len()), Ok(2 << 20));
    assert_eq!(client.delete(0, SIZE), Err(Errno::EOPNOTSUPP));
    assert_eq!(client.flush(), Err(Errno::EIO));
    assert_eq!(client.write(0, &[3; 512]), Ok(()));
}

#[test]
fn errors_that_the_kernel_takes_for_its_own_become_eio() {
    // EAGAIN would be asked again for ever, ENXIO take the file system away, ENOMEM slow GEOM down.
    for error in [Errno::EAGAIN, Errno::ENXIO, Errno::ENOMEM, Errno::ENOTCONN] {
        let memory = Memory::new(SIZE as usize);
        let failures = HashMap::from([((Command::Read, 4096), error)]);
        let served = Served::new(Arc::new(Failing { memory, failures }));
        assert_eq!(served.client().read(4096, 512), Err(Errno::EIO), "{error}");
    }
}

#[test]
fn speedup_is_answered_and_what_is_unknown_refused() {
    let memory = Memory::new(SIZE as usize);
    let served = Served::new(memory.clone());
    let before = memory.log().len();
    let client = served.client();
    // What UFS asks: as much as it is short of, which may be more than there is.
    for shortage in [0, 4096, 1 << 40] {
        assert_eq!(
            client.ask(bio::SPEEDUP, 0, shortage, &[]).wait(),
            Ok(Vec::new())
        );
    }
    for command in [bio::GETATTR, 0x06, 0x09, 0x0b, 0xff] {
        assert_eq!(
            client.ask(command, 0, 0, &[]).wait(),
            Err(Errno::EOPNOTSUPP)
        );
    }
    assert_eq!(
        memory.log().len(),
        before,
        "the backend sees nothing of them"
    );
}

#[test]
fn a_long_delete_leaves_the_threads_to_others() {
    let memory = Memory::new(SIZE as usize);
    let gated = Gated::new(memory.clone());
    let size = 64 << 20;
    let device = hast::provider::gate::Device { size, ..device() };
    let served = Served::untasted(gated.clone(), device, limits(1));
    let delete = served.client().ask(bio::DELETE, 0, size, &[]);
    let window = gated.wait_for(8);
    assert_eq!(window, 8, "a few at a time");
    let read = served.client().ask(bio::READ, 0, 512, &[]);
    gated.wait_for(9);
    for request in gated.take() {
        request.completion.complete(Err(Errno::EIO));
    }
    assert_eq!(delete.wait(), Err(Errno::EIO));
    assert_eq!(read.wait(), Err(Errno::EIO));
    assert!(gated.take().is_empty(), "nothing is issued after an error");
}

#[test]
fn many_at_once_with_few_buffers_all_end() {
    let memory = Memory::with_budget(SIZE as usize, 1 << 20);
    let served = Served::new(Shuffled::new(memory.clone()));
    let data = pattern(1 << 20, 3);
    let requests: Vec<_> = (0..64)
        .map(|number| match number % 4 {
            0 => served.client().begin_write(0, &data),
            1 => served.client().ask(bio::READ, 0, 4 << 20, &[]),
            2 => served.client().ask(bio::READ, 1 << 20, 512, &[]),
            _ => served.client().begin_write(4 << 20, &data[..512]),
        })
        .collect();
    for request in requests {
        request.wait().unwrap();
    }
    assert_eq!(memory.pool().in_use(), 0);
}
