//! What a group has done lately, for `status` and for whoever follows a request; each step goes to the log, too.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;

use super::protocol::{Answer, Ended};
use crate::failover::step::{FenceAnswer, LeaseAnswer, Outcome, PeerAnswer, Step};
use crate::failover::supervisor::Level;

/// Steps that are kept.
const KEPT: usize = 20;

/// The last steps, and who follows.
#[derive(Debug, Default)]
pub struct History {
    steps: VecDeque<Ended>,
    under_way: Option<(Step, Instant)>,
    followers: Vec<Sender<Answer>>,
}

impl History {
    /// Somebody wants to know what happens from here on. Who does not keep up is left behind.
    pub fn follow(&mut self, follower: Sender<Answer>) {
        self.followers.push(follower);
    }

    /// A step begins.
    pub fn begins(&mut self, step: &Step) {
        self.under_way = Some((step.clone(), Instant::now()));
        log::debug!("{step}");
        self.tell(&Answer::Begins {
            what: step.to_string(),
        });
    }

    /// It has ended.
    pub fn ended(&mut self, outcome: &Outcome) {
        let Some((step, since)) = self.under_way.take() else {
            return;
        };
        let took = since.elapsed();
        let (done, text) = told(outcome);
        let seconds = took.as_secs_f64();
        if done {
            log::info!("{step}: {text} in {seconds:.1} s");
        } else {
            log::warn!("{step}: {text} after {seconds:.1} s");
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH);
        let ended = Ended {
            what: step.to_string(),
            done,
            outcome: text,
            milliseconds: took.as_millis() as u64,
            at: at.map_or(0, |at| at.as_secs()),
        };
        if self.steps.len() == KEPT {
            self.steps.pop_front();
        }
        self.steps.push_back(ended.clone());
        self.tell(&Answer::Ended(ended));
    }

    /// Says something, to the log and to who follows.
    pub fn say(&mut self, level: Level, text: &str) {
        let word = match level {
            Level::Info => {
                log::info!("{text}");
                "info"
            }
            Level::Warning => {
                log::warn!("{text}");
                "warning"
            }
            Level::Error => {
                log::error!("{text}");
                "error"
            }
        };
        self.tell(&Answer::Said {
            level: word.to_owned(),
            text: text.to_owned(),
        });
    }

    /// Tells who follows that there is no more to come.
    pub fn settled(&mut self, phase: &str, trouble: Option<&str>) {
        if !self.followers.is_empty() {
            self.tell(&Answer::Settled {
                phase: phase.to_owned(),
                trouble: trouble.map(str::to_owned),
            });
            self.followers.clear();
        }
    }

    /// The last steps, the latest last.
    pub fn steps(&self) -> Vec<Ended> {
        self.steps.iter().cloned().collect()
    }

    /// For how long a step has been under way.
    pub fn under_way(&self) -> Option<Duration> {
        self.under_way.as_ref().map(|(_, since)| since.elapsed())
    }

    fn tell(&mut self, answer: &Answer) {
        let tell = |follower: &Sender<Answer>| follower.try_send(answer.clone()).is_ok();
        self.followers.retain(tell);
    }
}

/// Whether it went as it was hoped for, and what came of it.
fn told(outcome: &Outcome) -> (bool, String) {
    let text = |done: bool, text: &str| (done, text.to_owned());
    match outcome {
        Outcome::Done => text(true, "done"),
        Outcome::Peer(PeerAnswer::Primary) => text(true, "the peer is primary"),
        Outcome::Peer(PeerAnswer::Secondary) => text(true, "the peer is secondary"),
        Outcome::Peer(PeerAnswer::Init) => text(true, "the peer is in no role"),
        Outcome::Peer(PeerAnswer::NoPromise) => text(false, "the peer can not promise anything"),
        Outcome::Peer(PeerAnswer::Unreachable(why)) => (false, why.clone()),
        Outcome::Fence(FenceAnswer::Fenced) => text(true, "the peer is off"),
        Outcome::Fence(FenceAnswer::NotFenced) => text(false, "the peer is not off"),
        Outcome::Fence(FenceAnswer::Unknown) => text(false, "nobody knows whether the peer is off"),
        Outcome::Lease(LeaseAnswer::Granted { .. }) => text(true, "granted"),
        Outcome::Lease(LeaseAnswer::Held { left }) => (
            false,
            format!("not for {} more seconds", left.as_secs() + 1),
        ),
        Outcome::Lease(LeaseAnswer::OtherIsCurrent) => {
            text(false, "the other node has newer writes")
        }
        Outcome::Lease(LeaseAnswer::Unreachable(why)) => (false, why.clone()),
        Outcome::Claimed => text(false, "the peer has claimed them"),
        Outcome::Failed(why) => (false, why.clone()),
        Outcome::Overdue => text(false, "not done within its time"),
    }
}
