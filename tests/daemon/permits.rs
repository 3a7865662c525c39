//! Permits to go on alone, as hastd passes them on.

use std::process::Command;
use std::time::Duration;

use hast::config::Address;
use hast::control::{ErrorCode, Failure, Holding, Permit, ResourceStatus, Selection, client};
use hast::provider::nbd::ListenAddress;
use hast::provider::nbd::client::Client;
use hast::terms::Role;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Hastd, PATIENCE};
use crate::workers::{eventually, node};

fn permit(hastd: &Hastd, name: &str, permit: Permit) -> Result<ResourceStatus, Failure> {
    let control = Address::from_socket_path(hastd.control().to_str().unwrap()).unwrap();
    let selection = Selection::Named(vec![name.to_owned()]);
    let mut reply = client::permit(&control, selection, permit).unwrap();
    reply.resources.remove(0).1
}

fn holding(status: &ResourceStatus) -> Option<Holding> {
    status.worker.as_ref()?.details.as_ref()?.holding
}

fn none() -> Permit {
    Permit::lasting(Duration::ZERO)
}

#[test]
fn a_permit_is_in_force_when_it_is_answered() {
    let hastd = node("none");
    let nothing = permit(&hastd, "nothing", none()).unwrap_err();
    assert_eq!(nothing.code, ErrorCode::NO_SUCH_RESOURCE);
    hastd.set_role("disk1", Role::Primary).unwrap();
    assert_eq!(holding(&hastd.status("disk1")), None);
    let status = permit(&hastd, "disk1", none()).unwrap();
    assert_eq!(holding(&status), Some(Holding { left: 0, held: 0 }));
    let status = permit(&hastd, "disk1", Permit::lasting(Permit::LONGEST)).unwrap();
    assert!(holding(&status).unwrap().left > 0);
    let status = permit(&hastd, "disk1", Permit::Free).unwrap();
    assert_eq!(holding(&status), None);
}

#[test]
fn a_worker_begins_with_the_permit_that_is_in_force() {
    let hastd = node("none");
    let status = permit(&hastd, "disk1", none()).unwrap();
    assert_eq!(status.role, Role::Init);
    hastd.set_role("disk1", Role::Primary).unwrap();
    let over = Some(Holding { left: 0, held: 0 });
    assert_eq!(holding(&hastd.status("disk1")), over);

    let before = hastd.status("disk1").workerpid;
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    eventually("another worker serves, under the same permit", || {
        let status = hastd.status("disk1");
        status.workerpid != before && holding(&status) == over
    });
}

#[test]
fn hastctl_tells_that_requests_are_held_and_why() {
    let hastd = node("none");
    permit(&hastd, "disk1", none()).unwrap();
    hastd.set_role("disk1", Role::Primary).unwrap();
    let address = ListenAddress::Unix(hastd.path("nbd"));
    let mut writer = Client::connect(&address, "disk1", PATIENCE).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write(0, &[7; 512], false).unwrap());
        eventually("the write is held", || {
            let holding = holding(&hastd.status("disk1"));
            holding.is_some_and(|holding| holding.held == 1)
        });
        let output = Command::new(env!("CARGO_BIN_EXE_hastctl"))
            .args(["list", "-n", "a", "-c"])
            .arg(hastd.path("hast.conf"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("  permit: run out, 1 requests held\n"),
            "{text}"
        );
        assert!(text.contains("no permit to go on alone"), "{text}");
        permit(&hastd, "disk1", Permit::Free).unwrap();
    });
}
