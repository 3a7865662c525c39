//! `hastctl role`, `status` and `list` against a hastd that answers what the test tells it to.

use crate::{Node, text_vector, vector};
use hast::config::Address;
use hast::control::{
    self, Condition, Connection, Details, Direction, ErrorCode, Failure, Holding, LocalState,
    PeerState, Request, ResourceStatus, RoleReply, Selection, StatusReply, Synchronisation,
};
use hast::nv::Nv;
use hast::terms::Role;
use std::time::Duration;

const EX_UNAVAILABLE: i32 = 69;
const EX_SOFTWARE: i32 = 70;
const EX_OSERR: i32 = 71;

/// The status of disk1 as captured from base's hastd.
fn captured() -> ResourceStatus {
    let bytes = vector("control/ctl-status.reply.bin");
    let message =
        hast::wire::frame::Message::read_from(&mut bytes.as_slice(), control::REPLY_LIMITS)
            .unwrap();
    let mut reply = StatusReply::from_nv(&message.nv).unwrap();
    reply.resources.remove(0).1.unwrap()
}

fn with_details(condition: Condition, details: Details) -> ResourceStatus {
    let mut status = captured();
    let worker = status.worker.as_mut().unwrap();
    worker.condition = condition;
    worker.details = Some(details);
    status
}

fn serve_status(node: &Node, resources: Vec<(&str, Result<ResourceStatus, Failure>)>) {
    let resources = resources
        .into_iter()
        .map(|(name, result)| (name.to_owned(), result))
        .collect();
    node.serve(control::encode(&StatusReply { resources }.to_nv()));
}

#[test]
fn what_base_hastd_answers_is_printed_as_bases_hastctl_prints_it() {
    for (command, reply, text) in [
        ("status", "ctl-status", "status.a"),
        ("list", "ctl-status", "list.a"),
        ("list", "ctl-status-secondary", "list.b"),
    ] {
        let node = Node::new([0, 0]);
        let server = node.serve(vector(&format!("control/{reply}.reply.bin")));
        let run = node.hastctl(&[command]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{command}");
        assert_eq!(
            run.stdout,
            text_vector(&format!("text/{text}.txt")),
            "{command}"
        );
        let request = Request::from_nv(&server.join().unwrap().nv);
        assert_eq!(
            request,
            Ok(Request::Status {
                resources: Selection::All
            })
        );
    }
}

#[test]
fn our_lines_stand_between_bases() {
    let details = Details {
        connection: Connection::Connected,
        peer: PeerState::Inconsistent,
        local: LocalState::UpToDate,
        synchronisation: Some(Synchronisation {
            direction: Direction::ToPeer,
            done: 43 << 20,
            total: 100 << 20,
            rate: 1 << 20,
        }),
        holding: None,
        reason: Some("the peer is being brought up to date".into()),
    };
    let ours = [
        "  connection: connected",
        "  peer: inconsistent",
        "  local: up-to-date",
        "  synchronisation: to the peer, 43% (43MB of 100MB), 1.0MB/s, 57 s left",
        "  reason: the peer is being brought up to date",
    ];
    let node = Node::new([0, 0]);
    serve_status(
        &node,
        vec![(
            "disk1",
            Ok(with_details(Condition::Syncing, details.clone())),
        )],
    );
    let run = node.hastctl(&["list", "all"]);
    let (found, bases): (Vec<&str>, Vec<&str>) =
        run.stdout.lines().partition(|line| ours.contains(line));
    assert_eq!(found, ours);
    let expected = text_vector("text/list.a.txt").replace("complete", "syncing");
    assert_eq!(bases, expected.lines().collect::<Vec<_>>());

    let node = Node::new([0, 0]);
    serve_status(
        &node,
        vec![("disk1", Ok(with_details(Condition::Syncing, details)))],
    );
    assert_eq!(
        node.hastctl(&["status"]).stdout,
        "Name\tStatus\t Role\t\tComponents\n\
         disk1\tsyncing  primary        /dev/md10\ttcp4://127.0.0.1:8458\t43%\n"
    );
}

#[test]
fn a_synchronisation_that_stands_still_has_no_time_left() {
    let node = Node::new([0, 0]);
    let details = Details {
        connection: Connection::Connected,
        peer: PeerState::UpToDate,
        local: LocalState::Inconsistent,
        synchronisation: Some(Synchronisation {
            direction: Direction::FromPeer,
            done: (1 << 40) - 1,
            total: 1 << 40,
            rate: 0,
        }),
        holding: Some(Holding { left: 12, held: 0 }),
        reason: None,
    };
    serve_status(
        &node,
        vec![("disk1", Ok(with_details(Condition::Syncing, details)))],
    );
    let run = node.hastctl(&["list"]);
    let line = "  synchronisation: from the peer, 99% (1.0TB of 1.0TB), 0B/s, time left unknown\n";
    assert!(run.stdout.contains(line), "{}", run.stdout);
    let line = "  permit: 12 s to go on alone\n";
    assert!(run.stdout.contains(line), "{}", run.stdout);
}

#[test]
fn resources_without_worker_or_unknown_have_their_lines() {
    let idle = || ResourceStatus {
        role: Role::Init,
        workerpid: 0,
        worker: None,
        sourceaddr: Some("tcp4://10.0.0.1".into()),
        ..captured()
    };
    let unknown = || Err(Failure::from(ErrorCode::NO_SUCH_RESOURCE));

    let node = Node::new([0, 0]);
    serve_status(&node, vec![("disk1", Ok(idle())), ("nosuch", unknown())]);
    let run = node.hastctl(&["status", "disk1", "nosuch"]);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.stdout,
        "Name\tStatus\t Role\t\tComponents\n\
         disk1\t-        init           /dev/md10\ttcp4://127.0.0.1:8458\n\
         nosuch\tERR1\n"
    );

    let node = Node::new([0, 0]);
    serve_status(&node, vec![("nosuch", unknown()), ("disk1", Ok(idle()))]);
    let run = node.hastctl(&["list", "nosuch", "disk1"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stdout.starts_with(
            "nosuch:\n  error: 1\n  reason: no such resource is configured\n\
             disk1:\n  role: init\n  provname: a.disk1\n  localpath: /dev/md10\n  \
             extentsize: 0 (0B)\n  keepdirty: 0\n  remoteaddr: tcp4://127.0.0.1:8458\n  \
             sourceaddr: tcp4://10.0.0.1\n  replication: fullsync\n  dirty: 0 (0B)\n  statistics:\n"
        ),
        "{}",
        run.stdout
    );
}

#[test]
fn role_is_silent_when_it_succeeds() {
    for (arguments, stderr) in [
        (&["role", "secondary", "all"] as &[&str], ""),
        (&["role", "-d", "secondary", "all"], ""),
        (
            &["role", "-dd", "secondary", "all"],
            "hastctl: disk1: role unchanged (secondary)\n",
        ),
    ] {
        let node = Node::new([0, 0]);
        let server = node.serve(vector("control/ctl-role-all.reply.bin"));
        let run = node.hastctl(arguments);
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (0, "", stderr)
        );
        let request = Request::from_nv(&server.join().unwrap().nv);
        let resources = Selection::All;
        assert_eq!(
            request,
            Ok(Request::SetRole {
                role: Role::Secondary,
                resources,
                force: false,
                guard: None,
            })
        );
    }
}

