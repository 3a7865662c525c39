//! hast-failover.toml(5) says what the code reads, and nothing else: keys, defaults, words; and every
//! example is a configuration.

use std::path::Path;

use hast::config::{Config, NodeNames};
use hast::failover::config::{DEFAULT_CONTROL, DEFAULT_LEASE, DEFAULT_STATE, OWN_FILE};
use hast::failover::group::{
    FailBack, ForceImport, Fsck, HookPoint, OnHang, OnLeaseLoss, OnUnreachable, Programs, Settings,
};

use crate::mdoc::{Page, arguments};

const PAGE: &str = "hast-failover.toml.5";

const RESOURCES: &str = "resource disk1 { local /1 on hast1 { remote h } on hast2 { remote g } }
resource disk2 { local /2 on hast1 { remote h } on hast2 { remote g } }
resource disk3 { local /3 on hast1 { remote h } on hast2 { remote g } }";

fn parse(text: &str, node: &str) -> Result<Settings, String> {
    let node = NodeNames::named(node);
    let config = Config::parse(RESOURCES, Path::new("hast.conf"), &node).expect("resources");
    let settings = Settings::parse(text, Path::new(OWN_FILE), &config, &node);
    settings.map_err(|error| error.to_string())
}

/// The keys of a table, by what is said of one that it does not have.
fn keys(table: &str) -> Vec<String> {
    let said = parse(&format!("[{table}]\nno-such-key = 1"), "hast1").expect_err("unknown");
    let (_, known) = said.split_once("expected one of ").expect("a list");
    let words = known.split(", ");
    words
        .map(|word| word.trim_matches('`').to_owned())
        .collect()
}

/// The items of the page, in its order: a key, and what is said of it on one line.
fn items() -> Vec<(String, String)> {
    let items = Page::open(PAGE).items("Ic").into_iter();
    items
        .map(|(key, text)| (key, text.replace('\n', " ")))
        .collect()
}

#[test]
fn the_page_has_the_keys_of_every_table() {
    let hooks = HookPoint::ALL.iter().map(|point| point.word().to_owned());
    let expected: Vec<String> = keys("failover")
        .into_iter()
        .chain(keys("failover.programs"))
        .chain(keys("group.g"))
        .chain(keys("group.g.limits"))
        .chain(hooks)
        .collect();
    let described: Vec<String> = items().into_iter().map(|(key, _)| key).collect();
    assert_eq!(described, expected);
}

#[test]
fn the_page_has_the_defaults() {
    let items = items();
    let texts = |key: &str| -> Vec<&str> {
        let found = items.iter().filter(|(word, _)| word == key);
        found.map(|(_, text)| text.as_str()).collect()
    };
    let says = |key: &str, expected: &str| {
        let texts = texts(key);
        let said = texts.iter().any(|text| text.contains(expected));
        assert!(said, "{key}: {expected}: {texts:?}");
    };
    says("control", &format!("Default: .Pa {DEFAULT_CONTROL} ."));
    says("state", &format!("Default: .Pa {DEFAULT_STATE} ."));
    says("lease", &format!("Default: {}.", DEFAULT_LEASE.as_secs()));

    let settings = parse("[group.g]\nresources = ['disk1']", "hast1").expect("a group");
    let group = &settings.groups[0];
    for (key, words, default) in [
        (
            "on-unreachable",
            OnUnreachable::ALL
                .iter()
                .map(|it| it.word())
                .collect::<Vec<_>>(),
            group.on_unreachable.word(),
        ),
        (
            "force-import",
            ForceImport::ALL.iter().map(|it| it.word()).collect(),
            group.force_import.word(),
        ),
        (
            "fsck",
            Fsck::ALL.iter().map(|it| it.word()).collect(),
            group.fsck.word(),
        ),
        (
            "on-hang",
            OnHang::ALL.iter().map(|it| it.word()).collect(),
            group.on_hang.word(),
        ),
        (
            "on-lease-loss",
            OnLeaseLoss::ALL.iter().map(|it| it.word()).collect(),
            group.on_lease_loss.word(),
        ),
        (
            "fail-back",
            FailBack::ALL.iter().map(|it| it.word()).collect(),
            group.fail_back.word(),
        ),
    ] {
        says(key, &format!("Cm {} ", words.join(" | ")));
        says(key, &format!("Default: .Cm {default} ."));
    }
    says(
        "freshness",
        &format!("Default: {}.", group.freshness.as_secs()),
    );
    says(
        "debounce",
        &format!("Default: {}.", group.debounce.as_secs()),
    );

    let limits = group.limits;
    for (key, limit) in [
        ("hastd", limits.hastd),
        ("peer", limits.peer),
        ("promote", limits.promote),
        ("import", limits.import),
        ("export", limits.export),
        ("fsck", limits.fsck),
        ("mount", limits.mount),
        ("service", limits.service),
        ("fence", limits.fence),
        ("hook", limits.hook),
        ("takeover", limits.takeover),
    ] {
        says(key, &format!("Default: {}.", limit.as_secs()));
    }
    let programs = Programs::default();
    for (key, path) in [
        ("zpool", programs.zpool),
        ("mount", programs.mount),
        ("umount", programs.umount),
        ("fsck", programs.fsck),
        ("service", programs.service),
        ("ifconfig", programs.ifconfig),
        ("sysctl", programs.sysctl),
        ("reboot", programs.reboot),
    ] {
        says(key, &format!("Default: .Pa {} .", path.display()));
    }
}

#[test]
fn what_a_node_may_have_of_its_own_is_there() {
    let said = parse("[group.g.on.hast1]\nx = 1", "hast1").expect_err("unknown");
    assert!(said.contains("expected `carp` or `fence`"), "{said}");
    let page = Page::open(PAGE);
    let text = page.text();
    let (_, nodes) = text.split_once(".Ss Nodes").expect("a section");
    let nodes: Vec<String> = nodes.lines().take(12).map(str::to_owned).collect();
    let words = arguments(&nodes, "Ic");
    assert!(
        words.contains(&"carp") && words.contains(&"fence"),
        "{words:?}"
    );
}

#[test]
fn examples_are_configurations() {
    let examples = Page::open(PAGE).displays("EXAMPLES");
    assert_eq!(examples.len(), 2);
    for text in examples {
        for node in ["hast1", "hast2"] {
            let read = parse(&text, node);
            assert!(read.is_ok(), "{read:?}\n{text}");
        }
    }
}
