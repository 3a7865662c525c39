//! hast: highly available storage. Two machines, one disk, no lost write.
//!
//! Dependencies point downward only:
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`cli`] | hastctl's commands and how they print |
//! | [`failover`] | hast-failover: groups, the supervisor that decides, the agent that does |
//! | [`daemon`] | hastd's main process: listeners, children, reload, hooks |
//! | [`witness`] | which of two nodes may be master: the third machine's side, and a node's |
//! | [`worker`] | runs an engine: threads, buffers, sender, receiver |
//! | [`control`] | what hastctl and hastd say to each other |
//! | [`config`] | one model; two notations read into it: hast.conf and TOML |
//! | [`provider`] | where requests come from |
//! | [`disk`] | the local component: a provider or a file |
//! | [`engine`] | decides what is written where and when it is acknowledged. No I/O, no clock, no threads |
//! | [`wire`] | messages between nodes. No sockets |
//! | [`layout`] | metadata and activemap as they lie on disk. No files |
//! | [`passing`] | descriptors handed from one process to another |
//! | `deadline` | a blocking socket whose every wait ends |
//! | `pause` | letting time pass, in capability mode too |
//! | [`peer_query`] | asking the other node what it is, and telling it what we are about to do |
//! | [`moment`] | moments that processes of one machine tell each other |
//! | [`logging`] | where a process's log goes |
//! | [`nv`] | the name-value encoding |
//! | [`terms`] | the words that hast.conf, the wire and status share |
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
mod deadline;
pub mod disk;
pub mod engine;
pub mod failover;
pub mod layout;
pub mod logging;
pub mod moment;
pub mod nv;
pub mod passing;
mod pause;
pub mod peer_query;
pub mod provider;
pub mod terms;
pub mod wire;
pub mod witness;
pub mod worker;
