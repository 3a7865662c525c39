//! The manual pages say what the code does, and nothing else: options, commands, statements,
//! events, words, messages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use hast::cli::arguments::Arguments as Hastctl;
use hast::config::{Config, Keyword, NodeNames, SectionKind, model};
use hast::control::{Condition, Connection, LocalState, PeerState};
use hast::daemon::arguments::Arguments as Hastd;
use hast::worker::channel::HookEvent;

use crate::mdoc::{Page, arguments, flags};
use crate::support::{run, tool};
use crate::{read, root};

const PAGES: [&str; 3] = ["hast.conf.5", "hastctl.8", "hastd.8"];

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
        let (Some(short), Some(values)) = (argument.get_short(), argument.get_value_names()) else {
            continue;
        };
        let takes_value = argument.get_action().takes_values();
        let line = match takes_value {
            true => format!(".Op Fl {short} Ar {}", values[0]),
            false => format!(".Op Fl {short}"),
        };
        assert!(lines.contains(&line), "{}: {line}", command.get_name());
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
    assert_synopsis(&command, synopses[0]);
    assert_eq!(explained(&page), options(&command));
}

#[test]
fn hastctl_and_its_page_have_the_same_commands_and_options() {
    let mut command = Hastctl::command();
    command.build();
    let page = Page::open("hastctl.8");
    let commands: Vec<&clap::Command> = command.get_subcommands().collect();
    let synopses = synopses(&page);
    // Behind those of the commands stand the one of -h and the one of -V.
    assert_eq!(synopses.len(), commands.len() + 2);
    let mut all = options(&command);
    for (command, lines) in commands.iter().zip(&synopses) {
        assert_eq!(arguments(lines, "Cm")[0], command.get_name());
        assert_synopsis(command, lines);
        all.extend(options(command));
    }
    assert_eq!(explained(&page), all);
    let names: Vec<String> = commands
        .iter()
        .map(|command| command.get_name().to_owned())
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

const KINDS: [(SectionKind, &str); 4] = [
    (SectionKind::Global, "global"),
    (SectionKind::Node, "node"),
    (SectionKind::Resource, "resource"),
    (SectionKind::ResourceNode, "resource node"),
];

/// A value that a statement takes.
const fn sample(keyword: Keyword) -> &'static str {
    match keyword {
        Keyword::Control | Keyword::Pidfile | Keyword::Exec | Keyword::Local => "/tmp/x",
        Keyword::Listen | Keyword::Remote | Keyword::Source => "10.0.0.9",
        Keyword::Replication => "async",
        Keyword::Checksum => "crc32",
        Keyword::Compression => "lzf",
        Keyword::Timeout => "7",
        Keyword::Metaflush => "true",
        Keyword::Provider => "nbd",
        Keyword::Buffers => "8388608",
        Keyword::Name => "disk9",
    }
}

/// What TOML takes for a statement, in the page's words.
fn toml_form(keyword: Keyword) -> String {
    let value = sample(keyword);
    let (place, _) = KINDS
        .into_iter()
        .find(|(kind, _)| kind.allows(keyword))
        .expect("belongs somewhere");
    let takes = |value: &str| {
        let statement = format!("{keyword} = {value}\n");
        let put = |kind| {
            if place == kind {
                statement.as_str()
            } else {
                ""
            }
        };
        // What has to be there, unless it is what is tried.
        let unless = |own: Keyword, text| if own == keyword { "" } else { text };
        let text = format!(
            "{}[on.a]\n{}[resource.r]\n{}{}[resource.r.on.a]\n{}{}",
            put(SectionKind::Global),
            put(SectionKind::Node),
            put(SectionKind::Resource),
            unless(Keyword::Local, "local = \"/x\"\n"),
            put(SectionKind::ResourceNode),
            unless(Keyword::Remote, "remote = \"none\"\nprovider = \"nbd\"\n"),
        );
        let node = NodeNames::named("a");
        Config::parse(&text, Path::new("hast.toml"), &node).is_ok()
    };
    let forms = [
        ("a string", format!("\"{value}\"")),
        ("an array of strings", format!("[\"{value}\"]")),
        ("a number", value.to_owned()),
        ("a boolean", value.to_owned()),
    ];
    let number = value.parse::<u64>().is_ok();
    let accepted: Vec<&str> = forms
        .iter()
        .filter(|(form, _)| *form != "a number" || number)
        .filter(|(form, _)| *form != "a boolean" || value == "true")
        .filter(|(_, value)| takes(value))
        .map(|(form, _)| *form)
        .collect();
    accepted.join(" or ")
}

