//! Peers' connections from accepting them to handing a pair of them to a worker (spec, section 3).
//! Reads and writes; who may do what is decided elsewhere.
//!
//! Invariants: at most [`STRANGERS`] connections have not yet said what they want, of one address at
//! most [`STRANGERS_OF_ONE`], of whom the oldest makes room for a new one; a resource has at most
//! one first connection; each stage has its time; nothing is read beyond a message.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mio::Token;
use socket2::Socket;

use super::conversation::{Conversation, ConversationError, Heard};
use super::reactor::{Deadline, Reactor, Source};
use super::timers::TimerId;
use crate::nv::Nv;
use crate::wire::PROTOCOL_VERSION;
use crate::wire::frame::{self, Limits};
use crate::wire::handshake::{HandshakeError, Hello, HelloAnswer, Opening, Refusal, Token as Pass};

/// Connections that have not yet said what they want.
const STRANGERS: usize = 256;
/// The same, from one address.
const STRANGERS_OF_ONE: usize = 64;
/// From connecting to the last byte of the first message.
const OPENING_TIME: Duration = Duration::from_secs(10);
/// For a refusal to be taken.
const REFUSAL_TIME: Duration = Duration::from_secs(5);
/// What a peer may say before it is known: a resource's name and a few numbers.
const LIMITS: Limits = Limits {
    nv: 4 << 10,
    payload: 0,
};

#[derive(Debug)]
enum Stage {
    /// It has not yet said what it wants.
    Stranger,
    /// First connection: an older worker of the resource must end before it is answered.
    Parked(Hello),
    /// First connection, answered: waits for the second.
    HalfOpen {
        resource: String,
        answer: HelloAnswer,
    },
    /// It is being told that it is refused.
    Refused,
}

#[derive(Debug)]
struct Meeting {
    conversation: Conversation,
    peer: IpAddr,
    stage: Stage,
    timer: TimerId,
}

impl Meeting {
    fn resource(&self) -> Option<&str> {
        match &self.stage {
            Stage::Parked(hello) => Some(&hello.resource),
            Stage::HalfOpen { resource, .. } => Some(resource),
            Stage::Stranger | Stage::Refused => None,
        }
    }
}

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
enum MeetingError {
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("it closed before it said what it wants")]
    Closed,
}

/// The connections under way, oldest first (tokens grow).
#[derive(Debug, Default)]
pub struct Meetings {
    meetings: BTreeMap<Token, Meeting>,
}

impl Meetings {
    /// Takes in a connection from an address that may talk to us.
    pub fn add(&mut self, reactor: &mut Reactor, socket: Socket, peer: IpAddr) {
        self.make_room(reactor, peer);
        match reactor.add(&socket, Source::Meeting) {
            Ok(token) => {
                let meeting = Meeting {
                    conversation: Conversation::new(socket, LIMITS),
                    peer,
                    stage: Stage::Stranger,
                    timer: reactor.after(OPENING_TIME, Deadline::Meeting(token)),
                };
                self.meetings.insert(token, meeting);
            }
            Err(error) => log::error!("Unable to watch a connection from {peer}: {error}"),
        }
    }

    fn make_room(&mut self, reactor: &mut Reactor, peer: IpAddr) {
        let strangers = || {
            self.meetings
                .iter()
                .filter(|(_, meeting)| matches!(meeting.stage, Stage::Stranger))
        };
        let same = || strangers().filter(|(_, meeting)| meeting.peer == peer);
        let oldest = if same().count() >= STRANGERS_OF_ONE {
            same().next()
        } else if strangers().count() >= STRANGERS {
            strangers().next()
        } else {
            None
        };
        if let Some((token, _)) = oldest {
            let token = *token;
            log::debug!("Too many connections that say nothing, dropping the oldest.");
            self.drop_meeting(reactor, token);
        }
    }

