//! hastctl's connections: a request in, a reply out. Never knows what a request means.
//!
//! Invariants: at most [`CLIENTS`] at once, of whom the oldest that has not yet sent a request
//! makes room for a new one; each has [`REQUEST_TIME`] to send its request and [`REPLY_TIME`] to
//! take the reply; what one does wrong ends its own connection only.

use std::collections::BTreeMap;
use std::time::Duration;

use mio::Token;
use socket2::Socket;

use super::conversation::{Conversation, ConversationError, Heard};
use super::reactor::{Deadline, Reactor, Source};
use super::timers::TimerId;
use crate::control::{REQUEST_LIMITS, encode};
use crate::nv::Nv;

/// Clients at once: far more than people and scripts need, far fewer than descriptors there are.
const CLIENTS: usize = 64;
/// From connecting to the last byte of the request.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// From the reply's first byte to its last.
const REPLY_TIME: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The request is not complete.
    Asking,
    /// The reply is not ready.
    Waiting,
    /// The reply is not yet sent.
    Answering,
}

#[derive(Debug)]
struct Client {
    conversation: Conversation,
    stage: Stage,
    timer: Option<TimerId>,
}

/// The clients, oldest first (tokens grow).
#[derive(Debug, Default)]
pub struct ControlServer {
    clients: BTreeMap<Token, Client>,
}

impl ControlServer {
    /// Takes a client in.
    pub fn add(&mut self, reactor: &mut Reactor, socket: Socket) {
        if self.clients.len() >= CLIENTS {
            let silent = |(token, client): (&Token, &Client)| {
                (client.stage == Stage::Asking).then_some(*token)
            };
            let Some(oldest) = self.clients.iter().find_map(silent) else {
                log::warn!("Too many control connections, dropping the newest.");
                return;
            };
            log::debug!("Too many control connections, dropping the oldest that is silent.");
            self.drop_client(reactor, oldest);
        }
        match reactor.add(&socket, Source::ControlClient) {
            Ok(token) => {
                let timer = reactor.after(REQUEST_TIME, Deadline::ControlClient(token));
                let client = Client {
                    conversation: Conversation::new(socket, REQUEST_LIMITS),
                    stage: Stage::Asking,
                    timer: Some(timer),
                };
                self.clients.insert(token, client);
            }
            Err(error) => log::error!("Unable to watch a control connection: {error}"),
        }
    }

    /// A client can be read from or written to; its request, where that completed it.
    pub fn ready(&mut self, reactor: &mut Reactor, token: Token) -> Option<Nv> {
        let client = self.clients.get_mut(&token)?;
        let result = match client.stage {
            Stage::Asking => client.conversation.hear(),
            // What else it says is of no interest; whether it is gone shows when it is answered.
            Stage::Waiting => return None,
            Stage::Answering => {
                self.flush(reactor, token);
                return None;
            }
        };
        match result {
            Ok(Heard::Message(message)) => {
                client.stage = Stage::Waiting;
                if let Some(timer) = client.timer.take() {
                    reactor.cancel(timer);
                }
                return Some(message.nv);
            }
            Ok(Heard::Waiting) => {}
            Ok(Heard::Closed) => self.drop_client(reactor, token),
            Err(error) => self.fail(reactor, token, &error),
        }
        None
    }

    /// Sends a client its reply; one that is gone gets none.
    pub fn answer(&mut self, reactor: &mut Reactor, token: Token, reply: &Nv) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.conversation.say(&encode(reply));
            client.stage = Stage::Answering;
            client.timer = Some(reactor.after(REPLY_TIME, Deadline::ControlClient(token)));
            self.flush(reactor, token);
        }
    }

    /// A client has had its time.
    pub fn overdue(&mut self, reactor: &mut Reactor, token: Token) {
        if self.clients.contains_key(&token) {
            log::debug!("Dropping a control connection that is too slow.");
            self.drop_client(reactor, token);
        }
    }

    fn flush(&mut self, reactor: &mut Reactor, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        match client.conversation.flush() {
            Ok(false) => {}
            Ok(true) => self.drop_client(reactor, token),
            Err(error) => self.fail(reactor, token, &error.into()),
        }
    }

    fn fail(&mut self, reactor: &mut Reactor, token: Token, error: &ConversationError) {
        log::debug!("Dropping a control connection: {error}");
        self.drop_client(reactor, token);
    }

    fn drop_client(&mut self, reactor: &mut Reactor, token: Token) {
        if let Some(client) = self.clients.remove(&token) {
            reactor.remove(client.conversation.socket(), token);
            if let Some(timer) = client.timer {
                reactor.cancel(timer);
            }
        }
    }
}
