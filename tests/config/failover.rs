//! What is asked of failover: the tables in both places, every word, every complaint.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hast::config::{Address, Config, ConfigError, NodeNames};
use hast::failover::config::OWN_FILE;
use hast::failover::group::{
    FailBack, ForceImport, Fsck, HookPoint, Limits, Mount, OnHang, OnLeaseLoss, OnUnreachable,
    Programs, Settings, Vhid, WitnessSettings,
};

const FULL: &str = include_str!("failover.toml");

/// Four resources of two nodes.
fn resources() -> String {
    let resource = |name: &str| {
        format!(
            "resource {name} {{ local /dev/{name}\n on hasta {{ remote 10.0.0.2 }} on hastb {{ remote 10.0.0.1 }} }}\n"
        )
    };
    ["disk1", "disk2", "disk3", "disk4"].map(resource).concat()
}

/// The settings in `text`, as hast-failover.toml, of a node.
fn on(node: &str, text: &str) -> Result<Settings, ConfigError> {
    let node = NodeNames::named(node);
    let config = Config::parse(&resources(), Path::new("hast.conf"), &node).unwrap();
    Settings::parse(text, Path::new(OWN_FILE), &config, &node)
}

pub fn own_file(text: &str) -> Result<Settings, ConfigError> {
    on("hasta", text)
}

