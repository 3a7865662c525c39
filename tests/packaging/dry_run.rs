//! The samples through the program itself: `check` takes them, and `--dry-run` shows what each would do on
//! each of its nodes.

use std::process::Command;

use hast::failover::group::{Group, Settings};

use crate::root;
use crate::samples::{SAMPLES, load};
use crate::support::run;

/// What the program prints with a sample on a node.
#[track_caller]
fn say(sample: &str, node: &str, words: &[&str]) -> String {
    run(Command::new(env!("CARGO_BIN_EXE_hast-failover"))
        .args(words)
        .arg("-c")
        .arg(root().join("examples/failover").join(sample))
        .args(["-n", node]))
    .success()
}

/// Each sample's group on each of its nodes.
fn with_every_group(does: impl Fn(&str, &str, &Group, &Settings)) {
    for (sample, nodes) in SAMPLES {
        for node in nodes {
            let (_, settings) = load(sample, node);
            does(sample, node, &settings.groups[0], &settings);
        }
    }
}

/// The parts stand in the text in this order.
#[track_caller]
fn assert_in_order(text: &str, parts: &[String]) {
    let mut rest = text;
    for part in parts {
        let Some((_, after)) = rest.split_once(part.as_str()) else {
            panic!("no {part:?} where it should be in\n{text}");
        };
        rest = after;
    }
}

#[test]
fn samples_are_good() {
    with_every_group(|sample, node, group, _| {
        let said = say(sample, node, &["check"]);
        assert!(said.contains(&format!("{}: ", group.name)), "{said}");
        assert!(said.contains(&format!("on node {node}")), "{said}");
    });
}

#[test]
fn becoming_master_has_its_steps_in_order() {
    with_every_group(|sample, node, group, _| {
        let said = say(sample, node, &["master", "--dry-run", &group.name]);
        let mut parts = vec!["and claims them".to_owned()];
        parts.push(format!(
            "hastctl role primary {}",
            group.resources.join(" ")
        ));
        for pool in &group.pools {
            for force in ["", "-f "] {
                parts.push(format!(
                    "zpool import -o cachefile=none -d /dev/hast {force}{pool}"
                ));
            }
        }
        for mount in &group.mounts {
            parts.push("/sbin/fsck".to_owned());
            parts.push(format!(" {}\n", mount.path.display()));
        }
        for service in &group.services {
            parts.push(format!("service {service} onestart"));
        }
        if group.carp.is_some() {
            parts.push("net.inet.carp.demotion=-240".to_owned());
        }
        assert_in_order(&said, &parts);
        assert!(said.contains("on-unreachable = refuse"), "{said}");
        if let Some(fence) = &group.fence {
            assert!(said.contains(&fence.join(" ")), "{said}");
        }
    });
}

#[test]
fn changing_places_has_them_in_reverse() {
    with_every_group(|sample, node, group, settings| {
        let said = say(sample, node, &["switchover", "--dry-run", &group.name]);
        let services = group.services.iter().rev();
        let mut parts: Vec<String> = services
            .map(|service| format!("service {service} onestop"))
            .collect();
        let mounts = group.mounts.iter().rev();
        parts.extend(mounts.map(|mount| format!("umount {}", mount.path.display())));
        parts.extend(
            group
                .pools
                .iter()
                .rev()
                .map(|pool| format!("zpool export {pool}")),
        );
        parts.push(format!(
            "hastctl role secondary {}",
            group.resources.join(" ")
        ));
        if settings.witness.is_some() {
            parts.push("lease".to_owned());
        }
        if group.carp.is_some() {
            parts.push("net.inet.carp.demotion=240".to_owned());
        }
        parts.push("to take".to_owned());
        assert_in_order(&said, &parts);
        assert!(!said.contains("-f "), "{said}");
    });
}

#[test]
fn a_person_s_word_stands_in_for_the_other_node() {
    let said = say(
        "manual-dr.toml",
        "remote",
        &["master", "--force", "--dry-run", "books"],
    );
    let expected = ["role --force primary books", "onestart", "point-dns-here"];
    assert_in_order(&said, &expected.map(str::to_owned));
}
