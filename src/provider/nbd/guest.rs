//! One connection, from accept to close, in its own thread: handshake, a place among the
//! clients, requests, and leaving in order.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use super::connection::Connection;
use super::input::{Input, InputError};
use super::negotiate::{Handshake, HandshakeError, Outcome};
use super::server::Shared;
use super::socket::Socket;
use super::transmission::{Ended, Transmission};
use crate::provider::BufferError;

/// One connection's thread; signs itself off when it ends, however it ends.
pub(super) struct Guest {
    shared: Arc<Shared>,
    id: u64,
}

impl Guest {
    /// The thread's work for the connection that the server counts under `id`.
    pub(super) fn new(shared: Arc<Shared>, id: u64) -> Self {
        Self { shared, id }
    }

    pub(super) fn serve(self, socket: &Arc<Socket>) {
        let label = format!("client {} ({socket})", self.id);
        let mut input = Input::default();
        match self.handshake(socket, &mut input) {
            Ok(Outcome::Transmission { structured }) => {
                let stall = self.shared.limits.stall;
                match Connection::new(label, socket.clone(), structured, stall) {
                    Ok(connection) => self.transmission(&connection, &mut input),
                    Err(error) => log::error!("nbd: a client was turned away: {error}"),
                }
            }
            Ok(Outcome::Ended) => log::debug!("nbd: {label}: only looked"),
            Err(HandshakeError::Input(InputError::Closed)) => {
                log::debug!("nbd: {label}: left during the handshake");
            }
            Err(error) => log::warn!("nbd: {label}: dropped in the handshake: {error}"),
        }
        socket.shutdown(Shutdown::Both);
    }

    fn handshake(&self, socket: &Socket, input: &mut Input) -> Result<Outcome, HandshakeError> {
        let shared = &*self.shared;
        socket.set_send_timeout(Some(shared.limits.handshake))?;
        Handshake {
            socket,
            input,
            export: &shared.export,
            max_request: shared.max_request,
            deadline: Instant::now() + shared.limits.handshake,
            take_place: &mut || shared.take_place(self.id, socket),
        }
        .run()
    }

    fn transmission(&self, connection: &Arc<Connection>, input: &mut Input) {
        let shared = &*self.shared;
        if !shared.sign_in(self.id, connection) {
            return;
        }
        log::debug!("nbd: {}: connected", connection.label);
        let ended = Transmission {
            connection: connection.clone(),
            input,
            export: &shared.export,
            backend: &*shared.backend,
            follower: shared.follower.jobs(),
            gathering: &shared.gathering,
            max_request: shared.max_request,
            stall: shared.limits.stall,
            stopping: &shared.stopping,
            ready: Vec::new(),
        }
        .run();
        match ended {
            Ended::Left | Ended::Stopping | Ended::Closed => {
                log::debug!("nbd: {}: {ended}", connection.label);
                connection.drain(Instant::now() + shared.limits.drain);
            }
            Ended::Buffer(BufferError::Closed) => {
                log::debug!("nbd: {}: closed: {ended}", connection.label);
            }
            _ => log::warn!("nbd: {}: dropped: {ended}", connection.label),
        }
        connection.close();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.shared.sign_off(self.id);
    }
}