/// The settings in `text` as hast.toml.
fn shared_file(node: &str, text: &str) -> Result<Settings, ConfigError> {
    let (node, path) = (NodeNames::named(node), Path::new("hast.toml"));
    let config = Config::parse(text, path, &node)?;
    Settings::parse(text, path, &config, &node)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_group_of_resources_has_defaults_for_the_rest() {
    let settings = own_file("[group.g]\nresources = ['disk2']").unwrap();
    assert_eq!(settings.control, PathBuf::from("/var/run/hast-failover"));
    assert_eq!(settings.state, PathBuf::from("/var/db/hast"));
    assert_eq!(settings.node, "hasta");
    assert_eq!(settings.witness, None);
    assert_eq!(settings.programs, Programs::default());
    let [group] = settings.groups.as_slice() else {
        panic!("{settings:?}");
    };
    assert_eq!(group.name, "g");
    assert_eq!(group.resources, ["disk2"]);
    assert!(group.pools.is_empty() && group.mounts.is_empty() && group.services.is_empty());
    assert_eq!(group.carp, None);
    assert_eq!(group.fence, None);
    assert_eq!(group.on_unreachable, OnUnreachable::Refuse);
    assert_eq!(group.force_import, ForceImport::Never);
    assert_eq!(group.fsck, Fsck::Preen);
    assert_eq!(group.on_hang, OnHang::Retry);
    assert_eq!(group.on_lease_loss, OnLeaseLoss::Stop);
    assert_eq!(group.fail_back, FailBack::Manual);
    assert_eq!(group.freshness, seconds(30));
    assert_eq!(group.debounce, seconds(2));
    assert_eq!(group.limits, Limits::default());
    assert!(group.hooks.is_empty());
}

#[test]
fn every_word_reaches_the_model() {
    let settings = shared_file("hasta", FULL).unwrap();
    assert_eq!(settings.control, PathBuf::from("/var/run/failover.socket"));
    assert_eq!(settings.state, PathBuf::from("/var/db/failover"));
    let address = Address::parse("witness.example:8458", 1).unwrap();
    let secret = "/usr/local/etc/witness.key".into();
    let lease = seconds(20);
    assert_eq!(
        settings.witness,
        Some(WitnessSettings {
            address,
            secret,
            lease
        })
    );
    let programs = Programs {
        zpool: "/a/zpool".into(),
        mount: "/a/mount".into(),
        umount: "/a/umount".into(),
        fsck: "/a/fsck".into(),
        service: "/a/service".into(),
        ifconfig: "/a/ifconfig".into(),
        sysctl: "/a/sysctl".into(),
        reboot: "/a/reboot".into(),
    };
    assert_eq!(settings.programs, programs);

    let names: Vec<&str> = settings
        .groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    assert_eq!(names, ["storage", "archive"], "the file's order is kept");
    let group = settings.group("storage").unwrap();
    assert_eq!(group.resources, ["disk1", "disk2"]);
    assert_eq!(group.pools, ["zhast"]);
    let mount = Mount {
        resource: "disk2".to_owned(),
        path: "/data".into(),
        options: Some("noatime,nosuid".to_owned()),
    };
    assert_eq!(group.mounts, [mount]);
    assert_eq!(group.services, ["samba_server", "nfsd"]);
    assert_eq!(group.on_unreachable, OnUnreachable::Wait);
    assert_eq!(group.force_import, ForceImport::Confirmed);
    assert_eq!(group.fsck, Fsck::Yes);
    assert_eq!(group.on_hang, OnHang::Reboot);
    assert_eq!(group.on_lease_loss, OnLeaseLoss::Keep);
    assert_eq!(group.fail_back, FailBack::Synchronised);
    assert_eq!(group.freshness, seconds(40));
    assert_eq!(group.debounce, seconds(3));
    let limits = Limits {
        hastd: seconds(1),
        peer: seconds(2),
        promote: seconds(3),
        import: seconds(4),
        export: seconds(5),
        fsck: seconds(6),
        mount: seconds(7),
        service: seconds(8),
        fence: seconds(9),
        hook: seconds(10),
        takeover: seconds(86400),
    };
    assert_eq!(group.limits, limits);
    for (number, point) in (1..).zip(HookPoint::ALL.iter().copied()) {
        let hook = group.hook(point).unwrap();
        assert_eq!(hook[0], format!("/h/{number}"), "{point}");
    }
    let hook = group.hook(HookPoint::AfterMaster).unwrap();
    assert_eq!(hook, ["/h/4", "an argument"]);
    let archive = settings.group("archive").unwrap();
    assert_eq!(archive.mounts[0].path, PathBuf::from("/archive"));
}

#[test]
fn each_node_has_its_own_address_and_fencing() {
    for (node, interface, address) in [("hasta", "em0", "10.0.0.9"), ("hastb", "em1.5", "10.0.0.8")]
    {
        let settings = shared_file(node, FULL).unwrap();
        assert_eq!(settings.node, node);
        let group = settings.group("storage").unwrap();
        let vhid = Vhid {
            vhid: 1,
            interface: interface.to_owned(),
        };
        assert_eq!(group.carp, Some(vhid));
        let fence = ["/usr/local/libexec/hast/fence-ipmi", address];
        assert_eq!(group.fence.as_deref(), Some(&fence.map(str::to_owned)[..]));
    }
    // The node is called as the configuration calls it, not as the machine does.
    let node = NodeNames::named("hasta.example.org");
    let config = Config::parse(&resources(), Path::new("hast.conf"), &node).unwrap();
    let text = "[group.g]\nresources = ['disk1']\n[group.g.on.hasta]\ncarp = '3@re0'";
    let settings = Settings::parse(text, Path::new(OWN_FILE), &config, &node).unwrap();
    assert_eq!(settings.node, "hasta");
    assert_eq!(
        settings.groups[0].carp.as_ref().unwrap().to_string(),
        "3@re0"
    );
}

#[test]
fn it_lies_in_hast_toml_or_beside_hast_conf() {
    let folder = tempfile::tempdir().unwrap();
    let (conf, toml) = (folder.path().join("my.conf"), folder.path().join("my.toml"));
    std::fs::write(&conf, resources()).unwrap();
    std::fs::write(&toml, FULL).unwrap();
    let load = |path: &Path| Settings::load(Some(path), Some("hastb"));

    let (config, settings) = load(&toml).unwrap();
    assert_eq!(config.resources.len(), 3);
    assert_eq!(settings.groups.len(), 2);

    let error = load(&conf).unwrap_err();
    let beside = folder.path().join("hast-failover.toml");
    let expected = format!("cannot read the configuration {}", beside.display());
    assert!(error.to_string().starts_with(&expected), "{error}");

    std::fs::write(&beside, "[group.g]\nresources = ['disk1']").unwrap();
    let (config, settings) = load(&conf).unwrap();
    assert_eq!(config.resources.len(), 4);
    assert_eq!(settings.groups[0].name, "g");

    // An error is one of the file that it is in.
    std::fs::write(&beside, "[group.g]\nresources = 'disk1'").unwrap();
    let error = load(&conf).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}, line 2: ", beside.display())),
        "{error}"
    );
    std::fs::write(&conf, "nonsense").unwrap();
    let error = load(&conf).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}, line 1: ", conf.display())),
        "{error}"
    );
}

