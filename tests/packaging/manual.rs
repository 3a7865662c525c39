//! hastd(8) and hastctl(8) say what the code does, and nothing else: options, commands, words,
//! variables of the service, messages, exit codes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::{CommandFactory, Parser};
use hast::cli::arguments::Arguments as Hastctl;
use hast::control::{Condition, Connection, LocalState, PeerState};
use hast::daemon::arguments::Arguments as Hastd;
use hast::failover::cli::Arguments as Failover;

use crate::mdoc::{Page, arguments, flags};
use crate::support::{run, tool};
use crate::{read, root};

const PAGES: [&str; 5] = [
    "hast-failover.8",
    "hast-failover.toml.5",
    "hast.conf.5",
    "hastctl.8",
    "hastd.8",
];

#[test]
fn pages_are_clean() {
    let Some(mandoc) = tool("mandoc", "mandoc") else {
        return;
    };
    let mut lint = Command::new(mandoc);
    lint.current_dir(root()).args(["-Tlint", "-W", "style"]);
    for page in PAGES {
        lint.arg(Path::new("man").join(page));
    }
    let outcome = run(&mut lint);
    // FreeBSD's other pages are not here.
    let about_others = ["referenced manual not found", "outdated mandoc.db"];
    let complaints: Vec<&str> = outcome
        .stdout
        .lines()
        .chain(outcome.stderr.lines())
        .filter(|line| !about_others.iter().any(|other| line.contains(other)))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// The options of a command, with their hyphens; those that take a value with its name.
fn options(command: &clap::Command) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for argument in command.get_arguments().filter(|it| !it.is_positional()) {
        found.extend(argument.get_short().map(|short| format!("-{short}")));
        found.extend(argument.get_long().map(|long| format!("--{long}")));
    }
    found
}

/// The synopsis of one command, by the lines that begin with `.Nm`.
fn synopses(page: &Page) -> Vec<&[String]> {
    let lines = page.section("SYNOPSIS");
    lines
        .split(|line| line == ".Nm")
        .filter(|lines| !lines.is_empty())
        .collect()
}

/// Every option of the command is in its synopsis with its value's name, and no other is.
#[track_caller]
fn assert_synopsis(command: &clap::Command, lines: &[String]) {
    let general: BTreeSet<String> = ["-h", "--help", "-V", "--version"]
        .map(str::to_owned)
        .into();
    let expected: BTreeSet<String> = options(command).difference(&general).cloned().collect();
    assert_eq!(flags(lines), expected, "{}", command.get_name());
    for argument in command.get_arguments() {
        let Some(values) = argument.get_value_names() else {
            continue;
        };
        let flag = match (argument.get_short(), argument.get_long()) {
            (Some(short), _) => short.to_string(),
            (None, Some(long)) => format!("-{long}"),
            (None, None) => continue,
        };
        let line = if argument.get_action().takes_values() {
            format!(".Op Fl {flag} Ar {}", values[0])
        } else {
            format!(".Op Fl {flag}")
        };
        let needed = line.replacen(".Op ", ".", 1);
        let found = lines.iter().any(|it| [&line, &needed].contains(&it));
        assert!(found, "{}: {line}", command.get_name());
    }
}

/// The items that explain options.
fn explained(page: &Page) -> BTreeSet<String> {
    let items: Vec<String> = page
        .text()
        .lines()
        .filter(|line| line.starts_with(".It Fl "))
        .map(str::to_owned)
        .collect();
    flags(&items)
}

#[test]
fn hastd_and_its_page_have_the_same_options() {
    let mut command = Hastd::command();
    command.build();
    let page = Page::open("hastd.8");
    let synopses = synopses(&page);
    let (daemon, witness) = (synopses[0], synopses[1]);
    assert_synopsis(&command, &[daemon, witness].concat());
    assert_eq!(explained(&page), options(&command));

    // Each of the two has what goes together.
    let accepted = |lines: &[String], first: &[&str]| {
        for flag in flags(lines) {
            let takes_value = lines
                .iter()
                .any(|line| line.starts_with(&format!(".Op Fl {} Ar ", &flag[1..])));
            let mut words = [&["hastd"], first, &[&flag]].concat();
            words.extend(takes_value.then_some("value"));
            assert!(Hastd::try_parse_from(&words).is_ok(), "{words:?}");
        }
    };
    accepted(daemon, &[]);
    assert_eq!(witness[0], ".Fl -witness");
    accepted(&witness[1..], &["--witness"]);
}

/// Each command has its synopsis, in the order of the program's usage, and each option is explained.
#[track_caller]
fn assert_commands(command: &mut clap::Command, page: &Page) {
    command.build();
    let commands: Vec<&clap::Command> = command.get_subcommands().collect();
    let synopses = synopses(page);
    // Behind those of the commands stand the one of -h and the one of -V.
    assert_eq!(synopses.len(), commands.len() + 2);
    let mut all = options(command);
    for (command, lines) in commands.iter().zip(&synopses) {
        assert_eq!(arguments(lines, "Cm")[0], command.get_name());
        assert_synopsis(command, lines);
        all.extend(options(command));
    }
    assert_eq!(explained(page), all);
}

