//! The first day of an administrator, step by step, with what the commands print.

use hast::terms::Role;

use crate::cluster::Setup;

#[test]
fn create_role_status_list_and_failover_by_hand() {
    let mut setup = Setup::new("fullsync");
    setup.resources.push("disk2".into());
    let mut cluster = setup.start();
    let (a, b) = (&cluster.a, &cluster.b);

    // Nothing was created, nothing has a role.
    let path = |node: &crate::node::Node, name: &str| node.component(name).display().to_string();
    let table = a.ctl("status");
    let rows = [1, 2].map(|number| {
        let name = format!("disk{number}");
        let (local, port) = (path(a, &name), cluster.ports[1]);
        format!(
            "{name}\t{:<9}{:<15}{local}\ttcp4://127.0.0.1:{port}\n",
            "-", "init"
        )
    });
    let heading = "Name\tStatus\t Role\t\tComponents\n";
    assert_eq!(table, format!("{heading}{}{}", rows[0], rows[1]));
    assert_eq!(a.ctl("status disk2"), format!("{heading}{}", rows[1]));

    for (node, role) in [(b, "secondary"), (a, "primary")] {
        assert_eq!(node.ctl("role init all"), "");
        assert_eq!(node.ctl("create disk1 disk2"), "");
        assert_eq!(node.ctl(&format!("role {role} disk1")), "");
        assert_eq!(node.ctl(&format!("role {role} disk2")), "");
    }
    a.until_complete("disk1");
    a.until_complete("disk2");
    let table = a.ctl("status disk1");
    assert!(table.contains(&format!(
        "disk1\tcomplete {:<15}{}\t",
        "primary",
        path(a, "disk1")
    )));
    let table = b.ctl("status disk1");
    assert!(table.contains(&format!(
        "disk1\tcomplete {:<15}{}\t",
        "secondary",
        path(b, "disk1")
    )));

    let list = a.ctl("list disk1");
    let worker = a.worker_pid("disk1");
    for line in [
        "disk1:",
        "  role: primary",
        "  provname: disk1",
        &format!("  localpath: {}", path(a, "disk1")),
        "  extentsize: 2097152 (2.0MB)",
        "  keepdirty: 64",
        &format!("  remoteaddr: tcp4://127.0.0.1:{}", cluster.ports[1]),
        "  replication: fullsync",
        "  status: complete",
        &format!("  workerpid: {worker}"),
        "  connection: connected",
        "  peer: up-to-date",
        "  local: up-to-date",
        "  statistics:",
        "    writes: 0",
        "    local errors: read: 0, write: 0, delete: 0, flush: 0",
    ] {
        assert!(list.lines().any(|other| other == line), "{line}\nin {list}");
    }
    let mut client = crate::load::connect(&a.device("disk1")).unwrap();
    client.write(1 << 20, &[7; 4096], false).unwrap();
    client.disconnect().unwrap();
    assert!(a.ctl("list disk1").contains("    writes: 1\n"));

    // Failover by hand: the primary is lost, the other takes over.
    cluster.a.kill();
    cluster.b.ctl("role primary all");
    let mut client = crate::load::connect(&cluster.b.device("disk1")).unwrap();
    assert_eq!(client.read(1 << 20, 4096).unwrap(), [7; 4096]);
    client.write(2 << 20, &[8; 4096], false).unwrap();
    client.disconnect().unwrap();
    let list = cluster.b.ctl("list disk1");
    assert!(list.contains("  status: degraded\n"), "{list}");
    cluster.a.start();
    cluster.a.ctl("role secondary all");
    cluster.b.until_complete("disk1");
    cluster.b.until_complete("disk2");
    cluster.assert_equal("disk1");
    cluster.a.until_role("disk2", Role::Secondary);
}

#[test]
fn hastctl_says_what_hastd_can_not_do() {
    let mut cluster = Setup::new("fullsync").created();
    for (words, code, complaint) in [
        ("role primary nosuch", 1, "no such resource is configured"),
        ("status nosuch", 1, ""),
        ("role master disk1", 64, "unknown role 'master'"),
        ("role", 64, "Usage: hastctl role"),
        ("frobnicate", 64, "unrecognized subcommand 'frobnicate'"),
    ] {
        let run = cluster.a.hastctl(words);
        assert_eq!(run.status.code(), Some(code), "{run:?}");
        assert!(run.stderr.contains(complaint), "{run:?}");
    }
    // In use: hastctl create leaves it alone.
    cluster.a.ctl("role primary disk1");
    let run = cluster.a.hastctl("create disk1");
    assert_eq!(run.status.code(), Some(75), "{run:?}");
    assert!(
        run.stderr.contains("is in use by another process"),
        "{run:?}"
    );
    cluster.a.kill();
    let run = cluster.a.hastctl("status");
    assert_eq!(run.status.code(), Some(71), "{run:?}");
    assert!(run.stderr.contains("hastd is not running"), "{run:?}");
}
