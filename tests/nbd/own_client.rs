//! Everything that our own client can see: data, splitting, flushes, errors, backpressure,
//! clients that leave, and stopping.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hast::provider::nbd::client::{Asked, Client, ClientError};
use hast::provider::nbd::protocol::export_flag;
use hast::provider::nbd::{Export, Limits, ListenAddress, ProviderError, Server};
use hast::provider::{Command, MAX_REQUEST};
use nix::errno::Errno;

use super::backend::{Failing, Gated, Memory, Shuffled};
use super::support::eventually;
use super::{PATIENCE, Served, pattern};

const MIB: usize = 1 << 20;

/// The errno of a failed request.
#[track_caller]
fn errno<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Errno {
    match result {
        Err(ClientError::Request { errno, .. }) => errno,
        other => panic!("no failed request: {other:?}"),
    }
}

#[test]
fn the_handshake_says_what_the_device_is() {
    let served = Served::new(3 * MIB as u64, Memory::new(3 * MIB));
    let client = served.client();
    assert_eq!(client.size(), 3 * MIB as u64);
    assert_eq!(client.flags(), export_flag::OFFERED);
    assert_eq!(client.block_sizes(), Some([512, 4096, 32 << 20]));
    client.disconnect().unwrap();
    eventually("the client has left", || served.server.clients() == 0);
}

#[test]
fn requests_of_all_lengths_are_split_and_put_together() {
    let memory = Memory::new(48 * MIB);
    let served = Served::new(48 * MIB as u64, Shuffled::new(memory.clone()));
    let mut client = served.client();
    for length in [
        512,
        4096,
        MIB - 512,
        MIB,
        MIB + 512,
        5 * MIB + 1024,
        32 * MIB,
    ] {
        let data = pattern(length, length as u64);
        client.write(1536, &data, false).unwrap();
        assert_eq!(memory.bytes(1536, length), data, "{length} bytes written");
        assert!(
            client.read(1536, length as u32).unwrap() == data,
            "{length} bytes read"
        );
    }
    assert!(
        memory
            .log()
            .iter()
            .all(|(_, _, length)| *length <= MAX_REQUEST)
    );
    eventually("all buffers are back", || memory.pool().in_use() == 0);
}

#[test]
fn many_requests_in_flight_all_get_their_own_answer() {
    let served = Served::new(16 * MIB as u64, Shuffled::new(Memory::new(16 * MIB)));
    let mut client = served.client();
    let blocks: Vec<_> = (0..1024).map(|n| pattern(4096, n)).collect();
    for (n, block) in (0u64..).zip(&blocks) {
        client
            .submit(Asked::Write, n * 16384, 4096, block, false)
            .unwrap();
    }
    while client.pending() > 0 {
        client.wait().unwrap().result.unwrap();
    }
    let mut expected = HashMap::new();
    for (n, block) in (0u64..).zip(&blocks) {
        let cookie = client
            .submit(Asked::Read, n * 16384, 4096, &[], false)
            .unwrap();
        expected.insert(cookie, block);
    }
    while client.pending() > 0 {
        let answer = client.wait().unwrap();
        assert_eq!(
            &answer.result.unwrap(),
            expected.remove(&answer.cookie).unwrap()
        );
    }
    assert!(expected.is_empty());
}

#[test]
fn long_reads_of_many_clients_do_not_wait_for_each_other_for_ever() {
    // Each read needs half of the budget at once.
    let memory = Memory::with_budget(8 * MIB, 4 * MIB);
    let served = Served::new(8 * MIB as u64, Shuffled::new(memory.clone()));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = served.client();
                for _ in 0..20 {
                    assert_eq!(client.read(0, 2 * MAX_REQUEST).unwrap().len(), 2 * MIB);
                }
            });
        }
    });
    eventually("all buffers are back", || memory.pool().in_use() == 0);
}

