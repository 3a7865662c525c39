//! Real agents with real pairs of hastd, and stand-ins for the machine's programs: what devd, people and failures do
//! to them. Every wait is bounded; nothing is left behind.
#![allow(clippy::unwrap_used)]
// helpers of tests are tests too
// Shared with the tests of clusters, or of use to some tests only.
#![allow(dead_code)]

#[path = "../cluster/cluster.rs"]
mod cluster;
#[path = "../cluster/ledger.rs"]
mod ledger;
#[path = "../cluster/load.rs"]
mod load;
#[path = "../cluster/node.rs"]
mod node;
#[path = "../cluster/observe.rs"]
mod observe;
#[path = "../cluster/ports.rs"]
mod ports;
#[path = "../cluster/proxy.rs"]
mod proxy;
#[path = "../cluster/stamp.rs"]
mod stamp;
#[path = "../support/mod.rs"]
mod support;

mod commands;
mod crashes;
mod failures;
mod member;
mod pair;
mod runner;
mod socket;
mod story;
mod switchover;
mod witness;
