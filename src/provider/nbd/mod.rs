//! NBD: serves the device to any NBD client, on a unix socket or TCP. Fixed newstyle
//! handshake; flush, FUA, trim, write zeroes, structured reads, several connections. No TLS
//! and no metadata contexts.
//!
//! One thread reads for each client; replies leave from the threads that complete requests.
//! The way of a request: [`server`] accepts, `guest` is the client's thread, `negotiate` agrees
//! on the export, `transmission` reads and issues, `connection` (for requests that the backend
//! takes in one piece) or `compound` (for others) answers, `reply` sends. [`opener`] says who a client is.

pub mod client;
pub mod opener;
pub mod protocol;
pub mod server;

mod address;
mod compound;
mod connection;
mod guest;
mod input;
mod negotiate;
mod reply;
mod socket;
mod transmission;

pub use address::{AddressError, ListenAddress, ListenError};
pub use opener::{Open, Opener};
pub use server::{Export, Limits, ProviderError, Server};
