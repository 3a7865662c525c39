//! One node's agent, with its commands and the machine that it finds: stand-ins that keep their state in files.

use std::fmt::Write;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::observe::{LIMIT, wait_for};
use crate::support::{Outcome, run, wait_within};

/// Each of them is the stand-in under another name.
const PROGRAMS: [&str; 8] = [
    "zpool", "mount", "umount", "fsck", "service", "ifconfig", "sysctl", "reboot",
];

/// A node's agent.
#[derive(Debug)]
pub struct Member {
    name: &'static str,
    pub folder: PathBuf,
    /// More of the table `failover`.
    failover: String,
    child: Option<Child>,
}

impl Member {
    /// In a folder of its own below `root`, where the pair's hast.conf is. `failover` and `group` are added to these
    /// tables.
    pub fn new(name: &'static str, root: &Path, failover: &str, group: &str) -> Self {
        let folder = root.join(format!("agent-{name}"));
        for part in ["bin", "faults", "machine", "state"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        for program in PROGRAMS.into_iter().chain(["fence"]) {
            let path = folder.join("bin").join(program);
            write_program(&path, include_str!("standin.sh"));
        }
        let devd = format!(
            "#!/bin/sh\nexec {} event -c {}/hast.conf -n {name} \"$@\" > /dev/null 2>&1\n",
            env!("CARGO_BIN_EXE_hast-failover"),
            folder.display(),
        );
        write_program(&folder.join("devd"), &devd);
        fs::copy(root.join("hast.conf"), folder.join("hast.conf")).unwrap();
        fs::write(folder.join("calls"), "").unwrap();
        fs::write(folder.join("fence"), "0").unwrap();
        let member = Self {
            name,
            folder,
            failover: failover.to_owned(),
            child: None,
        };
        member.write_config(group);
        member.reset_machine();
        member
    }

    /// Writes what failover is told.
    pub fn write_config(&self, group: &str) {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut text = format!(
            "[failover]\ncontrol = \"{}\"\nstate = \"{}\"\n{}[failover.programs]\n",
            at("control"),
            at("state"),
            self.failover
        );
        for program in PROGRAMS {
            writeln!(text, "{program} = \"{}\"", at(&format!("bin/{program}"))).unwrap();
        }
        writeln!(
            text,
            "[group.storage]\nresources = [\"disk1\", \"disk2\"]\npools = [\"tank\"]\n\
             mounts = [{{ resource = \"disk2\", path = \"/data\" }}]\nservices = [\"samba\", \"nfs\"]\n\
             carp = \"1@em0\"\ndebounce = 0\n{}",
            group.replace("FENCE", &at("bin/fence"))
        )
        .unwrap();
        fs::write(self.folder.join("hast-failover.toml"), text).unwrap();
    }

    /// As a machine is after its start.
    pub fn reset_machine(&self) {
        let machine = self.folder.join("machine");
        for entry in fs::read_dir(&machine).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fs::write(machine.join("mounts"), "/dev/ada0p2\t/\tufs\trw\t1 1\n").unwrap();
        fs::write(machine.join("carp"), "BACKUP\n").unwrap();
        fs::write(machine.join("demotion"), "0\n").unwrap();
    }

    /// What is kept speaks of an earlier boot from now on.
    pub fn pretend_another_boot(&self) {
        for file in ["failover.storage", "failover.demotion"] {
            let path = self.folder.join("state").join(file);
            let mut kept: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            kept["boot"] = "another".into();
            fs::write(&path, kept.to_string()).unwrap();
        }
    }

    /// Something on the machine: `carp`, `demotion`, `pool.tank`, `service.samba`.
    pub fn machine(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder.join("machine").join(name)).ok()?;
        Some(text.trim().to_owned())
    }

    pub fn is_mounted(&self) -> bool {
        self.machine("mounts").unwrap().contains("/data")
    }

    /// Nothing of a master is there.
    #[track_caller]
    pub fn assert_bare(&self) {
        for thing in ["pool.tank", "service.samba", "service.nfs"] {
            assert_eq!(
                self.machine(thing),
                None,
                "{thing} on {}: {}",
                self.name,
                self.log()
            );
        }
        assert!(!self.is_mounted());
    }

    /// Everything of a master is there.
    #[track_caller]
    pub fn assert_serves(&self) {
        for thing in ["pool.tank", "service.samba", "service.nfs"] {
            assert!(
                self.machine(thing).is_some(),
                "{thing} on {}: {}",
                self.name,
                self.log()
            );
        }
        assert!(self.is_mounted());
    }

