//! `hastctl check`.

use crate::Node;
use std::fmt::Write;

#[test]
fn check_shows_what_this_node_would_run() {
    let node = Node::new([16 << 20, 16 << 20]);
    assert_eq!(node.hastctl(&["create", "disk1", "disk2"]).code, 0);
    let run = node.hastctl(&["check"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let folder = node.folder.path().display();
    let expected = format!(
        "configuration: {folder}/hast.conf\n\
         control: {folder}/control\n\
         listen: tcp4://0.0.0.0:8457\n\
         listen: tcp6://[::]:8457\n\
         pidfile: /var/run/hastd.pid\n\
         disk1:\n  \
           provname: disk1\n  \
           provider: nbd {folder}/disk1.nbd\n  \
           localpath: {folder}/disk1\n  \
           remoteaddr: tcp4://127.0.0.1:8458\n  \
           replication: memsync\n  \
           checksum: none\n  \
           compression: hole\n  \
           timeout: 20 s\n  \
           metaflush: on\n  \
           buffers: 33554432 (32MB)\n\
         disk2:\n"
    );
    assert!(run.stdout.starts_with(&expected), "{}", run.stdout);
}

#[test]
fn what_may_only_be_missing_for_now_is_a_warning() {
    let node = Node::new([0, 16 << 20]);
    let hook = node.path("hook");
    let folder = node.folder.path().display();
    let mut config = std::fs::read_to_string(node.path("hast.conf")).unwrap();
    write!(
        config,
        "exec {}\nresource disk3 {{ local {folder}/disk2.x\non hasta {{ remote none }} }}\n\
         resource disk4 {{ local {folder}\non hasta {{ remote hastb.example.org }} }}\n",
        hook.display()
    )
    .unwrap();
    std::fs::write(node.path("hast.conf"), config).unwrap();
    std::fs::write(&hook, "").unwrap();
    std::fs::copy(node.path("disk2"), node.path("disk2.x")).unwrap();
    assert_eq!(node.hastctl(&["create", "disk3"]).code, 0);
    std::fs::copy(node.path("disk2.x"), node.path("disk2")).unwrap();

    let run = node.hastctl(&["check"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for warning in [
        format!("disk1: component '{folder}/disk1' does not exist"),
        format!("disk2: component '{folder}/disk2' belongs to the resource 'disk3'"),
        "disk3: 'remote none'".to_owned(),
        format!("disk4: component '{folder}' is neither a disk device nor a regular file"),
        "disk4: the remote 'hastb.example.org' is a name".to_owned(),
        format!(
            "disk1: the hook '{}' is not an executable file",
            hook.display()
        ),
    ] {
        let line = format!("hastctl: warning: {warning}");
        assert!(run.stderr.contains(&line), "{line}\nnot in\n{}", run.stderr);
    }

    std::fs::remove_file(&hook).unwrap();
    std::fs::write(node.path("disk2"), vec![0; 8192]).unwrap();
    let run = node.hastctl(&["check"]);
    assert!(run.stderr.contains("can not be run"), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("holds no metadata yet; run 'hastctl create disk2'"),
        "{}",
        run.stderr
    );
}

/// Making it anew is no remedy for what only another version understands.
#[test]
fn a_component_of_another_version_is_not_said_to_be_none() {
    let node = Node::new([16 << 20, 0]);
    assert_eq!(node.hastctl(&["create", "disk1"]).code, 0);
    let mut bytes = std::fs::read(node.path("disk1")).unwrap();
    let role = bytes.windows(4).position(|four| four == b"init").unwrap();
    bytes[role] = b'x';
    std::fs::write(node.path("disk1"), bytes).unwrap();
    let run = node.hastctl(&["check"]);
    assert_eq!(run.code, 0);
    let warning = "can not be used: not a HAST component that this version understands";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
    assert!(!run.stderr.contains("create disk1"), "{}", run.stderr);
}

#[test]
fn another_node_has_other_sections() {
    let node = Node::new([0, 0]);
    let config = node.path("hast.conf");
    let run = crate::hastctl(&[
        "check",
        "-c",
        config.to_str().unwrap(),
        "-n",
        "hastb.example.org",
    ]);
    assert_eq!(run.code, 78);
    assert!(
        run.stderr.contains("line 2: resource disk1: no 'on' section for this node (names tried: hastb, hastb.example.org)"),
        "{}",
        run.stderr
    );
}
