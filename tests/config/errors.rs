//! Every complaint: the line it names and what it says, in one sentence.

use crate::{conf, toml};
use hast::config::{Config, ConfigError};
use std::path::Path;

/// Checks that `text` is refused on `line` with words that hold `part`.
fn refused(result: Result<Config, ConfigError>, text: &str, line: usize, part: &str) {
    let error = result.expect_err(text);
    assert_eq!(error.exit_code(), 78);
    let ConfigError::Invalid {
        line: found, what, ..
    } = &error
    else {
        panic!("{text}: {error}");
    };
    assert_eq!(*found, line, "{text}: {error}");
    assert!(what.contains(part), "{text}: {error}");
    assert!(
        !what.contains('\n') && !what.ends_with('.'),
        "{text}: {error}"
    );
}

const DISK: &str = "resource d {\nlocal /d\non hasta {\nremote none\n";

#[test]
fn shape() {
    for (text, line, part) in [
        (
            "\nlissten x",
            2,
            "unknown word 'lissten' in the global section; expected one of control, listen, pidfile",
        ),
        (
            "on hasta {\nreplication async }",
            2,
            "'replication' does not belong in a node's section; expected one of control, listen, pidfile",
        ),
        (
            "remote none",
            1,
            "'remote' does not belong in the global section",
        ),
        (
            "resource d { remote none }",
            1,
            "'remote' does not belong in a resource",
        ),
        (
            "resource d {\nresource e {} }",
            2,
            "'resource' does not belong in a resource",
        ),
        (
            "resource d { on hasta { on hasta {} } }",
            1,
            "'on' does not belong in a node's section of a resource",
        ),
        (
            "resource d { on hasta { timeout 3 } }",
            1,
            "'timeout' does not belong",
        ),
        (
            "resource d { on hasta { buffers 8m } }",
            1,
            "'buffers' does not belong",
        ),
        ("resource d { control /x }", 1, "'control' does not belong"),
        ("}", 1, "found '}' in the global section"),
        ("{", 1, "found '{'"),
        ("\"timeout\" 3", 1, "found \"timeout\""),
        (
            "timeout",
            1,
            "end of the file; expected the value of timeout",
        ),
        ("timeout {", 1, "found '{'; expected the value of timeout"),
        ("on", 1, "end of the file; expected a node's name"),
        ("resource {", 1, "found '{'; expected a resource's name"),
        ("resource d\nlocal /d", 2, "found 'local'; expected '{'"),
        ("on hasta\n", 1, "end of the file; expected '{'"),
        (
            "on hasta {\n\nlisten 1.2.3.4\n",
            3,
            "expected '}' to close the section opened on line 1",
        ),
        ("listen = x", 1, "'='"),
        ("pidfile \"/x", 1, "end of the line in a string"),
    ] {
        refused(conf(text), text, line, part);
    }
}

#[test]
fn values() {
    let long_name = format!("resource {} {{}}", "n".repeat(255));
    let long_path = format!("pidfile /{}", "p".repeat(1023));
    let long_address = format!("control /{}", "a".repeat(1023));
    for (text, line, part) in [
        ("control nonsense://x", 1, "control: unknown protocol"),
        ("listen host:0", 1, "listen: bad port"),
        (
            "listen /socket",
            1,
            "listen: found the Unix socket '/socket'; expected a TCP address",
        ),
        ("listen tcp4://[::1]", 1, "listen: bad host"),
        (
            "pidfile hastd.pid",
            1,
            "pidfile: found 'hastd.pid'; expected a path that begins with '/'",
        ),
        (
            "replication sync",
            1,
            "replication: unknown replication mode 'sync'; expected fullsync, memsync or async",
        ),
        ("checksum md5", 1, "expected none, crc32 or sha256"),
        ("compression zstd", 1, "expected none, hole or lzf"),
        (
            "timeout 0",
            1,
            "timeout: found '0'; expected a number of seconds from 1 to 86400",
        ),
        ("timeout 86401", 1, "found '86401'"),
        ("timeout -1", 1, "found '-1'"),
        ("timeout soon", 1, "found 'soon'"),
        ("exec hook.sh", 1, "exec: found 'hook.sh'"),
        (
            "metaflush yes",
            1,
            "metaflush: found 'yes'; expected on or off",
        ),
        (
            "provider iscsi",
            1,
            "provider: found 'iscsi'; expected gate, nbd, or nbd and an address",
        ),
        ("provider nbd host:x", 1, "provider: bad port"),
        ("provider gate /x", 1, "unknown word '/x'"),
        (
            "buffers 3m",
            1,
            "buffers: found '3m'; expected a size from 4m to 65536m",
        ),
        ("buffers 65g", 1, "found '65g'"),
        ("buffers lots", 1, "bad size 'lots'"),
        ("resource \"\" {}", 1, "empty name"),
        ("resource \"a b\" {}", 1, "white space"),
        ("resource ../x {}", 1, "not usable below /dev/hast"),
        (
            "resource d { name /x }",
            1,
            "name: the name '/x' is not usable",
        ),
        ("resource d { local d }", 1, "local: found 'd'"),
        (
            "resource d { local /d on hasta {\nremote /socket } }",
            2,
            "remote: found the Unix socket",
        ),
        (
            "resource d { local /d on hasta { remote none\nsource none:0 } }",
            2,
            "source: bad port",
        ),
        (long_name.as_str(), 1, "too long (255 bytes; at most 254)"),
        (long_path.as_str(), 1, "too long (1024 bytes; at most 1023)"),
        (
            long_address.as_str(),
            1,
            "too long (1024 bytes; at most 1023)",
        ),
    ] {
        refused(conf(text), text, line, part);
    }
}

