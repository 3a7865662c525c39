//! Complaints about what is asked of failover: the line each names and what it says, in one sentence.

use std::path::Path;

use hast::config::ConfigError;
use hast::failover::config::OWN_FILE;

use crate::failover::own_file;

/// Checks that `text` is refused on `line` with words that hold `part`.
fn refused(text: &str, line: usize, part: &str) {
    let error = own_file(text).expect_err(text);
    assert_eq!(error.exit_code(), 78);
    let ConfigError::Invalid {
        path,
        line: found,
        what,
    } = &error
    else {
        panic!("{text}: {error}");
    };
    assert_eq!(path, Path::new(OWN_FILE));
    assert_eq!(*found, line, "{text}: {error}");
    assert!(what.contains(part), "{text}: {error}");
    assert!(
        !what.contains('\n') && !what.ends_with('.'),
        "{text}: {error}"
    );
}

#[test]
fn shape() {
    for (text, line, part) in [
        (
            "",
            1,
            "no group is configured; expected a table such as [group.storage]",
        ),
        ("[failover]", 1, "no group is configured"),
        (
            "[group.g]\nresources = ['disk1']\n[resource.x]",
            3,
            "unknown field `resource`, expected `failover` or `group`",
        ),
        (
            "[failover]\n\ncontroll = '/x'",
            3,
            "unknown field `controll`, expected one of `control`, `state`, `witness`",
        ),
        (
            "[failover.programs]\nzfs = '/x'",
            2,
            "unknown field `zfs`, expected one of `zpool`",
        ),
        (
            "[group.g]\nresource = ['disk1']",
            2,
            "unknown field `resource`, expected one of `resources`",
        ),
        ("[group.g]\non_hang = 'retry'", 2, "unknown field `on_hang`"),
        (
            "[group.g.limits]\nexports = 3",
            2,
            "unknown field `exports`",
        ),
        (
            "[group.g.on.hasta]\npools = []",
            2,
            "unknown field `pools`, expected `carp` or `fence`",
        ),
        (
            "[group.g]\nmounts = [{ resource = 'disk1', path = '/x',\nopts = 'y' }]",
            3,
            "unknown field `opts`",
        ),
        (
            "[group.g]\nmounts = [{ resource = 'disk1' }]",
            2,
            "missing field `path`",
        ),
        ("[group.g]\nresources = 'disk1'", 2, "invalid type: string"),
        ("[group.g]\nfreshness = '3'", 2, "invalid type: string"),
        (
            "[group.g]\nfreshness = -1",
            2,
            "invalid value: integer `-1`",
        ),
        ("[group.g]\nfence = '/x'", 2, "invalid type: string"),
        ("[group.g]\ncarp = 1", 2, "invalid type: integer"),
        ("[group.g]\n[group.g]", 2, "duplicate key"),
        ("[group.g", 1, "unclosed table"),
    ] {
        refused(text, line, part);
    }
}

/// A group g with more in it: its table begins on line 1, and `more` on line 3.
fn group(more: &str) -> String {
    format!("[group.g]\nresources = ['disk1', 'disk2']\n{more}")
}

/// Groups g and h with more in them, on the lines 3 and 6.
fn two(one: &str, other: &str) -> String {
    format!("[group.g]\nresources = ['disk1']\n{one}\n[group.h]\nresources = ['disk3']\n{other}")
}

#[test]
fn values_of_the_failover_table() {
    for (text, line, part) in [
        (
            "[failover]\ncontrol = 'x'".to_owned(),
            2,
            "failover: control: found 'x'; expected a path that begins with '/'",
        ),
        (
            format!("[failover]\ncontrol = '/{}'", "x".repeat(107)),
            2,
            "too long",
        ),
        (
            "[failover]\nstate = 'x'".to_owned(),
            2,
            "failover: state: found 'x'",
        ),
        (
            "[failover]\nwitness = '/x'\nsecret = '/x'".to_owned(),
            2,
            "failover: witness: found the Unix socket '/x'",
        ),
        (
            "[failover]\nwitness = 'w:0'\nsecret = '/x'".to_owned(),
            2,
            "failover: witness: bad port",
        ),
        (
            "[failover]\nwitness = 'w'\nsecret = 'x'".to_owned(),
            3,
            "failover: secret: found 'x'",
        ),
        (
            "[failover]\nlease = 2".to_owned(),
            2,
            "failover: lease: found 2; expected a number of seconds from 3 to 60",
        ),
        ("[failover]\nlease = 61".to_owned(), 2, "found 61"),
        (
            "[failover.programs]\nzpool = 'zpool'".to_owned(),
            2,
            "failover: programs: zpool: found 'zpool'",
        ),
    ] {
        refused(&text, line, part);
    }
}

