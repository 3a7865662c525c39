//! hastctl's side, well and badly behaved.

use std::io::{Read, Write};
use std::time::Instant;

use hast::control::{ErrorCode, Request, RoleReply, Selection, StatusReply};
use hast::terms::Role;

use crate::harness::{Hastd, PATIENCE, PROMPTLY, assert_ended, connect, script};

fn named(names: &[&str]) -> Selection {
    Selection::Named(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn status_tells_what_is_configured() {
    let hastd = Hastd::with_two_resources();
    let status = hastd.status("disk1");
    assert_eq!(status.role, Role::Init);
    assert_eq!(status.localpath, hastd.path("disk1").display().to_string());
    assert_eq!(status.remoteaddr, "127.0.0.1");
    assert_eq!((status.workerpid, status.worker), (0, None));

    let resources = named(&["disk2", "nothing", "disk1"]);
    let reply = StatusReply::from_nv(&hastd.ask(&Request::Status { resources })).unwrap();
    let outcome: Vec<_> = reply
        .resources
        .iter()
        .map(|(name, status)| {
            (
                name.as_str(),
                status.as_ref().err().map(|failure| failure.code),
            )
        })
        .collect();
    let missing = Some(ErrorCode::NO_SUCH_RESOURCE);
    assert_eq!(
        outcome,
        [("disk2", None), ("nothing", missing), ("disk1", None)]
    );
}

#[test]
fn roles_change_and_the_one_before_is_told() {
    let hastd = Hastd::with_two_resources();
    assert_eq!(hastd.set_role("disk1", Role::Secondary), Ok(Role::Init));
    assert_eq!(
        hastd.set_role("disk1", Role::Secondary),
        Ok(Role::Secondary)
    );
    assert_eq!(hastd.status("disk1").role, Role::Secondary);
    assert_eq!(hastd.status("disk2").role, Role::Init);
    assert_eq!(hastd.set_role("disk1", Role::Init), Ok(Role::Secondary));

    let (role, resources, force) = (Role::Secondary, Selection::All, false);
    let request = Request::SetRole {
        role,
        resources,
        force,
        guard: None,
    };
    let reply = RoleReply::from_nv(&hastd.ask(&request)).unwrap();
    let init = |name: &str| (name.to_owned(), Ok(Role::Init));
    assert_eq!(reply.resources, [init("disk1"), init("disk2")]);
}

#[test]
fn a_name_given_twice_is_one_resource() {
    let hastd = Hastd::with_two_resources();
    let twice = || named(&["disk2", "disk1", "disk2"]);
    let request = Request::Status { resources: twice() };
    let reply = StatusReply::from_nv(&hastd.ask(&request)).unwrap();
    let names: Vec<_> = reply.resources.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["disk2", "disk1"]);

    let request = Request::SetRole {
        role: Role::Secondary,
        resources: twice(),
        force: false,
        guard: None,
    };
    let reply = RoleReply::from_nv(&hastd.ask(&request)).unwrap();
    let init = |name: &str| (name.to_owned(), Ok(Role::Init));
    assert_eq!(reply.resources, [init("disk2"), init("disk1")]);
}

#[test]
fn bad_requests_get_bases_error_numbers() {
    use hast::nv::Nv;
    let hastd = Hastd::with_two_resources();
    let error = |nv: &Nv| {
        let mut stream = connect(&hastd.control());
        stream.write_all(&hast::control::encode(nv)).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        Nv::decode(&reply[5..]).unwrap().i16("error")
    };
    let mut nv = Nv::new();
    nv.add_u8("cmd", 9).add_str("resource0", "all");
    assert_eq!(error(&nv), Some(4));
    let mut nv = Nv::new();
    nv.add_u8("cmd", 1)
        .add_u8("role", 7)
        .add_str("resource0", "all");
    assert_eq!(error(&nv), Some(2));
    assert_eq!(error(&Nv::new()), Some(2));
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let hastd = Hastd::with_two_resources();
    let resources = named(&["disk1"]);
    let mut stream = connect(&hastd.control());
    for byte in hast::control::encode(&Request::Status { resources }.to_nv()) {
        stream.write_all(&[byte]).unwrap();
        assert_eq!(hastd.status("disk2").role, Role::Init);
    }
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert!(reply.len() > 100, "{reply:?}");
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let hastd = Hastd::with_two_resources();
    let huge = [2, 0xff, 0xff, 0xff, 0x7f];
    let newer = [9, 0, 0, 0, 0];
    let noise: Vec<u8> = (0..4096_u32)
        .map(|number| (number * 37 + 5) as u8)
        .collect();
    // Well framed, but what is in it is no nv.
    let mut nonsense = vec![2, 64, 0, 0, 0];
    nonsense.extend([0xee; 64]);
    for bytes in [&huge[..], &newer, &noise, &nonsense] {
        let mut stream = connect(&hastd.control());
        // It may close before all is written.
        let _ = stream.write_all(bytes);
        assert_ended(&mut stream);
    }
    let mut half = connect(&hastd.control());
    half.write_all(&[2, 200, 0, 0, 0, 1, 2, 3]).unwrap();
    half.shutdown(std::net::Shutdown::Write).unwrap();
    assert_ended(&mut half);
    assert_eq!(hastd.status("disk1").role, Role::Init);
}

#[test]
fn a_client_that_takes_too_long_is_dropped() {
    let hastd = Hastd::with_two_resources();
    let mut half = connect(&hastd.control());
    half.write_all(&[2, 200, 0, 0, 0, 1, 2, 3]).unwrap();
    let begin = Instant::now();
    assert_ended(&mut half);
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn five_hundred_silent_clients_are_no_obstacle() {
    let hastd = Hastd::with_two_resources();
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(connect(&hastd.control()));
        if silent.len() % 50 == 0 {
            let begin = Instant::now();
            assert_eq!(hastd.status("disk1").role, Role::Init);
            assert!(begin.elapsed() < PROMPTLY, "{:?}", begin.elapsed());
        }
    }
    // The oldest made room long before their time was over.
    assert_ended(&mut silent[0]);
}

#[test]
fn hooks_learn_of_roles_in_order() {
    let hastd =
        Hastd::start("resource disk1 { local FOLDER/disk1 exec FOLDER/hook on a { remote none } }");
    let record = hastd.path("record");
    // The sleep would let a later one overtake, were they not run one by one.
    let body = format!(
        "sleep 0.1; echo \"$@\" >> {0}; echo printed \"$3\"; read line || echo at end >> {0}",
        record.display()
    );
    script(&hastd.path("hook"), &body);
    hastd.set_role("disk1", Role::Secondary).unwrap();
    hastd.set_role("disk1", Role::Secondary).unwrap();
    hastd.set_role("disk1", Role::Init).unwrap();
    hastd.wait_for_log("printed init");
    hastd.wait_for_log("printed secondary");
    hastd.wait_for_log("Hook exited gracefully");
    hastd.set_role("disk1", Role::Secondary).unwrap();
    hastd.set_role("disk1", Role::Init).unwrap();
    while hastd.logged("Hook exited gracefully") < 4 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let forth = "role disk1 init secondary\nat end\n";
    let back = "role disk1 secondary init\nat end\n";
    let expected = [forth, back, forth, back].concat();
    assert_eq!(std::fs::read_to_string(record).unwrap(), expected);
    assert_eq!(hastd.logged("ERROR"), 0);
}