    /// A connection can be read from or written to; who it is and what it wants, where it has
    /// just said so.
    pub fn ready(&mut self, reactor: &mut Reactor, token: Token) -> Option<(IpAddr, Opening)> {
        let meeting = self.meetings.get_mut(&token)?;
        let peer = meeting.peer;
        let result = match &meeting.stage {
            Stage::Stranger => hear_opening(&mut meeting.conversation),
            // It has nothing to say here: what can be read is its end.
            Stage::Parked(_) | Stage::HalfOpen { .. } => still_there(&mut meeting.conversation),
            Stage::Refused => {
                self.flush_refusal(reactor, token);
                return None;
            }
        };
        match result {
            Ok(opening) => opening.map(|opening| (peer, opening)),
            Err(error) => {
                log::warn!("Connection from {peer} dropped: {error}.");
                self.drop_meeting(reactor, token);
                None
            }
        }
    }

    /// Refuses a connection with a text that the peer shows.
    pub fn refuse(&mut self, reactor: &mut Reactor, token: Token, refusal: &Refusal) {
        let Some(meeting) = self.meetings.get_mut(&token) else {
            return;
        };
        reactor.cancel(meeting.timer);
        meeting.timer = reactor.after(REFUSAL_TIME, Deadline::Meeting(token));
        meeting.stage = Stage::Refused;
        meeting.conversation.say(&encoded(&refusal.to_nv()));
        self.flush_refusal(reactor, token);
    }

    /// Keeps a first connection until [`Self::parked`] is asked for it. Any other first connection of
    /// the resource gives way.
    pub fn park(&mut self, reactor: &mut Reactor, token: Token, hello: Hello, time: Duration) {
        self.cancel(reactor, &hello.resource);
        if let Some(meeting) = self.meetings.get_mut(&token) {
            reactor.cancel(meeting.timer);
            meeting.timer = reactor.after(time, Deadline::Meeting(token));
            meeting.stage = Stage::Parked(hello);
        }
    }

    /// The parked connection of a resource.
    pub fn parked(&self, resource: &str) -> Option<(Token, Hello)> {
        self.meetings
            .iter()
            .find_map(|(token, meeting)| match &meeting.stage {
                Stage::Parked(hello) if hello.resource == resource => Some((*token, hello.clone())),
                _ => None,
            })
    }

    /// Answers a parked connection; the second one must come within `time`.
    pub fn answer(
        &mut self,
        reactor: &mut Reactor,
        token: Token,
        answer: HelloAnswer,
        time: Duration,
    ) {
        let Some(meeting) = self.meetings.get_mut(&token) else {
            return;
        };
        let Stage::Parked(hello) = &meeting.stage else {
            return;
        };
        reactor.cancel(meeting.timer);
        meeting.timer = reactor.after(time, Deadline::Meeting(token));
        meeting.conversation.say(&encoded(&answer.to_nv()));
        meeting.stage = Stage::HalfOpen {
            resource: hello.resource.clone(),
            answer,
        };
        if let Err(error) = meeting.conversation.flush() {
            log::warn!("Unable to answer {}: {error}.", meeting.peer);
            self.drop_meeting(reactor, token);
        }
    }

    /// Takes the pair that a second connection completes with the first of its resource: both
    /// sockets and the first one's answer. None where the pass is not that answer's.
    pub fn complete(
        &mut self,
        reactor: &mut Reactor,
        second: Token,
        resource: &str,
        pass: &Pass,
    ) -> Option<(Socket, Socket, HelloAnswer)> {
        let first = self
            .meetings
            .iter()
            .find_map(|(token, meeting)| match &meeting.stage {
                Stage::HalfOpen {
                    resource: own,
                    answer,
                } if own == resource => (answer.token == *pass).then_some(*token),
                _ => None,
            })?;
        let second = self.take(reactor, second)?;
        let first = self.take(reactor, first)?;
        match first.stage {
            Stage::HalfOpen { answer, .. } => Some((
                first.conversation.into_socket(),
                second.conversation.into_socket(),
                answer,
            )),
            Stage::Stranger | Stage::Parked(_) | Stage::Refused => None,
        }
    }

