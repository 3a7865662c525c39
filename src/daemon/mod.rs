//! hastd's main process: one thread and one loop, which waits for everything at once and for
//! nothing in particular.
//!
//! | file | what |
//! | --- | --- |
//! | [`startup`] | from the command line to the loop |
//! | [`event_loop`] | what the process owns, and the loop |
//! | [`reactor`], [`timers`] | what the loop waits for |
//! | [`lifecycle`] | decides what a resource does next |
//! | [`managed`] | a resource, as far as the main process knows it |
//! | [`resources`], [`worker_process`] | carries that out |
//! | [`control_server`], [`requests`], [`role_change`] | hastctl: connections, meaning |
//! | [`meeting`], [`incoming`], [`queries`] | peers: connections, meaning |
//! | [`claims`] | what the other node has said of a resource |
//! | [`primary_line`] | whether the primary of a secondary is there |
//! | [`connector`], [`resolver`] | connections and names for workers |
//! | [`listener`], [`socket_file`] | what is connected to, and its files |
//! | [`hooks`] | `exec` programs |
//! | [`reload`] | SIGHUP |
//! | [`witness`] | `hastd --witness`: another main process, which has nothing of all this |
//!
//! Never does I/O on a component and never speaks the peer protocol beyond its first three
//! messages: workers do, and a crash of one touches no other resource. The only other
//! threads are short-lived and look names up or read the configuration.

pub mod arguments;
mod claims;
mod complaint;
mod connector;
mod control_server;
mod conversation;
mod event_loop;
mod hooks;
mod incoming;
mod known_status;
mod lifecycle;
mod listener;
mod managed;
mod meeting;
pub(crate) mod pidfile;
mod primary_line;
mod queries;
mod reactor;
mod reload;
mod requests;
mod resolver;
mod resources;
mod role_change;
pub(crate) mod signals;
mod socket_file;
mod startup;
mod timers;
mod witness;
mod worker_messages;
mod worker_process;

pub use startup::main;
