//! What lies in examples/failover: every sample is a configuration for both of its nodes, and the
//! programs for fencing say what they found out, and nothing that they do not know.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hast::config::{Address, Config, NodeNames};
use hast::failover::group::{ForceImport, Group, OnUnreachable, Settings};
use tempfile::TempDir;

use crate::support::{run, tool};
use crate::{read, root};

/// Each sample with its nodes.
pub const SAMPLES: [(&str, [&str; 2]); 4] = [
    ("article.toml", ["hast1", "hast2"]),
    ("ufs-mirror.toml", ["hast1", "hast2"]),
    ("single-nic.toml", ["hast1", "hast2"]),
    ("manual-dr.toml", ["office", "remote"]),
];

fn folder() -> PathBuf {
    root().join("examples/failover")
}

/// What a sample is for a node.
#[track_caller]
pub fn load(name: &str, node: &str) -> (Config, Settings) {
    let path = folder().join(name);
    Settings::load(Some(&path), Some(node)).unwrap_or_else(|error| panic!("{error}"))
}

/// The samples' texts as FreeBSD's, whose devices are its own; none says another provider.
#[test]
fn samples_are_configurations_for_both_nodes() {
    let there: BTreeSet<String> = fs::read_dir(folder())
        .expect("there")
        .map(|entry| entry.expect("readable").file_name().into_string())
        .map(|name| name.expect("UTF-8"))
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "toml"))
        .collect();
    let known = SAMPLES.map(|(name, _)| name.to_owned());
    assert_eq!(there, BTreeSet::from(known));
    for (name, nodes) in SAMPLES {
        assert!(!read(folder().join(name)).contains("provider"), "{name}");
        for node in nodes {
            let (config, settings) = load(name, node);
            assert_eq!(settings.node, node);
            let [group] = settings.groups.as_slice() else {
                panic!("{name}: {settings:?}");
            };
            let names = config.resources.iter().map(|resource| &resource.name);
            assert!(
                names.eq(&group.resources),
                "{name}: every resource is in the group"
            );
            assert!(
                !(group.pools.is_empty() && group.mounts.is_empty()),
                "{name}"
            );
            let nobody = NodeNames::named("hast3");
            assert!(
                Config::parse(&read(folder().join(name)), &folder().join(name), &nobody).is_err()
            );
        }
    }
}

/// The nodes call each other, from the addresses that the other one expects.
#[test]
fn nodes_of_a_sample_find_each_other() {
    for (name, [one, other]) in SAMPLES {
        let (one, _) = load(name, one);
        let (other, _) = load(name, other);
        for (here, there) in one.resources.iter().zip(&other.resources) {
            assert_ne!(here.remote, there.remote, "{name}");
            for (near, far) in [(here, there), (there, here)] {
                let remote = near.remote.as_ref().and_then(Address::numeric);
                let source = far.source.as_ref().and_then(Address::numeric);
                if let Some(source) = source {
                    assert_eq!(remote.map(|it| it.ip()), Some(source.ip()), "{name}");
                }
            }
        }
    }
}

/// The policies that the samples are there to show.
#[test]
fn each_sample_is_what_it_says() {
    let group = |name: &str, node: &str| -> Group { load(name, node).1.groups.remove(0) };
    for (name, nodes) in SAMPLES {
        for node in nodes {
            assert_eq!(
                group(name, node).on_unreachable,
                OnUnreachable::Refuse,
                "{name}"
            );
        }
    }
    let article = group("article.toml", "hast1");
    assert_eq!(article.resources, ["disk1", "disk2", "disk3"]);
    assert_eq!(article.pools, ["zhast"]);
    assert_eq!(article.services, ["samba_server"]);
    assert_eq!(article.force_import, ForceImport::Confirmed);
    let fence = |node| group("ufs-mirror.toml", node).fence;
    assert!(fence("hast1").is_some() && fence("hast1") != fence("hast2"));
    assert!(load("single-nic.toml", "hast1").1.witness.is_some());
    assert_eq!(group("manual-dr.toml", "office").carp, None);
}

#[test]
fn devd_tells_the_agent_of_addresses_that_the_configuration_knows() {
    let text = read("examples/failover/devd.conf");
    assert!(text.contains("action \"/usr/local/sbin/hast-failover event $subsystem $type\";"));
    assert!(text.contains("\"[0-9]+@[0-9A-Za-z._]+\""));
    for state in ["MASTER", "BACKUP", "INIT"] {
        assert!(text.contains(state));
    }
}

/// A program for fencing, with a stand-in for the one by which it acts.
struct Fence {
    program: &'static str,
    folder: TempDir,
}

