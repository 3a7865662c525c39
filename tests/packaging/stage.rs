//! Where the scripts in rc.d are run: with a stand-in for rc.subr, and programs that record how they are called.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Outcome, run};
use crate::{read, root};

/// What hastctl says of three resources: the lines that the script reads, and others.
pub const LIST: &str = "\
disk1:
  role: primary
  provname: data
  localpath: /dev/ada1
  status: complete
  local: up-to-date
  statistics:
    reads: 0
disk2:
  role: secondary
  provname: disk2
  localpath: /dev/ada2
  statistics:
    reads: 0
disk3:
  role: init
  provname: disk3
  localpath: /dev/ada3
  statistics:
    reads: 0
";

/// A script in a folder of its own, which stands in for the file system.
pub struct Service {
    script: &'static str,
    folder: TempDir,
}

impl Service {
    /// rc.d/hast, enabled.
    pub fn new(rc_conf: &str) -> Self {
        Self::of("hast", &format!("hast_enable=YES\n{rc_conf}"))
    }

    /// A script of rc.d.
    pub fn of(script: &'static str, rc_conf: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        let text = read(format!("rc.d/{script}"));
        let state = path.display().to_string();
        let stubs = root().join("tests/packaging/stubs");
        let text = text
            .replace("/etc/rc.subr", &stubs.join("rc.subr").display().to_string())
            .replace("/usr/local/sbin", &stubs.display().to_string())
            .replace("/var/run", &state)
            .replace("/var/db", &state)
            .replace("/dev/hast", &format!("{state}/dev/hast"));
        fs::create_dir(path.join("rc.d")).expect("created");
        fs::write(path.join("rc.d").join(script), text).expect("written");
        fs::create_dir(path.join("bin")).expect("created");
        for name in [
            "mount", "umount", "zpool", "zfs", "fuser", "sysctl", "sleep", "kldstat", "kldload",
            "su", "install",
        ] {
            symlink(stubs.join("system"), path.join("bin").join(name)).expect("linked");
        }
        let service = Self { script, folder };
        service.says("rc.conf", &format!("{rc_conf}\n"));
        service.says("list", LIST);
        service.says("status", "Name\tStatus\t Role\t\tComponents\n");
        service.says("mounts", "/dev/ada0p2\t\t/\tufs\trw\t1 1\n");
        service.says("calls", "");
        service
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Prepares what a stub looks at.
    pub fn says(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// A device that the kernel still has.
    pub fn device(&self, name: &str) -> String {
        let path = self.path("dev/hast").join(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("created");
        fs::write(&path, "").expect("written");
        path.display().to_string()
    }

    pub fn command(&self, word: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        let system = std::env::var("PATH").unwrap_or_default();
        command
            .arg(self.path("rc.d").join(self.script))
            .arg(word)
            .env("HAST_STATE", self.folder.path())
            .env("PATH", format!("{}:{system}", self.path("bin").display()));
        command
    }

    pub fn run(&self, word: &str) -> Outcome {
        run(&mut self.command(word))
    }

    pub fn start(&self) {
        self.run("start").success();
        self.forget();
    }

    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).expect("readable");
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets what was called so far.
    pub fn forget(&self) {
        self.says("calls", "");
    }

    /// Of the daemon that the script has started.
    pub fn pid(&self) -> Option<String> {
        let name = match self.script {
            "hast" => "hastd.pid",
            "hast_witness" => "hast-witness/pid",
            _ => "hast-failover.pid",
        };
        let text = fs::read_to_string(self.path(name)).ok()?;
        Some(text.trim().to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }
}
