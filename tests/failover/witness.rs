//! The witness as its protocol promises it: one holder, and who is alone current.

use std::time::Duration;

use hast::failover::step::LeaseAnswer;

use crate::profile::Sabotage;

/// Length of a lease.
pub const LEASE: Duration = Duration::from_secs(15);
/// Longest that any lease may be; nobody new gets one so soon after a restart.
const QUIET: Duration = Duration::from_mins(1);

#[derive(Default)]
pub struct Witness {
    holder: Option<(usize, Duration)>,
    alone: Option<usize>,
    quiet_until: Duration,
}

impl Witness {
    /// Asked at `now`, by a question sent at `sent`.
    pub fn acquire(
        &mut self,
        now: Duration,
        sent: Duration,
        node: usize,
        alone: Option<bool>,
        sabotage: Option<Sabotage>,
    ) -> LeaseAnswer {
        let other = 1 - node;
        let current = self
            .alone
            .filter(|_| sabotage != Some(Sabotage::AloneForgotten));
        if current == Some(other) {
            return LeaseAnswer::OtherIsCurrent;
        }
        let held = self
            .holder
            .filter(|(holder, until)| *holder == other && *until > now);
        if let Some((_, until)) = held
            && sabotage != Some(Sabotage::LeaseForAll)
        {
            return LeaseAnswer::Held {
                left: until.saturating_sub(now),
            };
        }
        let known = self.holder.is_some_and(|(holder, _)| holder == node);
        if !known && now < self.quiet_until {
            return LeaseAnswer::Held {
                left: self.quiet_until.saturating_sub(now),
            };
        }
        self.holder = Some((node, now + LEASE));
        if let Some(alone) = alone {
            self.alone = alone.then_some(node);
        }
        LeaseAnswer::Granted {
            until: sent + LEASE,
        }
    }

    pub fn release(&mut self, node: usize) {
        if self.holder.is_some_and(|(holder, _)| holder == node) {
            self.holder = None;
        }
    }

    /// Who is alone current is on its disk; for whom a lease runs, too.
    pub fn restart(&mut self, now: Duration) {
        self.quiet_until = now + QUIET;
    }
}
