//! Peers that connect: who may, and what their messages lead to (spec, section 3).

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::Token;
use socket2::Socket;

use super::event_loop::Daemon;
use super::lifecycle::{Event, Stage};
use super::resources::Arrival;
use crate::engine::meeting::Hello as PrimaryData;
use crate::layout::{Record, Standing};
use crate::logging::about;
use crate::terms::Role;
use crate::wire::EXTENSION_LEVEL;
use crate::wire::handshake::{
    HandshakeError, Hello, HelloAnswer, Opening, Refusal, Situation, Start, TOKEN_SIZE,
};
use crate::worker::channel::Introduction;

/// How often the log says that unknown addresses connect.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// Keeps the log from being filled by addresses that are nobody's.
#[derive(Debug, Default)]
pub struct Strangers {
    last: Option<Instant>,
    unsaid: u64,
}

impl Strangers {
    fn turned_away(&mut self, peer: IpAddr) {
        if self
            .last
            .is_some_and(|last| last.elapsed() < COMPLAINT_INTERVAL)
        {
            self.unsaid += 1;
            return;
        }
        self.last = Some(Instant::now());
        match std::mem::take(&mut self.unsaid) {
            0 => log::error!("Client {peer} isn't known."),
            more => log::error!("Client {peer} isn't known (and {more} connections before it)."),
        }
    }
}

impl Daemon {
    /// A connection was accepted. Nothing is read from an address that is no resource's remote.
    pub(super) fn arrived(&mut self, socket: Socket) {
        let Some(peer) = socket.peer_addr().ok().and_then(|peer| peer.as_socket()) else {
            return;
        };
        let peer = peer.ip().to_canonical();
        let mut remotes = self
            .config
            .resources
            .iter()
            .filter_map(|it| it.remote.as_ref());
        if remotes.any(|remote| self.resolver.is_peer(remote, peer)) {
            log::debug!("Connection from {peer}.");
            self.meetings.add(&mut self.reactor, socket, peer);
        } else {
            self.strangers.turned_away(peer);
        }
    }

    /// A peer has said what it wants.
    pub(super) fn opened(&mut self, token: Token, peer: IpAddr, opening: Opening) {
        if let Err(refusal) = self.judge(peer, &opening) {
            self.meetings.refuse(&mut self.reactor, token, &refusal);
            return;
        }
        let _about = about(opening.resource(), self.role(opening.resource()));
        match opening {
            Opening::Hello(hello) => self.first_connection(token, peer, hello),
            Opening::Start(start) => self.second_connection(token, peer, &start),
            Opening::Query(query) => self.questioned(token, peer, &query),
        }
    }

    fn role(&self, name: &str) -> Option<Role> {
        let managed = self.resources.get(name)?;
        Some(managed.lifecycle.role())
    }

    /// Whether this peer may talk to us about this resource, and be a primary to us where it wants that.
    fn judge(&self, peer: IpAddr, opening: &Opening) -> Result<(), Refusal> {
        let name = opening.resource();
        let Some(managed) = self.resources.get(name).filter(|managed| !managed.removed) else {
            log::error!("No resource '{name}' as requested by {peer}.");
            return Err(Refusal::new(Refusal::NOT_CONFIGURED));
        };
        let role = managed.lifecycle.role();
        let _about = about(name, Some(role));
        let remote = managed.resource.remote.as_ref();
        if !remote.is_some_and(|remote| self.resolver.is_peer(remote, peer)) {
            log::error!("Client {peer} has no access to the resource.");
            return Err(Refusal::new(Refusal::NO_ACCESS));
        }
        let asks = matches!(opening, Opening::Query(_));
        if !asks && role != Role::Secondary {
            log::warn!(
                "We act as {role} for the resource and not as secondary as requested by {peer}."
            );
            return Err(Refusal::not_secondary(role));
        }
        Ok(())
    }

    /// The newest first connection wins: the worker of an older pair is ended before it is answered.
    fn first_connection(&mut self, token: Token, peer: IpAddr, hello: Hello) {
        log::debug!("Initial connection from {peer}.");
        let name = hello.resource.clone();
        let Some(managed) = self.resources.get(&name) else {
            return;
        };
        let time = managed.resource.timeout;
        self.meetings.park(&mut self.reactor, token, hello, time);
        self.happen(&name, Event::Displaced);
        self.answer_parked(&name);
    }

    /// Answers the first connection that waits for a resource to have no worker, once it has none.
    pub(super) fn answer_parked(&mut self, name: &str) {
        let Some(managed) = self.resources.get(name) else {
            return;
        };
        if managed.lifecycle.stage() != Stage::Idle {
            return;
        }
        let time = managed.resource.timeout;
        let Some((token, hello)) = self.meetings.parked(name) else {
            return;
        };
        let mut pass = [0; TOKEN_SIZE];
        if let Err(error) = getrandom::fill(&mut pass) {
            log::error!("The system has no random numbers: {error}");
            let refusal = Refusal::new("Remote node was unable to prepare return header.");
            self.meetings.refuse(&mut self.reactor, token, &refusal);
            return;
        }
        let answer = HelloAnswer {
            version: hello.negotiated(),
            token: pass,
            extension: hello.extension.map(|level| level.min(EXTENSION_LEVEL)),
        };
        log::debug!("Negotiated protocol version {}.", answer.version);
        self.meetings.answer(&mut self.reactor, token, answer, time);
    }

    fn second_connection(&mut self, token: Token, peer: IpAddr, start: &Start) {
        let pair = self
            .meetings
            .complete(&mut self.reactor, token, &start.resource, &start.token);
        let Some((first, second, answer)) = pair else {
            log::error!("Token received from {peer} doesn't match.");
            let refusal = Refusal::new(Refusal::WRONG_TOKEN);
            self.meetings.refuse(&mut self.reactor, token, &refusal);
            return;
        };
        let extension = answer.extension.unwrap_or(0);
        let hello = match introduced(start, extension > 0) {
            Ok(hello) => hello,
            Err(error) => {
                log::error!("{peer} is refused: {error}");
                let refusal = Refusal::new(error.to_string());
                self.meetings.refuse(&mut self.reactor, token, &refusal);
                return;
            }
        };
        let introduction = Introduction {
            version: answer.version,
            extension,
            hello,
        };
        if let Some(managed) = self.resources.get_mut(&start.resource) {
            managed.arrival = Some(Arrival {
                first: OwnedFd::from(first),
                second: OwnedFd::from(second),
                introduction,
            });
        }
        self.happen(&start.resource, Event::Met);
        if let Some(managed) = self.resources.get_mut(&start.resource) {
            managed.arrival = None;
        }
    }
}

/// What a primary has said of itself; of a base primary its counters are all there is.
fn introduced(start: &Start, extended: bool) -> Result<PrimaryData, HandshakeError> {
    let situation = if extended {
        start.situation()?.clone()
    } else {
        Situation {
            record: Record::of_base(start.resuid),
            holds: false,
            leans: false,
        }
    };
    Ok(PrimaryData {
        standing: Standing {
            resuid: start.resuid,
            localcnt: start.localcnt,
            remotecnt: start.remotecnt,
            record: situation.record,
        },
        virgin: start.virgin,
        holds: situation.holds,
        leans: situation.leans,
    })
}
