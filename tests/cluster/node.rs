//! One node: a real hastd and its workers, the hastctl commands for it, and the ways to end it.
//! What it started is gone when it is dropped, however the test ends.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hast::config::Address;
use hast::control::{Failure, Guard, Permit, Request, Selection, client};
use hast::moment::Moment;
use hast::terms::Role;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::observe::{LIMIT, wait_for};
use crate::support::{Outcome, run, wait_within};

/// One of the two nodes.
#[derive(Debug)]
pub struct Node {
    name: &'static str,
    /// With everything of this node in it.
    pub(crate) folder: PathBuf,
    config: PathBuf,
    child: Option<Child>,
    /// Every main process there was, for the hooks' lines.
    pub(crate) former: Vec<u32>,
}

impl Node {
    /// A node that runs what the configuration says of `name`.
    pub fn new(name: &'static str, root: &Path, config: &Path) -> Self {
        let folder = root.join(name);
        fs::create_dir(&folder).unwrap();
        Self {
            name,
            folder,
            config: config.to_owned(),
            child: None,
            former: Vec::new(),
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A resource's component.
    pub fn component(&self, resource: &str) -> PathBuf {
        self.folder.join(resource)
    }

    /// A resource's device.
    pub fn device(&self, resource: &str) -> PathBuf {
        self.folder.join(format!("{resource}.nbd"))
    }

    pub fn control(&self) -> PathBuf {
        self.folder.join("control")
    }

    pub fn pidfile(&self) -> PathBuf {
        self.folder.join("pid")
    }

    /// The command line that starts it.
    pub fn hastd(&self) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hastd"));
        command.arg("-F").arg("-d");
        command.arg("-c").arg(&self.config).arg("-n").arg(self.name);
        command.arg("-P").arg(self.pidfile());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // One group with its workers: they can be killed at one moment, like a machine.
        command.process_group(0);
        command
    }

    /// Starts hastd and waits until it answers; the error is how it ended instead.
    pub fn try_start(&mut self) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let child = self.hastd().spawn().unwrap();
        self.former.push(child.id());
        self.child = Some(child);
        let since = Instant::now();
        while self.statuses().is_none() {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                return Err(status);
            }
            assert!(
                since.elapsed() < LIMIT,
                "hastd does not answer: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn start(&mut self) {
        if let Err(status) = self.try_start() {
            panic!("hastd of {} ended with {status}: {}", self.name, self.log());
        }
    }

    pub fn main_pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Runs hastctl; `-c` and `-n` are put behind the command's name.
    pub fn hastctl(&self, words: &str) -> Outcome {
        let mut words = words.split_whitespace();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hastctl"));
        command.args(words.next());
        command.arg("-c").arg(&self.config).arg("-n").arg(self.name);
        run(command.args(words))
    }

    /// Runs hastctl, which must succeed; its output.
    #[track_caller]
    pub fn ctl(&self, words: &str) -> String {
        self.hastctl(words).success()
    }

    /// Makes a resource primary as an agent does to whom the other node gave its word until then.
    pub fn promote(&self, resource: &str, until: Moment) -> Result<Role, Failure> {
        let control = Address::from_socket_path(self.control().to_str().unwrap()).unwrap();
        let request = Request::SetRole {
            role: Role::Primary,
            resources: Selection::Named(vec![resource.to_owned()]),
            force: false,
            guard: Some(Guard { until: Some(until) }),
        };
        let mut reply = client::set_role(&control, &request).unwrap();
        reply.resources.remove(0).1
    }

    /// Lets primaries here go on alone, or not.
    pub fn permit(&self, permit: Permit) {
        let control = Address::from_socket_path(self.control().to_str().unwrap()).unwrap();
        client::permit(&control, Selection::All, permit).unwrap();
    }

    /// Kills the worker with SIGKILL.
    pub fn kill_worker(&self, resource: &str) {
        // Gone already, where it ended by itself in this moment.
        let _ = kill(self.worker_pid(resource), Signal::SIGKILL);
    }

    /// Kills the main process only, with SIGKILL, and waits until its workers have ended by
    /// themselves.
    pub fn kill_main(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
        self.wait_until_free();
    }

    /// Kills all its processes at one moment with SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        killpg(group(&child), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        self.wait_until_free();
    }

    /// Sends the main process a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.main_pid().cast_signed()), signal).unwrap();
    }

    /// Ends it with a signal and waits for it; how it ended.
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let mut child = self.child.take().expect("it runs");
        let group = group(&child);
        let status = wait_within(&mut child, LIMIT);
        // Nothing may be left; what is left must not outlive the test.
        let left = killpg(group, Signal::SIGKILL).is_ok();
        assert!(!left, "{} left processes behind: {}", self.name, self.log());
        status.unwrap_or_else(|| panic!("{} does not end: {}", self.name, self.log()))
    }

    /// Waits until no process holds a component any more.
    fn wait_until_free(&self) {
        for entry in fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            let held = || File::open(&path).is_ok_and(|file| file.try_lock().is_err());
            if path.is_file() {
                let what = format!("{} given up", path.display());
                wait_for(&what, || self.log(), || (!held()).then_some(()));
            }
        }
    }
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The group before its leader is reaped: until then the number is ours.
            let _ = killpg(group(&child), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}
