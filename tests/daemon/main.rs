//! hastd's main process as a real process: what belongs here goes through its command line, its
//! sockets and its signals.

mod control;
mod harness;
mod peers;
mod reload;
mod startup;
