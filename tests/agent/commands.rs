//! The table of commands, as it is run and as `--dry-run` prints it.

use std::path::{Path, PathBuf};
use std::process::Command;

use hast::config::{Config, NodeNames, Provider, Resource};
use hast::failover::commands::{Device, Table, Way};
use hast::failover::group::Settings;
use hast::failover::look::{Look, Seen, Sign};
use hast::failover::step::Step;

use crate::support::run;

fn dry_run(text: &str, words: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hast.toml");
    std::fs::write(&config, text).unwrap();
    let mut words = words.split_whitespace();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hast-failover"));
    command.args(words.next()).arg("-c").arg(&config);
    run(command.args(["-n", "hasta", "--dry-run"]).args(words)).success()
}

const CONFIG: &str = r#"
provider = "nbd"
[resource.disk1.on.hasta]
local = "/dev/ada1"
remote = "10.0.0.2"
[resource.disk1.on.hastb]
local = "/dev/ada1"
remote = "10.0.0.1"
[resource."vol/disk2".on.hasta]
local = "/dev/ada2"
remote = "10.0.0.2"
[resource."vol/disk2".on.hastb]
local = "/dev/ada2"
remote = "10.0.0.1"
[group.storage]
resources = ["disk1", "vol/disk2"]
pools = ["zhast"]
mounts = [{ resource = "vol/disk2", path = "/data disk", options = "noatime" }]
services = ["samba_server"]
carp = "1@em0"
fence = ["/usr/local/libexec/fence", "it's"]
[group.storage.hooks]
after-master = ["/bin/echo", "up"]
"#;

/// The commands of the steps, without what is looked at before and said between.
fn commands(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("     "));
    lines.filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn a_dry_run_prints_what_would_be_run() {
    let text = dry_run(CONFIG, "master storage");
    let found = commands(&text);
    let expected = [
        "hastctl status disk1 vol/disk2",
        "hastctl role primary disk1 vol/disk2",
        "test -S /var/run/hast/disk1.nbd  # until it is there",
        "test -S /var/run/hast/vol.disk2.nbd  # until it is there",
        "hastctl status disk1 vol/disk2  # until it is complete",
        "/sbin/zpool import -o cachefile=none -d /dev/hast zhast",
        "/sbin/fsck -t ufs -p /var/run/hast/vol.disk2.nbd",
        "/sbin/mount -o noatime /var/run/hast/vol.disk2.nbd '/data disk'",
        "/usr/sbin/service samba_server onestart",
        "/sbin/ifconfig em0 vhid 1 state master",
        "/bin/echo up",
        "/sbin/sysctl net.inet.carp.demotion=-240",
        "/usr/local/libexec/fence 'it'\\''s'",
        "/sbin/sysctl net.inet.carp.demotion=240",
        "/sbin/ifconfig em0 vhid 1 state backup",
    ];
    assert_eq!(found, expected, "{text}");
    assert!(text.contains("# unless pool zhast is imported: /sbin/zpool list -H -o name zhast"));

    let text = dry_run(CONFIG, "backup storage");
    let expected = [
        "/usr/sbin/service samba_server onestop",
        "/sbin/umount '/data disk'",
        "/sbin/zpool export zhast",
        "hastctl role secondary disk1 vol/disk2",
        "/sbin/sysctl net.inet.carp.demotion=240",
        "/sbin/ifconfig em0 vhid 1 state backup",
    ];
    assert_eq!(commands(&text), expected, "{text}");

    let forced = dry_run(CONFIG, "master --force storage");
    assert!(
        forced.contains("hastctl role --force primary disk1 vol/disk2"),
        "{forced}"
    );
    assert!(
        forced.contains("zpool import -o cachefile=none -d /dev/hast -f zhast"),
        "{forced}"
    );
    assert!(dry_run(CONFIG, "clear storage").contains("demotion=-240"));
    assert!(dry_run(CONFIG, "switchover storage").contains("tells the other node's hastd"));
}

#[test]
fn devices_of_geom_gate_are_waited_for_by_their_names() {
    let node = NodeNames::named("hasta");
    let config = Config::parse(CONFIG, Path::new("hast.toml"), &node).unwrap();
    let resources: Vec<_> = config
        .resources
        .iter()
        .map(|resource| Resource {
            provider: Provider::Gate,
            ..resource.clone()
        })
        .collect();
    let devices: Vec<_> = resources.iter().map(Device::of).collect();
    let expected = ["/dev/hast/disk1", "/dev/hast/vol/disk2"].map(|path| Device::Gate(path.into()));
    assert_eq!(devices, expected);

    // zpool(8) searches a folder without those in it.
    let path = Path::new("hast.toml");
    let settings = Settings::parse(CONFIG, path, &config, &node).unwrap();
    let table = Table::new(&settings.programs, &settings.groups[0], &resources);
    let import = Step::Import {
        pool: "zhast".to_owned(),
        force: true,
    };
    let Way::Run(task) = table.way(&import) else {
        panic!("a command imports");
    };
    let plain = "/sbin/zpool import -o cachefile=none -d /dev/hast -d /dev/hast/vol zhast";
    assert_eq!(task.command.to_string(), plain);
    let insists = task.insist.unwrap().to_string();
    assert_eq!(insists, plain.replace("zhast", "-f zhast"));
}

fn judge(sign: Sign, code: i32, output: &str) -> Seen {
    let command = hast::failover::commands::Command::new(Path::new("/x"), ["y"]);
    Look { command, sign }.judge(Some(code), output)
}

#[test]
fn looks_tell_what_is_from_what_is_not_and_from_what_can_not_be_told() {
    let pool = || Sign::Pool("tank".to_owned());
    assert_eq!(judge(pool(), 0, "tank\n"), Seen::Yes);
    assert_eq!(
        judge(pool(), 1, "cannot open 'tank': no such pool\n"),
        Seen::No
    );
    assert!(matches!(
        judge(pool(), 1, "internal error"),
        Seen::Unknown(_)
    ));

    let runs = || Sign::Runs("samba".to_owned());
    assert_eq!(judge(runs(), 0, "samba is running as pid 1."), Seen::Yes);
    assert_eq!(judge(runs(), 1, "samba is not running."), Seen::No);
    assert!(matches!(
        judge(runs(), 1, "unknown directive 'onestatus'"),
        Seen::Unknown(_)
    ));

    let mounted = || Sign::Mounted {
        device: PathBuf::from("/dev/hast/disk1"),
        path: PathBuf::from("/data disk"),
    };
    let root = "/dev/ada0p2\t\t/\t\tufs\trw\t\t1 1\n";
    assert_eq!(judge(mounted(), 0, root), Seen::No);
    let ours = "/dev/hast/disk1 /data\\040disk ufs rw,noatime 2 2\n";
    assert_eq!(judge(mounted(), 0, &format!("{root}{ours}")), Seen::Yes);
    let other = "/dev/ada9 /data\\040disk ufs rw 2 2\n";
    assert!(matches!(judge(mounted(), 0, other), Seen::Unknown(why) if why.contains("/dev/ada9")));
    assert!(matches!(judge(mounted(), 1, ours), Seen::Unknown(_)));

    let address = "em0: flags=1<UP>\n\tcarp: BACKUP vhid 3 advbase 1 advskew 0\n";
    assert_eq!(judge(Sign::Master(3), 0, address), Seen::No);
    assert!(matches!(
        judge(Sign::Master(4), 0, address),
        Seen::Unknown(_)
    ));
}
