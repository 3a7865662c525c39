//! hast.conf(5) says what the code reads, and nothing else: statements in both notations, defaults,
//! events; and every example is a configuration.

use std::collections::BTreeSet;
use std::path::Path;

use hast::config::{Config, Keyword, NodeNames, SectionKind, model};
use hast::worker::channel::HookEvent;

use crate::mdoc::Page;
use crate::read;

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
    let text_of = |keyword: Keyword| {
        let found = statements.iter().find(|(word, _)| word == keyword.word());
        // A sentence may go over several lines.
        found.expect("is in the page").1.replace('\n', " ")
    };
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
        let text = text_of(keyword);
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
        let text = text_of(keyword);
        assert!(
            text.contains(&format!("Default: .Cm {word} .")),
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