#[test]
fn hastctl_and_its_page_have_the_same_commands_and_options() {
    let mut command = Hastctl::command();
    let page = Page::open("hastctl.8");
    assert_commands(&mut command, &page);
    let names: Vec<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    let mut described: Vec<String> = page.items("Cm").into_iter().map(|(name, _)| name).collect();
    // Roles are explained inside `role`.
    described.retain(|word| {
        hast::terms::Role::ALL
            .iter()
            .all(|role| role.word() != word)
    });
    assert_eq!(described, names);
}

#[test]
fn hast_failover_and_its_page_have_the_same_commands_and_options() {
    let mut command = Failover::command();
    let page = Page::open("hast-failover.8");
    assert_commands(&mut command, &page);
    let names: Vec<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    let described: Vec<String> = page.items("Cm").into_iter().map(|(name, _)| name).collect();
    // Behind them are those of service(8).
    assert_eq!(described[..names.len()], names);
}

#[test]
fn the_page_has_the_words_of_status_and_list() {
    let page = Page::open("hastctl.8");
    let output: BTreeSet<&str> = arguments(page.section("OUTPUT"), "Li")
        .into_iter()
        .collect();
    let words = (Condition::ALL.iter().map(|it| it.word()))
        .chain(Connection::ALL.iter().map(|it| it.word()))
        .chain(PeerState::ALL.iter().map(|it| it.word()))
        .chain(LocalState::ALL.iter().map(|it| it.word()));
    for word in words {
        assert!(output.contains(word), "{word}: {output:?}");
    }
}

#[test]
fn hastd_page_has_the_variables_and_commands_of_the_services() {
    let scripts = ["rc.d/hast", "rc.d/hast_witness"].map(read);
    let page = Page::open("hastd.8");
    let items = |of| page.items(of).into_iter().map(|(word, _)| word);
    let variables: BTreeSet<String> = items("Va").collect();
    let heads = scripts.iter().flat_map(|text| text.lines());
    let documented = heads
        .filter_map(|line| line.strip_prefix("# hast_")?.split_once(" ("))
        .map(|(name, _)| format!("hast_{name}"));
    assert_eq!(variables, documented.collect());
    let roles: BTreeSet<String> = hast::terms::Role::ALL
        .iter()
        .map(|role| role.word().to_owned())
        .collect();
    let commands: BTreeSet<String> = items("Cm").filter(|word| !roles.contains(word)).collect();
    let explained = scripts.iter().flat_map(|text| {
        let rest = text.lines();
        rest.skip_while(|line| !line.starts_with("# Commands beside"))
            .filter_map(|line| line.strip_prefix("# ")?.split_once('\t'))
            .map(|(word, _)| word.to_owned())
    });
    assert_eq!(commands, explained.collect());
}

/// The text of the sources, with string literals that go over several lines made whole.
pub fn sources() -> String {
    let mut folders = vec![root().join("src")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.push_str(&read(path));
            }
        }
    }
    let mut whole = String::new();
    for piece in text.split("\\\n") {
        whole.push_str(piece.trim_start());
    }
    whole
}

/// Messages that the page explains are messages of the programs; `...` stands for what varies.
#[test]
fn diagnostics_are_messages_of_the_code() {
    let sources = sources();
    let page = Page::open("hastd.8");
    let mut messages = 0;
    for line in page.section("DIAGNOSTICS") {
        let Some(item) = line.strip_prefix(".It ") else {
            continue;
        };
        for message in item.split('"').filter(|part| !["", " , "].contains(part)) {
            messages += 1;
            for piece in message.split("...") {
                assert!(sources.contains(piece.trim()), "{message}: {piece:?}");
            }
        }
    }
    assert!(messages > 10);
}

/// Exit codes: each in the pages is one of the code, and each of hastd and hastctl is in its page.
#[test]
fn exit_codes_are_those_of_the_code() {
    let sources = sources();
    let constant = |name: &str, number: &str| format!("{name}: u8 = {number};");
    let mut explained = BTreeSet::new();
    for name in ["hast-failover.8", "hastctl.8", "hastd.8"] {
        let page = Page::open(name);
        let lines = page.section("EXIT STATUS");
        for pair in lines.windows(2) {
            let (Some(number), Some(name)) =
                (pair[0].strip_prefix(".It "), pair[1].strip_prefix(".Dv "))
            else {
                continue;
            };
            let expected = constant(name.trim_end_matches(" :"), number);
            assert!(sources.contains(&expected), "{expected}");
            explained.insert(expected);
        }
    }
    for line in sources.lines().filter(|line| line.contains("const EX_")) {
        let code = line.split("const ").nth(1).expect("has it").trim();
        // A worker's exit code is not one of a command's, and is an i32.
        if code.contains(": u8") {
            assert!(explained.contains(code), "{code} is in no page");
        }
    }
}