#[test]
fn role_says_what_was_refused_and_ends_with_the_first_error() {
    let node = Node::new([0, 0]);
    let reply = RoleReply {
        resources: vec![
            ("disk1".into(), Ok(Role::Secondary)),
            (
                "disk2".into(),
                Err(Failure::new(ErrorCode::REFUSED, "half of it is missing")),
            ),
            ("nosuch".into(), Err(ErrorCode::NO_SUCH_RESOURCE.into())),
        ],
    };
    let server = node.serve(control::encode(&reply.to_nv()));
    let run = node.hastctl(&[
        "role", "-d", "--force", "primary", "disk1", "disk2", "nosuch",
    ]);
    assert_eq!((run.code, run.stdout.as_str()), (5, ""));
    assert_eq!(
        run.stderr,
        "hastctl: disk1: role changed from secondary to primary\n\
         hastctl: disk2: half of it is missing\n\
         hastctl: nosuch: no such resource is configured\n"
    );
    let names = ["disk1", "disk2", "nosuch"].map(str::to_owned).to_vec();
    assert_eq!(
        Request::from_nv(&server.join().unwrap().nv),
        Ok(Request::SetRole {
            role: Role::Primary,
            resources: Selection::Named(names),
            force: true,
            guard: None,
        })
    );
}

#[test]
fn trouble_with_hastd_has_bases_exit_codes() {
    let node = Node::new([0, 0]);
    let run = node.hastctl(&["status"]);
    assert_eq!(run.code, EX_OSERR);
    assert!(
        run.stderr
            .contains("hastd is not running or not listening at"),
        "{}",
        run.stderr
    );

    let huge = [2, 0xff, 0xff, 0xff, 0x7f].to_vec();
    let malformed = control::encode(Nv::new().add_str("resource0", "disk1"));
    let refused = control::encode(&control::failure_reply(&ErrorCode::INVALID.into()));
    for (reply, code, part) in [
        (Vec::new(), EX_UNAVAILABLE, "no usable reply from hastd"),
        (
            b"\x02\x10\0\0\0short".to_vec(),
            EX_UNAVAILABLE,
            "no usable reply from hastd",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            EX_UNAVAILABLE,
            "no usable reply",
        ),
        (huge, EX_UNAVAILABLE, "no usable reply from hastd"),
        (malformed, EX_SOFTWARE, "lacks a usable entry 'provname0'"),
        (
            refused,
            EX_SOFTWARE,
            "hastd refused the request: the request is invalid",
        ),
    ] {
        let node = Node::new([0, 0]);
        node.serve(reply);
        let run = node.hastctl(&["list"]);
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stderr.contains(part), "{}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_hastd_that_hangs_is_given_up() {
    let node = Node::new([0, 0]);
    let listener = std::os::unix::net::UnixListener::bind(node.path("control")).unwrap();
    let address = Address::parse(node.path("control").to_str().unwrap(), 0).unwrap();
    let request = Request::Status {
        resources: Selection::All,
    };
    let error =
        control::client::exchange(&address, &request, Duration::from_millis(50)).unwrap_err();
    assert_eq!(i32::from(error.exit_code()), EX_UNAVAILABLE);
    assert!(error.to_string().contains("timed out"), "{error}");
    drop(listener);
}
