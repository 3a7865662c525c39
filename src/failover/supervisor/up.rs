//! The way up: who must be asked before this node may be primary, and what follows from the answers.

use std::collections::VecDeque;
use std::time::Duration;

use super::down::{Cause, told};
use super::{Level, Origin, Phase, Supervisor};
use crate::failover::group::{HookPoint, OnUnreachable};
use crate::failover::plan::Authority;
use crate::failover::step::{CLAIM, FenceAnswer, LeaseAnswer, Outcome, PeerAnswer, Step};

/// Between two questions to a peer that is primary still.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Between two questions to a peer that does not answer.
const WAIT_FOR_PEER: Duration = Duration::from_secs(5);
/// Two nodes that have claimed from each other try again after different times below this.
const COLLISION: Duration = Duration::from_secs(8);

/// A peer that was switched off is not switched off again before its last claim has run out; no machine is back
/// so soon.
const STILL_OFF: Duration = Duration::from_secs(CLAIM.as_secs() + 5);

#[derive(Debug)]
enum Stage {
    /// The administrator's word before anything is done.
    Hook,
    Hastd,
    Asking,
    /// Then asks again.
    Pausing(Duration),
    Fencing,
    /// With what there is already, where there is something.
    Leasing(Option<Authority>),
    /// The right to be primary is there.
    Climbing(VecDeque<Step>),
}

/// A way up.
#[derive(Debug)]
pub(super) struct Up {
    stage: Stage,
    origin: Origin,
    since: Duration,
    /// It began where nothing of a master was left.
    clean: bool,
    /// Said already.
    waited: bool,
    /// When the peer was switched off on this way.
    fenced: Option<Duration>,
}

impl Up {
    pub(super) fn new(origin: Origin, since: Duration, clean: bool) -> Self {
        Self {
            stage: Stage::Hook,
            origin,
            since,
            clean,
            waited: false,
            fenced: None,
        }
    }

    fn at(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Whether there is nothing to be undone.
    pub(super) fn is_clean(&self) -> bool {
        self.clean && !matches!(self.stage, Stage::Climbing(_))
    }

    fn is_forced(&self) -> bool {
        self.origin == Origin::Hand { force: true }
    }
}

impl Supervisor {
    pub(super) fn go_on_up(&mut self, up: Up) {
        let step = match &up.stage {
            Stage::Hook if self.group.hook(HookPoint::BeforeMaster).is_some() => {
                Step::Hook(HookPoint::BeforeMaster)
            }
            Stage::Hook => return self.go_on_up(up.at(Stage::Hastd)),
            Stage::Hastd => Step::WaitForHastd,
            Stage::Asking => Step::AskPeer,
            Stage::Pausing(until) if self.now < *until => {
                self.phase = Phase::Up(up);
                return;
            }
            Stage::Pausing(_) => return self.go_on_up(up.at(Stage::Asking)),
            Stage::Fencing => Step::Fence,
            Stage::Leasing(_) => Step::AcquireLease,
            Stage::Climbing(steps) => match steps.front() {
                Some(step) => step.clone(),
                None => return self.became_master(),
            },
        };
        self.phase = Phase::Up(up);
        self.perform(step);
    }

