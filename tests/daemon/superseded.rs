//! A primary whose worker finds that the other node went on as primary. What makes a real worker find that is its
//! engine's affair, so the worker here is this program: it says what a worker says, and notes what it is told.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hast::config::Address;
use hast::control::{Condition, Permit, Selection, client};
use hast::passing;
use hast::terms::Role;
use hast::worker::channel::{DESCRIPTOR, FromWorker, HookEvent, ToWorker};
use hast::worker::link::Link;

use crate::harness::{Hastd, script};
use crate::workers::{eventually, record, resource};

/// What it says.
const SENTENCE: &str = "superseded: there went on as primary; close the device";
/// Where the worker finds this test's folder.
const FOLDER: &str = "HAST_TEST_WORKER_FOLDER";

/// Told a permit it is superseded; told to stop it ends once there is a file `end`.
fn be_a_worker(folder: &Path) {
    let socket = passing::inherited(DESCRIPTOR).unwrap();
    let link = Link::new(UnixStream::from(socket));
    while let Ok(Some((message, _))) = link.receive(None) {
        match message {
            ToWorker::Begin(_) => link.send(&FromWorker::Started),
            ToWorker::Permit(_) => {
                link.send(&FromWorker::Hook(HookEvent::Superseded));
                let message = SENTENCE.to_owned();
                link.send(&FromWorker::Superseded { message });
            }
            ToWorker::Stop(fate) => {
                std::fs::write(folder.join("told"), format!("{fate:?}")).unwrap();
                eventually("the test has seen enough", || folder.join("end").exists());
                return;
            }
            _ => {}
        }
    }
}

#[test]
#[ignore = "it is the worker of the others, and does nothing by itself"]
fn worker() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        be_a_worker(&PathBuf::from(folder));
    }
}

/// A hastd whose workers are this program.
fn node() -> Hastd {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hastd");
    std::fs::copy(env!("CARGO_BIN_EXE_hastd"), &program).unwrap();
    let hastd = Hastd::start_program(&program, folder, &resource("none"));
    let body = format!("echo \"$@\" >> {}", hastd.path("record").display());
    script(&hastd.path("hook"), &body);
    let body = format!(
        "{FOLDER}={} exec {} --exact superseded::worker --ignored --nocapture",
        hastd.folder.path().display(),
        std::env::current_exe().unwrap().display()
    );
    let other = hastd.path("worker");
    script(&other, &body);
    std::fs::rename(other, program).unwrap();
    hastd
}

#[test]
fn a_superseded_primary_says_so_and_becomes_secondary_by_itself() {
    let hastd = node();
    hastd.set_role("disk1", Role::Primary).unwrap();
    let control = Address::from_socket_path(hastd.control().to_str().unwrap()).unwrap();
    client::permit(&control, Selection::All, Permit::Free).unwrap();
    hastd.wait_for_log(SENTENCE);
    eventually("its device is to be destroyed", || {
        std::fs::read(hastd.path("told")).is_ok_and(|told| told == b"Destroy")
    });

    let status = hastd.status("disk1");
    assert_eq!(status.role, Role::Primary);
    let worker = status.worker.unwrap();
    assert_eq!(worker.condition, Condition::Superseded);
    let reason = worker.details.unwrap().reason;
    assert_eq!(reason.as_deref(), Some(SENTENCE));
    for force in [false, true] {
        let refused = hastd.set_role_by("disk1", Role::Primary, force);
        assert_eq!(refused.unwrap_err().message.as_deref(), Some(SENTENCE));
    }

    std::fs::write(hastd.path("end"), "").unwrap();
    eventually("it is secondary", || {
        hastd.status("disk1").role == Role::Secondary
    });
    let hooks = "role disk1 init primary\nsuperseded disk1\nrole disk1 primary secondary\n";
    eventually("the hooks ran", || record(&hastd) == hooks);
    assert!(
        hastd.status("disk1").worker.is_none(),
        "nothing is wrong any more"
    );
    assert_eq!(hastd.logged("Nobody has the device open any more."), 1);
}

#[test]
fn a_superseded_primary_may_be_given_up_by_hand() {
    let hastd = node();
    hastd.set_role("disk1", Role::Primary).unwrap();
    let control = Address::from_socket_path(hastd.control().to_str().unwrap()).unwrap();
    client::permit(&control, Selection::All, Permit::Free).unwrap();
    hastd.wait_for_log(SENTENCE);
    std::thread::scope(|scope| {
        let by_hand = scope.spawn(|| hastd.set_role("disk1", Role::Init));
        eventually("it is under way", || {
            hastd.status("disk1").role == Role::Init
        });
        std::fs::write(hastd.path("end"), "").unwrap();
        assert_eq!(by_hand.join().unwrap(), Ok(Role::Primary));
    });
    assert_eq!(hastd.status("disk1").role, Role::Init);
}
