//! How `hastd --witness` starts, refuses to, and ends.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use hast::witness::client::WitnessError;
use hast::witness::secret::Secret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Place, acquire, client, client_with, free_port, records};
use crate::support::{eventually, run};

#[test]
fn it_ends_cleanly_on_either_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::new();
        place.record(&records(Some("a")));
        let mut witness = place.start();
        acquire(&client(witness.port), "a").unwrap();
        witness.signal(signal);
        assert_eq!(witness.wait().code(), Some(0));
    }
}

#[test]
fn a_new_secret_is_taken_on_sighup_and_a_bad_one_is_not() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let mut witness = place.start();
    let new = "another secret of tests, and a new one";
    let changed = client_with(witness.port, Secret::of(new.as_bytes()).unwrap());
    let unchanged = client(witness.port);
    for bad in ["too short", ""] {
        fs::write(place.path("key"), bad).unwrap();
        witness.signal(Signal::SIGHUP);
        let text = format!(
            "The secret stays what it was: the secret {} has {} bytes",
            place.path("key").display(),
            bad.len()
        );
        witness.wait_for_log(&[&text]);
        acquire(&unchanged, "a").unwrap();
    }

    fs::write(place.path("key"), new).unwrap();
    let error = acquire(&changed, "a").unwrap_err();
    assert!(matches!(error, WitnessError::TurnedAway(_)), "{error}");
    witness.signal(Signal::SIGHUP);
    witness.wait_for_log(&["The secret was read again"]);
    acquire(&changed, "a").unwrap();
    let error = acquire(&unchanged, "a").unwrap_err();
    assert!(matches!(error, WitnessError::TurnedAway(_)), "{error}");

    fs::remove_file(place.path("key")).unwrap();
    witness.signal(Signal::SIGHUP);
    witness.wait_for_log(&["The secret stays what it was: unable to read"]);
    acquire(&changed, "a").unwrap();
}

/// Ends a process in the background, however the test ends.
struct End(Pid);

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

#[test]
fn it_goes_to_the_background_once_and_leaves_on_sigterm() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let (port, pidfile) = (free_port(), place.path("pid"));
    let mut command = place.command(port);
    run(command.arg("-P").arg(&pidfile)).success();
    let mut pid = 0;
    eventually("it has written its number", || {
        let text = fs::read_to_string(&pidfile).unwrap_or_default();
        text.parse().inspect(|number| pid = *number).is_ok()
    });
    let _end = End(Pid::from_raw(pid));
    let client = client(port);
    acquire(&client, "a").unwrap();

    let (code, said) = place.fails(|_| {});
    assert_eq!(code, 75, "{said}");
    let expected = format!("uses the state file {}", place.state().display());
    assert!(said.contains(&expected), "{said}");
    let (code, said) = place.fails(|command| {
        command.arg("-P").arg(&pidfile);
    });
    assert_eq!(code, 75, "{said}");
    assert!(said.contains(&format!("pid: {pid}")), "{said}");

    acquire(&client, "a").unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    eventually("its pid file is gone", || !pidfile.exists());
}

#[test]
fn a_damaged_state_file_grants_nothing() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let text = fs::read_to_string(place.state()).unwrap();
    let changed = text.replace("holder = \"a\"", "holder = \"b\"");
    assert_ne!(changed, text);
    for damaged in [&changed, "", &text[..text.len() - 1]] {
        fs::write(place.state(), damaged).unwrap();
        let (code, said) = place.fails(|_| {});
        assert_eq!(code, 65, "{said}");
        assert!(
            said.contains("is damaged") && said.contains("remove it"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(place.state()).unwrap(), damaged);
    }
    fs::write(place.state(), text).unwrap();
    acquire(&client(place.start().port), "a").unwrap();
}

#[test]
fn a_secret_that_is_none_is_said_in_one_line() {
    let place = Place::new();
    let key = place.path("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let (code, said) = place.fails(|_| {});
    assert_eq!(code, 78, "{said}");
    let advice = format!("chmod 600 {}", key.display());
    assert!(said.contains(&advice), "{said}");
    fs::remove_file(&key).unwrap();
    let (code, said) = place.fails(|_| {});
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("unable to read the secret"), "{said}");
    assert!(!place.state().exists());
}

#[test]
fn an_address_in_use_or_wrong_is_an_error() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = place.fails(|command| {
        command.args(["--listen", &address]);
    });
    assert_eq!(code, 71, "{said}");
    assert!(
        said.contains(&format!("unable to listen on address {address}")),
        "{said}"
    );
    let (code, said) = place.fails(|command| {
        command.args(["--listen", "ftp://witness"]);
    });
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("unknown protocol"), "{said}");
}

#[test]
fn a_witness_takes_no_configuration() {
    let place = Place::new();
    let mut command = place.command(free_port());
    let outcome = run(command.args(["-F", "-c", "/etc/hast.conf"]));
    assert_eq!(outcome.status.code(), Some(64));
    assert!(outcome.stderr.contains("--witness"), "{}", outcome.stderr);
}
