//! Against bytes captured from base's hastctl and hastd (tests/vectors/control, or the folder
//! named by HAST_VECTORS).
//!
//! Base pads names with whatever its buffer held (the end of an earlier name, a port); we pad
//! with zeros, as every reader ignores padding. So comparisons here are byte by byte with the
//! captured padding of names zeroed, and nothing else changed.

use super::*;
use crate::terms::Role;
use crate::wire::frame::Message;
use std::path::PathBuf;

fn vector(name: &str) -> Vec<u8> {
    let vectors = std::env::var_os("HAST_VECTORS").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").into(),
        PathBuf::from,
    );
    let path = vectors.join("control").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A captured control message as it would be had base padded names with zeros.
fn expected(name: &str) -> Vec<u8> {
    const FRAME_HEADER: usize = 5;
    const ENTRY_HEADER: usize = 6;
    let mut bytes = vector(name);
    let mut at = FRAME_HEADER;
    while at < bytes.len() {
        let name_size = usize::from(bytes[at + 1]);
        let data_size = u32::from_le_bytes(bytes[at + 2..at + 6].try_into().unwrap()) as usize;
        let name_end = at + ENTRY_HEADER + name_size;
        let data_start = at + ENTRY_HEADER + name_size.next_multiple_of(8);
        bytes[name_end..data_start].fill(0);
        at = data_start + data_size.next_multiple_of(8);
    }
    bytes
}

/// The nv of a captured message.
fn captured(name: &str, limits: Limits) -> Nv {
    let bytes = vector(name);
    let message = Message::read_from(&mut bytes.as_slice(), limits).unwrap();
    message.nv
}

#[test]
fn requests_are_the_bytes_of_bases_hastctl() {
    let set_role = |role, resources| Request::SetRole {
        role,
        resources,
        force: false,
        guard: None,
    };
    let all = || Selection::All;
    for (name, request) in [
        ("ctl-role-all", set_role(Role::Secondary, all())),
        (
            "ctl-role-unknown",
            set_role(Role::Primary, Selection::Named(vec!["nosuch".into()])),
        ),
        ("ctl-status", Request::Status { resources: all() }),
        ("ctl-status-secondary", Request::Status { resources: all() }),
    ] {
        let name = format!("{name}.request.bin");
        assert_eq!(encode(&request.to_nv()), expected(&name), "{name}");
        assert_eq!(
            Request::from_nv(&captured(&name, REQUEST_LIMITS)),
            Ok(request),
            "{name}"
        );
    }
}

#[test]
fn role_replies_of_base_hastd_are_understood_and_made() {
    for (name, resource, result) in [
        ("ctl-role-all.reply.bin", "disk1", Ok(Role::Secondary)),
        (
            "ctl-role-unknown.reply.bin",
            "nosuch",
            Err(ErrorCode::NO_SUCH_RESOURCE.into()),
        ),
    ] {
        let reply = RoleReply::from_nv(&captured(name, REPLY_LIMITS)).unwrap();
        assert_eq!(reply.resources, [(resource.to_owned(), result)]);
        assert_eq!(encode(&reply.to_nv()), expected(name));
    }
}

#[test]
fn status_replies_of_base_hastd_are_understood_and_made() {
    for (name, provname, role, pid, reads) in [
        ("ctl-status.reply.bin", "a.disk1", Role::Primary, 964, 19),
        (
            "ctl-status-secondary.reply.bin",
            "b.disk1",
            Role::Secondary,
            1002,
            0,
        ),
    ] {
        let reply = StatusReply::from_nv(&captured(name, REPLY_LIMITS)).unwrap();
        let status = reply.resources[0].1.as_ref().unwrap();
        let worker = status.worker.as_ref().unwrap();
        assert_eq!(status.provname, provname);
        assert_eq!((status.role, status.workerpid), (role, pid));
        assert_eq!(worker.condition, Condition::Complete);
        assert_eq!((worker.statistics.read, worker.queues.idle), (reads, 255));
        assert_eq!(worker.details, None);
        assert_eq!(encode(&reply.to_nv()), expected(name));
    }
}

/// Base's hastctl finds its own entries in a reply of ours as if our additions were not there.
#[test]
fn additions_come_after_bases_entries() {
    let name = "ctl-status.reply.bin";
    let mut reply = StatusReply::from_nv(&captured(name, REPLY_LIMITS)).unwrap();
    let plain = reply.to_nv().encode();
    let worker = reply.resources[0]
        .1
        .as_mut()
        .unwrap()
        .worker
        .as_mut()
        .unwrap();
    worker.details = Some(Details {
        connection: Connection::Connected,
        peer: PeerState::UpToDate,
        local: LocalState::UpToDate,
        synchronisation: None,
        holding: None,
        reason: None,
    });
    assert!(reply.to_nv().encode().starts_with(&plain));
    assert_eq!(StatusReply::from_nv(&reply.to_nv()), Ok(reply));
}

/// Mutated replies and requests: refused or understood, never a panic.
#[test]
fn no_bytes_make_the_decoders_panic() {
    let samples = [
        "ctl-status.reply.bin",
        "ctl-role-all.reply.bin",
        "ctl-role-all.request.bin",
    ]
    .map(|name| captured(name, REPLY_LIMITS).encode());
    let mut understood = 0;
    for seed in 0..3000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = random.choice(&samples).unwrap().clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        let Ok(nv) = Nv::decode(&bytes) else { continue };
        understood += u32::from(Request::from_nv(&nv).is_ok())
            + u32::from(RoleReply::from_nv(&nv).is_ok())
            + u32::from(StatusReply::from_nv(&nv).is_ok());
    }
    assert!(
        understood > 300,
        "{understood}: mutations that never decode test nothing"
    );
}