#[test]
fn trims_and_zeroes_are_cut_into_pieces_a_few_at_a_time() {
    let memory = Memory::new(0);
    let gated = Gated::new(memory);
    let served = Served::new(1 << 40, gated.clone());
    let mut client = served.client();
    let length = u32::MAX - 511;
    client.submit(Asked::Trim, 512, length, &[], false).unwrap();
    let mut ends = std::collections::BTreeMap::new();
    let mut most = 0;
    while ends.values().map(|length| u64::from(*length)).sum::<u64>() < u64::from(length) {
        most = most.max(gated.wait_for(1));
        for request in gated.take() {
            assert_eq!(request.command, Command::Delete);
            ends.insert(request.offset, request.length);
            request.completion.complete(Ok(None));
        }
    }
    assert!(client.wait().unwrap().result.is_ok());
    let mut at = 512;
    for (offset, length) in ends {
        assert_eq!(offset, at);
        at += u64::from(length);
    }
    assert_eq!(at, 512 + u64::from(length));
    assert!((2..=8).contains(&most), "{most} pieces at once");
}

#[test]
fn fua_is_a_flush_after_all_pieces_and_before_the_answer() {
    let gated = Gated::new(Memory::new(8 * MIB));
    let served = Served::new(8 * MIB as u64, gated.clone());
    let mut client = served.client();
    client
        .submit(Asked::Write, 0, 3 * MAX_REQUEST, &pattern(3 * MIB, 1), true)
        .unwrap();
    gated.wait_for(3);
    let mut pieces = gated.take();
    assert!(pieces.iter().all(|piece| piece.command == Command::Write));
    let last = pieces.pop().unwrap();
    for piece in pieces {
        piece.completion.complete(Ok(None));
    }
    assert_eq!(gated.take().len(), 0, "no flush before the last piece");
    last.completion.complete(Ok(None));
    gated.wait_for(1);
    let flush = gated.take().pop().unwrap();
    assert_eq!(
        (flush.command, flush.offset, flush.length),
        (Command::Flush, 0, 0)
    );
    flush.completion.complete(Err(Errno::EIO));
    assert_eq!(
        client.wait().unwrap().result.err(),
        Some(Errno::EIO),
        "the flush's result counts"
    );
}

#[test]
fn the_first_error_of_a_long_request_is_its_answer() {
    let at = |command, piece: u64| (command, piece * u64::from(MAX_REQUEST));
    let failures = HashMap::from([
        (at(Command::Read, 2), Errno::ENOMEM),
        (at(Command::Read, 3), Errno::EIO),
        (at(Command::Write, 1), Errno::ENOSPC),
        (at(Command::Zeroes, 20), Errno::EPERM),
        (at(Command::Delete, 0), Errno::EOPNOTSUPP),
        ((Command::Flush, 0), Errno::ENXIO),
    ]);
    let memory = Memory::new(64 * MIB);
    let served = Served::new(
        64 * MIB as u64,
        Arc::new(Failing {
            memory: memory.clone(),
            failures,
        }),
    );
    let mut client = served.client();
    assert_eq!(errno(client.read(0, 5 * MAX_REQUEST)), Errno::ENOMEM);
    assert_eq!(errno(client.read(2 << 20, 512)), Errno::ENOMEM);
    assert_eq!(
        errno(client.write(0, &pattern(4 * MIB, 3), true)),
        Errno::ENOSPC
    );
    assert_eq!(errno(client.zeroes(0, 60 << 20)), Errno::EPERM);
    assert!(
        memory.seen(Command::Zeroes) < 40,
        "pieces after a failure are not begun"
    );
    assert_eq!(errno(client.trim(0, 60 << 20)), Errno::EOPNOTSUPP);
    assert_eq!(
        errno(client.flush()),
        Errno::EIO,
        "ENXIO has no number in NBD"
    );
    // The connection is none the worse for it.
    assert_eq!(client.read(0, MAX_REQUEST).unwrap().len(), MIB);
    eventually("all buffers are back", || memory.pool().in_use() == 0);
}

#[test]
fn a_request_that_the_backend_drops_is_answered_with_eio() {
    let gated = Gated::new(Memory::new(MIB));
    let served = Served::new(MIB as u64, gated.clone());
    let mut client = served.client();
    client.submit(Asked::Read, 0, 512, &[], false).unwrap();
    gated.wait_for(1);
    drop(gated.take());
    assert_eq!(client.wait().unwrap().result.err(), Some(Errno::EIO));
}