    /// The one table of the way up. The phase is put back by whatever follows.
    pub(super) fn finished_up(&mut self, mut up: Up, step: &Step, outcome: Outcome) {
        match (&mut up.stage, outcome) {
            (Stage::Hook, Outcome::Done) => self.go_to(up, Stage::Hastd),
            (Stage::Hastd, Outcome::Done) => self.go_to(up, Stage::Asking),
            (Stage::Asking, Outcome::Peer(answer)) => self.peer_said(up, answer),
            (Stage::Asking, outcome @ (Outcome::Overdue | Outcome::Failed(_))) => {
                let why = told(step, &outcome);
                self.peer_said(up, PeerAnswer::Unreachable(why));
            }
            (Stage::Fencing, Outcome::Fence(FenceAnswer::Fenced)) => {
                up.fenced = Some(self.now);
                self.say(Level::Warning, "the peer is fenced".to_owned());
                self.with_authority(up, Authority::Fenced);
            }
            (Stage::Fencing, outcome) => {
                let why = match outcome {
                    Outcome::Fence(FenceAnswer::NotFenced) => "the peer is not fenced".to_owned(),
                    Outcome::Fence(_) => "nobody knows whether the peer is fenced".to_owned(),
                    other => told(step, &other),
                };
                self.say(Level::Error, why);
                self.without_fence(up);
            }
            (Stage::Leasing(authority), Outcome::Lease(answer)) => {
                let authority = *authority;
                self.witness_said(up, authority, answer);
            }
            (Stage::Leasing(authority), outcome) => {
                let authority = *authority;
                let why = told(step, &outcome);
                self.witness_said(up, authority, LeaseAnswer::Unreachable(why));
            }
            (Stage::Climbing(_), Outcome::Claimed) => {
                let pause = Duration::from_millis(self.rng.u64(1000..COLLISION.as_millis() as u64));
                self.pause(up, pause, "the peer is becoming master, too: asking again");
            }
            (Stage::Climbing(steps), Outcome::Done) => {
                steps.pop_front();
                self.phase = Phase::Up(up);
            }
            // The group is served: these two do not take that away again.
            (Stage::Climbing(steps), outcome)
                if matches!(
                    step,
                    Step::LowerDemotion | Step::Hook(HookPoint::AfterMaster)
                ) =>
            {
                steps.pop_front();
                self.say(Level::Error, told(step, &outcome));
                self.phase = Phase::Up(up);
            }
            (_, outcome) => self.fail(&up, told(step, &outcome)),
        }
    }

    fn go_to(&mut self, up: Up, stage: Stage) {
        self.phase = Phase::Up(up.at(stage));
    }

    fn fail(&mut self, up: &Up, why: String) {
        if up.is_clean() && matches!(up.origin, Origin::Hand { .. }) {
            // Who asked is told; the address and the other node have nothing to do with it.
            self.say(Level::Error, format!("not becoming master: {why}"));
            self.phase = Phase::Backup;
            self.in_trouble(why);
            return;
        }
        self.go_down(Cause::Failed(why), !up.is_clean());
    }

    /// Asks again after a while, unless it has gone on for too long.
    fn pause(&mut self, mut up: Up, pause: Duration, why: &str) {
        if self.now.saturating_sub(up.since) > self.group.limits.takeover {
            return self.fail(&up, why.to_owned());
        }
        if !up.waited {
            up.waited = true;
            self.say(Level::Warning, why.to_owned());
        }
        let until = self.now + pause;
        self.go_to(up, Stage::Pausing(until));
    }

    fn peer_said(&mut self, up: Up, answer: PeerAnswer) {
        match answer {
            PeerAnswer::Primary if up.origin == Origin::Rollback => {
                self.say(Level::Info, "the peer has taken over after all".to_owned());
                self.phase = Phase::Backup;
            }
            PeerAnswer::Primary if matches!(up.origin, Origin::Hand { .. }) => {
                self.fail(
                    &up,
                    "the peer is primary: run 'switchover' there".to_owned(),
                );
            }
            // It has lost the address a moment ago, and is giving up; or this node should not have it.
            PeerAnswer::Primary => self.pause(up, ASK_AGAIN, "the peer is primary"),
            PeerAnswer::Secondary => self.with_authority(up, Authority::Promise),
            PeerAnswer::Init if up.is_forced() || self.is_fresh() => {
                self.with_authority(up, Authority::PromiseOfInit);
            }
            PeerAnswer::Init => {
                let why = "the peer is in no role, and may have writes that this copy lacks: run 'hastctl role secondary' there";
                self.fail(&up, why.to_owned());
            }
            PeerAnswer::NoPromise => {
                let why = "the peer's hastd can not promise to stay secondary".to_owned();
                self.without_peer(up, why);
            }
            PeerAnswer::Unreachable(why) => self.without_peer(up, why),
        }
    }

