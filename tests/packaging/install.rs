//! `make install` and `make deinstall`, in GNU make and in BSD make, with programs that are not
//! built for it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Outcome, run, tool};
use crate::{SCRIPTS, read, root};

/// The two kinds of make, and the packages that they are in.
const MAKES: [(&str, &str); 2] = [("make", "make"), ("bmake", "bmake")];

/// A folder to install into, with programs beside it.
pub struct Installation {
    folder: TempDir,
}

/// Does it with every make that is there, each with an installation of its own.
fn with_every_make(does: impl Fn(&Installation, &Path)) {
    for (name, package) in MAKES {
        if let Some(make) = tool(name, package) {
            eprintln!("with {name}:");
            does(&Installation::new(), &make);
        }
    }
}

impl Installation {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let binaries = folder.path().join("binaries");
        fs::create_dir(&binaries).expect("created");
        for name in ["hastd", "hastctl", "hast-failover"] {
            let path = binaries.join(name);
            fs::write(&path, name).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        }
        Self { folder }
    }

    pub fn destination(&self) -> PathBuf {
        self.folder.path().join("destination")
    }

    /// Runs make with the programs of this folder.
    pub fn make(&self, make: &Path, words: &[&str]) -> Outcome {
        let binaries = self.folder.path().join("binaries");
        // Another make may be running this test.
        run(Command::new(make)
            .current_dir(root())
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .args(words)
            .arg(format!("BINARIES={}", binaries.display())))
    }
}

/// The files below a folder.
pub fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(next) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below it");
                found.insert(name.display().to_string());
            }
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn install_fills_a_destination_and_deinstall_empties_it() {
    with_every_make(|installation, make| {
        let destination = installation.destination();
        let into = format!("DESTDIR={}", destination.display());
        // Twice: an installation over an older one.
        for _ in 0..2 {
            let words = ["install", &into, "PREFIX=/opt/hast"];
            installation.make(make, &words).success();
        }
        let top = destination.join("opt/hast");
        assert_eq!(mode(&top.join("sbin/hastd")), 0o555);
        for script in SCRIPTS.map(|script| format!("rc.d/{script}")) {
            let installed = top.join("etc").join(&script);
            assert_eq!(mode(&installed), 0o555);
            let text = fs::read_to_string(&installed).expect("readable");
            assert_eq!(text, read(script).replace("/usr/local", "/opt/hast"));
        }
        let samples = top.join("share/examples/hast/failover");
        assert_eq!(mode(&samples.join("fence-ipmi")), 0o555);
        let devd = top.join("etc/devd/hast-failover.conf.sample");
        let devd = fs::read_to_string(devd).expect("readable");
        assert!(
            devd.contains("/opt/hast/sbin/hast-failover event"),
            "{devd}"
        );
        let page = run(Command::new("gzip")
            .arg("-dc")
            .arg(top.join("share/man/man8/hastd.8.gz")));
        assert_eq!(page.success(), read("man/hastd.8"));
        assert!(!top.join("etc/hast.conf").exists(), "a package's stage");

        let words = ["deinstall", &into, "PREFIX=/opt/hast"];
        installation.make(make, &words).success();
        assert_eq!(files(&destination), BTreeSet::new());
    });
}

#[test]
fn configurations_of_the_administrator_are_left_alone() {
    with_every_make(|installation, make| {
        let prefix = installation.destination();
        let into = format!("PREFIX={}", prefix.display());
        installation.make(make, &["install", &into]).success();
        let (own, devd) = (
            prefix.join("etc/hast.conf"),
            prefix.join("etc/devd/hast-failover.conf"),
        );
        let sample = fs::read_to_string(&own).expect("copied from the sample");
        assert_eq!(sample, read("examples/hast.conf.sample"));

        fs::write(&own, "# mine\n").expect("written");
        installation.make(make, &["install", &into]).success();
        assert_eq!(fs::read_to_string(&own).expect("there"), "# mine\n");
        installation.make(make, &["deinstall", &into]).success();
        assert_eq!(fs::read_to_string(&own).expect("there"), "# mine\n");
        assert!(!devd.exists(), "it was the sample still");
    });
}

#[test]
fn nothing_is_installed_without_programs() {
    with_every_make(|installation, make| {
        let destination = installation.destination();
        let into = format!("DESTDIR={}", destination.display());
        fs::remove_file(installation.folder.path().join("binaries/hastctl")).expect("there");
        let said = installation.make(make, &["install", &into]).failure();
        assert!(said.contains("run make first"), "{said}");
        assert_eq!(files(&destination), BTreeSet::new());
    });
}
