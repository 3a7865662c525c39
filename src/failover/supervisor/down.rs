//! The way down: everything that makes a master, taken away in reverse, whatever of it is there.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Level, Origin, Phase, Supervisor};
use crate::failover::group::{Group, OnHang};
use crate::failover::plan;
use crate::failover::step::{Outcome, PeerAnswer, Step};

/// Between two tries of a step that has to succeed.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Said of [`Cause::TakenOver`].
pub(super) const TAKEN_OVER: &str = "the lease ran out and the other node is primary";

/// Said of [`Cause::Superseded`].
pub(super) const SUPERSEDED: &str = "the other node went on as primary, and what was not acknowledged here has failed; see hastd(8)";

/// Why a node goes down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// CARP says so.
    Event,
    /// A person says so.
    Hand,
    /// The way up failed.
    Failed(String),
    /// The other node is primary: there is nothing to wait for any more.
    TakenOver,
    /// The other node was primary, and has newer data: the devices here serve nothing any more.
    Superseded,
    /// The agent was restarted, and does not know how far it was.
    Restart,
    /// The agent was restarted as backup: to be sure.
    Resume,
    /// The machine was restarted.
    Boot,
    /// To change places with the peer.
    Switchover,
}

/// A way down.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) cause: Cause,
    steps: VecDeque<Step>,
    /// Until then a step that did not work is not tried again.
    pause: Option<Duration>,
    tries: u32,
}

impl Down {
    /// The whole way, or where nothing was done yet only what keeps the address away.
    pub(super) fn new(cause: Cause, whole: bool, group: &Group, witness: bool) -> Self {
        let mut steps = VecDeque::new();
        if matches!(cause, Cause::Restart | Cause::Boot) {
            steps.extend(group.carp.is_some().then_some(Step::RaiseDemotion));
        }
        if matches!(cause, Cause::Restart | Cause::Resume | Cause::Boot) {
            steps.push_back(Step::WaitForHastd);
        }
        if whole {
            steps.extend(plan::down(group, witness));
        } else {
            steps.extend(witness.then_some(Step::ReleaseLease));
        }
        match cause {
            Cause::Hand | Cause::Failed(_) | Cause::TakenOver | Cause::Superseded => {
                steps.extend(plan::away(group));
            }
            Cause::Switchover => {
                steps.extend(plan::away(group));
                steps.push_back(Step::Invite);
                steps.push_back(Step::WaitForTakeover);
            }
            Cause::Event | Cause::Restart | Cause::Resume | Cause::Boot => {}
        }
        Self {
            cause,
            steps,
            pause: None,
            tries: 0,
        }
    }

    /// Whether the node may go up from here: it hangs, and nothing forbids it.
    pub(super) fn may_turn(&self) -> bool {
        self.pause.is_some() && matches!(self.cause, Cause::Event | Cause::Hand)
    }

    fn policy(&self, group: &Group) -> OnHang {
        match self.cause {
            // hastd may not be there yet, and nothing of the group can be.
            Cause::Boot => OnHang::Retry,
            // Trying again helps nobody: what is held here can not become true.
            Cause::TakenOver | Cause::Superseded if group.on_hang == OnHang::Retry => OnHang::Force,
            _ => group.on_hang,
        }
    }
}

/// What came of a step that is not done, as a sentence.
pub(super) fn told(step: &Step, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(why) => format!("{step}: {why}"),
        Outcome::Overdue => format!("{step}: not done within its time"),
        Outcome::Claimed => format!("{step}: the peer has claimed them"),
        Outcome::Done | Outcome::Peer(_) | Outcome::Fence(_) | Outcome::Lease(_) => {
            format!("{step}: answered {outcome:?}")
        }
    }
}

