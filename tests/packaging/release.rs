//! rc.d/hast gives roles and devices up, or hands them over: stop, shutdown, restart.

use std::fs;

use crate::stage::{LIST, Service};
use crate::support::run;

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
    for (file, text, said) in [
        ("mounts", mounts(&device), "umount /mnt/data"),
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

fn mounts(device: &str) -> String {
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
    service.says("mounts", &mounts(&device));
    service.says("pools", &pools(&device));
    let shutdown = || {
        let mut command = service.command("faststop");
        run(command.env("rc_shutdown", "reboot"))
    };
    service.says("stuck", "");
    let said = shutdown().failure();
    assert!(said.contains("/mnt/data could not be unmounted"), "{said}");
    assert!(said.contains("zhast could not be exported"), "{said}");
    assert!(service.pid().is_some(), "hastd still serves them");
    assert_eq!(service.calls(), ["umount /mnt/data", "zpool export zhast"]);

    service.forget();
    service.says("rc.conf", "hast_enable=YES hast_shutdown_release=NO");
    assert!(shutdown().failure().contains("umount /mnt/data"));
    assert_eq!(service.calls(), [] as [&str; 0]);

    service.says("rc.conf", "hast_enable=YES");
    fs::remove_file(service.path("stuck")).expect("there");
    shutdown().success();
    let calls = [
        "umount /mnt/data",
        "zpool export zhast",
        "hastctl role init all",
        "signal TERM",
    ];
    assert_eq!(service.calls(), calls);
}

#[test]
fn restart_hands_over_and_gives_the_roles_back() {
    let service = Service::new("hast_resources=all");
    service.start();
    let before = service.pid();
    // Devices are in use and stay, which neither keeps it from restarting nor from its roles.
    service.says("mounts", &mounts(&service.device("data")));
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
