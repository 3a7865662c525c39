//! What a correct configuration means, in either notation.

use crate::{conf, toml};
use hast::config::model::{BUFFERS_MIN, DEFAULT_BUFFERS, TIMEOUT_MAX};
use hast::config::{Address, Config, DEFAULT_PORT, NodeNames, Provider};
use hast::terms::{Checksum, Compression, Replication};
use std::path::{Path, PathBuf};
use std::time::Duration;

const FULL_CONF: &str = include_str!("full.conf");
const FULL_TOML: &str = include_str!("full.toml");

/// One resource with the given lines before it, in it, and in its section for hasta.
fn one(global: &str, resource: &str, node: &str) -> Config {
    let text = format!(
        "{global}\nresource disk1 {{\n local /dev/disk1\n {resource}\n on hasta {{ remote none\n {node} }} }}"
    );
    conf(&text).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text, DEFAULT_PORT).unwrap()
}

#[test]
fn the_two_notations_say_the_same() {
    for node in ["hasta", "hastb"] {
        let node = NodeNames::named(node);
        let from_conf = Config::parse(FULL_CONF, Path::new("full.conf"), &node).unwrap();
        let from_toml = Config::parse(FULL_TOML, Path::new("full.toml"), &node).unwrap();
        assert_eq!(from_conf, from_toml);
    }
}

#[test]
fn a_full_configuration_is_resolved_for_its_node() {
    let config = conf(FULL_CONF).unwrap();
    assert_eq!(config.control.text(), "/var/run/hastctl.a");
    assert_eq!(config.pidfile, PathBuf::from("/var/run/a.pid"));
    let listen: Vec<&str> = config.listen.iter().map(Address::text).collect();
    assert_eq!(
        listen,
        [
            "tcp4://10.0.0.1",
            "[2001:db8::1]:9457",
            "tcp://127.0.0.1:8460"
        ]
    );
    assert!(!config.listen_is_default);

    let names: Vec<&str> = config
        .resources
        .iter()
        .map(|resource| resource.name.as_str())
        .collect();
    assert_eq!(names, ["zebra", "ant"], "the file's order is kept");

    let zebra = config.resource("zebra").unwrap();
    assert_eq!(zebra.provname, "striped-a");
    assert_eq!(zebra.local, PathBuf::from("/dev/zebra-a"));
    assert_eq!(zebra.remote_text(), "tcp4://10.0.0.2:8459");
    assert_eq!(
        zebra.source.as_ref().unwrap().numeric(),
        Some("10.0.0.1:0".parse().unwrap())
    );
    assert_eq!(zebra.replication, Replication::Fullsync);
    assert_eq!(zebra.checksum, Checksum::Sha256);
    assert_eq!(zebra.compression, Compression::None);
    assert_eq!(zebra.timeout, Duration::from_secs(30));
    assert_eq!(zebra.exec, Some(PathBuf::from("/usr/local/libexec/zebra")));
    assert!(!zebra.metaflush);
    assert_eq!(zebra.provider, Provider::Nbd(address("/var/run/zebra.nbd")));
    assert_eq!(zebra.buffers, 1 << 30);

    let ant = config.resource("ant").unwrap();
    assert_eq!(ant.provname, "ant");
    assert_eq!(ant.remote, None);
    assert_eq!(ant.remote_text(), "none");
    assert_eq!(ant.source, None);
    assert_eq!(ant.replication, Replication::Async);
    assert_eq!(ant.checksum, Checksum::Crc32);
    assert_eq!(ant.compression, Compression::Lzf);
    assert_eq!(ant.timeout, Duration::from_secs(7));
    assert_eq!(ant.exec, Some(PathBuf::from("/usr/local/libexec/a hook")));
    assert!(!ant.metaflush);
    assert_eq!(
        ant.provider,
        Provider::Nbd(address("/var/run/hast/ant.nbd"))
    );
    assert_eq!(ant.buffers, 64 << 20);
}

#[test]
fn what_is_inherited_from_the_resource_is_the_resources() {
    let node = NodeNames::named("hastb");
    let config = Config::parse(FULL_CONF, Path::new("full.conf"), &node).unwrap();
    let zebra = config.resource("zebra").unwrap();
    assert_eq!(zebra.provname, "striped");
    assert_eq!(zebra.local, PathBuf::from("/dev/zebra"));
    assert!(zebra.metaflush);
    assert_eq!(zebra.provider.to_string(), "nbd tcp://127.0.0.1:10810");
    assert_eq!(config.control.text(), "uds:///var/run/hastctl.global");
    assert_eq!(config.pidfile, PathBuf::from("/var/run/global.pid"));
}

