//! Leases of the witness for one group, asked for by one thread at a time.
//!
//! Invariant: a lease that was given back is not asked for again by a renewal that was late.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::waiting::Clock;
use crate::failover::step::LeaseAnswer;
use crate::witness::client::{Witness, WitnessError};
use crate::witness::message::{Copies, Refusal};

/// What a group is granted.
#[derive(Debug)]
pub struct Leases {
    witness: Witness,
    group: String,
    node: String,
    length: Duration,
    clock: Clock,
    /// It was not given back. Held by who asks.
    wanted: Mutex<bool>,
}

impl Leases {
    /// For a group, on a node, each lease so long.
    pub const fn new(
        witness: Witness,
        group: String,
        node: String,
        length: Duration,
        clock: Clock,
    ) -> Self {
        Self {
            witness,
            group,
            node,
            length,
            clock,
            // A restarted agent may find a master.
            wanted: Mutex::new(true),
        }
    }

    /// For a promotion.
    pub fn acquire(&self) -> LeaseAnswer {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = true;
        self.ask(Copies::AsRecorded)
    }

    /// A master's next one; alone: only this node has what is written from now on.
    pub fn renew(&self, alone: bool) -> LeaseAnswer {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if !*wanted {
            return LeaseAnswer::Unreachable("the lease was given back".to_owned());
        }
        self.ask(if alone {
            Copies::OnlyMine
        } else {
            Copies::Both
        })
    }

    /// Gives it back.
    pub fn release(&self) -> Result<(), String> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = false;
        let released = self.witness.release(&self.group, &self.node);
        released.map_err(|error| error.to_string())
    }

    fn ask(&self, copies: Copies) -> LeaseAnswer {
        let (group, node) = (&self.group, &self.node);
        match self
            .witness
            .acquire(group, node, self.length, copies, false)
        {
            Ok(grant) => LeaseAnswer::Granted {
                until: self.clock.at(grant.until),
            },
            Err(WitnessError::Refused(Refusal::Held { left, .. } | Refusal::Quiet { left })) => {
                LeaseAnswer::Held { left }
            }
            Err(WitnessError::Refused(Refusal::Alone { .. })) => LeaseAnswer::OtherIsCurrent,
            Err(error) => LeaseAnswer::Unreachable(error.to_string()),
        }
    }
}