    fn without_peer(&mut self, up: Up, why: String) {
        if up.is_forced() {
            self.say(Level::Warning, format!("{why}; a person vouches for it"));
            return self.with_authority(up, Authority::Person);
        }
        if !up.waited {
            self.say(Level::Warning, why);
        }
        let off = up
            .fenced
            .is_some_and(|at| self.now.saturating_sub(at) <= STILL_OFF);
        if off {
            // Its last claim stood in the way, and has run out now.
            self.with_authority(up, Authority::Fenced);
        } else if self.group.fence.is_some() && self.is_fresh() {
            self.go_to(up, Stage::Fencing);
        } else {
            self.without_fence(up);
        }
    }

    fn without_fence(&mut self, up: Up) {
        if self.witness {
            self.go_to(up, Stage::Leasing(None));
        } else {
            self.by_policy(up);
        }
    }

    /// Somebody other than the witness allows it; the lease is asked for all the same.
    fn with_authority(&mut self, up: Up, authority: Authority) {
        if self.witness {
            self.go_to(up, Stage::Leasing(Some(authority)));
        } else {
            self.climb_with(up, authority);
        }
    }

    fn climb_with(&mut self, up: Up, authority: Authority) {
        let steps = self.climb(authority, up.origin);
        self.go_to(up, Stage::Climbing(steps.into()));
    }

    fn witness_said(&mut self, up: Up, authority: Option<Authority>, answer: LeaseAnswer) {
        if let LeaseAnswer::Granted { until } = answer {
            self.lease.granted(self.now, until);
        }
        match (authority, answer) {
            (Some(authority), LeaseAnswer::Granted { .. }) => self.climb_with(up, authority),
            (None, LeaseAnswer::Granted { .. }) => self.climb_with(up, Authority::Lease),
            // What this copy lacks comes from the peer, which is there.
            (Some(authority @ (Authority::Promise | Authority::Person)), _) => {
                self.climb_with(up, authority);
            }
            (_, LeaseAnswer::OtherIsCurrent) => {
                let why = "the other node has writes that this copy lacks, by the witness's word";
                self.fail(&up, why.to_owned());
            }
            (Some(authority), _) => self.climb_with(up, authority),
            (None, LeaseAnswer::Held { left }) => {
                let why = "the other node has the lease: waiting for it to run out";
                self.pause(up, left.max(ASK_AGAIN), why);
            }
            (None, LeaseAnswer::Unreachable(why)) => {
                if !up.waited {
                    self.say(Level::Warning, format!("no lease: {why}"));
                }
                self.by_policy(up);
            }
        }
    }

    fn by_policy(&mut self, mut up: Up) {
        match self.group.on_unreachable {
            OnUnreachable::Refuse => {
                let why = "the peer can not be asked whether it is primary, and nothing vouches for it ('on-unreachable = refuse')";
                self.fail(&up, why.to_owned());
            }
            OnUnreachable::Wait => {
                if !up.waited {
                    self.say(Level::Warning, "waiting for the peer to answer".to_owned());
                }
                up.waited = true;
                let until = self.now + WAIT_FOR_PEER;
                self.go_to(up, Stage::Pausing(until));
            }
            OnUnreachable::Promote if !self.is_fresh() => {
                let why = "the peer can not be asked, and this copy was not up to date when it was last heard of";
                self.fail(&up, why.to_owned());
            }
            OnUnreachable::Promote => {
                let why = "the peer can not be asked; promoting all the same ('on-unreachable = promote'): if it is alive, both are primary";
                self.say(Level::Error, why.to_owned());
                self.climb_with(up, Authority::Risk);
            }
        }
    }
}
