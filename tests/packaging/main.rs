//! What makes the programs a part of FreeBSD, tried without FreeBSD: the rc.d script, the manual
//! pages, the port, `make install`.

mod agent_service;
mod documents;
mod dry_run;
mod install;
mod manual;
mod mdoc;
mod port;
mod release;
mod samples;
mod service;
mod stage;
mod statements;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod witness_service;

use std::path::{Path, PathBuf};

/// What lies in rc.d.
const SCRIPTS: [&str; 4] = ["hast", "hast_carp", "hast_failover", "hast_witness"];

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    let path: PathBuf = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
