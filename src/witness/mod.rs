//! The witness: a third machine that knows which of two nodes may be master, so that a node that
//! cannot reach the other does not have to guess. It holds no data.
//!
//! | file | what |
//! | --- | --- |
//! | [`leases`] | who is granted what; pure, told the time |
//! | [`message`] | requests and answers |
//! | [`protocol`] | frames, and their authentication |
//! | [`secret`] | the secret that the nodes and the witness share |
//! | [`store`] | what must outlive the witness, in a file |
//! | [`server`] | `hastd --witness`: connections |
//! | `connection` | one of them |
//! | [`client`] | a node's side |
//!
//! What holds, whatever is lost, late, repeated or restarted: of one group never two nodes have
//! a lease at one moment, each by its own clock; and while one node is recorded as the only one
//! with current data, no other is granted a lease unless a person forces it.
//!
//! A node is trusted once it knows the secret: this guards against strangers, not against nodes.
//! Clocks may differ in rate by as much as [`leases::MARGIN`] is of [`leases::LONGEST`]. One
//! that stands still while its machine is suspended does not count that time: such a node
//! has to be fenced.

pub mod client;
mod connection;
pub mod leases;
pub mod message;
pub mod protocol;
pub mod secret;
pub mod server;
pub mod store;
