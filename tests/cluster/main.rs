//! Real hastd processes, two nodes on one machine, under a verifying writer: what a user and a
//! failure can do to them. Every wait is bounded; nothing is left behind.
#![allow(clippy::unwrap_used)] // helpers of tests are tests too
// Shared with the demonstration, or of use to some tests only.
#![allow(dead_code)]

mod cluster;
mod ledger;
mod load;
mod node;
mod observe;
mod ports;
mod proxy;
mod stamp;
#[path = "../support/mod.rs"]
mod support;

mod beside;
mod chaos;
mod components;
mod endings;
mod failover;
mod hooks;
mod hostile;
mod hundred;
mod images;
mod kills;
mod network;

mod reload;
mod resync;
mod split_brain;
mod superseded;
mod walkthrough;
