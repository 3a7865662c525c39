//! Questions of the other node: what is noted, and what it is answered. Never touches a worker or
//! another connection; a worker is only asked how things stand.
//!
//! Invariant: each question is answered once, within [`REPORT_TIME`], with what is known by then.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mio::Token;

use super::event_loop::Daemon;
use super::lifecycle::Stage;
use crate::control::{Connection, WorkerStatus};
use crate::terms::Role;
use crate::wire::handshake::query::{Query, QueryAnswer};
use crate::worker::channel::ToWorker;

/// How long a worker may take to say how things stand before the answer goes without.
pub const REPORT_TIME: Duration = Duration::from_secs(1);

/// A question that waits for a worker.
#[derive(Debug)]
pub struct Asked {
    /// About this resource.
    pub resource: String,
    /// What the worker was told to call its report.
    pub number: u32,
    /// The answer, as far as it is known.
    pub answer: QueryAnswer,
}

impl Asked {
    /// Adds what the worker has reported.
    pub fn add(&mut self, report: &WorkerStatus) {
        if let Some(details) = &report.details {
            self.answer.local = Some(details.local);
            self.answer.connected = details.connection == Connection::Connected;
        }
    }
}

impl Daemon {
    /// A peer that may talk to us about this resource has asked.
    pub(super) fn questioned(&mut self, token: Token, peer: IpAddr, query: &Query) {
        let name = &query.resource;
        let Some(managed) = self.resources.get_mut(name) else {
            return;
        };
        let role = managed.role_for_peer();
        let mut claim = Duration::ZERO;
        if role == Role::Primary {
            log::debug!("Question from {peer}; we are primary.");
        } else {
            let now = Instant::now();
            if query.invite {
                managed.claims.invite(now);
                log::info!("{peer} gives up the role of primary for this node to take.");
            }
            if !query.claim.is_zero() {
                claim = query.claim;
                managed.claims.claim(claim, now);
                let seconds = claim.as_secs();
                log::info!("{peer} is taking the role of primary: not taken here for {seconds} s.");
            }
        }
        let asks_worker = managed.lifecycle.stage() == Stage::Running;
        let answer = QueryAnswer {
            role,
            claim,
            local: None,
            connected: false,
        };
        if asks_worker {
            let number = self.requests.next_number();
            let asked = Asked {
                resource: name.clone(),
                number,
                answer,
            };
            self.meetings
                .ask(&mut self.reactor, token, asked, REPORT_TIME);
            self.tell(name, &ToWorker::Status { number }, Vec::new());
        } else {
            self.meetings
                .last_word(&mut self.reactor, token, &answer.to_nv());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::known_status::unknown;
    use crate::terms::LocalState;

    #[test]
    fn a_report_completes_the_answer() {
        let mut asked = Asked {
            resource: "disk1".to_owned(),
            number: 1,
            answer: QueryAnswer {
                role: Role::Primary,
                claim: Duration::ZERO,
                local: None,
                connected: false,
            },
        };
        let mut report = unknown("for some reason");
        report.details = None;
        asked.add(&report);
        assert_eq!((asked.answer.local, asked.answer.connected), (None, false));

        let mut report = unknown("for some reason");
        let details = report.details.as_mut().unwrap();
        details.connection = Connection::Connected;
        details.local = LocalState::UpToDate;
        asked.add(&report);
        let local = Some(LocalState::UpToDate);
        assert_eq!((asked.answer.local, asked.answer.connected), (local, true));
    }
}
