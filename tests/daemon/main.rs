//! hastd's main process as a real process: what belongs here goes through its command line, its
//! sockets and its signals.
#![allow(clippy::unwrap_used)] // helpers of tests are tests too

mod control;
mod harness;
mod open_devices;
mod peers;
mod permits;
mod queries;
mod reload;
mod startup;
mod superseded;
mod workers;
