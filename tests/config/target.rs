//! What any text at all is given to: shared by the bounded run of the tests and the target in fuzz/.

use std::path::Path;

use hast::config::{Config, ConfigError, NodeNames};

/// Reads a text in both notations. Panics where a parser does, or where a complaint is not one line that
/// names a place in the text. Says by how many it was refused.
pub fn configuration(text: &str) -> u64 {
    let mut refused = 0;
    for name in ["test.conf", "test.toml"] {
        let Err(error) = Config::parse(text, Path::new(name), &NodeNames::named("hasta")) else {
            continue;
        };
        refused += 1;
        let said = error.to_string();
        assert!(!said.contains('\n'), "{said:?}");
        let ConfigError::Invalid { line, .. } = error else {
            panic!("a text is invalid or not: {said}");
        };
        assert!(line <= text.lines().count() + 1, "line {line}: {said}");
    }
    refused
}
