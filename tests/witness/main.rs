//! The witness as a real process and, where time has to have passed since its start, as its server in
//! this one; asked by the real client, and by some who mean no good.
#![allow(clippy::unwrap_used)] // helpers of tests are tests too

mod forget;
mod harness;
mod hostile;
mod leases;
mod process;
mod silent;
#[path = "../support/mod.rs"]
mod support;