    /// Closes a resource's first connection, where there is one.
    pub fn cancel(&mut self, reactor: &mut Reactor, resource: &str) {
        let first = self
            .meetings
            .iter()
            .find(|(_, meeting)| meeting.resource() == Some(resource));
        if let Some((token, meeting)) = first {
            let token = *token;
            log::debug!("Canceling half-open connection from {}.", meeting.peer);
            self.drop_meeting(reactor, token);
        }
    }

    /// A connection has had its time.
    pub fn overdue(&mut self, reactor: &mut Reactor, token: Token) {
        if let Some(meeting) = self.meetings.get(&token) {
            log::debug!("Connection from {} dropped: too slow.", meeting.peer);
            self.drop_meeting(reactor, token);
        }
    }

    fn flush_refusal(&mut self, reactor: &mut Reactor, token: Token) {
        if let Some(meeting) = self.meetings.get_mut(&token)
            && !matches!(meeting.conversation.flush(), Ok(false))
        {
            self.drop_meeting(reactor, token);
        }
    }

    fn take(&mut self, reactor: &mut Reactor, token: Token) -> Option<Meeting> {
        let meeting = self.meetings.remove(&token)?;
        reactor.remove(meeting.conversation.socket(), token);
        reactor.cancel(meeting.timer);
        Some(meeting)
    }

    fn drop_meeting(&mut self, reactor: &mut Reactor, token: Token) {
        drop(self.take(reactor, token));
    }
}

fn hear_opening(conversation: &mut Conversation) -> Result<Option<Opening>, MeetingError> {
    match conversation.hear()? {
        Heard::Waiting => Ok(None),
        Heard::Closed => Err(MeetingError::Closed),
        Heard::Message(message) => Ok(Some(Opening::from_nv(message.nv.view())?)),
    }
}

fn still_there(conversation: &mut Conversation) -> Result<Option<Opening>, MeetingError> {
    conversation.flush().map_err(ConversationError::from)?;
    if conversation.is_closed().map_err(ConversationError::from)? {
        return Err(MeetingError::Closed);
    }
    Ok(None)
}

fn encoded(nv: &Nv) -> Vec<u8> {
    frame::encode(PROTOCOL_VERSION, nv, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Poll;
    use socket2::{Domain, Type};

    #[test]
    fn who_says_nothing_makes_room_first_for_its_own_address_then_for_all() {
        let poll = Poll::new().unwrap();
        let mut reactor = Reactor::new(poll.registry().try_clone().unwrap());
        let mut meetings = Meetings::default();
        let mut others = Vec::new();
        let mut add = |meetings: &mut Meetings, peer: [u8; 4]| {
            let (socket, other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            others.push(other);
            meetings.add(&mut reactor, socket, IpAddr::from(peer));
        };
        let count = |meetings: &Meetings, peer: [u8; 4]| {
            let all = meetings.meetings.values();
            all.filter(|meeting| meeting.peer == IpAddr::from(peer))
                .count()
        };
        add(&mut meetings, [10, 0, 0, 1]);
        for _ in 0..2 * STRANGERS_OF_ONE {
            add(&mut meetings, [10, 0, 0, 2]);
        }
        assert_eq!(
            count(&meetings, [10, 0, 0, 1]),
            1,
            "another's crowd does not push it out"
        );
        assert_eq!(count(&meetings, [10, 0, 0, 2]), STRANGERS_OF_ONE);
        for number in 0..2 * STRANGERS {
            add(&mut meetings, [10, 1, (number >> 8) as u8, number as u8]);
        }
        assert_eq!(meetings.meetings.len(), STRANGERS);
        assert_eq!(
            count(&meetings, [10, 0, 0, 1]),
            0,
            "the oldest of all went first"
        );
    }
}
