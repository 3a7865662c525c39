//! A master's lease: renewed beside everything else, and passed on to hastd as a permit, so that without it
//! nothing is acknowledged that only this node has.
//!
//! Invariants: hastd is never permitted longer than the witness has granted, and never before the witness
//! knows that this node writes alone; the witness is told that the peer is current again only after the
//! permit was taken back.

use std::time::Duration;

use super::{Action, Level, Phase, Supervisor};
use crate::failover::group::OnLeaseLoss;
use crate::failover::step::{LeaseAnswer, Step};

/// A permit ends so much before its lease: for the way to hastd's worker.
const MARGIN: Duration = Duration::from_secs(1);
/// Between two looks at the peer by a master that has no lease.
const LOOK: Duration = Duration::from_secs(10);

/// The lease of a group.
#[derive(Debug)]
pub(super) struct Lease {
    length: Duration,
    loss: OnLeaseLoss,
    until: Option<Duration>,
    /// The witness knows that this node writes alone.
    alone: bool,
    asking: bool,
    next: Duration,
    look: Duration,
    /// Its loss was said.
    lost: bool,
}

impl Lease {
    pub(super) fn new(length: Duration, loss: OnLeaseLoss) -> Self {
        Self {
            length,
            loss,
            until: None,
            alone: false,
            asking: false,
            next: Duration::ZERO,
            look: Duration::ZERO,
            lost: false,
        }
    }

    /// Until when it is ours.
    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }

    /// A promotion was granted it.
    pub(super) fn granted(&mut self, now: Duration, until: Duration) {
        self.until = Some(until);
        self.alone = false;
        self.next = now;
    }

    /// This node is not, or will not be, master.
    pub(super) fn end(&mut self) {
        self.until = None;
        self.alone = false;
        self.lost = false;
    }

    fn has_run_out(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// Asks again where it is time, or where the peer was lost or found.
    fn renew(&mut self, now: Duration, complete: bool, actions: &mut Vec<Action>) {
        if self.asking {
            return;
        }
        let changed = self.alone == complete;
        if now < self.next && !changed {
            return;
        }
        if complete && self.alone && self.loss == OnLeaseLoss::Stop {
            // First nothing more alone, then the word that nothing is.
            actions.push(Action::Permit(Duration::ZERO));
        }
        self.asking = true;
        self.next = now + self.length / 3;
        actions.push(Action::Renew { alone: !complete });
    }

    pub(super) fn renewed(
        &mut self,
        now: Duration,
        alone: bool,
        answer: &LeaseAnswer,
        actions: &mut Vec<Action>,
    ) {
        self.asking = false;
        if let LeaseAnswer::Granted { until } = answer {
            self.until = Some(*until);
            self.alone = alone;
            if self.lost {
                self.lost = false;
                actions.push(Action::Say(
                    Level::Info,
                    "the lease is there again".to_owned(),
                ));
            }
            let left = until.saturating_sub(now).saturating_sub(MARGIN);
            if alone && self.loss == OnLeaseLoss::Stop {
                actions.push(Action::Permit(left));
            }
            return;
        }
        // Not before a while, so that a witness that is away is not asked all the time.
        self.next = self.next.max(now + self.length / 3);
        if self.has_run_out(now) && !self.lost {
            self.lost = true;
            let what = match self.loss {
                OnLeaseLoss::Stop => {
                    "writes that the peer does not have are held until there is one"
                }
                OnLeaseLoss::Keep => "going on all the same ('on-lease-loss = keep')",
            };
            let why = match answer {
                LeaseAnswer::Unreachable(why) => why.clone(),
                LeaseAnswer::Held { .. } => "the other node has it".to_owned(),
                LeaseAnswer::OtherIsCurrent => "the other node has newer writes".to_owned(),
                LeaseAnswer::Granted { .. } => String::new(),
            };
            actions.push(Action::Say(
                Level::Error,
                format!("no lease: {why}; {what}"),
            ));
        }
    }
}

impl Supervisor {
    /// While primary, on the way up and down, too.
    pub(super) fn renew_lease(&mut self) {
        let primary = self.watch.primary && !matches!(self.phase, Phase::Starting | Phase::Backup);
        if self.witness && primary {
            let complete = self.watch.complete;
            self.lease.renew(self.now, complete, &mut self.actions);
        }
    }

    /// Primary, with nobody's leave to write alone.
    pub(super) fn is_without_lease(&self) -> bool {
        self.witness
            && self.watch.primary
            && !self.watch.connected
            && self.lease.has_run_out(self.now)
    }

    /// A master's, while nothing else is done.
    pub(super) fn mind_the_lease(&mut self) {
        if self.is_without_lease() && self.now >= self.lease.look {
            self.lease.look = self.now + LOOK;
            self.perform(Step::LookAtPeer);
        }
    }
}
