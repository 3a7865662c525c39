//! Workers: started, refused, restarted, displaced, ended. The workers are real, and so are
//! their components.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use hast::control::{Condition, Connection, Details, ErrorCode, LocalState, PeerState};
use hast::provider::nbd::ListenAddress;
use hast::provider::nbd::client::Client;
use hast::terms::Role;
use hast::wire::handshake::Start;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{
    Hastd, PATIENCE, assert_ended, receive, say_hello, script, send, start_message, token_of,
};

/// Size of a component.
const SIZE: u64 = 8 << 20;

/// One resource that can be primary here, and whose peer is `remote`.
pub fn resource(remote: &str) -> String {
    format!(
        "resource disk1 {{ local FOLDER/disk1 timeout 5 exec FOLDER/hook provider nbd FOLDER/nbd \
         on a {{ remote {remote} }} }}"
    )
}

/// A hastd with a component that has been created, and a hook that records.
pub fn node(remote: &str) -> Hastd {
    let hastd = Hastd::start(&resource(remote));
    let body = format!("echo \"$@\" >> {}", hastd.path("record").display());
    script(&hastd.path("hook"), &body);
    let component = std::fs::File::create(hastd.path("disk1")).unwrap();
    component.set_len(SIZE).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hastctl"))
        .args(["create", "-n", "a", "-c"])
        .arg(hastd.path("hast.conf"))
        .arg("disk1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    hastd
}

pub fn pid(hastd: &Hastd) -> i32 {
    hastd.status("disk1").workerpid
}

fn title(pid: i32) -> String {
    let output = Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Asks until the answer is yes: what a worker does by itself has no event here.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_gone(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

pub fn record(hastd: &Hastd) -> String {
    std::fs::read_to_string(hastd.path("record")).unwrap_or_default()
}

#[test]
fn a_primary_takes_its_role_and_leaves_it() {
    let hastd = node("none");
    assert_eq!(hastd.set_role("disk1", Role::Primary), Ok(Role::Init));
    let status = hastd.status("disk1");
    assert_eq!(status.role, Role::Primary);
    assert_eq!(
        status.worker.map(|worker| worker.condition),
        Some(Condition::Degraded)
    );
    let worker = status.workerpid;
    assert!(
        title(worker).contains("hastd: disk1 (primary)"),
        "{}",
        title(worker)
    );
    assert_eq!(hastd.set_role("disk1", Role::Primary), Ok(Role::Primary));
    assert_eq!(pid(&hastd), worker);

    assert_eq!(hastd.set_role("disk1", Role::Init), Ok(Role::Primary));
    assert_eq!(pid(&hastd), 0);
    assert!(is_gone(worker));
    eventually("both hooks ran", || {
        record(&hastd) == "role disk1 init primary\nrole disk1 primary init\n"
    });
}

#[test]
fn a_refusal_is_told_and_leaves_the_role_init() {
    let hastd = node("none");
    let component = hastd.path("disk1");
    std::fs::remove_file(&component).unwrap();
    let failure = hastd.set_role("disk1", Role::Primary).unwrap_err();
    assert_eq!(failure.code, ErrorCode::REFUSED);
    let message = failure.message.unwrap();
    assert!(message.contains(component.to_str().unwrap()), "{message}");
    assert_eq!(hastd.status("disk1").role, Role::Init);
    assert_eq!(record(&hastd), "", "the role never changed");
}

#[test]
fn a_primary_that_is_killed_comes_back() {
    let hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    let first = pid(&hastd);
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    hastd.wait_for_log("Restarting worker process in 1 s.");
    assert_eq!(hastd.status("disk1").role, Role::Primary);
    eventually("another worker", || ![0, first].contains(&pid(&hastd)));
    eventually("it has taken its role", || {
        let status = hastd.status("disk1");
        status.worker.is_some_and(|worker| worker.extentsize != 0)
    });
    assert_eq!(
        record(&hastd),
        "role disk1 init primary\n",
        "the role is not new"
    );
}

#[test]
fn a_killed_worker_s_socket_goes_and_another_s_stays() {
    let hastd = node("none");
    let socket = hastd.path("nbd");
    hastd.set_role("disk1", Role::Primary).unwrap();
    assert!(socket.exists());
    kill(Pid::from_raw(pid(&hastd)), Signal::SIGKILL).unwrap();
    hastd.wait_for_log("Restarting worker process");
    hastd.set_role("disk1", Role::Init).unwrap();
    assert!(!socket.exists(), "its worker could not remove it");

    hastd.set_role("disk1", Role::Primary).unwrap();
    std::fs::rename(&socket, hastd.path("aside")).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    hastd.set_role("disk1", Role::Init).unwrap();
    assert!(socket.exists(), "it is not the worker's");
}

#[test]
fn what_a_worker_has_logged_is_in_the_log_though_it_is_killed() {
    let hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    hastd.wait_for_log("[disk1] (primary) the device is served");
    let worker = pid(&hastd);
    hastd.signal(Signal::SIGSTOP);
    let mut guest = UnixStream::connect(hastd.path("nbd")).unwrap();
    guest
        .write_all(b"nothing that NBD knows, and long enough")
        .unwrap();
    // It is logged before the connection ends.
    while guest.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    let line = "[disk1] (primary) nbd: client 0 (local): dropped in the handshake";
    assert_eq!(hastd.logged(line), 0, "only the main process writes");
    hastd.signal(Signal::SIGCONT);
    hastd.wait_for_log("Worker process killed");
    assert_eq!(hastd.logged(line), 1);
}

#[test]
fn a_back_off_ends_with_a_command() {
    let hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    kill(Pid::from_raw(pid(&hastd)), Signal::SIGKILL).unwrap();
    hastd.wait_for_log("Restarting worker process in 1 s.");
    assert_eq!(hastd.set_role("disk1", Role::Init), Ok(Role::Primary));
    assert_eq!(hastd.status("disk1").role, Role::Init);
    assert_eq!(hastd.set_role("disk1", Role::Primary), Ok(Role::Init));
}

#[test]
fn a_worker_that_hangs_is_ended_all_the_same_and_status_says_so() {
    let hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    let worker = pid(&hastd);
    kill(Pid::from_raw(worker), Signal::SIGSTOP).unwrap();
    let status = hastd.status("disk1");
    let details = status.worker.and_then(|worker| worker.details).unwrap();
    assert_eq!(details.local, LocalState::Unknown);
    let reason = details.reason.unwrap();
    assert!(reason.contains("did not answer"), "{reason}");

    let failure = hastd.set_role("disk1", Role::Init).unwrap_err();
    assert!(failure.message.unwrap().contains("after 10 s"));
    eventually("it is killed", || is_gone(worker));
    eventually("the role is settled", || pid(&hastd) == 0);
    assert_eq!(hastd.set_role("disk1", Role::Primary), Ok(Role::Init));
}

#[test]
fn a_primary_asks_other_primaries_to_wait() {
    let hastd = node("127.0.0.1:1");
    hastd.set_role("disk1", Role::Primary).unwrap();
    let (_stream, answer) = say_hello(&hastd, "disk1");
    let text = "Remote node acts as primary for the resource and not as secondary.";
    assert_eq!(answer.str("errmsg"), Some(text));
    assert_eq!(answer.u8("wait"), Some(1));
}

#[test]
fn a_pair_of_connections_gets_a_worker_and_the_next_pair_another() {
    let hastd = node("127.0.0.1");
    hastd.set_role("disk1", Role::Secondary).unwrap();
    assert_eq!(pid(&hastd), 0);
    let mut workers = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..2 {
        let (mut first, answer) = say_hello(&hastd, "disk1");
        let mut second = hastd.connect();
        send(&mut second, 2, &start_message("disk1", token_of(&answer)));
        let geometry = receive(&mut first);
        assert!(geometry.contains("datasize"), "{geometry}");
        let worker = pid(&hastd);
        assert!(
            title(worker).contains("hastd: disk1 (secondary)"),
            "{}",
            title(worker)
        );
        workers.push(worker);
        connections.push((first, second));
    }
    assert_ne!(workers[0], workers[1]);
    assert!(is_gone(workers[0]));
    assert_ended(&mut connections[0].0);

    // It ends with its connection; the role stays.
    drop(connections);
    eventually("the worker ended", || is_gone(workers[1]));
    eventually("it is forgotten", || pid(&hastd) == 0);
    assert_eq!(hastd.status("disk1").role, Role::Secondary);
}

#[test]
fn two_nodes_find_each_other() {
    let secondary = node("127.0.0.1");
    secondary.set_role("disk1", Role::Secondary).unwrap();
    // The name has to be looked up, in either direction.
    let primary = node(&format!("localhost:{} source 127.0.0.1", secondary.port));
    primary.set_role("disk1", Role::Primary).unwrap();
    eventually("they are connected and in step", || {
        let status = primary.status("disk1");
        status.worker.is_some_and(|worker| {
            let connection = worker.details.map(|details| details.connection);
            worker.condition == Condition::Complete && connection == Some(Connection::Connected)
        })
    });
    eventually("the hooks ran", || {
        record(&primary).contains("connect disk1\n")
    });
}

/// What a secondary says while it has no worker.
fn complaint(hastd: &Hastd) -> Option<Details> {
    let status = hastd.status("disk1");
    let idle = (status.role, status.workerpid) == (Role::Secondary, 0);
    let worker = status.worker.filter(|_| idle)?;
    assert_eq!(worker.condition, Condition::Degraded);
    worker.details
}

#[test]
fn why_a_primary_was_refused_is_shown_until_one_is_served() {
    let hastd = node("127.0.0.1");
    hastd.set_role("disk1", Role::Secondary).unwrap();
    assert_eq!(complaint(&hastd), None);
    let meet = |resuid| {
        let (mut first, answer) = say_hello(&hastd, "disk1");
        let mut second = hastd.connect();
        let mut start = Start::from_nv(start_message("disk1", token_of(&answer)).view()).unwrap();
        start.resuid = resuid;
        send(&mut second, 2, &start.to_nv());
        let answer = receive(&mut first);
        (first, second, answer)
    };
    let served = meet(7);
    eventually("a worker serves", || pid(&hastd) != 0);
    drop(served);
    eventually("the loss is shown", || {
        let reason = complaint(&hastd).and_then(|details| details.reason);
        reason.is_some_and(|reason| reason.contains("the other node closed it"))
    });

    for _ in 0..2 {
        let (_first, _second, answer) = meet(8);
        assert!(answer.contains("errmsg"), "{answer}");
        eventually("the refusal is shown", || {
            let reason = complaint(&hastd).and_then(|details| details.reason);
            reason.is_some_and(|reason| reason.contains("hastctl create disk1"))
        });
    }
    assert_eq!(hastd.logged("Resource unique ID mismatch"), 1, "said once");

    let _served = meet(7);
    eventually("it is served again", || {
        let worker = hastd.status("disk1").worker;
        worker.is_some_and(|worker| worker.extentsize != 0)
    });
}

fn write(hastd: &Hastd, byte: u8) {
    let address = ListenAddress::Unix(hastd.path("nbd"));
    let mut client = Client::connect(&address, "disk1", PATIENCE).unwrap();
    client.write(0, &[byte; 4096], true).unwrap();
    client.disconnect().unwrap();
}

#[test]
fn a_split_brain_is_shown_by_both_nodes_in_the_same_words() {
    let b = node("127.0.0.1");
    b.set_role("disk1", Role::Secondary).unwrap();
    let a = node(&format!("127.0.0.1:{} source 127.0.0.1", b.port));
    a.set_role("disk1", Role::Primary).unwrap();
    let condition = |hastd: &Hastd| hastd.status("disk1").worker.map(|it| it.condition);
    eventually("they are in step", || {
        condition(&a) == Some(Condition::Complete)
    });
    b.set_role_by("disk1", Role::Primary, true).unwrap();
    eventually("a is alone", || condition(&a) == Some(Condition::Degraded));
    write(&a, 1);
    write(&b, 2);
    b.set_role("disk1", Role::Secondary).unwrap();

    let sentence = |hastd: &Hastd| {
        let mut found = None;
        eventually("the split brain is shown", || {
            let details = hastd.status("disk1").worker.and_then(|it| it.details);
            let split = details.filter(|details| details.peer == PeerState::SplitBrain);
            found = split.and_then(|details| details.reason);
            found.is_some()
        });
        // The other node's address comes first.
        let (_, sentence) = found.as_deref().unwrap().split_once("both nodes").unwrap();
        sentence.to_owned()
    };
    assert!(sentence(&a).contains("hastctl create disk1"));
    assert_eq!(sentence(&a), sentence(&b));
    eventually("it is refused again", || {
        b.logged("exitcode=78") >= 2 && complaint(&b).is_some()
    });
    let hooks = record(&b).matches("split-brain disk1\n").count();
    assert_eq!(hooks, 1, "told once, however often it is tried");
}

#[test]
fn ending_takes_the_workers_along() {
    let mut hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    let worker = pid(&hastd);
    hastd.signal(Signal::SIGTERM);
    assert_eq!(hastd.wait().code(), Some(0));
    assert!(is_gone(worker));

    let mut hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    let worker = pid(&hastd);
    kill(Pid::from_raw(worker), Signal::SIGSTOP).unwrap();
    hastd.signal(Signal::SIGTERM);
    hastd.wait_for_log("Termination signal received, exiting.");
    let begin = Instant::now();
    hastd.signal(Signal::SIGTERM);
    assert_eq!(hastd.wait().code(), Some(0));
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "the second one is for the impatient"
    );
    assert!(is_gone(worker));
}

#[test]
fn a_worker_does_not_outlive_the_main_process() {
    let mut hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    let worker = pid(&hastd);
    hastd.signal(Signal::SIGKILL);
    hastd.wait();
    eventually("the worker noticed", || is_gone(worker));
}

#[test]
fn a_primary_is_reloaded_in_place_or_restarted() {
    let hastd = node("none");
    hastd.set_role("disk1", Role::Primary).unwrap();
    let worker = pid(&hastd);
    hastd.configure(&resource("127.0.0.1:1"));
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log("configuration was modified, reloading it.");
    assert_eq!(pid(&hastd), worker);
    assert_eq!(hastd.status("disk1").remoteaddr, "127.0.0.1:1");

    hastd.configure(&resource("none").replace("FOLDER/nbd", "FOLDER/nbd2"));
    hastd.signal(Signal::SIGHUP);
    hastd.wait_for_log("configuration was modified, restarting it.");
    eventually("it is primary again", || {
        let status = hastd.status("disk1");
        status.workerpid != worker && status.worker.is_some_and(|worker| worker.extentsize != 0)
    });
    let both_ways = "role disk1 init primary\nrole disk1 primary init\nrole disk1 init primary\n";
    eventually("the hooks ran", || record(&hastd) == both_ways);
}