#[test]
fn names() {
    let long = "g".repeat(65);
    for (text, line, part) in [
        (
            "[group.'']\nresources = []".to_owned(),
            1,
            "group: found ''; expected at most 64 letters",
        ),
        (
            "[group.all]\nresources = []".to_owned(),
            1,
            "group: 'all' means every group; choose another name",
        ),
        (
            "[group.'../x']\nresources = []".to_owned(),
            1,
            "group: found '../x'",
        ),
        (
            "[group.'.x']\nresources = []".to_owned(),
            1,
            "group: found '.x'",
        ),
        (
            format!("[group.{long}]\nresources = []"),
            1,
            "expected at most 64",
        ),
        (
            "[group.g]".to_owned(),
            1,
            "group g: resources: expected one or more",
        ),
        (
            "[group.g]\nresources = []".to_owned(),
            2,
            "group g: resources: expected one or more",
        ),
        (
            group("pools = ['zhast/data']"),
            3,
            "group g: pools: found 'zhast/data'; expected a whole pool",
        ),
        (
            group("pools = ['1pool']"),
            3,
            "found '1pool'; expected a pool's name",
        ),
        (group("pools = ['-f']"), 3, "found '-f'"),
        (group("pools = ['a',\n'b c']"), 4, "found 'b c'"),
        (group("pools = ['mirror']"), 3, "found 'mirror'"),
        (group("pools = ['']"), 3, "found ''"),
        (
            group("services = ['../nfsd']"),
            3,
            "group g: services: found '../nfsd'",
        ),
        (group("services = ['-x']"), 3, "found '-x'"),
        (group("services = ['hast']"), 3, "the group depends on hast"),
        (
            group("services = ['hast_failover']"),
            3,
            "the group depends on hast_failover",
        ),
        (
            group("carp = 'em0'"),
            3,
            "group g: carp: found 'em0'; expected vhid@interface, such as 1@em0",
        ),
        (group("carp = '0@em0'"), 3, "found '0@em0'"),
        (group("carp = '256@em0'"), 3, "found '256@em0'"),
        (group("carp = '+1@em0'"), 3, "found '+1@em0'"),
        (group("carp = '1@'"), 3, "found '1@'"),
        (group("carp = '1@em0;x'"), 3, "found '1@em0;x'"),
        (
            group("carp = '1@abcdefghijklmnop'"),
            3,
            "found '1@abcdefghijklmnop'",
        ),
    ] {
        refused(&text, line, part);
    }
}

#[test]
fn words_and_numbers() {
    for (text, line, part) in [
        (
            group("on-unreachable = 'panic'"),
            3,
            "group g: on-unreachable: unknown word 'panic'; expected refuse, wait or promote",
        ),
        (
            group("force-import = 'always'"),
            3,
            "expected never or confirmed",
        ),
        (group("fsck = 'no'"), 3, "expected preen or yes"),
        (group("on-hang = ''"), 3, "expected retry, force or reboot"),
        (
            group("fail-back = 'auto'"),
            3,
            "expected manual or synchronised",
        ),
        (
            group("freshness = 0"),
            3,
            "group g: freshness: found 0; expected a number of seconds from 1 to 86400",
        ),
        (
            group("debounce = 61"),
            3,
            "expected a number of seconds from 0 to 60",
        ),
        (
            group("limits.export = 0"),
            3,
            "group g: limits: export: found 0",
        ),
        (group("limits.export = 86401"), 3, "found 86401"),
    ] {
        refused(&text, line, part);
    }
}

#[test]
fn programs_and_mounts() {
    for (text, line, part) in [
        (
            group("fence = []"),
            3,
            "group g: fence: expected a program's path",
        ),
        (
            group("fence = ['ipmi']"),
            3,
            "group g: fence: found 'ipmi'; expected a path",
        ),
        (group("fence = ['/ipmi',\n\"a\\u0000b\"]"), 4, "holds a NUL"),
        (
            group("[group.g.hooks]\nbefore = ['/x']"),
            4,
            "group g: hooks: unknown hook 'before'; expected before-master, after-promote",
        ),
        (
            group("[group.g.hooks]\nbefore-master = ['x']"),
            4,
            "group g: hooks: before-master: found 'x'",
        ),
        (
            group("[group.g.hooks]\nbefore-master = []"),
            4,
            "expected a program's path",
        ),
        (
            group("mounts = [{ resource = 'disk1', path = 'x' }]"),
            3,
            "group g: mounts: found 'x'",
        ),
        (
            group("mounts = [{ resource = 'disk1', path = '/x', options = '' }]"),
            3,
            "expected options of mount(8)",
        ),
        (
            group("mounts = [{ resource = 'disk1', path = '/x', options = 'ro rw' }]"),
            3,
            "found \"ro rw\"",
        ),
    ] {
        refused(&text, line, part);
    }
}

