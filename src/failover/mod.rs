//! hast-failover: who is master of a group of resources, and the way there and back.
//!
//! [`supervisor`] decides and does nothing; the [`agent`] does and decides nothing. The one table of what is done
//! with programs is [`commands`].

pub mod agent;
pub mod carp;
pub mod cli;
pub mod commands;
pub mod config;
pub mod group;
pub mod look;
pub mod plan;
pub mod runner;
pub mod step;
pub mod supervisor;
