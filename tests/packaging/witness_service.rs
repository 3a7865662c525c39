//! rc.d/hast_witness: the witness's start as a user of its own, reload and end.

use std::fs;

use hast::witness::{secret, store};

use crate::read;
use crate::stage::Service;
use crate::support::eventually;

fn witness(rc_conf: &str) -> Service {
    Service::of(
        "hast_witness",
        &format!("hast_witness_enable=YES\n{rc_conf}"),
    )
}

/// The last call: the one of hastd.
fn hastd(service: &Service) -> String {
    service.calls().pop().expect("it was called")
}

#[test]
fn start_makes_the_directories_and_runs_it_as_its_user() {
    let service = witness("");
    service.run("start").success();
    let at = |name: &str| service.path(name).display().to_string();
    let folder = at("hast-witness");
    assert_eq!(
        service.calls(),
        [
            format!("install -d -o hast -m 700 {folder}"),
            "su -m hast".into(),
            format!(
                "hastd --witness -P {} --secret /usr/local/etc/hast.key --state {}",
                at("hast-witness/pid"),
                at("hast-witness/state")
            ),
        ]
    );
    assert!(service.run("start").failure().contains("already running"));
}

#[test]
fn nothing_is_started_that_is_not_wanted_or_has_no_user() {
    let service = witness("hast_witness_enable=NO");
    let said = service.run("start").success();
    assert!(said.contains("Set hast_witness_enable to YES"), "{said}");
    assert!(service.calls().is_empty());

    let service = witness("");
    service.says("no-user", "");
    service.run("start").failure();
    let calls = service.calls();
    assert!(
        !calls.iter().any(|call| call.starts_with("hastd")),
        "{calls:?}"
    );
}

#[test]
fn variables_reach_it() {
    let service = witness(
        "hast_witness_listen='10.0.0.9 [fd00::9]:9000' hast_witness_secret=/a/key \
         hast_witness_state=$HAST_STATE/w/s hast_witness_user=nobody hast_witness_flags=-d",
    );
    service.run("start").success();
    let calls = service.calls();
    let state = service.path("w").display().to_string();
    assert_eq!(calls[0], format!("install -d -o nobody -m 700 {state}"));
    assert!(calls.contains(&"su -m nobody".to_owned()), "{calls:?}");
    let hastd = hastd(&service);
    assert!(hastd.starts_with("hastd -d --witness -P "), "{hastd}");
    let end =
        format!(" --secret /a/key --state {state}/s --listen 10.0.0.9 --listen [fd00::9]:9000");
    assert!(hastd.ends_with(&end), "{hastd}");
}

/// It may be /var/db, of which the witness must not become the owner.
#[test]
fn a_directory_that_is_there_stays_whose_it_is() {
    let service = witness("");
    fs::create_dir(service.path("hast-witness")).expect("created");
    service.run("start").success();
    assert_eq!(service.calls()[0], "su -m hast");
}

#[test]
fn reload_status_and_stop_reach_it() {
    let service = witness("");
    assert!(service.run("status").failure().contains("not running"));
    service.start();
    let said = service.run("status").success();
    assert!(said.contains("running as pid"), "{said}");
    service.run("reload").success();
    eventually("the witness has the signal", || {
        service.calls() == ["su -m hast", "signal HUP"]
    });
    service.forget();
    service.run("stop").success();
    assert_eq!(service.calls(), ["su -m hast", "signal TERM"]);
    assert!(service.pid().is_none());
}

/// In a jail, too, where it needs no device.
#[test]
fn its_place_in_the_order() {
    let text = read("rc.d/hast_witness");
    for line in [
        "# PROVIDE: hast_witness",
        "# REQUIRE: NETWORKING syslogd",
        "# BEFORE:  DAEMON",
        "# KEYWORD: shutdown",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn its_files_are_those_of_the_program() {
    let text = read("rc.d/hast_witness");
    for (name, path) in [
        ("secret", secret::DEFAULT_PATH),
        ("state", store::DEFAULT_PATH),
    ] {
        let default = format!("\n: \"${{hast_witness_{name}:={path}}}\"\n");
        assert!(text.contains(&default), "{default}");
    }
}