/// The text of each statement; one that has several forms has one text.
fn statements() -> Vec<(String, String)> {
    let mut statements: Vec<(String, String)> = Vec::new();
    for (word, text) in Page::open("hast.conf.5").items("Ic") {
        match statements.last_mut() {
            Some((last, whole)) if *last == word => whole.push_str(&text),
            _ => statements.push((word, text)),
        }
    }
    statements
}

#[test]
fn the_page_has_the_statements_of_both_notations() {
    let statements = statements();
    let described: Vec<&str> = statements.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(described, Keyword::ALL.map(Keyword::word));
    for (keyword, (_, text)) in Keyword::ALL.into_iter().zip(&statements) {
        let kinds = KINDS.iter().filter(|(kind, _)| kind.allows(keyword));
        let names: Vec<&str> = kinds.map(|(_, name)| *name).collect();
        let sections = format!("\nSections: {}.\n", names.join(", "));
        assert!(text.contains(&sections), "{keyword}: {sections}{text}");
        let toml = format!("\nIn TOML: {}.\n", toml_form(keyword));
        assert!(text.contains(&toml), "{keyword}: {toml}{text}");
        assert!(text.contains("\nDefault:"), "{keyword}: no default");
    }
}

#[test]
fn the_page_has_the_defaults_and_limits() {
    let statements = statements();
    let listen = model::DEFAULT_LISTEN;
    let mib = |bytes: u64| format!("{}m", bytes >> 20);
    for (keyword, expected) in [
        (Keyword::Control, model::DEFAULT_CONTROL.to_owned()),
        (Keyword::Listen, listen[0].to_owned()),
        (Keyword::Listen, listen[1].to_owned()),
        (Keyword::Pidfile, model::DEFAULT_PIDFILE.to_owned()),
        (
            Keyword::Timeout,
            format!("Default: {}.", model::DEFAULT_TIMEOUT.as_secs()),
        ),
        (
            Keyword::Timeout,
            format!("1 to {}", model::TIMEOUT_MAX.as_secs()),
        ),
        (
            Keyword::Buffers,
            format!("Default: {}.", mib(model::DEFAULT_BUFFERS)),
        ),
        (
            Keyword::Buffers,
            format!(
                "From {} to {}g.",
                mib(model::BUFFERS_MIN),
                model::BUFFERS_MAX >> 30
            ),
        ),
        (Keyword::Provider, model::NBD_SOCKET_FOLDER.to_owned()),
    ] {
        let (_, text) = &statements[Keyword::ALL.iter().position(|it| *it == keyword).unwrap()];
        assert!(text.contains(&expected), "{keyword}: {expected}");
    }
    // A node without statements has the other defaults.
    let text = "resource r { local /x on a { remote none provider nbd } }";
    let node = NodeNames::named("a");
    let config = Config::parse(text, Path::new("hast.conf"), &node).unwrap();
    let resource = &config.resources[0];
    for (keyword, word) in [
        (Keyword::Replication, resource.replication.word()),
        (Keyword::Checksum, resource.checksum.word()),
        (Keyword::Compression, resource.compression.word()),
        (
            Keyword::Metaflush,
            if resource.metaflush { "on" } else { "off" },
        ),
    ] {
        let (_, text) = &statements[Keyword::ALL.iter().position(|it| *it == keyword).unwrap()];
        assert!(
            text.contains(&format!("Default:\n.Cm {word} .")),
            "{keyword}"
        );
    }
}

