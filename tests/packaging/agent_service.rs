//! rc.d/hast_failover and rc.d/hast_carp: the agent's start and end, and what comes before and after them.

use std::collections::BTreeSet;

use crate::mdoc::Page;
use crate::read;
use crate::stage::Service;
use crate::support::eventually;

const ON: &str = "hast_enable=YES\nhast_failover_enable=YES\n";

fn agent(rc_conf: &str) -> Service {
    Service::of("hast_failover", &format!("{ON}{rc_conf}"))
}

/// The script as rc.shutdown runs it: it sources it.
fn shutdown(service: &Service) -> Vec<String> {
    let mut command = service.command("faststop");
    let output = crate::support::run(command.env("rc_shutdown", "Reboot"));
    output.success();
    service.calls()
}

#[test]
fn start_looks_at_the_configuration_and_runs_the_agent() {
    let service = agent("");
    service.run("start").success();
    let pidfile = service.path("hast-failover.pid").display().to_string();
    assert_eq!(
        service.calls(),
        [
            "hast-failover check".to_owned(),
            format!("hast-failover run -P {pidfile}"),
        ]
    );
    assert!(service.run("start").failure().contains("already running"));

    let service = agent("");
    service.says("bad-configuration", "");
    assert!(service.run("start").failure().contains("line 3: nonsense"));
    assert!(service.pid().is_none());

    let service = agent("hast_enable=NO");
    let outcome = service.run("start");
    assert!(
        outcome.stderr.contains("hast_enable is not YES"),
        "{outcome:?}"
    );
    outcome.success();

    let service = agent("hast_failover_enable=NO");
    let said = service.run("start").success();
    assert!(said.contains("Set hast_failover_enable to YES"), "{said}");
    assert!(service.calls().is_empty());
}

#[test]
fn variables_reach_the_agent_and_those_of_hastd_are_taken_else() {
    for rc_conf in [
        "hast_config=/a/hast.toml hast_node=hast1 hast_failover_flags=-d",
        "hast_config=/no hast_node=no hast_failover_config=/a/hast.toml hast_failover_node=hast1 \
         hast_failover_flags=-d",
    ] {
        let service = agent(rc_conf);
        service.run("start").success();
        let pidfile = service.path("hast-failover.pid").display().to_string();
        service.run("status").success();
        assert_eq!(
            service.calls(),
            [
                "hast-failover check -c /a/hast.toml -n hast1".to_owned(),
                format!("hast-failover run -d -P {pidfile} -c /a/hast.toml -n hast1"),
                "hast-failover status -c /a/hast.toml -n hast1".to_owned(),
            ]
        );
    }
}

#[test]
fn status_and_check_show_what_the_agent_says() {
    let service = agent("");
    assert!(service.run("status").failure().contains("not running"));
    let said = service.run("check").success();
    assert!(said.contains("configuration: hast.toml"), "{said}");
    service.start();
    let said = service.run("status").success();
    assert!(said.contains("running as pid"), "{said}");
    assert!(said.contains("storage master"), "{said}");
}

#[test]
fn stop_and_restart_leave_the_groups_as_they_are() {
    let service = agent("");
    service.start();
    service.run("stop").success();
    assert_eq!(service.calls(), ["signal TERM"]);
    service.run("start").success();
    service.forget();
    service.run("restart").success();
    let calls = service.calls();
    assert_eq!(calls[..2], ["hast-failover check", "signal TERM"]);
    assert!(calls.last().expect("some").contains(" run "), "{calls:?}");
    assert!(
        !calls.iter().any(|call| call.contains("backup")),
        "{calls:?}"
    );

    // A configuration that is wrong does not cost the agent that runs.
    service.forget();
    service.says("bad-configuration", "");
    assert!(service.run("restart").failure().contains("line 3"));
    assert_eq!(service.calls(), ["hast-failover check"]);
}

#[test]
fn at_shutdown_groups_are_handed_over_or_given_up_before_the_agent_ends() {
    let expected = [
        "hast-failover switchover -c /a/hast.toml all",
        "hast-failover backup -c /a/hast.toml all",
        "signal TERM",
    ];
    let service = agent("hast_failover_config=/a/hast.toml");
    service.start();
    assert_eq!(shutdown(&service), expected);
    // What can not be handed over is given up; and the agent ends in any case: hast exports what is left, and
    // the machine goes down.
    for stuck in ["no-switchover", "no-backup"] {
        let service = agent("hast_failover_config=/a/hast.toml");
        service.start();
        service.says(stuck, "");
        assert_eq!(shutdown(&service), expected, "{stuck}");
    }

    // What hangs does not take the turn of those that come after it.
    let service = agent("hast_failover_release_limit=0.1");
    service.start();
    service.says("hang", "");
    let expected = [
        "hast-failover switchover all",
        "hast-failover backup all",
        "signal TERM",
    ];
    assert_eq!(shutdown(&service), expected);

    let service = agent("hast_failover_release=NO");
    service.start();
    assert_eq!(shutdown(&service), ["signal TERM"]);
}