#[test]
fn defaults_are_bases() {
    let config = one("", "", "");
    assert_eq!(config.control, address("/var/run/hastctl"));
    assert_eq!(
        config.listen,
        [address("tcp4://0.0.0.0:8457"), address("tcp6://[::]:8457")]
    );
    assert!(config.listen_is_default);
    assert_eq!(config.pidfile, PathBuf::from("/var/run/hastd.pid"));
    let disk = &config.resources[0];
    assert_eq!(disk.provname, "disk1");
    assert_eq!(disk.replication, Replication::Memsync);
    assert_eq!(disk.checksum, Checksum::None);
    assert_eq!(disk.compression, Compression::Hole);
    assert_eq!(disk.timeout, Duration::from_secs(20));
    assert_eq!(disk.exec, None);
    assert!(disk.metaflush);
    assert_eq!(disk.buffers, DEFAULT_BUFFERS);
    let provider = if cfg!(target_os = "freebsd") {
        Provider::Gate
    } else {
        Provider::Nbd(address("/var/run/hast/disk1.nbd"))
    };
    assert_eq!(disk.provider, provider);
    assert!(conf("").unwrap().resources.is_empty());
    assert_eq!(conf("").unwrap(), toml("").unwrap());
}

#[test]
fn gate_is_for_freebsd() {
    let text = "provider gate\nresource d { local /d\non hasta { remote none } }";
    if cfg!(target_os = "freebsd") {
        assert_eq!(conf(text).unwrap().resources[0].provider, Provider::Gate);
    } else {
        let error = conf(text).unwrap_err().to_string();
        assert!(error.contains("FreeBSD only"), "{error}");
    }
}

#[test]
fn each_inner_section_overrides_the_outer_one() {
    let metaflush = |global, resource, node| one(global, resource, node).resources[0].metaflush;
    assert!(metaflush("metaflush off", "metaflush off", "metaflush on"));
    assert!(metaflush("metaflush off", "metaflush on", ""));
    assert!(!metaflush("metaflush off", "", ""));

    let provname = |resource, node| one("", resource, node).resources[0].provname.clone();
    assert_eq!(provname("name outer", "name inner"), "inner");
    assert_eq!(provname("name outer", ""), "outer");

    let timeout = |global, resource| one(global, resource, "").resources[0].timeout.as_secs();
    assert_eq!(timeout("timeout 1", "timeout 86400"), TIMEOUT_MAX.as_secs());
    assert_eq!(timeout("timeout 1", ""), 1);

    let provider = |global, resource, node| {
        one(global, resource, node).resources[0]
            .provider
            .to_string()
    };
    assert_eq!(
        provider("provider nbd", "provider nbd h:1", "provider nbd h:2"),
        "nbd h:2"
    );
    assert_eq!(provider("provider nbd", "provider nbd h:1", ""), "nbd h:1");
    assert_eq!(
        provider("provider nbd", "name p", ""),
        "nbd /var/run/hast/p.nbd"
    );
    assert_eq!(one("buffers 4m", "", "").resources[0].buffers, BUFFERS_MIN);
}

#[test]
fn the_optional_address_does_not_swallow_the_next_statement() {
    let disk = one(
        "provider nbd timeout 9",
        "provider nbd\nmetaflush off",
        "provider nbd",
    );
    assert_eq!(disk.resources[0].timeout, Duration::from_secs(9));
    assert!(!disk.resources[0].metaflush);
    let quoted = one("provider nbd \"timeout\" timeout 9", "", "");
    assert_eq!(
        quoted.resources[0].provider,
        Provider::Nbd(Address::parse("timeout", 10809).unwrap())
    );
}

#[test]
fn spelling_does_not_matter_where_base_does_not_mind() {
    let squeezed = "resource d{local/d on hasta{remote none}}";
    assert!(conf(squeezed).is_err(), "local/d is one word, in base too");
    let squeezed = "resource d{local \"/d\"on hasta{remote none}}#end";
    let spread =
        "\n\tresource\nd\n{\r\nlocal\n/d\n on\nhasta { # comment {\n remote\n\"none\"\n}\n}\n";
    assert_eq!(conf(squeezed).unwrap(), conf(spread).unwrap());
}

#[test]
fn a_node_is_found_by_full_name_or_first_label() {
    let text = |node| format!("resource d {{ local /d\non {node} {{ remote none }} }}");
    let long = NodeNames::named("hasta.example.org");
    for node in ["hasta", "hasta.example.org"] {
        assert!(
            Config::parse(&text(node), Path::new("c"), &long).is_ok(),
            "{node}"
        );
    }
    assert!(conf(&text("hasta.example.org")).is_err());
}

#[test]
fn tables_may_be_written_in_any_toml_style() {
    let headers = "[resource.b]\nlocal = '/b'\n[resource.b.on.hasta]\nremote = 'none'\n\
                   [resource.a]\nlocal = '/a'\n[resource.a.on.hasta]\nremote = 'none'\n";
    let inline = "resource.b = { local = '/b', on.hasta.remote = 'none' }\n\
                  resource.a = { local = '/a', on = { hasta = { remote = 'none' } } }\n";
    let config = toml(headers).unwrap();
    assert_eq!(config.resources[0].name, "b", "the file's order is kept");
    assert_eq!(config, toml(inline).unwrap());
}
