//! Workers as they run, but in this process: over real sockets, with files as components, and a test
//! in the place of hastd's main process.

// A test fails where something does not hold: that is what unwrap says, outside of #[test], too.
#![allow(clippy::unwrap_used)]

mod failures;
mod gate;
mod harness;
mod log;
#[allow(dead_code, unused_imports)] // the provider's own tests use the rest
#[path = "../gate/model/mod.rs"]
mod model;
mod pairs;
mod permits;
mod replay;
mod strangers;
mod takeover;
#[allow(dead_code)] // the formats' tests use the rest
#[path = "../formats/vectors.rs"]
mod vectors;

use harness::LIMIT as PATIENCE;
