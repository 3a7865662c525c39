//! A device that somebody has open is not taken from them unless by force: NBD's as well as GEOM gate's.

use std::io::Read;
use std::os::unix::net::UnixStream;

use hast::control::{ErrorCode, Failure};
use hast::provider::nbd::ListenAddress;
use hast::provider::nbd::client::Client;
use hast::terms::Role;
use nix::sys::signal::Signal;

use crate::harness::{Hastd, PATIENCE};
use crate::workers::{eventually, node, pid, record, resource};

fn connect_to(hastd: &Hastd, socket: &str) -> Client {
    Client::connect(&ListenAddress::Unix(hastd.path(socket)), "disk1", PATIENCE).unwrap()
}

/// A primary with a client.
fn opened() -> (Hastd, Client) {
    let hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    let client = connect_to(&hastd, "nbd");
    (hastd, client)
}

/// What refuses with this process's name.
fn names_us(hastd: &Hastd, failure: &Failure) {
    assert_eq!(failure.code, ErrorCode::REFUSED);
    let socket = hastd.path("nbd");
    let message = failure.message.as_deref().unwrap();
    let begin = format!(
        "the NBD device at unix://{} is open (process {}",
        socket.display(),
        std::process::id()
    );
    assert!(message.starts_with(&begin), "{message}");
    assert!(
        message.ends_with("; end that first, or use force"),
        "{message}"
    );
}

#[test]
fn a_role_is_not_given_up_under_an_nbd_client_unless_by_force() {
    let (hastd, mut client) = opened();
    let worker = pid(&hastd);
    for role in [Role::Init, Role::Secondary] {
        let failure = hastd.set_role("disk1", role).unwrap_err();
        names_us(&hastd, &failure);
        client.write(0, &[1; 4096], false).unwrap();
        assert_eq!(hastd.status("disk1").role, Role::Primary);
    }
    assert_eq!(pid(&hastd), worker);
    assert_eq!(record(&hastd), "role disk1 init primary\n");

    assert_eq!(
        hastd.set_role_by("disk1", Role::Secondary, true),
        Ok(Role::Primary)
    );
    assert!(client.read(0, 4096).is_err());
}

#[test]
fn a_client_that_has_left_or_only_looks_is_in_nobody_s_way() {
    let (hastd, client) = opened();
    drop(client);
    let mut looks = UnixStream::connect(hastd.path("nbd")).unwrap();
    looks.read_exact(&mut [0; 18]).unwrap();
    assert_eq!(hastd.set_role("disk1", Role::Init), Ok(Role::Primary));
}

#[test]
fn a_worker_is_not_replaced_under_an_nbd_client() {
    let (hastd, mut client) = opened();
    let worker = pid(&hastd);
    hastd.configure(&resource("none").replace("FOLDER/nbd", "FOLDER/nbd2"));
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log("Its new configuration is not in force.");
    hastd.wait_for_log("is open (process ");
    client.write(0, &[2; 4096], false).unwrap();
    assert_eq!(pid(&hastd), worker);

    client.disconnect().unwrap();
    hastd.signal(Signal::SIGHUP);
    eventually("another worker", || ![0, worker].contains(&pid(&hastd)));
    eventually("it serves at the new place", || hastd.path("nbd2").exists());
    let mut client = connect_to(&hastd, "nbd2");
    assert_eq!(client.read(0, 4096).unwrap(), [2; 4096]);
}

#[test]
fn a_resource_is_not_removed_under_an_nbd_client() {
    let (hastd, mut client) = opened();
    hastd.configure("");
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log("is served on until a reload finds its device closed");
    hastd.wait_for_log("Configuration reloaded successfully.");
    client.write(0, &[3; 4096], false).unwrap();
    names_us(&hastd, &hastd.set_role("disk1", Role::Init).unwrap_err());

    client.disconnect().unwrap();
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log("Resource disk1 removed.");
}

#[test]
fn sigterm_ends_hastd_all_the_same() {
    let (mut hastd, mut client) = opened();
    hastd.signal(Signal::SIGTERM);
    assert!(hastd.wait().success());
    assert!(client.read(0, 4096).is_err());
}
