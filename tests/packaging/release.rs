//! rc.d/hast gives roles and devices up, or hands them over: stop, shutdown, restart.

use std::fs;

use crate::stage::{LIST, Service};
use crate::support::{Outcome, run};

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

/// As rc.shutdown does it.
fn shutdown(service: &Service) -> Outcome {
    run(service.command("faststop").env("rc_shutdown", "reboot"))
}

const RELEASED: [&str; 2] = ["hastctl role init all", "signal TERM"];

#[test]
fn a_shutdown_takes_file_systems_and_pools_off_the_devices() {
    let service = Service::new("hast_shutdown_release=NO");
    service.start();
    let device = service.device("data");
    service.says("mounts", &mounts(&device));
    service.says("pools", &pools(&device));
    let said = shutdown(&service).failure();
    assert!(said.contains("umount /mnt/data"), "{said}");
    assert_eq!(service.calls(), [] as [&str; 0]);

    service.says("rc.conf", "hast_enable=YES");
    shutdown(&service).success();
    // The last first: it may lie on another.
    let calls = ["zpool export zhast", "umount /mnt/data"];
    assert_eq!(service.calls(), [calls, RELEASED].concat());
}

#[test]
fn a_shutdown_ends_programs_that_use_a_device_and_then_takes_it_by_force() {
    let service = Service::new("");
    let device = service.device("data");
    let prepare = || {
        service.start();
        service.says("mounts", &mounts(&device));
        service.says("pools", &pools(&device));
        service.says("datasets", "zroot  /\nzhast/home  /home\nzhast2  /other\n");
        service.says("used", "");
    };
    let told = ["fuser -c -k -s TERM /mnt/data", "fuser -c -k -s TERM /home"];
    let tried = ["zpool export zhast", "umount /mnt/data"];

    prepare();
    service.says("obedient", "");
    shutdown(&service).success();
    assert_eq!(service.calls(), [tried, told, tried, RELEASED].concat());

    prepare();
    fs::remove_file(service.path("obedient")).expect("there");
    let said = shutdown(&service);
    let calls = service.calls();
    let forced = ["zpool export -f zhast", "umount -f /mnt/data"];
    let last = [forced, RELEASED].concat();
    assert_eq!(calls[calls.len() - last.len()..], last);
    assert_eq!(
        calls.iter().filter(|call| *call == tried[1]).count(),
        12,
        "a second each"
    );
    assert!(said.stderr.contains("/mnt/data is in use"), "{said:?}");
    said.success();

    // Whatever else holds it: a shutdown goes on.
    prepare();
    service.says("stuck", "");
    service.says("busy", "");
    shutdown(&service).success();
    let calls = service.calls();
    let last = [
        "hastctl role init all",
        "hastctl role --force init all",
        "signal TERM",
    ];
    assert_eq!(calls[calls.len() - last.len()..], last);
}

#[test]
fn what_geom_has_made_of_a_device_is_found() {
    let service = Service::new("");
    service.start();
    let text = "/dev/ada0p2 / ufs rw 1 1\n/dev/label/data /mnt/data ufs rw 2 2\n\
                /dev/label/other /mnt/other ufs rw 2 2\n";
    service.says("mounts", text);
    // The device reads from its component by itself, which makes that its parent.
    let text = "0 DISK ada1 1000 512 hd 16 sc 63\n1 GATE hast/data 900 512\n\
                2 LABEL label/data 800 512 i 0 o 0\n0 DISK ada2 1000 512 hd 16 sc 63\n\
                1 LABEL label/other 800 512 i 0 o 0\n";
    service.says("conftxt", text);
    let said = service.run("stop").failure();
    assert!(said.contains("run 'umount /mnt/data' first"), "{said}");
    assert!(!said.contains("/mnt/other"), "{said}");
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
