//! Hooks with a loop of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use mio::{Events, Poll};

use super::*;
use crate::daemon::signals::Signals;

/// Longest that a test waits.
const PATIENCE: Duration = Duration::from_secs(30);

fn hook(path: &Path, event: &'static str, resource: &str) -> Hook {
    Hook {
        path: path.to_owned(),
        event,
        resource: resource.to_owned(),
        more: Vec::new(),
    }
}

fn script(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("hook");
    fs::write(
        &path,
        format!("#!/bin/sh\ncd {}\n{body}\n", folder.display()),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// Runs a loop until no hook is left.
fn run_all(hooks: &mut Hooks, reactor: &mut Reactor, poll: &mut Poll) {
    let mut signals = Signals::catch_these(&[signal_hook::consts::SIGCHLD]).unwrap();
    let child = reactor
        .add_readable(signals.readable(), Source::Signals)
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut events = Events::with_capacity(16);
    hooks.reap(reactor);
    while !hooks.is_idle() {
        assert!(Instant::now() < deadline, "hooks still run: {hooks:?}");
        let patience = reactor.patience().unwrap_or(PATIENCE);
        match poll.poll(&mut events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.unwrap(),
        }
        for event in &events {
            if event.token() == child {
                signals.take();
                hooks.reap(reactor);
            } else {
                hooks.ready(reactor, event.token());
            }
        }
        while let Some(Deadline::Hook(token)) = reactor.due(Instant::now()) {
            hooks.overdue(reactor, token);
        }
    }
}

fn set_up() -> (Poll, Reactor) {
    let poll = Poll::new().unwrap();
    let reactor = Reactor::new(poll.registry().try_clone().unwrap());
    (poll, reactor)
}

#[test]
fn output_is_bounded_in_lines_and_length() {
    let mut hook = hook(Path::new("/hook"), "role", "disk1");
    hook.more = vec!["init", "primary"];
    assert_eq!(hook.to_string(), "/hook role disk1 init primary");
    let mut lines = Lines::default();
    lines.add(b"one\n\ntw", &hook);
    assert_eq!((lines.logged, lines.partial.as_slice()), (1, &b"tw"[..]));
    lines.add(&[b'x'; 3 * LINE_LENGTH], &hook);
    assert_eq!(lines.logged, 4);
    for _ in 0..10 * LINES {
        lines.add(b"more\n", &hook);
    }
    assert_eq!(lines.logged, LINES + 1);
    assert!(lines.partial.is_empty());
}

#[test]
fn the_hooks_of_a_resource_run_in_order_and_all_are_run() {
    let folder = tempfile::tempdir().unwrap();
    // Each would find the other's folder if two of one resource ran at once.
    let path = script(
        folder.path(),
        "mkdir \"running.$2\" || echo overlap >> \"$2\"\necho \"$1\" >> \"$2\"\nrmdir \"running.$2\"",
    );
    let (mut poll, mut reactor) = set_up();
    let mut hooks = Hooks::default();
    let events = ["connect", "syncstart", "syncdone", "disconnect"];
    for event in events {
        for number in 0..12 {
            hooks.run(&mut reactor, hook(&path, event, &format!("disk{number}")));
        }
    }
    assert_eq!(hooks.running.len(), AT_ONCE);
    run_all(&mut hooks, &mut reactor, &mut poll);
    for number in 0..12 {
        let record = fs::read_to_string(folder.path().join(format!("disk{number}"))).unwrap();
        assert_eq!(record.lines().collect::<Vec<_>>(), events);
    }
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    // Neither it nor what it starts minds SIGTERM.
    let path = script(
        folder.path(),
        "trap '' TERM\nsleep 600 &\nsleep 600\necho never > survived",
    );
    let (mut poll, mut reactor) = set_up();
    let mut hooks = Hooks::with_limits(Duration::from_millis(200), Duration::from_millis(100));
    let begin = Instant::now();
    hooks.run(&mut reactor, hook(&path, "connect", "disk1"));
    run_all(&mut hooks, &mut reactor, &mut poll);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert!(!folder.path().join("survived").exists());
}

#[test]
fn what_can_not_be_run_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let good = script(folder.path(), "echo \"$1\" >> \"$2\"; exit 3");
    let (mut poll, mut reactor) = set_up();
    let mut hooks = Hooks::default();
    hooks.run(
        &mut reactor,
        hook(Path::new("/no/such/hook"), "connect", "disk1"),
    );
    hooks.run(&mut reactor, hook(&good, "disconnect", "disk1"));
    run_all(&mut hooks, &mut reactor, &mut poll);
    let record = fs::read_to_string(folder.path().join("disk1")).unwrap();
    assert_eq!(record, "disconnect\n");
}

#[test]
fn too_many_hooks_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = script(folder.path(), "sleep 600");
    let (_poll, mut reactor) = set_up();
    let mut hooks = Hooks::default();
    for _ in 0..QUEUE + 10 {
        hooks.run(&mut reactor, hook(&path, "connect", "disk1"));
    }
    assert_eq!((hooks.running.len(), hooks.waiting.len()), (1, QUEUE));
    for running in hooks.running.values_mut() {
        running.signal(Signal::SIGKILL);
        running.child.wait().unwrap();
    }
}
