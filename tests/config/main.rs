//! The configuration through its public door: both notations, every statement, every complaint.
#![allow(clippy::unwrap_used)] // helpers of tests are tests too

mod errors;
mod failover;
mod failover_errors;
mod fuzz;
mod notations;
mod reload;
mod target;

use hast::config::{Config, ConfigError, NodeNames};
use std::path::Path;

/// A configuration in hast.conf's notation for the node hasta.
fn conf(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("test.conf"), &NodeNames::named("hasta"))
}

/// A configuration in TOML for the node hasta.
fn toml(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("test.toml"), &NodeNames::named("hasta"))
}
