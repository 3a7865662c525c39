//! Peers' connections from accepting them to handing a pair of them to a worker (spec, section 3).
//! Reads and writes; who may do what is decided elsewhere.
//!
//! Invariants: at most [`STRANGERS`] connections have not yet said what they want, of one address at
//! most [`STRANGERS_OF_ONE`] (whoever waits for an answer to a question counts too), of whom the oldest makes room for a new one; a resource has at most
//! one first connection; each stage has its time; nothing is read beyond a message.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mio::Token;
use socket2::Socket;

use super::conversation::{Conversation, ConversationError, Heard};
use super::queries::Asked;
use super::reactor::{Deadline, Reactor, Source};
use super::timers::TimerId;
use crate::control::WorkerStatus;
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
/// For the last word on a connection to be taken.
const LAST_WORD_TIME: Duration = Duration::from_secs(5);
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
    /// It has asked something, and a worker's report is waited for.
    Asking(Asked),
    /// It is being told the last word, a refusal or the answer to a question.
    Leaving,
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
            Stage::Stranger | Stage::Asking(_) | Stage::Leaving => None,
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
                .filter(|(_, meeting)| matches!(meeting.stage, Stage::Stranger | Stage::Asking(_)))
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
            Stage::Parked(_) | Stage::HalfOpen { .. } | Stage::Asking(_) => {
                still_there(&mut meeting.conversation)
            }
            Stage::Leaving => {
                self.flush_last_word(reactor, token);
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
        self.last_word(reactor, token, &refusal.to_nv());
    }

    /// Sends a connection a message, and closes it.
    pub fn last_word(&mut self, reactor: &mut Reactor, token: Token, nv: &Nv) {
        let Some(meeting) = self.meetings.get_mut(&token) else {
            return;
        };
        reactor.cancel(meeting.timer);
        meeting.timer = reactor.after(LAST_WORD_TIME, Deadline::Meeting(token));
        meeting.stage = Stage::Leaving;
        meeting.conversation.say(&encoded(nv));
        self.flush_last_word(reactor, token);
    }

    /// Keeps who has asked something until [`Self::reported`], for at most `time`.
    pub fn ask(&mut self, reactor: &mut Reactor, token: Token, asked: Asked, time: Duration) {
        if let Some(meeting) = self.meetings.get_mut(&token) {
            reactor.cancel(meeting.timer);
            meeting.timer = reactor.after(time, Deadline::Meeting(token));
            meeting.stage = Stage::Asking(asked);
        }
    }

    /// A worker has reported: whoever asked for that report is answered.
    pub fn reported(
        &mut self,
        reactor: &mut Reactor,
        resource: &str,
        number: u32,
        report: &WorkerStatus,
    ) {
        let asking = |(token, meeting): (&Token, &mut Meeting)| match &mut meeting.stage {
            Stage::Asking(asked) if asked.resource == resource && asked.number == number => {
                asked.add(report);
                Some((*token, asked.answer.to_nv()))
            }
            _ => None,
        };
        if let Some((token, answer)) = self.meetings.iter_mut().find_map(asking) {
            self.last_word(reactor, token, &answer);
        }
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
            _ => None,
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
        let Some(meeting) = self.meetings.get(&token) else {
            return;
        };
        if let Stage::Asking(asked) = &meeting.stage {
            let answer = asked.answer.to_nv();
            self.last_word(reactor, token, &answer);
            return;
        }
        log::debug!("Connection from {} dropped: too slow.", meeting.peer);
        self.drop_meeting(reactor, token);
    }

    fn flush_last_word(&mut self, reactor: &mut Reactor, token: Token) {
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
#[path = "meeting_tests.rs"]
mod tests;