impl Fence {
    /// `stand_in` is the body of a shell script.
    fn new(program: &'static str, acts_by: &str, stand_in: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(acts_by);
        let text = format!("#!/bin/sh\necho \"$*\" >> \"${{0%/*}}/calls\"\n{stand_in}\n");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        Self { program, folder }
    }

    /// Its exit code.
    fn run(&self, arguments: &[&str]) -> Option<i32> {
        let system = std::env::var("PATH").unwrap_or_default();
        let outcome = run(Command::new(folder().join(self.program))
            .args(arguments)
            .env("PATH", format!("{}:{system}", self.folder.path().display()))
            .env("FENCE_LOOKS", "2"));
        outcome.status.code()
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

const FENCED: Option<i32> = Some(0);
const NOT_FENCED: Option<i32> = Some(1);
const UNKNOWN: Option<i32> = Some(2);

#[test]
fn ipmi_says_what_the_controller_says() {
    let ipmi = |stand_in| Fence::new("fence-ipmi", "ipmitool", stand_in);
    for (stand_in, code) in [
        ("echo 'Chassis Power is off'", FENCED),
        // The order was not taken, as of a machine that is off already.
        (
            "case $* in *status) echo 'Chassis Power is off' ;; *) exit 1 ;; esac",
            FENCED,
        ),
        // It takes a moment.
        (
            "case $* in *status) if [ -e \"$0.seen\" ]; then echo 'Chassis Power is off'; \
             else echo 'Chassis Power is on'; : > \"$0.seen\"; fi ;; esac",
            FENCED,
        ),
        ("echo 'Chassis Power is on'", NOT_FENCED),
        // Neither the order's success nor silence is an answer.
        ("exit 0", UNKNOWN),
        ("echo 'Unable to establish a session' >&2; exit 1", UNKNOWN),
    ] {
        assert_eq!(ipmi(stand_in).run(&["10.0.1.12"]), code, "{stand_in}");
    }
    let fence = ipmi("echo 'Chassis Power is off'");
    assert_eq!(fence.run(&[]), UNKNOWN);
    assert!(fence.calls().is_empty());
    assert_eq!(fence.run(&["10.0.1.12", "operator"]), FENCED);
    let calls = fence.calls();
    assert!(calls[0].ends_with("chassis power off"), "{calls:?}");
    assert!(
        calls[0].contains("-H 10.0.1.12 -U operator -f "),
        "{calls:?}"
    );
}

#[test]
fn bhyve_says_what_the_host_says() {
    let bhyve = |stand_in| Fence::new("fence-bhyve", "ssh", stand_in);
    let arguments = ["root@host", "hast2", "/vm/hast2/disk0.img"];
    for (stand_in, code) in [
        ("echo gone", FENCED),
        (
            "case $* in *bhyvectl*) exit 1 ;; *) echo gone ;; esac",
            FENCED,
        ),
        (
            "case $* in *bhyvectl*) ;; *) echo running ;; esac",
            NOT_FENCED,
        ),
        (
            "case $* in *bhyvectl*) ;; *) echo stranger ;; esac",
            UNKNOWN,
        ),
        ("exit 255", UNKNOWN),
        ("exit 0", UNKNOWN),
    ] {
        assert_eq!(bhyve(stand_in).run(&arguments), code, "{stand_in}");
    }
    // The command lines mean what they should: here the host is this machine, which has no such guest.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = folder.path().join("disk0.img").display().to_string();
    let here = bhyve("bhyvectl() { :; }; while [ $# -gt 1 ]; do shift; done; eval \"$1\"");
    assert_eq!(here.run(&["host", "no-such-guest", &disk]), UNKNOWN);
    fs::write(&disk, "").expect("written");
    assert_eq!(here.run(&["host", "no-such-guest", &disk]), FENCED);

    for bad in [
        ["-oProxyCommand=x", "hast2", "/vm/x"],
        ["host", "hast2;reboot", "/vm/x"],
        ["host", "hast2", "vm/x"],
        ["host", "hast2", "/vm/$(reboot)"],
    ] {
        let fence = bhyve("echo gone");
        assert_eq!(fence.run(&bad), UNKNOWN, "{bad:?}");
        assert!(fence.calls().is_empty(), "{bad:?}");
    }
}

#[test]
fn the_programs_are_clean() {
    let Some(shellcheck) = tool("shellcheck", "shellcheck") else {
        return;
    };
    run(Command::new(shellcheck)
        .current_dir(folder())
        .args(["fence-ipmi", "fence-bhyve"]))
    .success();
}
