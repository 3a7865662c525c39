//! What any text at all is given to: shared by the bounded run of the tests and the target in fuzz/.

use std::path::Path;

use hast::config::{Config, ConfigError, NodeNames};
use hast::failover::group::Settings;

/// Reads a text in both notations, and as what is asked of failover. Panics where a parser does, or where a
/// complaint is not one line that names a place in the text. Says by how many it was refused.
pub fn configuration(text: &str) -> u64 {
    let node = NodeNames::named("hasta");
    let mut refused = 0;
    let mut check = |error: ConfigError| {
        refused += 1;
        let said = error.to_string();
        assert!(!said.contains('\n'), "{said:?}");
        let ConfigError::Invalid { line, .. } = error else {
            panic!("a text is invalid or not: {said}");
        };
        assert!(line <= text.lines().count() + 1, "line {line}: {said}");
    };
    // Resources for the tables of a text that has none itself.
    let resources = "resource disk1 { local /1 on hasta { remote none } }\n\
                     resource disk2 { local /2 on hasta { remote none } }";
    let others = Config::parse(resources, Path::new("test.conf"), &node).expect("resources");
    for (name, failover) in [
        ("test.conf", "hast-failover.toml"),
        ("test.toml", "test.toml"),
    ] {
        let read = Config::parse(text, Path::new(name), &node).map_err(&mut check);
        let config = read.as_ref().unwrap_or(&others);
        if let Err(error) = Settings::parse(text, Path::new(failover), config, &node) {
            check(error);
        }
    }
    refused
}