impl Supervisor {
    pub(super) fn go_on_down(&mut self, mut down: Down) {
        if down.pause.is_some_and(|until| self.now < until) {
            self.phase = Phase::Down(down);
            return;
        }
        // What is held for want of a lease can not be written out, and not at all once the peer is primary.
        if down.pause.take().is_some()
            && self.is_without_lease()
            && !matches!(down.cause, Cause::TakenOver | Cause::Superseded)
        {
            self.phase = Phase::Down(down);
            self.perform(Step::LookAtPeer);
            return;
        }
        match down.steps.front().cloned() {
            Some(step) => {
                self.phase = Phase::Down(down);
                self.perform(step);
            }
            None => self.is_down(down.cause),
        }
    }

    fn is_down(&mut self, cause: Cause) {
        self.phase = Phase::Backup;
        self.lease.end();
        self.say(Level::Info, "is backup".to_owned());
        match cause {
            Cause::Failed(why) => self.in_trouble(why),
            Cause::TakenOver => self.in_trouble(TAKEN_OVER.to_owned()),
            Cause::Superseded => self.in_trouble(SUPERSEDED.to_owned()),
            Cause::Event
            | Cause::Hand
            | Cause::Restart
            | Cause::Resume
            | Cause::Boot
            | Cause::Switchover => {}
        }
    }

    /// The one table of the way down.
    pub(super) fn finished_down(&mut self, mut down: Down, step: &Step, outcome: &Outcome) {
        if *step == Step::LookAtPeer {
            if *outcome == Outcome::Peer(PeerAnswer::Primary) {
                self.say(Level::Error, TAKEN_OVER.to_owned());
                down.cause = Cause::TakenOver;
            }
            self.phase = Phase::Down(down);
            return;
        }
        if *outcome == Outcome::Done {
            down.steps.pop_front();
            down.tries = 0;
            self.phase = Phase::Down(down);
            return;
        }
        let what = told(step, outcome);
        match step {
            Step::Unmount { .. } | Step::Export { .. } | Step::Demote { .. } => {
                self.say(Level::Error, what);
                self.hangs(down, step);
            }
            Step::Invite | Step::WaitForTakeover => {
                self.say(Level::Error, format!("{what}; taking the group back"));
                self.roll_back();
            }
            Step::WaitForHastd => {
                self.say(Level::Error, what);
                self.try_again(down);
            }
            // Nothing depends on them but people.
            _ => {
                self.say(Level::Error, what);
                down.steps.pop_front();
                self.phase = Phase::Down(down);
            }
        }
    }

    /// Where the peer does not take over. That the address has gone was this node's own doing.
    fn roll_back(&mut self) {
        self.pending
            .take_if(|wish| !wish.master && wish.origin == Origin::Carp);
        self.go_up(Origin::Rollback);
    }

    fn try_again(&mut self, mut down: Down) {
        down.tries += 1;
        down.pause = Some(self.now + TRY_AGAIN);
        self.phase = Phase::Down(down);
    }

    /// A step without which the other node can not have the group.
    fn hangs(&mut self, mut down: Down, step: &Step) {
        if down.cause == Cause::Switchover {
            self.say(
                Level::Error,
                "no switchover: taking the group back".to_owned(),
            );
            self.roll_back();
            return;
        }
        match down.policy(&self.group) {
            OnHang::Retry => self.try_again(down),
            OnHang::Force => match step.forced() {
                Some(forced) if forced != *step => {
                    self.say(
                        Level::Error,
                        format!("{forced}: what programs have written and the file system has not yet put on the disk is lost"),
                    );
                    down.steps[0] = forced;
                    self.phase = Phase::Down(down);
                }
                _ => self.try_again(down),
            },
            OnHang::Reboot => {
                self.say(
                    Level::Error,
                    "restarting this machine at once: what programs have written and the file system has not yet put on the disk is lost ('on-hang = reboot')".to_owned(),
                );
                down.pause = Some(self.now + TRY_AGAIN);
                self.phase = Phase::Down(down);
                self.perform(Step::Reboot);
            }
        }
    }
}
