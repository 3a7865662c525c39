//! Where a configuration is looked for when none is named.

use std::path::{Path, PathBuf};

/// In order of preference: the installed package's own, TOML first, then the base system's.
const PLACES: [&str; 3] = [
    "/usr/local/etc/hast.toml",
    "/usr/local/etc/hast.conf",
    "/etc/hast.conf",
];

/// The first configuration file there is.
///
/// # Errors
/// The places looked at, when none holds one.
pub fn find() -> Result<PathBuf, Vec<PathBuf>> {
    first_of(&PLACES.map(PathBuf::from))
}

/// A place that can not be looked into counts as holding a file: reading it then says why.
fn first_of(places: &[PathBuf]) -> Result<PathBuf, Vec<PathBuf>> {
    let there = |path: &&PathBuf| Path::try_exists(path).unwrap_or(true);
    places
        .iter()
        .find(there)
        .cloned()
        .ok_or_else(|| places.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_there_is_wins() {
        let folder = tempfile::tempdir().unwrap();
        let places = ["a.toml", "a.conf", "b.conf"].map(|name| folder.path().join(name));
        assert_eq!(first_of(&places), Err(places.to_vec()));
        std::fs::write(&places[2], "").unwrap();
        assert_eq!(first_of(&places).as_ref(), Ok(&places[2]));
        std::fs::write(&places[0], "").unwrap();
        assert_eq!(first_of(&places).as_ref(), Ok(&places[0]));
    }
}