#[test]
fn a_witness_and_what_depends_on_it() {
    let witness = "[failover]\nwitness = 'w'\nsecret = '/s'\n[group.g]\nresources = ['disk1']\n";
    for (text, line, part) in [
        (
            "[failover]\nwitness = 'w'".to_owned(),
            2,
            "failover: witness: a witness needs a 'secret'",
        ),
        (
            "[failover]\nsecret = '/s'".to_owned(),
            2,
            "failover: secret: there is no 'witness'",
        ),
        (
            "[failover]\nlease = 15".to_owned(),
            2,
            "failover: lease: there is no 'witness'",
        ),
        (
            format!("{witness}on-unreachable = 'promote'"),
            6,
            "group g: on-unreachable: promote takes the risk that the witness is there to exclude",
        ),
        (
            group("on-lease-loss = 'stop'"),
            3,
            "group g: on-lease-loss: there is no 'witness'",
        ),
    ] {
        refused(&text, line, part);
    }
}

#[test]
fn things_belong_to_one_group() {
    for (text, line, part) in [
        (
            "[group.g]\nresources = ['disk1',\n'disk9']".to_owned(),
            3,
            "group g: resources: no resource 'disk9' is configured",
        ),
        (
            "[group.g]\nresources = ['disk1',\n'disk1']".to_owned(),
            3,
            "group g: the resource disk1 stands on line 2, too",
        ),
        (
            "[group.g]\nresources = ['disk1']\n[group.h]\nresources = ['disk1']".to_owned(),
            4,
            "group h: the resource disk1 stands on line 2, in group g, too",
        ),
        (
            two("pools = ['p']", "pools = ['p']"),
            6,
            "group h: the pool p stands on line 3, in group g, too",
        ),
        (
            two("services = ['nfsd']", "services = ['nfsd']"),
            6,
            "the service nfsd stands on line 3",
        ),
        (
            two("carp = '1@em0'", "carp = '1@em0'"),
            6,
            "the address 1@em0 stands on line 3",
        ),
        (
            two("carp = '1@em0'", "on.hasta.carp = '1@em0'"),
            6,
            "the address 1@em0 stands on line 3",
        ),
    ] {
        refused(&text, line, part);
    }
}

#[test]
fn mounts_are_in_order() {
    let mount =
        |resource: &str, path: &str| format!("{{ resource = '{resource}', path = '{path}' }}");
    let mounts = |one: &str, two: &str| {
        group(&format!(
            "mounts = [\n{},\n{}]",
            mount("disk1", one),
            mount("disk2", two)
        ))
    };
    for (text, line, part) in [
        (
            group("mounts = [{ resource = 'disk3', path = '/x' }]"),
            3,
            "'disk3' is not one of the group's resources",
        ),
        (
            group(&format!(
                "mounts = [{},\n{}]",
                mount("disk1", "/x"),
                mount("disk1", "/y")
            )),
            4,
            "the mount of the resource disk1 stands on line 3, too",
        ),
        (
            mounts("/x", "/x"),
            5,
            "group g: /x is the mount point on line 4, too",
        ),
        (
            mounts("/x/y", "/x"),
            5,
            "group g: /x hides /x/y of line 4; expected it before that",
        ),
        (
            two(
                &format!("mounts = [{}]", mount("disk1", "/x")),
                &format!("mounts = [{}]", mount("disk3", "/x/y")),
            ),
            6,
            "group h: /x/y lies in /x of line 3, in group g; expected both in one group",
        ),
    ] {
        refused(&text, line, part);
    }
}

#[test]
fn what_is_said_for_one_node() {
    for (text, line, part) in [
        (
            group("[group.g.on.hastc]\ncarp = '1@em0'"),
            3,
            "group g: on hastc: no node is called so; expected one of hasta, hastb",
        ),
        // What is said for the other node is checked, too.
        (
            group("[group.g.on.hastb]\ncarp = 'em0'"),
            4,
            "group g: on hastb: carp: found 'em0'",
        ),
        (
            group("[group.g.on.hastb]\nfence = ['x']"),
            4,
            "group g: on hastb: fence: found 'x'",
        ),
    ] {
        refused(&text, line, part);
    }
}