#[test]
fn sense() {
    let second = |rest: &str| format!("{DISK}}}}}\nresource e {{\n{rest}");
    for (text, line, part) in [
        ("timeout 3\n\ntimeout 3".to_owned(), 3, "'timeout' is repeated; it was already set on line 1"),
        (format!("{DISK}remote none }} }}"), 5, "'remote' is repeated"),
        ("on hasta {}\non hasta {}".to_owned(), 2, "'on hasta' is repeated; it was already opened on line 1"),
        ("on other {}\non other {}".to_owned(), 2, "'on other' is repeated"),
        (format!("{DISK}}}}}\nresource d {{ local /e\non hasta {{ remote none }} }}"), 6, "the resource d is configured twice"),
        ("resource all { local /d\non hasta { remote none } }".to_owned(), 1, "'all' means every resource"),
        ("\nresource d { local /d\non hastb { remote none } }".to_owned(), 2, "resource d: no 'on' section for this node (names tried: hasta)"),
        ("resource d {\non hasta { remote none } }".to_owned(), 2, "resource d: no 'local' path"),
        ("resource d { local /d\non hasta { } }".to_owned(), 2, "resource d: no 'remote' address"),
        (second("local /d\non hasta { remote none } }"), 6, "resource e: its local path /d is also that of resource d"),
        (second("local /e name d\non hasta { remote none } }"), 6, "its provider name d is also"),
        (
            format!("provider nbd h:1\n{}", second("local /e\non hasta { remote none } }")),
            7,
            "its provider nbd h:1 is also that of resource d",
        ),
        (
            "listen tcp://127.0.0.1:1\nresource d { local /d\non hasta { remote tcp4://127.0.0.1:1 } }".to_owned(),
            2,
            "its remote tcp4://127.0.0.1:1 is an address this node itself listens on",
        ),
    ] {
        refused(conf(&text), &text, line, part);
    }
}

#[test]
fn sections_of_other_nodes_are_checked_too() {
    let text = format!("{DISK}}}\non hastb {{\nremote tcp://hasta:0 }} }}");
    refused(conf(&text), &text, 7, "bad port");
    let text = "on hastb {\nlisten x:y }";
    refused(conf(text), text, 2, "bad port");
}

#[test]
fn two_sections_for_one_node_are_ambiguous() {
    let text = "on hasta {}\non hasta.example.org {}";
    let node = hast::config::NodeNames::named("hasta.example.org");
    let result = Config::parse(text, Path::new("c"), &node);
    refused(
        result,
        text,
        2,
        "'on hasta.example.org' is this node as well as 'on hasta' on line 1",
    );
}

#[test]
fn toml_errors_name_lines_too() {
    for (text, line, part) in [
        (
            "\nlissten = 'x'",
            2,
            "unknown field `lissten`, expected one of `control`, `listen`",
        ),
        (
            "[on.hasta]\nreplication = 'async'",
            2,
            "unknown field `replication`",
        ),
        ("[resource.d]\nremote = 'none'", 2, "unknown field `remote`"),
        (
            "[resource.d.on.hasta]\ntimeout = 3",
            2,
            "unknown field `timeout`",
        ),
        ("timeout = 'soon'", 1, "invalid type"),
        ("timeout = -1", 1, "invalid value"),
        ("metaflush = 'on'", 1, "invalid type"),
        (
            "\nlisten = 3",
            2,
            "expected a string or an array of strings",
        ),
        ("buffers = true", 1, "expected a size"),
        ("control = ", 1, "string"),
        ("timeout = 3\ntimeout = 3", 2, "duplicate key"),
        (
            "\n\ntimeout = 0",
            3,
            "timeout: found '0'; expected a number of seconds",
        ),
        ("listen = [\n'host:0']", 1, "listen: bad port"),
        ("provider = 'nbd host:x'", 1, "provider: bad port"),
        (
            "[resource.d]\nlocal = '/d'\n[resource.d.on.hastb]\nremote = 'none'",
            1,
            "no 'on' section for this node",
        ),
        (
            "[resource.d]\nlocal = '/d'\n[resource.d.on.hasta]\nsource = 'h'",
            3,
            "no 'remote' address",
        ),
    ] {
        refused(toml(text), text, line, part);
    }
}

#[test]
fn files_that_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("hast.conf");
    let error = Config::load(Some(&missing), Some("hasta")).unwrap_err();
    assert_eq!(error.exit_code(), 72);
    assert!(error.to_string().starts_with(&format!(
        "cannot read the configuration {}",
        missing.display()
    )));

    std::fs::write(&missing, b"timeout 3\n\xff").unwrap();
    let error = Config::load(Some(&missing), Some("hasta")).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert_eq!(
        error.to_string(),
        format!(
            "{}, line 2: found bytes that are not UTF-8 text",
            missing.display()
        )
    );

    std::fs::write(&missing, vec![b'\n'; (4 << 20) + 1]).unwrap();
    let error = Config::load(Some(&missing), Some("hasta")).unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge(_)), "{error}");

    let toml = folder.path().join("hast.toml");
    std::fs::write(&toml, "timeout = 3\n").unwrap();
    assert!(
        Config::load(Some(&toml), Some("hasta"))
            .unwrap()
            .resources
            .is_empty()
    );
}
