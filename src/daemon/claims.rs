//! What the other node has said of a resource: that it is about to become primary (a claim), or
//! that it has given the role up for us (an invitation). Decides whether we may become primary.
//!
//! Two nodes that promote only under [`Guard`] never both do. Each needs the other's word, given before, that it
//! stays out of the role until a moment, and promotes before that moment. Each hastd orders the other's claim and
//! its own promotion: after the promotion it grants no claim, after the claim it does not promote. Words
//! given before a restart are forgotten, so for the longest time that one lasts there is no guarded promotion
//! after one.
//!
//! Knows no clock and no network. A claim is noted only by a node that is not primary, which is for the
//! caller to look at.

use std::time::{Duration, Instant};

use crate::control::Guard;
use crate::moment::Moment;
use crate::wire::handshake::query::CLAIM_LIMIT;

/// Why a resource must not become primary now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// The other node has claimed the role.
    #[error(
        "node {node} is taking this role now; try again in {} s",
        seconds(*left)
    )]
    Claimed {
        /// The other node's address.
        node: String,
        /// How long its claim stands.
        left: Duration,
    },
    /// A claim may have been noted and forgotten.
    #[error(
        "hastd has just started, and may have let the other node have this role before; \
         try again in {} s",
        seconds(*left)
    )]
    JustStarted {
        /// How long that may be so.
        left: Duration,
    },
    /// It is later than the caller may promote.
    #[error("node {node} no longer stays out of this role for us; ask it again")]
    TooLate {
        /// The other node's address.
        node: String,
    },
}

/// Rounded up: who comes again after that is not told the same.
fn seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000) as u64
}

/// What the other node has said of one resource.
#[derive(Debug)]
pub struct Claims {
    /// Nothing that was said before is known.
    since: Instant,
    /// The end of the other node's claim.
    claimed: Option<Instant>,
    invited: Option<Instant>,
}

impl Claims {
    /// Nothing has been heard yet.
    pub const fn new(now: Instant) -> Self {
        Self {
            since: now,
            claimed: None,
            invited: None,
        }
    }

    /// Notes a claim. None is made shorter by another.
    pub fn claim(&mut self, time: Duration, now: Instant) {
        let end = now + time.min(CLAIM_LIMIT);
        self.claimed = self.claimed.max(Some(end));
        // Who takes the role does not want us to.
        self.invited = None;
    }

    /// Notes an invitation.
    pub fn invite(&mut self, now: Instant) {
        self.invited = Some(now);
    }

    /// How long ago the other node invited us to take the role, while that counts.
    pub fn invited(&self, now: Instant) -> Option<Duration> {
        self.invited
            .map(|at| now.saturating_duration_since(at))
            .filter(|ago| *ago < CLAIM_LIMIT)
    }

    /// The role is taken: the invitation has been followed.
    pub fn promoted(&mut self) {
        self.invited = None;
    }

    /// Whether the resource may become primary at `now`, which is `moment`; `node` is the other node's
    /// address, for the reason.
    pub fn hinder(
        &self,
        guard: Option<Guard>,
        node: &str,
        now: Instant,
        moment: Moment,
    ) -> Result<(), Hindrance> {
        let left =
            |end: Instant| Some(end.saturating_duration_since(now)).filter(|left| !left.is_zero());
        let node = || node.to_owned();
        if let Some(left) = self.claimed.and_then(left) {
            return Err(Hindrance::Claimed { node: node(), left });
        }
        let Some(guard) = guard else { return Ok(()) };
        if let Some(left) = left(self.since + CLAIM_LIMIT) {
            return Err(Hindrance::JustStarted { left });
        }
        match guard.until {
            Some(until) if moment >= until => Err(Hindrance::TooLate { node: node() }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Claims of a hastd that has long been there, and the present.
    fn settled() -> (Claims, Instant) {
        let begin = Instant::now();
        (Claims::new(begin), begin + CLAIM_LIMIT)
    }

    fn hinder(claims: &Claims, guard: Option<Guard>, now: Instant) -> Result<(), Hindrance> {
        claims.hinder(guard, "there", now, Moment::from_nanoseconds(100))
    }

    const GUARDED: Option<Guard> = Some(Guard { until: None });

    #[test]
    fn while_a_claim_stands_nobody_is_promoted() {
        let (mut claims, now) = settled();
        assert_eq!(hinder(&claims, GUARDED, now), Ok(()));
        claims.claim(3 * SECOND, now);
        claims.claim(SECOND, now);
        for guard in [None, GUARDED] {
            let error = hinder(&claims, guard, now + SECOND).unwrap_err();
            assert_eq!(
                error.to_string(),
                "node there is taking this role now; try again in 2 s"
            );
            assert_eq!(hinder(&claims, guard, now + 3 * SECOND), Ok(()));
        }
    }

    #[test]
    fn no_claim_lasts_longer_than_may_be_forgotten() {
        let (mut claims, now) = settled();
        claims.claim(100 * CLAIM_LIMIT, now);
        assert!(hinder(&claims, None, now + CLAIM_LIMIT.saturating_sub(SECOND)).is_err());
        assert_eq!(hinder(&claims, None, now + CLAIM_LIMIT), Ok(()));
    }

    #[test]
    fn soon_after_a_start_only_people_promote() {
        let begin = Instant::now();
        let claims = Claims::new(begin);
        let just = begin + CLAIM_LIMIT.saturating_sub(SECOND / 2);
        assert_eq!(hinder(&claims, None, just), Ok(()));
        let left = SECOND / 2;
        assert_eq!(
            hinder(&claims, GUARDED, just),
            Err(Hindrance::JustStarted { left })
        );
        assert_eq!(hinder(&claims, GUARDED, begin + CLAIM_LIMIT), Ok(()));
    }

    #[test]
    fn a_promise_that_has_run_out_promotes_nobody() {
        let (claims, now) = settled();
        let until = |moment| {
            let until = Some(Moment::from_nanoseconds(moment));
            hinder(&claims, Some(Guard { until }), now)
        };
        let node = "there".to_owned();
        assert_eq!(until(101), Ok(()));
        assert_eq!(until(100), Err(Hindrance::TooLate { node }));
    }

    #[test]
    fn an_invitation_counts_for_a_while_and_until_it_is_followed() {
        let (mut claims, now) = settled();
        assert_eq!(claims.invited(now), None);
        claims.invite(now);
        assert_eq!(claims.invited(now + SECOND), Some(SECOND));
        assert_eq!(claims.invited(now + CLAIM_LIMIT), None);
        claims.promoted();
        assert_eq!(claims.invited(now), None);
        claims.invite(now);
        claims.claim(SECOND, now);
        assert_eq!(claims.invited(now), None, "it changed its mind");
    }
}