#[test]
fn hastd_does_not_look_into_the_tables() {
    let (node, path) = (NodeNames::named("hasta"), Path::new("hast.toml"));
    let config = Config::parse(FULL, path, &node).unwrap();
    assert_eq!(config.resources.len(), 3);
    let text = "timeout = 3\n[failover]\nx = 1\n[group.g]\ny = [{ z = 'q' }]";
    assert!(Config::parse(text, path, &node).is_ok());
    let error = Config::parse("[groups.g]", path, &node).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `groups`"),
        "{error}"
    );
}

#[test]
fn what_fits_together_after_all() {
    for text in [
        // A group without anything above its resources.
        "[group.g]\nresources = ['disk1']",
        // Addresses that are the same on different nodes only.
        "[group.g]\nresources = ['disk1']\ncarp = '1@em0'\non.hasta.carp = '2@em0'\n[group.h]\nresources = ['disk2']\ncarp = '1@em0'",
        // A file system in another of the group.
        "[group.g]\nresources = ['disk1', 'disk2']\nmounts = [{ resource = 'disk1', path = '/x' }, { resource = 'disk2', path = '/x/y' }]",
        // Names that only begin alike.
        "[group.g]\nresources = ['disk1', 'disk2']\nmounts = [{ resource = 'disk1', path = '/x/y' }, { resource = 'disk2', path = '/x/yz' }]",
        "[group.g]\nresources = ['disk1']\non-unreachable = 'promote'\nfence = ['/f']\ndebounce = 0",
        "[failover]\nwitness = '10.0.0.1:99'\nsecret = '/s'\n[group.g]\nresources = ['disk1']\non-unreachable = 'wait'\non-lease-loss = 'keep'",
    ] {
        let read = own_file(text);
        assert!(read.is_ok(), "{text}: {read:?}");
    }
}

#[test]
fn two_names_of_one_node_are_ambiguous() {
    let names = "resource d { local /d\n on hasta { remote 10.0.0.2 } }\nresource e { local /e\n on hasta.example.org { remote 10.0.0.2 } }";
    let node = NodeNames::named("hasta.example.org");
    let config = Config::parse(names, Path::new("hast.conf"), &node).unwrap();
    let text = "[group.g]\nresources = ['d']\n[group.g.on.hasta]\ncarp = '1@a'\n[group.g.on.'hasta.example.org']\ncarp = '2@a'";
    let error = Settings::parse(text, Path::new(OWN_FILE), &config, &node).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 5: group g: on hasta.example.org: this node has 'on hasta', too"),
        "{error}"
    );
}

#[test]
fn a_node_without_resources_has_no_groups() {
    let node = NodeNames::named("hasta");
    let config = Config::parse("timeout 3", Path::new("hast.conf"), &node).unwrap();
    let error = Settings::parse(
        "[group.g]\nresources = ['d']",
        Path::new(OWN_FILE),
        &config,
        &node,
    );
    let said = error.unwrap_err().to_string();
    assert!(
        said.contains("no resource is configured for this node"),
        "{said}"
    );
}
