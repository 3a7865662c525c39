//! What tests share: other people's programs, found, bounded in time, and never missed in
//! silence.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::env;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long any of other people's programs may run unless a test says otherwise.
pub const TOOL_LIMIT: Duration = Duration::from_mins(1);

/// The path of a program that a test needs, looked for in PATH and the system's folders.
/// Where it is missing the test is to return: that it was SKIPPED, and for want of which
/// package, is printed here. With CI=true that is a failure.
pub fn tool(name: &str, package: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    let found = env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|p| p.is_file());
    if found.is_none() {
        skip(&format!("no {name} here; install the package {package}"));
    }
    found
}

/// Says that the running test is skipped, and why; with CI=true fails it instead.
pub fn skip(reason: &str) {
    let message = format!(
        "SKIPPED {}: {reason}",
        thread::current().name().unwrap_or("a test")
    );
    assert!(env::var("CI").as_deref() != Ok("true"), "{message}");
    // Past the test harness's capture: a skip has to be seen.
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// What a program said, as text.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub line: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Its standard output; panics with everything it said unless it succeeded.
    #[track_caller]
    pub fn success(self) -> String {
        assert!(self.status.success(), "failed: {self:#?}");
        self.stdout
    }

    /// Its standard output and standard error; panics if it succeeded.
    #[track_caller]
    pub fn failure(self) -> String {
        assert!(!self.status.success(), "should have failed: {self:#?}");
        self.stdout + &self.stderr
    }
}

/// Runs a program to its end, for at most `limit`; then it is killed and the test fails.
#[track_caller]
pub fn run_within(command: &mut Command, limit: Duration) -> Outcome {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
    let stdout = collect(child.stdout.take().expect("piped"));
    let stderr = collect(child.stderr.take().expect("piped"));
    let status = wait_within(&mut child, limit);
    let (stdout, stderr) = (
        stdout.join().expect("no panic"),
        stderr.join().expect("no panic"),
    );
    let Some(status) = status else {
        panic!("still running after {limit:?}, killed: {line}\n{stdout}\n{stderr}");
    };
    Outcome {
        line,
        status,
        stdout,
        stderr,
    }
}

/// As [`run_within`], with the usual limit.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    run_within(command, TOOL_LIMIT)
}

/// The status of a child that ends within `limit`; otherwise it is killed.
pub fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        // The standard library has no wait with a limit.
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `condition` holds; panics after 20 seconds, saying for what it waited.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 seconds: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