#[test]
fn requests_outside_the_rules_are_refused_and_the_stream_stays_in_step() {
    let memory = Memory::new(MIB);
    let served = Served::new(MIB as u64, memory.clone());
    let mut client = served.client();
    assert_eq!(errno(client.write(100, &[1; 512], false)), Errno::EINVAL);
    assert_eq!(
        errno(client.write(0, &pattern(70_001, 1), false)),
        Errno::EINVAL
    );
    assert_eq!(
        errno(client.write(MIB as u64 - 512, &[1; 1024], false)),
        Errno::ENOSPC
    );
    assert_eq!(errno(client.read(MIB as u64, 512)), Errno::EINVAL);
    assert_eq!(errno(client.trim(u64::MAX - 511, 512)), Errno::EINVAL);
    assert!(memory.log().is_empty(), "none of it reached the backend");
    client.write(0, &[7; 512], false).unwrap();
    assert_eq!(client.read(0, 512).unwrap(), [7; 512]);
}

#[test]
fn a_client_waits_when_the_budget_is_used_up_and_others_get_their_turn() {
    let memory = Memory::with_budget(16 * MIB, 2 * MIB);
    let gated = Gated::new(memory.clone());
    let served = Served::new(16 * MIB as u64, gated.clone());
    let mut client = served.client();
    for n in 0..8 {
        client
            .submit(Asked::Read, n << 20, MAX_REQUEST, &[], false)
            .unwrap();
    }
    gated.wait_for(2);
    // A third would need a buffer that is not there.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(gated.wait_for(2), 2);
    assert_eq!(memory.pool().in_use(), 2 * MIB);
    gated.open();
    while client.pending() > 0 {
        assert_eq!(client.wait().unwrap().result.unwrap().len(), MIB);
    }
}

#[test]
fn a_closed_pool_ends_the_clients_that_wait_for_a_buffer() {
    let memory = Memory::with_budget(16 * MIB, 2 * MIB);
    let gated = Gated::new(memory.clone());
    let served = Served::new(16 * MIB as u64, gated.clone());
    let mut client = served.client();
    for n in 0..4 {
        client
            .submit(Asked::Read, n << 20, MAX_REQUEST, &[], false)
            .unwrap();
    }
    gated.wait_for(2);
    memory.pool().close();
    assert!(matches!(client.wait(), Err(ClientError::Lost(_))));
    eventually("its place is free", || served.server.clients() == 0);
    gated.open();
}

#[test]
fn a_client_that_leaves_in_mid_request_loses_only_its_replies() {
    let memory = Memory::new(8 * MIB);
    let gated = Gated::new(memory.clone());
    let served = Served::new(8 * MIB as u64, gated.clone());
    let mut client = served.client();
    let data = pattern(3 * MIB, 9);
    client
        .submit(Asked::Write, 0, 3 * MAX_REQUEST, &data, false)
        .unwrap();
    client
        .submit(Asked::Read, 0, 2 * MAX_REQUEST, &[], false)
        .unwrap();
    gated.wait_for(5);
    drop(client);
    gated.open();
    eventually("its place is free", || served.server.clients() == 0);
    eventually("all buffers are back", || memory.pool().in_use() == 0);
    assert!(served.client().read(0, 3 * MAX_REQUEST).unwrap() == data);
}

#[test]
fn a_client_that_takes_no_replies_holds_up_nobody() {
    let memory = Memory::new(32 * MIB);
    let gated = Gated::new(memory.clone());
    let served = Served::new(32 * MIB as u64, gated.clone());
    let mut lazy = served.client();
    for n in 0..32 {
        lazy.submit(Asked::Read, n << 20, MAX_REQUEST, &[], false)
            .unwrap();
    }
    gated.wait_for(8);
    // Its replies, more than a socket holds, leave from this thread, which must not wait.
    let before = Instant::now();
    gated.open();
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "completing waited for the client"
    );
    let mut busy = served.client();
    busy.write(0, &pattern(4096, 1), false).unwrap();
    // When it wakes up, nothing is lost.
    while lazy.pending() > 0 {
        assert_eq!(lazy.wait().unwrap().result.unwrap().len(), MIB);
    }
    eventually("all buffers are back", || memory.pool().in_use() == 0);
}

#[test]
fn a_client_that_takes_no_replies_is_dropped_in_time() {
    let memory = Memory::new(32 * MIB);
    let limits = Limits {
        stall: Duration::from_millis(300),
        ..Limits::default()
    };
    let served = Served::with(32 * MIB as u64, memory.clone(), limits);
    let mut lazy = served.client();
    for n in 0..32 {
        lazy.submit(Asked::Read, n << 20, MAX_REQUEST, &[], false)
            .unwrap();
    }
    eventually("the lazy one was dropped", || served.server.clients() == 0);
    eventually("all buffers are back", || memory.pool().in_use() == 0);
    served.client().flush().unwrap();
}

