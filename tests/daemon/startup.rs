//! How hastd starts, refuses to, and ends.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use hast::control::{Request, Selection, StatusReply};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Hastd, PATIENCE, TWO_RESOURCES, ask, free_port, hastd};

/// Runs hastd until it fails to start; its code and what it says.
fn fails(arguments: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = hastd().args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("hast.conf");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Global statements that keep out of everybody's way.
fn head(folder: &Path) -> String {
    let place = folder.display();
    let port = free_port();
    format!("control {place}/control\npidfile {place}/pid\nlisten 127.0.0.1:{port}\n")
}

#[test]
fn help_is_no_error_and_a_wrong_flag_is() {
    let output = hastd().arg("-h").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for flag in ["-c", "-d", "-F", "-P", "-n", "-h"] {
        assert!(text.contains(flag), "{text}");
    }
    assert_eq!(fails(&["-x"]).0, 64);
    assert_eq!(fails(&["extra"]).0, 64);
}

#[test]
fn a_configuration_that_is_wrong_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "control /c\nnonsense on\n");
    let (code, said) = fails(&["-F", "-n", "a", "-c", &path]);
    assert_eq!(code, 78, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("hast.conf, line 2:") && said.contains("nonsense"),
        "{said}"
    );

    let (code, said) = fails(&["-F", "-c", "/no/such/hast.conf"]);
    assert_eq!(code, 72, "{said}");
    assert!(said.contains("/no/such/hast.conf"), "{said}");
}

#[test]
fn an_address_in_use_is_an_error_that_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = folder.path().display();
    let text = format!("control {place}/control\npidfile {place}/pid\nlisten 127.0.0.1:{port}\n");
    let path = write(folder.path(), &text);
    let (code, said) = fails(&["-c", &path]);
    assert_eq!(code, 71, "{said}");
    assert!(
        said.contains(&format!("unable to listen on address 127.0.0.1:{port}")),
        "{said}"
    );
    assert!(!folder.path().join("control").exists());
    assert!(!folder.path().join("pid").exists());
}

#[test]
fn a_control_socket_in_use_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &head(folder.path()));
    let _other = UnixListener::bind(folder.path().join("control")).unwrap();
    let (code, said) = fails(&["-F", "-c", &path]);
    assert_eq!(code, 71, "{said}");
    assert!(
        said.contains("unable to listen on control address"),
        "{said}"
    );
    assert!(folder.path().join("control").exists(), "it is the other's");
}

#[test]
fn it_goes_to_the_background_once_and_leaves_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let body = TWO_RESOURCES.replace("FOLDER", &folder.path().display().to_string());
    let path = write(folder.path(), &(head(folder.path()) + &body));
    let output = hastd().args(["-n", "a", "-c", &path]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let (pidfile, control) = (folder.path().join("pid"), folder.path().join("control"));
    let pid = poll_for(|| fs::read_to_string(&pidfile).ok()?.parse::<i32>().ok());

    let resources = Selection::All;
    let reply = ask(&control, &Request::Status { resources });
    let reply = StatusReply::from_nv(&reply).unwrap();
    let names: Vec<&str> = reply
        .resources
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["disk1", "disk2"]);

    let (code, said) = fails(&["-n", "a", "-c", &path]);
    assert_eq!(code, 75, "{said}");
    assert!(said.contains(&format!("pid: {pid}")), "{said}");
    let own = pidfile.to_str().unwrap();
    assert_eq!(fails(&["-F", "-P", own, "-n", "a", "-c", &path]).0, 75);

    // The pid file moves with the configuration.
    let moved = folder.path().join("pid2");
    let text = fs::read_to_string(&path).unwrap();
    let (from, to) = (format!("pidfile {own}"), format!("pidfile {own}2"));
    fs::write(&path, text.replace(&from, &to)).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    poll_for(|| (fs::read_to_string(&moved).ok()? == pid.to_string()).then_some(()));
    poll_for(|| (!pidfile.exists()).then_some(()));

    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    poll_for(|| (!moved.exists() && !control.exists()).then_some(()));
}

#[test]
fn it_ends_cleanly_on_either_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR2] {
        let mut hastd = Hastd::with_two_resources();
        assert!(hastd.control().exists());
        hastd.signal(signal);
        assert_eq!(hastd.wait().code(), Some(0));
        assert!(!hastd.control().exists());
    }
}

/// Of a process that is nobody's child there is no event to wait for.
fn poll_for<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