/// Examples of configurations are ones.
#[test]
fn examples_are_read_without_complaint() {
    let mut texts = Page::open("hast.conf.5").displays("EXAMPLES");
    let others = Page::open("hastd.8").displays("EXAMPLES");
    texts.extend(others.into_iter().filter(|text| text.contains("resource ")));
    texts.extend(["hast.conf", "hast.toml"].map(|name| read(Path::new("examples").join(name))));
    assert!(texts.len() >= 7, "{}", texts.len());
    for text in texts {
        let name = if text.contains(" = ") {
            "hast.toml"
        } else {
            "hast.conf"
        };
        let node = if text.contains("hast1") {
            "hast1"
        } else {
            "hasta"
        };
        let read = Config::parse(&text, Path::new(name), &NodeNames::named(node));
        assert!(read.is_ok(), "{read:?}\n{text}");
    }
}

/// Both are the same configuration; and the sample is one, with and without its comments.
#[test]
fn the_samples_agree() {
    let node = NodeNames::named("hastb");
    let config = |name: &str, text: &str| Config::parse(text, Path::new(name), &node).unwrap();
    let conf = config("hast.conf", &read("examples/hast.conf"));
    assert_eq!(conf, config("hast.toml", &read("examples/hast.toml")));
    assert_eq!(conf.resources.len(), 3);

    let sample = read("examples/hast.conf.sample");
    assert!(config("hast.conf", &sample).resources.is_empty());
    let (_, example) = sample.split_once("each:\n").expect("an example");
    let example = example.replace('#', " ");
    assert_eq!(config("hast.conf", &example).resources.len(), 1);
}

#[test]
fn the_page_has_the_events_that_programs_are_run_on() {
    let page = Page::open("hast.conf.5");
    let mut described: BTreeSet<&str> = BTreeSet::new();
    for line in page.section("EVENTS") {
        if let Some((event, rest)) = line
            .strip_prefix(".It Cm ")
            .and_then(|it| it.split_once(' '))
        {
            let more = if event == "role" {
                "Ar resource old new"
            } else {
                "Ar resource"
            };
            assert_eq!(rest, more);
            described.insert(event);
        }
    }
    let mut events: BTreeSet<&str> = HookEvent::ALL.map(HookEvent::word).into();
    events.insert("role");
    assert_eq!(described, events);
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
fn hastd_page_has_the_variables_and_commands_of_the_service() {
    let script = read("rc.d/hast");
    let head = |prefix: &str| -> BTreeSet<String> {
        let lines = script.lines().filter_map(|line| line.strip_prefix(prefix));
        lines
            .filter_map(|line| line.split([' ', '\t']).next())
            .map(str::to_owned)
            .collect()
    };
    let page = Page::open("hastd.8");
    let items = |of| page.items(of).into_iter().map(|(word, _)| word);
    let variables: BTreeSet<String> = items("Va").collect();
    let documented = head("# hast_")
        .into_iter()
        .map(|name| format!("hast_{name}"));
    assert_eq!(variables, documented.collect());
    let roles: BTreeSet<String> = hast::terms::Role::ALL
        .iter()
        .map(|role| role.word().to_owned())
        .collect();
    let commands: BTreeSet<String> = items("Cm").filter(|word| !roles.contains(word)).collect();
    let explained = script
        .lines()
        .skip_while(|line| !line.starts_with("# Commands beside"))
        .filter_map(|line| line.strip_prefix("# ")?.split_once('\t'))
        .map(|(word, _)| word.to_owned());
    assert_eq!(commands, explained.collect());
}

/// The text of the sources, with string literals that go over several lines made whole.
fn sources() -> String {
    let mut folders = vec![root().join("src")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
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
    for name in ["hastctl.8", "hastd.8"] {
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
        assert!(explained.contains(code), "{code} is in no page");
    }
}
