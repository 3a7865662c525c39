//! rc.d/hast, run with a stand-in for rc.subr and with programs that record how they are called.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Outcome, eventually, run, tool};
use crate::{read, root};

/// What hastctl says of two resources: the lines that the script reads, and others.
const LIST: &str = "\
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

/// The script in a folder of its own, which stands in for the file system.
struct Service {
    folder: TempDir,
}

impl Service {
    fn new(rc_conf: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        let text = read("rc.d/hast");
        let state = path.display().to_string();
        let stubs = root().join("tests/packaging/stubs");
        let text = text
            .replace("/etc/rc.subr", &stubs.join("rc.subr").display().to_string())
            .replace("/usr/local/sbin", &stubs.display().to_string())
            .replace("/var/run", &state)
            .replace("/dev/hast", &format!("{state}/dev/hast"));
        fs::write(path.join("hast"), text).expect("written");
        fs::create_dir(path.join("bin")).expect("created");
        for name in ["mount", "umount", "zpool", "kldstat", "kldload"] {
            symlink(stubs.join("system"), path.join("bin").join(name)).expect("linked");
        }
        let service = Self { folder };
        service.says("rc.conf", &format!("hast_enable=YES\n{rc_conf}\n"));
        service.says("list", LIST);
        service.says("status", "Name\tStatus\t Role\t\tComponents\n");
        service.says("mounts", "/dev/ada0p2\t\t/\tufs\trw\t1 1\n");
        service.says("calls", "");
        service
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Prepares what a stub looks at.
    fn says(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// A device that the kernel still has.
    fn device(&self, name: &str) -> String {
        let path = self.path("dev/hast").join(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("created");
        fs::write(&path, "").expect("written");
        path.display().to_string()
    }

    fn command(&self, word: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        let system = std::env::var("PATH").unwrap_or_default();
        command
            .arg(self.path("hast"))
            .arg(word)
            .env("HAST_STATE", self.folder.path())
            .env("PATH", format!("{}:{system}", self.path("bin").display()));
        command
    }

    fn run(&self, word: &str) -> Outcome {
        run(&mut self.command(word))
    }

    fn start(&self) {
        self.run("start").success();
        self.forget();
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).expect("readable");
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets what was called so far.
    fn forget(&self) {
        self.says("calls", "");
    }

    fn pid(&self) -> Option<String> {
        let text = fs::read_to_string(self.path("hastd.pid")).ok()?;
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

#[test]
fn start_runs_hastd_and_leaves_the_roles_alone() {
    let service = Service::new("");
    service.run("start").success();
    let pidfile = service.path("hastd.pid").display().to_string();
    assert_eq!(
        service.calls(),
        [
            "hastctl check".to_owned(),
            "kldload geom_gate".into(),
            format!("hastd -P {pidfile}"),
        ]
    );
    assert!(service.run("start").failure().contains("already running"));
}

#[test]
fn variables_reach_hastd_and_hastctl() {
    let service = Service::new(
        "hast_config=/a/hast.toml hast_node=hasta hast_flags=-d hast_pidfile=$HAST_STATE/my.pid \
         hast_resources=disk2",
    );
    service.run("start").success();
    let pidfile = service.path("my.pid").display().to_string();
    let calls = service.calls();
    for expected in [
        "hastctl check -c /a/hast.toml -n hasta".to_owned(),
        format!("hastd -d -P {pidfile} -c /a/hast.toml -n hasta"),
        "hastctl role -c /a/hast.toml -n hasta secondary disk2".into(),
    ] {
        assert!(calls.contains(&expected), "{expected}: {calls:?}");
    }
    service.run("stop").success();
}

#[test]
fn at_boot_resources_come_up_as_secondary_and_never_as_primary() {
    for (wanted, expected) in [
        (
            "'disk1 disk2'",
            &["secondary disk1", "secondary disk2"] as &[&str],
        ),
        (
            "all",
            &["secondary disk1", "secondary disk2", "secondary disk3"],
        ),
        ("''", &[]),
    ] {
        let service = Service::new(&format!("hast_resources={wanted}"));
        service.run("start").success();
        let calls = service.calls();
        let roles: Vec<&str> = calls
            .iter()
            .filter_map(|call| call.strip_prefix("hastctl role "))
            .collect();
        assert_eq!(roles, expected);
    }
}

#[test]
fn a_resource_that_can_not_come_up_does_not_keep_others_down() {
    let service = Service::new("hast_resources='disk1 disk2 disk3'");
    // The device has the provider's name, not the resource's.
    let device = service.device("data");
    service.says("refuse-disk2", "");
    let said = service.run("start").failure();
    assert!(
        said.contains(&format!("disk1: {device} is there from before")),
        "{said}"
    );
    assert!(said.contains("'hastctl role primary disk1'"), "{said}");
    assert!(said.contains("disk2 could not be made secondary"), "{said}");
    let calls = service.calls();
    assert!(
        !calls.contains(&"hastctl role secondary disk1".to_owned()),
        "{calls:?}"
    );
    assert!(
        calls.contains(&"hastctl role secondary disk3".to_owned()),
        "{calls:?}"
    );
}

#[test]
fn nothing_is_started_that_is_not_wanted_or_not_right() {
    let service = Service::new("hast_enable=NO");
    assert!(
        service
            .run("start")
            .success()
            .contains("Set hast_enable to YES")
    );
    let service = Service::new("hastd_enable=YES");
    assert!(
        service
            .run("start")
            .failure()
            .contains("hastd_enable is YES too")
    );
    let service = Service::new("");
    service.says("bad-configuration", "");
    assert!(service.run("start").failure().contains("line 3: nonsense"));
    assert!(service.pid().is_none());
}

#[test]
fn stop_releases_the_roles_first() {
    let service = Service::new("");
    service.start();
    service.run("stop").success();
    assert_eq!(service.calls(), ["hastctl role init all", "signal TERM"]);
    assert!(service.run("stop").failure().contains("not running"));
}

#[test]
fn stop_is_refused_while_something_is_on_a_device() {
    let service = Service::new("");
    service.start();
    let device = service.device("data");
    let mounts = read_mounts(&device);
    for (file, text, said) in [
        ("mounts", mounts, "umount /mnt/data"),
        (
            "pools",
            pools(&service.device("disk2")),
            "zpool export zhast",
        ),
        ("busy", String::new(), "disk1: the device is open"),
    ] {
        service.says("mounts", "");
        service.says(file, &text);
        let output = service.run("stop").failure();
        assert!(output.contains(said), "{file}: {output}");
        assert!(!output.contains("zroot"), "another pool's: {output}");
        assert!(service.pid().is_some(), "hastd goes on");
        if file != "busy" {
            assert_eq!(service.calls(), [] as [&str; 0], "{file}");
            fs::remove_file(service.path(file)).expect("there");
        }
    }
    // Who insists gets it.
    service.forget();
    service.run("forcestop").success();
    assert_eq!(
        service.calls(),
        ["hastctl role --force init all", "signal TERM"]
    );
}

fn read_mounts(device: &str) -> String {
    format!("/dev/ada0p2\t\t/\tufs\trw\t1 1\n{device}p1\t/mnt/data\tufs\trw\t2 2\n")
}

fn pools(device: &str) -> String {
    format!(
        "  pool: zhast\n state: ONLINE\nconfig:\n\n\tNAME\tSTATE\n\tzhast\tONLINE\n\
         \t  {device}\tONLINE 0 0 0\n\nerrors: none\n\n  pool: zroot\n state: ONLINE\n\
         \t  /dev/ada0p3\tONLINE 0 0 0\n"
    )
}

#[test]
fn a_shutdown_takes_file_systems_and_pools_off_the_devices() {
    let service = Service::new("");
    service.start();
    let device = service.device("data");
    service.says("mounts", &read_mounts(&device));
    service.says("pools", &pools(&device));
    // The stubs go on showing what the script has just released, so that it is refused after all.
    let mut command = service.command("faststop");
    run(command.env("rc_shutdown", "reboot")).failure();
    assert_eq!(service.calls(), ["umount /mnt/data", "zpool export zhast"]);

    service.forget();
    service.says("rc.conf", "hast_enable=YES hast_shutdown_release=NO");
    let mut command = service.command("faststop");
    run(command.env("rc_shutdown", "reboot")).failure();
    assert_eq!(service.calls(), [] as [&str; 0]);
}

#[test]
fn restart_hands_over_and_gives_the_roles_back() {
    let service = Service::new("hast_resources=all");
    service.start();
    let before = service.pid();
    // Devices are in use and stay, which neither keeps it from restarting nor from its roles.
    service.says("mounts", &read_mounts(&service.device("data")));
    service.run("restart").success();
    assert_ne!(service.pid(), before);
    let pidfile = service.path("hastd.pid").display().to_string();
    assert_eq!(
        service.calls(),
        [
            "hastctl check".to_owned(),
            "hastctl status".into(),
            "hastctl list".into(),
            "signal USR2".into(),
            "hastctl check".into(),
            "kldload geom_gate".into(),
            format!("hastd -P {pidfile}"),
            "hastctl role primary disk1".into(),
            "hastctl role secondary disk2".into(),
        ]
    );
}

#[test]
fn restart_changes_nothing_where_it_could_not_be_completed() {
    let unfinished = LIST.replace("local: up-to-date", "local: inconsistent");
    for (file, text, said) in [
        ("bad-configuration", "", "line 3: nonsense"),
        ("silent", "", "does not say which roles"),
        (
            "list",
            unfinished.as_str(),
            "still fetch data from the other node: disk1",
        ),
    ] {
        let service = Service::new("");
        service.start();
        let pid = service.pid();
        service.says(file, text);
        let output = service.run("restart").failure();
        assert!(output.contains(said), "{output}");
        assert_eq!(service.pid(), pid);
        let calls = service.calls();
        assert!(
            !calls.iter().any(|call| call.starts_with("signal")),
            "{calls:?}"
        );
    }
}

#[test]
fn a_restart_that_fails_says_how_to_go_on() {
    let service = Service::new("");
    service.start();
    service.says("will-not-start", "");
    let output = service.run("restart").failure();
    assert!(output.contains("hastctl role primary disk1"), "{output}");
    assert!(output.contains("hastctl role secondary disk2"), "{output}");
    assert!(!output.contains("disk3"), "{output}");

    let service = Service::new("");
    service.start();
    service.says("refuse-disk1", "");
    let output = service.run("restart").failure();
    assert!(output.contains("disk1 is not primary again"), "{output}");
    assert!(
        service
            .calls()
            .contains(&"hastctl role secondary disk2".to_owned())
    );
}

#[test]
fn restart_starts_what_is_not_running() {
    let service = Service::new("hast_resources=disk2");
    service.run("restart").success();
    assert!(service.pid().is_some());
    assert!(
        service
            .calls()
            .contains(&"hastctl role secondary disk2".to_owned())
    );
}

#[test]
fn reload_looks_at_the_configuration_before_hastd_does() {
    let service = Service::new("");
    service.start();
    service.run("reload").success();
    eventually("hastd has the signal", || {
        service.calls() == ["hastctl check", "signal HUP"]
    });
    service.forget();
    service.says("bad-configuration", "");
    assert!(service.run("reload").failure().contains("line 3"));
    assert_eq!(service.calls(), ["hastctl check"]);
}

#[test]
fn status_and_configtest_show_what_hastctl_says() {
    let service = Service::new("");
    assert!(service.run("status").failure().contains("not running"));
    assert!(
        service
            .run("configtest")
            .success()
            .contains("configuration: hast.conf")
    );
    service.start();
    let output = service.run("status").success();
    assert!(output.contains("running as pid"), "{output}");
    assert!(output.contains("Name\tStatus"), "{output}");
    service.says("bad-configuration", "");
    assert!(service.run("configtest").failure().contains("line 3"));
}

#[test]
fn its_place_in_the_order_is_that_of_base_hastd() {
    let text = read("rc.d/hast");
    for line in [
        "# PROVIDE: hast",
        "# REQUIRE: NETWORKING syslogd",
        "# BEFORE:  DAEMON",
        "# KEYWORD: nojail shutdown",
        "required_modules=\"geom_gate:g_gate\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}

/// Each variable with a default is explained at the head, and the other way round.
#[test]
fn variables_are_documented() {
    let text = read("rc.d/hast");
    let documented: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# hast_")?.split_once(" ("))
        .map(|(name, _)| name)
        .collect();
    let set: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix(": \"${hast_")?.split_once(":="))
        .map(|(name, _)| name)
        .collect();
    // These are run_rc_command's own.
    let own = ["flags", "program"];
    for name in &set {
        assert!(documented.contains(name), "hast_{name} is not documented");
    }
    for name in &documented {
        assert!(
            set.contains(name) || own.contains(name),
            "there is no hast_{name}"
        );
    }
}

#[test]
fn the_scripts_are_clean() {
    let Some(shellcheck) = tool("shellcheck", "shellcheck") else {
        return;
    };
    let stubs = ["rc.subr", "hastd", "hastctl", "system"]
        .map(|name| Path::new("tests/packaging/stubs").join(name));
    run(Command::new(shellcheck)
        .current_dir(root())
        .arg("rc.d/hast")
        .args(stubs))
    .success();
}
