//! hast-failover: who is master of a group of resources, and the way there and back.
//!
//! [`supervisor`] decides and does nothing; the agent does and decides nothing.

pub mod config;
pub mod group;
pub mod plan;
pub mod step;
pub mod supervisor;
