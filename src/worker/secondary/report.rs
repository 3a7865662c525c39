//! How a secondary is, for hastctl: no more than it knows. What is left to copy the primary knows.

use crate::control::{Condition, Connection, Details, LocalState, PeerState, Queues, WorkerStatus};
use crate::engine;
use crate::engine::handshake::Source;
use crate::worker::counts::Counts;
use crate::worker::local::Local;

/// What a secondary knows of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// It is being copied onto, as far as it knows.
    pub inconsistent: bool,
    /// Who was the source when the two met.
    pub source: Source,
    /// The primary says how the copies are; base's does not.
    pub extension: bool,
    /// What it said last.
    pub told: Option<engine::PeerState>,
}

impl Sight {
    fn condition(self) -> Condition {
        let equal = match self.told {
            Some(told) => told == engine::PeerState::Consistent,
            None => !self.extension && self.source == Source::Primary,
        };
        if equal && !self.inconsistent {
            Condition::Complete
        } else {
            Condition::Syncing
        }
    }

    fn peer(self) -> PeerState {
        match (self.told, self.source) {
            (Some(engine::PeerState::Consistent | engine::PeerState::Inconsistent), _) => {
                PeerState::UpToDate
            }
            (Some(engine::PeerState::Ahead), _) | (None, Source::Secondary) => {
                PeerState::Inconsistent
            }
            (None, Source::Primary) if self.inconsistent || !self.extension => PeerState::UpToDate,
            (None, Source::Primary) => PeerState::Unknown,
        }
    }

    fn reason(self) -> Option<&'static str> {
        match (self.condition(), self.extension, self.peer()) {
            (Condition::Complete | Condition::Degraded | Condition::Superseded, _, _) => None,
            (Condition::Syncing, false, _) => Some(
                "the copies were not equal when the primary connected, and base hastd does not say \
                 when they are; see 'hastctl list' there",
            ),
            (Condition::Syncing, true, PeerState::Inconsistent) => {
                Some("the primary is copying from this node; see 'hastctl list' there")
            }
            (Condition::Syncing, true, PeerState::UpToDate) => {
                Some("the primary is copying to this node; see 'hastctl list' there")
            }
            (Condition::Syncing, true, _) => {
                Some("the primary has not yet said that both copies are equal")
            }
        }
    }
}

/// How a secondary is that has a primary. The size of an extent is in bytes.
pub fn report(
    local: &Local,
    extentsize: u32,
    sight: Sight,
    counts: &Counts,
    queues: Queues,
) -> WorkerStatus {
    let reasons: Vec<String> = sight
        .reason()
        .map(str::to_owned)
        .into_iter()
        .chain(local.last_failure())
        .collect();
    WorkerStatus {
        condition: sight.condition(),
        dirty: 0,
        extentsize,
        keepdirty: 0,
        statistics: counts.statistics(local),
        queues,
        details: Some(Details {
            connection: Connection::Connected,
            peer: sight.peer(),
            local: if sight.inconsistent {
                LocalState::Inconsistent
            } else {
                LocalState::UpToDate
            },
            synchronisation: None,
            holding: None,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PeerState::{Ahead, Consistent, Inconsistent};

    #[test]
    fn complete_is_what_the_primary_has_said_to_be() {
        let (complete, syncing) = (Condition::Complete, Condition::Syncing);
        for (source, told, condition, peer) in [
            (Source::Primary, None, syncing, PeerState::Unknown),
            (
                Source::Primary,
                Some(Inconsistent),
                syncing,
                PeerState::UpToDate,
            ),
            (Source::Secondary, None, syncing, PeerState::Inconsistent),
            (
                Source::Primary,
                Some(Ahead),
                syncing,
                PeerState::Inconsistent,
            ),
            (
                Source::Secondary,
                Some(Consistent),
                complete,
                PeerState::UpToDate,
            ),
        ] {
            let sight = Sight {
                inconsistent: told == Some(Inconsistent),
                source,
                extension: true,
                told,
            };
            assert_eq!(sight.condition(), condition, "{sight:?}");
            assert_eq!(sight.peer(), peer, "{sight:?}");
            assert_eq!(sight.reason().is_none(), condition == complete);
        }
    }

    #[test]
    fn of_a_base_primary_no_more_is_said_than_its_handshake_did() {
        let base = |source, inconsistent| Sight {
            inconsistent,
            source,
            extension: false,
            told: None,
        };
        let in_step = base(Source::Primary, false);
        assert_eq!(in_step.condition(), Condition::Complete);
        assert_eq!(in_step.reason(), None);
        for unknown in [base(Source::Primary, true), base(Source::Secondary, false)] {
            assert_eq!(unknown.condition(), Condition::Syncing);
            assert!(unknown.reason().unwrap().contains("base hastd"));
        }
    }
}
