//! SIGHUP, with configurations good and bad.

use std::net::{TcpListener, TcpStream};

use hast::control::{Request, Selection, StatusReply};
use hast::terms::Role;
use nix::sys::signal::Signal;

use crate::harness::{Hastd, TWO_RESOURCES, ask, free_port};

const DONE: &str = "Configuration reloaded successfully.";
const NOT_DONE: &str = "Configuration not reloaded.";

fn names(hastd: &Hastd) -> Vec<String> {
    let resources = Selection::All;
    let reply = StatusReply::from_nv(&hastd.ask(&Request::Status { resources })).unwrap();
    reply.resources.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn resources_come_go_and_change() {
    let hastd = Hastd::with_two_resources();
    hastd.set_role("disk1", Role::Secondary).unwrap();
    hastd.configure(
        "resource disk3 { local FOLDER/disk3 on a { remote none } }
         resource disk1 { local FOLDER/disk1 timeout 5 on a { remote 127.0.0.4 } }",
    );
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log(DONE);
    assert_eq!(names(&hastd), ["disk3", "disk1"]);
    let status = hastd.status("disk1");
    assert_eq!(
        (status.role, status.remoteaddr.as_str()),
        (Role::Secondary, "127.0.0.4")
    );
    assert_eq!(hastd.status("disk3").remoteaddr, "none");
    hastd.wait_for_log("Resource disk2 removed.");
    hastd.wait_for_log("Resource disk3 added.");
}

#[test]
fn a_bad_configuration_leaves_the_old_one_in_force() {
    let hastd = Hastd::with_two_resources();
    hastd.set_role("disk1", Role::Secondary).unwrap();
    hastd.configure("resource disk1 { local FOLDER/disk1 on a { remote } }");
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log(NOT_DONE);
    assert_eq!(names(&hastd), ["disk1", "disk2"]);
    assert_eq!(hastd.status("disk1").role, Role::Secondary);

    hastd.configure(TWO_RESOURCES);
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log(DONE);
    assert_eq!(hastd.status("disk1").role, Role::Secondary);
}

#[test]
fn an_address_that_can_not_be_had_leaves_everything_as_it_was() {
    let hastd = Hastd::with_two_resources();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let control = hastd.path("control2");
    hastd.configure(&format!(
        "on a {{ listen {address} control {} }} resource disk9 {{ local /d on a {{ remote none }} }}",
        control.display()
    ));
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log(NOT_DONE);
    assert_eq!(names(&hastd), ["disk1", "disk2"]);
    assert!(!control.exists());
    TcpStream::connect(("127.0.0.1", hastd.port)).unwrap();
}

#[test]
fn sockets_move() {
    let hastd = Hastd::with_two_resources();
    let control = hastd.path("control2");
    let port = free_port();
    let resources = format!(
        "on a {{ listen 127.0.0.1:{port} control {} }} {TWO_RESOURCES}",
        control.display()
    );
    hastd.configure(&resources);
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log(DONE);
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let resources = Selection::All;
    let reply = ask(&control, &Request::Status { resources });
    assert_eq!(StatusReply::from_nv(&reply).unwrap().resources.len(), 2);
    assert!(!hastd.control().exists(), "the old one is gone");
}
