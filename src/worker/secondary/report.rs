//! How a secondary is, for hastctl: no more than it knows. What is left to copy the primary knows.

use crate::control::{Condition, Connection, Details, LocalState, PeerState, Queues, WorkerStatus};
use crate::engine::meeting::Source;
use crate::engine::secondary;
use crate::worker::counts::Counts;
use crate::worker::local::Local;

/// What a secondary knows of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Its record says that it lacks something.
    pub lacks: bool,
    /// Who was the source when the two met.
    pub source: Source,
    /// The primary says how the copies are; base's does not.
    pub extension: bool,
    /// What it has said.
    pub said: secondary::Sight,
}

impl Sight {
    fn condition(self) -> Condition {
        let equal = if self.extension {
            self.said.equal
        } else {
            self.source == Source::Primary
        };
        if equal && !self.lacks {
            Condition::Complete
        } else {
            Condition::Syncing
        }
    }

    fn peer(self) -> PeerState {
        let relied_on = if self.said.met {
            self.said.leads
        } else {
            self.source == Source::Secondary
        };
        if relied_on {
            PeerState::Inconsistent
        } else if self.lacks || self.said.equal || !self.extension {
            PeerState::UpToDate
        } else {
            PeerState::Unknown
        }
    }

    fn reason(self) -> Option<&'static str> {
        match (self.condition(), self.extension, self.peer()) {
            (Condition::Complete | Condition::Degraded, _, _) => None,
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
            local: if sight.lacks {
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

    fn said(met: bool, equal: bool, leads: bool) -> secondary::Sight {
        secondary::Sight { met, equal, leads }
    }

    #[test]
    fn complete_is_what_the_primary_has_said_to_be() {
        let (complete, syncing) = (Condition::Complete, Condition::Syncing);
        for (source, said, lacks, condition, peer) in [
            (
                Source::Primary,
                said(false, false, false),
                false,
                syncing,
                PeerState::Unknown,
            ),
            (
                Source::Primary,
                said(true, false, false),
                true,
                syncing,
                PeerState::UpToDate,
            ),
            (
                Source::Secondary,
                said(false, false, false),
                false,
                syncing,
                PeerState::Inconsistent,
            ),
            (
                Source::Primary,
                said(true, false, true),
                false,
                syncing,
                PeerState::Inconsistent,
            ),
            (
                Source::Secondary,
                said(true, true, false),
                false,
                complete,
                PeerState::UpToDate,
            ),
            (
                Source::Primary,
                said(true, true, false),
                true,
                syncing,
                PeerState::UpToDate,
            ),
        ] {
            let sight = Sight {
                lacks,
                source,
                extension: true,
                said,
            };
            assert_eq!(sight.condition(), condition, "{sight:?}");
            assert_eq!(sight.peer(), peer, "{sight:?}");
            assert_eq!(sight.reason().is_none(), condition == complete);
        }
    }

    #[test]
    fn of_a_base_primary_no_more_is_said_than_its_handshake_did() {
        let base = |source, lacks| Sight {
            lacks,
            source,
            extension: false,
            said: secondary::Sight::default(),
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