#[test]
fn reload_looks_at_the_configuration_before_the_agent_does() {
    let service = agent("");
    service.start();
    service.run("reload").success();
    eventually("the agent has the signal", || {
        service.calls() == ["hast-failover check", "signal HUP"]
    });
    service.forget();
    service.says("bad-configuration", "");
    assert!(service.run("reload").failure().contains("line 3"));
    assert_eq!(service.calls(), ["hast-failover check"]);
}

/// Stopped before hast, since it is started after it; and after the interfaces have their addresses.
#[test]
fn its_place_in_the_order() {
    let lines = |script: &str, lines: &[&str]| {
        let text = read(script);
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{script}: {line}");
        }
    };
    lines(
        "rc.d/hast_failover",
        &[
            "# PROVIDE: hast_failover",
            "# REQUIRE: hast devd LOGIN",
            "# KEYWORD: nojail shutdown",
        ],
    );
    lines(
        "rc.d/hast_carp",
        &[
            "# PROVIDE: hast_carp",
            "# REQUIRE: FILESYSTEMS",
            "# BEFORE:  netif",
            "# KEYWORD: nojail",
            "required_modules=\"carp:carp\"",
        ],
    );
}

#[test]
fn a_node_that_starts_stands_back_once() {
    let carp = |rc_conf| Service::of("hast_carp", rc_conf);
    let service = carp(ON);
    service.run("faststart").success();
    let raised = ["kldload carp", "sysctl net.inet.carp.demotion=240"];
    assert_eq!(service.calls(), raised);
    assert!(service.path("hast_carp").exists());
    // The demotion adds up.
    service.forget();
    service.run("start").success();
    assert_eq!(service.calls(), ["kldload carp"]);

    for rc_conf in [
        "hast_enable=YES",
        "hast_failover_enable=YES hast_carp_enable=NO",
    ] {
        let service = carp(rc_conf);
        service.run("faststart").success();
        assert!(service.calls().is_empty(), "{rc_conf}");
    }

    let service = carp(ON);
    service.says("no-carp", "");
    let said = service.run("faststart").failure();
    assert!(said.contains("may take an address too early"), "{said}");
    assert!(!service.path("hast_carp").exists());
}

/// By as much as the agent lowers it.
#[test]
fn the_demotion_is_that_of_the_agent() {
    let expected = format!("\nhast_carp_demotion={}\n", hast::failover::step::DEMOTION);
    assert!(read("rc.d/hast_carp").contains(&expected), "{expected}");
}

/// Variables and commands of the two scripts, by their heads, are those of the page.
#[test]
fn the_page_has_the_variables_and_commands_of_the_services() {
    let scripts = ["rc.d/hast_failover", "rc.d/hast_carp"].map(read);
    let variables: BTreeSet<&str> = scripts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("# hast_")?.split_once(" ("))
        .map(|(name, _)| name)
        .collect();
    let page = Page::open("hast-failover.8");
    let items = page.items("Va");
    let described: BTreeSet<&str> = items
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("hast_"))
        .collect();
    assert_eq!(described, variables);

    let commands = page.items("Cm");
    let explained = scripts[0]
        .lines()
        .skip_while(|line| !line.starts_with("# Commands beside"))
        .filter_map(|line| line.strip_prefix("# ")?.split_once('\t'))
        .map(|(word, _)| word);
    let explained: Vec<&str> = explained.collect();
    assert_eq!(explained, ["reload", "status", "check", "stop", "restart"]);
    let text = page.text();
    let (_, service) = text
        .split_once(".Xr service 8\nknows")
        .expect("it speaks of service(8)");
    for word in explained {
        assert!(commands.iter().any(|(name, _)| name == word), "{word}");
        assert!(service.contains(&format!("\n.It Cm {word}\n")), "{word}");
    }
}

/// The paths that the page names are those that are used.
#[test]
fn the_page_has_the_files() {
    let page = Page::open("hast-failover.8");
    let files = page.section("FILES");
    for path in [
        hast::failover::config::DEFAULT_CONTROL,
        hast::failover::config::DEFAULT_STATE,
        hast::failover::agent::demotion::MARK,
        "/var/run/hast-failover.pid",
    ] {
        assert!(files.contains(&format!(".It Pa {path}")), "{path}");
    }
    let mark = format!(
        "\nhast_carp_mark={}\n",
        hast::failover::agent::demotion::MARK
    );
    assert!(read("rc.d/hast_carp").contains(&mark), "{mark}");
    assert!(read("rc.d/hast_failover").contains(":=/var/run/hast-failover.pid}"));
}
