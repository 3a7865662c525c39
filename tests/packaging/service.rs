//! rc.d/hast: start, boot, reload, status, configtest; and that it is in order.

use std::path::Path;
use std::process::Command;

use crate::stage::Service;
use crate::support::{eventually, run, tool};
use crate::{SCRIPTS, read, root};

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
    for script in SCRIPTS {
        let text = read(Path::new("rc.d").join(script));
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
        let own = [
            "flags",
            "program",
            "failover_flags",
            "witness_flags",
            "witness_program",
        ];
        // These are other scripts'.
        let others: &[&str] = match script {
            "hast_failover" => &["enable"],
            "hast_carp" => &["failover_enable"],
            _ => &[],
        };
        for name in set.iter().filter(|name| !others.contains(name)) {
            assert!(
                documented.contains(name),
                "{script}: hast_{name} is not documented"
            );
        }
        for name in &documented {
            assert!(
                set.contains(name) || own.contains(name),
                "{script}: there is no hast_{name}"
            );
        }
    }
}

#[test]
fn the_scripts_are_clean() {
    let Some(shellcheck) = tool("shellcheck", "shellcheck") else {
        return;
    };
    let stubs = ["rc.subr", "hastd", "hastctl", "hast-failover", "system"]
        .map(|name| Path::new("tests/packaging/stubs").join(name));
    run(Command::new(&shellcheck)
        .current_dir(root())
        .args(SCRIPTS.map(|script| Path::new("rc.d").join(script)))
        .args(stubs))
    .success();
    // From their own folder, where they find what they share.
    let folder = root().join("tests/freebsd");
    let tests = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "t"));
    run(Command::new(shellcheck)
        .current_dir(&folder)
        .args(["-x", "run", "lib.sh"])
        .args(tests))
    .success();
}
