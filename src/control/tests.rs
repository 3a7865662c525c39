//! Against bytes captured from base's hastctl and hastd (tests/vectors/control, or the folder
//! named by HAST_VECTORS).

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

/// The nv of a captured message, and a check that framing it again gives the same bytes.
fn captured(name: &str, limits: Limits) -> Nv {
    let bytes = vector(name);
    let message = Message::read_from(&mut bytes.as_slice(), limits).unwrap();
    assert_eq!(encode(&message.nv), bytes, "{name}");
    message.nv
}

#[test]
fn requests_are_the_bytes_of_bases_hastctl() {
    let set_role = |role, resources| Request::SetRole {
        role,
        resources,
        force: false,
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
        assert_eq!(encode(&request.to_nv()), vector(&name), "{name}");
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
        assert_eq!(encode(&reply.to_nv()), vector(name));
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
        assert_eq!(encode(&reply.to_nv()), vector(name));
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
        reason: None,
    });
    assert!(reply.to_nv().encode().starts_with(&plain));
    assert_eq!(StatusReply::from_nv(&reply.to_nv()), Ok(reply));
}
