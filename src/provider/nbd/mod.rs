//! NBD: serves the device to any NBD client, on a unix socket or TCP. Fixed newstyle
//! handshake; flush, FUA, trim, write zeroes, structured reads, several connections. No TLS
//! and no metadata contexts.
//!
//! One thread reads for each client; replies leave from the threads that complete requests
//! (see [`connection`](self)'s invariants in its file). The way of a request: [`server`] accepts,
//! `negotiate` agrees, `transmission` reads and issues, `connection` or `compound` answers.

pub mod client;
pub mod protocol;
pub mod server;

mod address;
mod compound;
mod connection;
mod input;
mod negotiate;
mod socket;
mod transmission;

pub use address::{AddressError, ListenAddress, ListenError};
pub use server::{Export, Limits, ProviderError, Server};