    /// From now on calls that begin like this go wrong.
    pub fn fault(&self, call: &str, what: &str) {
        fs::write(self.folder.join("faults").join(call), what).unwrap();
    }

    pub fn heal(&self, call: &str) {
        fs::remove_file(self.folder.join("faults").join(call)).unwrap();
    }

    /// The calls of programs that change something, since the last time this was asked.
    pub fn changes(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.join("calls")).unwrap();
        fs::write(self.folder.join("calls"), "").unwrap();
        let looks = ["zpool list", "mount -p", "sysctl -n"];
        let is_change = |line: &&str| {
            !looks.iter().any(|look| line.starts_with(look))
                && !line.ends_with(" onestatus")
                && *line != "ifconfig em0"
        };
        calls.lines().filter(is_change).map(str::to_owned).collect()
    }

    /// Waits until a call begins like this.
    #[track_caller]
    pub fn until_called(&self, call: &str) {
        let calls = || fs::read_to_string(self.folder.join("calls")).unwrap();
        wait_for(
            call,
            || self.log(),
            || {
                calls()
                    .lines()
                    .any(|line| line.starts_with(call))
                    .then_some(())
            },
        );
    }

    pub fn log(&self) -> String {
        let calls = fs::read_to_string(self.folder.join("calls")).unwrap_or_default();
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        format!("--- agent of {}:\n{log}--- its calls:\n{calls}", self.name)
    }

    pub fn command(&self, words: &str) -> Command {
        let mut words = words.split_whitespace();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hast-failover"));
        command.args(words.next());
        command.arg("-c").arg(self.folder.join("hast.conf"));
        command.arg("-n").arg(self.name).args(words);
        command
    }

    /// Runs hast-failover; `-c` and `-n` are put behind the command's name.
    pub fn failover(&self, words: &str) -> Outcome {
        run(&mut self.command(words))
    }

    /// CARP's word, as devd passes it on; the interface shows the same.
    pub fn carp(&self, state: &str) {
        fs::write(self.folder.join("machine/carp"), state).unwrap();
        self.failover(&format!("event 1@em0 {state}")).success();
    }

    /// Starts the agent and waits until it answers.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let mut command = self.command("run -F -d");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn().unwrap();
        wait_for(
            "the agent answers",
            || self.log(),
            || {
                if let Some(status) = child.try_wait().unwrap() {
                    panic!("the agent ended with {status}: {}", self.log());
                }
                self.status()
            },
        );
        self.child = Some(child);
    }

    /// What it says of the group.
    pub fn status(&self) -> Option<Value> {
        let outcome = self.failover("status --json");
        let groups: Value = serde_json::from_str(&outcome.stdout).ok()?;
        groups.get(0).cloned()
    }

    /// A member of the status, as text.
    pub fn says(&self, member: &str) -> Option<String> {
        let status = self.status()?;
        let value = status.get(member)?;
        value.as_str().map_or_else(
            || (!value.is_null()).then(|| value.to_string()),
            |text| Some(text.to_owned()),
        )
    }

    /// Waits until the group is in a state, with nothing under way.
    #[track_caller]
    pub fn until(&self, state: &str) {
        let what = format!("{} is {state}", self.name);
        wait_for(
            &what,
            || self.log(),
            || {
                let status = self.status()?;
                (status["state"] == state && status["step"].is_null()).then_some(())
            },
        );
    }

    /// Waits until the copy is known to be as fresh as one that may be promoted alone.
    #[track_caller]
    pub fn until_fresh(&self) {
        let what = format!("{} is up to date", self.name);
        wait_for(&what, || self.log(), || self.says("fresh_seconds"));
    }

    /// Waits until the agent knows that both copies of everything are equal.
    #[track_caller]
    pub fn until_complete(&self) {
        let what = format!("{} is complete", self.name);
        wait_for(
            &what,
            || self.log(),
            || {
                let status = self.status()?;
                let resources = status["resources"].as_array()?.clone();
                let complete = resources.iter().all(|it| it["status"] == "complete");
                complete.then_some(())
            },
        );
    }

    /// Waits until the log has this.
    #[track_caller]
    pub fn until_logged(&self, text: &str) {
        wait_for(
            text,
            || self.log(),
            || self.log().contains(text).then_some(()),
        );
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().expect("it runs").id().cast_signed())
    }

    /// Kills the agent alone, with SIGKILL: what it has started goes on.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends it as rc(8) does.
    pub fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut child = self.child.take().expect("it runs");
        let status = wait_within(&mut child, LIMIT);
        assert!(
            status.is_some_and(|it| it.success()),
            "{status:?}: {}",
            self.log()
        );
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
