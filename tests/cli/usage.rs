//! Command lines that say nothing that can be done.

use crate::{Node, hastctl};

const EX_USAGE: i32 = 64;
const EX_OSFILE: i32 = 72;
const EX_CONFIG: i32 = 78;

#[test]
fn wrong_usage_ends_with_ex_usage_and_says_so_on_standard_error() {
    for (arguments, part) in [
        (&[] as &[&str], "Usage: hastctl"),
        (&["destroy"], "destroy"),
        (&["create"], "<name>"),
        (&["create", "-e"], "extentsize"),
        (&["create", "-e", "2x", "disk1"], "bad size '2x'"),
        (&["create", "-e", "4g", "disk1"], "too large"),
        (&["create", "-k", "many", "disk1"], "bad size 'many'"),
        (&["create", "-m", "-1", "disk1"], "-1"),
        (&["role"], "<init|primary|secondary>"),
        (&["role", "primary"], "<name>"),
        (
            &["role", "boss", "all"],
            "expected init, primary or secondary",
        ),
        (&["status", "-e", "1"], "-e"),
        (&["check", "disk1"], "disk1"),
    ] {
        let run = hastctl(arguments);
        assert_eq!(run.code, EX_USAGE, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn help_names_every_command_and_option() {
    let run = hastctl(&["--help"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    for (command, options) in [
        (
            "create",
            &["-c", "-d", "-n", "-e", "-k", "-m", "--force", "<name>..."] as &[&str],
        ),
        ("role", &["-c", "-d", "-n", "--force", "<name>..."]),
        ("list", &["-c", "-d", "-n", "[name]..."]),
        ("status", &["-c", "-d", "-n", "[name]..."]),
        ("dump", &["-c", "-d", "-n", "[name]..."]),
        ("check", &["-c", "-d", "-n"]),
    ] {
        assert!(run.stdout.contains(command), "{command}: {}", run.stdout);
        let help = hastctl(&[command, "-h"]);
        assert_eq!(help.code, 0, "{command}");
        for option in options {
            assert!(
                help.stdout.contains(option),
                "{command} {option}: {}",
                help.stdout
            );
        }
    }
}

#[test]
fn a_configuration_that_is_missing_or_wrong_ends_every_command() {
    let node = Node::new([0, 0]);
    let missing = node.path("missing.conf");
    let wrong = node.path("wrong.conf");
    std::fs::write(&wrong, "timeout 3\n\nlissten x\n").unwrap();
    for command in [
        &["create", "disk1"] as &[&str],
        &["role", "init", "all"],
        &["list"],
        &["status"],
        &["dump"],
        &["check"],
    ] {
        for (path, code, part) in [
            (
                &missing,
                EX_OSFILE,
                "hastctl: cannot read the configuration".to_owned(),
            ),
            (
                &wrong,
                EX_CONFIG,
                format!(
                    "hastctl: {}, line 3: found the unknown word 'lissten'",
                    wrong.display()
                ),
            ),
        ] {
            let mut arguments = command.to_vec();
            arguments.extend(["-c", path.to_str().unwrap()]);
            let run = hastctl(&arguments);
            assert_eq!(run.code, code, "{command:?}: {}", run.stderr);
            assert!(run.stderr.starts_with(&part), "{command:?}: {}", run.stderr);
            assert_eq!(run.stdout, "");
        }
    }
}