#[test]
fn too_many_clients_are_told_so() {
    let limits = Limits {
        clients: 2,
        ..Limits::default()
    };
    let served = Served::with(MIB as u64, Memory::new(MIB), limits);
    let (_first, second) = (served.client(), served.client());
    let error = Client::connect(served.server.address(), "disk1", PATIENCE)
        .err()
        .unwrap();
    assert!(error.to_string().contains("too many clients"), "{error}");
    second.disconnect().unwrap();
    eventually("a place is free", || served.server.clients() == 1);
    served.client().flush().unwrap();
}

#[test]
fn another_exports_name_is_refused_by_name() {
    let served = Served::new(MIB as u64, Memory::new(MIB));
    let error = Client::connect(served.server.address(), "disk2", PATIENCE)
        .err()
        .unwrap();
    let text = "the server refuses the export 'disk2': no export 'disk2' here; there is 'disk1'";
    assert_eq!(error.to_string(), text);
    assert_eq!(
        Client::connect(served.server.address(), "", PATIENCE)
            .unwrap()
            .size(),
        MIB as u64
    );
}

#[test]
fn it_serves_over_tcp() {
    let address = ListenAddress::Tcp("127.0.0.1:0".into());
    let export = Export {
        name: "disk1".into(),
        size: MIB as u64,
        sector_size: 4096,
    };
    let server = Server::start(&address, export, Memory::new(MIB)).unwrap();
    let mut client = Client::connect(server.address(), "disk1", PATIENCE).unwrap();
    client.write(4096, &[3; 8192], true).unwrap();
    assert_eq!(client.read(0, 16384).unwrap()[4096..12288], [3; 8192]);
    assert_eq!(
        errno(client.read(512, 4096)),
        Errno::EINVAL,
        "sectors of 4096 here"
    );
    server.stop();
    assert!(matches!(client.flush(), Err(ClientError::Lost(_))));
}

#[test]
fn exports_that_nbd_cannot_serve_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let address = ListenAddress::Unix(folder.path().join("socket"));
    let start = |size, sector_size, budget| {
        let export = Export {
            name: "disk1".into(),
            size,
            sector_size,
        };
        match Server::start(&address, export, Memory::with_budget(0, budget)) {
            Err(error @ ProviderError::Export { .. }) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it started"),
        }
    };
    assert!(start(1 << 20, 513, 64 * MIB).contains("513"));
    assert!(start(1000, 512, 64 * MIB).contains("1000 bytes"));
    assert!(start(1 << 20, 512, MIB).contains("budget"));
    assert!(!folder.path().join("socket").exists());
}

#[test]
fn stopping_lets_requests_finish_and_closes_the_rest() {
    let gated = Gated::new(Memory::new(MIB));
    let served = Served::new(MIB as u64, gated.clone());
    let (socket, mut client, idle) = (served.socket(), served.client(), served.client());
    client
        .submit(Asked::Write, 0, 512, &[5; 512], false)
        .unwrap();
    gated.wait_for(1);
    let stopping = std::thread::spawn(move || served.server.stop());
    eventually("it listens no more", || !socket.exists());
    gated.open();
    assert!(
        client.wait().unwrap().result.is_ok(),
        "answered while stopping"
    );
    // What it still gets in before the server turns to the clients is answered.
    eventually("it is read no more", || match client.flush() {
        Ok(()) => false,
        Err(ClientError::Lost(_)) => true,
        Err(other) => panic!("{other}"),
    });
    stopping.join().unwrap();
    drop(idle);
}

#[test]
fn stopping_is_bounded_although_the_backend_never_answers() {
    let gated = Gated::new(Memory::new(MIB));
    let limits = Limits {
        drain: Duration::from_millis(100),
        ..Limits::default()
    };
    let served = Served::with(MIB as u64, gated.clone(), limits);
    let mut client = served.client();
    client.submit(Asked::Read, 0, 512, &[], false).unwrap();
    gated.wait_for(1);
    let before = Instant::now();
    served.server.stop();
    assert!(before.elapsed() < Duration::from_secs(5));
    assert!(matches!(client.wait(), Err(ClientError::Lost(_))));
    // Late, and nobody is left to hear it.
    gated.open();
}
