//! What two nodes decide when they meet: who has what, and who copies from whom.
//!
//! One total function over both nodes' standings and the primary's situation. Pure: both nodes call it
//! with the same values and come to the same verdict; it touches no disk. Between two nodes that both
//! speak the extension it looks at their records; where base's counters have to speak (`counted`) at
//! those (spec, section 4, the table).
//!
//! Invariants: no verdict takes a copy that lacks something as the source; none lets the data under an
//! open device change, but for a primary that leans on the other, whose own consumer wrote it.

use crate::layout::record::NUMBER_LIMIT;
use crate::layout::{Record, Standing};

/// Who is the source of what has to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The primary; also when nothing has to be copied.
    Primary,
    /// The secondary: the primary is out of date.
    Secondary,
}

/// What has to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// What either map has marked.
    Marked,
    /// All there is: the maps say nothing of how the two differ.
    Everything,
}

/// One of the two nodes of a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// The one that connects.
    Primary,
    /// The one that answers.
    Secondary,
}

/// What a primary says when it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hello {
    /// Its component.
    pub standing: Standing,
    /// Nothing was ever written, and the resuid is its own invention.
    pub virgin: bool,
    /// Its device is open, or it holds requests.
    pub holds: bool,
    /// It was written to while it relied on this peer: what the peer has that it lacks, its own consumer wrote.
    pub leans: bool,
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// Whose data counts.
    pub source: Source,
    /// How much of it.
    pub scope: Scope,
    /// Whose component is older than the last point that both made: somebody put an older image back.
    pub older: Option<Party>,
}

/// Why the two cannot work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The components do not belong together. Base's words.
    #[error("Resource unique ID mismatch (primary={primary}, secondary={secondary}).")]
    UniqueId {
        /// The primary's resuid.
        primary: u64,
        /// The secondary's.
        secondary: u64,
    },
    /// Both were written to apart from each other. Base's words.
    #[error("Split-brain condition!")]
    SplitBrain,
    /// Neither copy is complete.
    #[error(
        "Both copies lack something that only the other had; choose one: 'hastctl role init' there, \
         then 'hastctl role primary --force'."
    )]
    BothLack,
    /// The primary lacks what only a component had that is not there any more.
    #[error(
        "The primary lacks data, and the secondary's component was replaced or is older and has not got it either; \
         'hastctl role init' there, then 'hastctl role primary --force', goes on without that data."
    )]
    CompleteCopyGone,
    /// The primary's component is older than what the secondary was receiving.
    #[error(
        "The primary's component is older than what the secondary was receiving, and the secondary is not complete; \
         put the newer component back, or go on without its data: 'hastctl create' on the secondary."
    )]
    PrimaryOlder,
    /// The secondary went on with data of its own while something here keeps the device open.
    #[error("The primary is superseded: this node went on as primary with data of its own.")]
    Superseded,
    /// A counter that no node reaches.
    #[error(
        "A counter of the metadata is damaged or forged (localcnt or remotecnt is 2^63 or more)."
    )]
    Counter,
}

/// What both nodes come to.
pub type Verdict = Result<Agreement, Refusal>;

/// Decides for a secondary with this standing what becomes of a meeting with `primary`. `extended` says
/// whether both speak the extension, and so know records.
pub fn decide(primary: &Hello, secondary: &Standing, extended: bool) -> Verdict {
    let (ours, theirs) = (&primary.standing, secondary);
    let counters = [
        ours.localcnt,
        ours.remotecnt,
        theirs.localcnt,
        theirs.remotecnt,
    ];
    if counters.iter().any(|counter| *counter >= NUMBER_LIMIT) {
        return Err(Refusal::Counter);
    }
    if theirs.resuid != 0 && theirs.resuid != ours.resuid {
        return Err(Refusal::UniqueId {
            primary: ours.resuid,
            secondary: theirs.resuid,
        });
    }
    let meeting = Meeting {
        primary: ours.record.resolved(&theirs.record),
        secondary: theirs.record.resolved(&ours.record),
        holds: primary.holds,
        leans: primary.leans,
    };
    if theirs.resuid == 0 {
        return meeting.with_a_fresh_secondary(primary.virgin);
    }
    if !extended || meeting.primary.counted || meeting.secondary.counted {
        return meeting.by_counters(ours, theirs);
    }
    meeting.by_records()
}

/// Both records, what is settled between them settled, and the primary's situation.
struct Meeting {
    primary: Record,
    secondary: Record,
    holds: bool,
    leans: bool,
}

impl Meeting {
    fn with_a_fresh_secondary(&self, virgin: bool) -> Verdict {
        let scope = if virgin {
            Scope::Marked
        } else {
            Scope::Everything
        };
        self.primary_counts(scope)
    }

    fn by_records(&self) -> Verdict {
        let (ours, theirs) = (&self.primary, &self.secondary);
        if theirs.is_fresh() {
            return self.with_a_fresh_secondary(false);
        }
        if ours.is_fresh() {
            return self.secondary_counts(Scope::Everything, None);
        }
        match (ours.at, theirs.at) {
            (Some(here), Some(there)) if here == there => self.at_the_same_point(),
            (_, Some(there)) if ours.has_passed(there) => self.secondary_older(),
            (Some(here), _) if theirs.has_passed(here) => self.primary_older(),
            _ => self.strangers(),
        }
    }

    /// Nobody went back: what differs is marked.
    fn at_the_same_point(&self) -> Verdict {
        let (ours, theirs) = (&self.primary, &self.secondary);
        match (ours.own.is_some(), theirs.own.is_some()) {
            (true, true) => Err(Refusal::SplitBrain),
            // Neither goes on alone while it lacks something; were it so, its own data would be lost here.
            (true, false) if ours.lacks => Err(both_lack_or_split(theirs)),
            (true, false) => Ok(from_primary(Scope::Marked, None)),
            (false, true) if theirs.lacks => Err(both_lack_or_split(ours)),
            (false, true) => self.secondary_counts(Scope::Marked, None),
            (false, false) => match (ours.lacks, theirs.lacks) {
                (true, true) => Err(Refusal::BothLack),
                (true, false) if self.leans => Ok(from_secondary(Scope::Marked, None)),
                (true, false) => self.secondary_counts(Scope::Marked, None),
                (false, _) => Ok(from_primary(Scope::Marked, None)),
            },
        }
    }

    fn secondary_older(&self) -> Verdict {
        let (ours, theirs) = (&self.primary, &self.secondary);
        if theirs.own.is_some_and(|own| !ours.knows(own)) {
            Err(Refusal::SplitBrain)
        } else if ours.lacks {
            Err(Refusal::CompleteCopyGone)
        } else {
            Ok(from_primary(Scope::Everything, Some(Party::Secondary)))
        }
    }

    fn primary_older(&self) -> Verdict {
        let (ours, theirs) = (&self.primary, &self.secondary);
        if ours.own.is_some_and(|own| !theirs.knows(own)) {
            Err(Refusal::SplitBrain)
        } else if theirs.lacks {
            Err(Refusal::PrimaryOlder)
        } else {
            self.secondary_counts(Scope::Everything, Some(Party::Primary))
        }
    }

    /// Neither knows the other's point.
    fn strangers(&self) -> Verdict {
        match (self.primary.lacks, self.secondary.lacks) {
            (true, true) => Err(Refusal::BothLack),
            // What is there is the truth, and the other has none to set against it. Not so an older image of
            // before the first point: it has no point either, and what the other lacks is newer.
            (false, true) if self.primary.forced => Ok(from_primary(Scope::Everything, None)),
            (true, false) if self.secondary.forced => {
                self.secondary_counts(Scope::Everything, None)
            }
            _ => Err(Refusal::SplitBrain),
        }
    }

    /// Base's table (spec, section 4); what should not happen is answered by copying everything.
    fn by_counters(&self, ours: &Standing, theirs: &Standing) -> Verdict {
        let ahead = theirs.localcnt > ours.remotecnt;
        let known = theirs.localcnt == ours.remotecnt;
        let behind = ours.localcnt > theirs.remotecnt;
        let in_step = theirs.remotecnt == ours.localcnt;
        let (source, scope) = match (ahead, known, behind, in_step) {
            (true, _, _, true) => (Source::Secondary, Scope::Marked),
            (_, true, false, true) | (_, true, true, false) => (Source::Primary, Scope::Marked),
            (true, _, true, _) => return Err(Refusal::SplitBrain),
            (true, _, false, false) => (Source::Secondary, Scope::Everything),
            _ => (Source::Primary, Scope::Everything),
        };
        // Counters that went backwards are not the other's that this node's consumer wrote to.
        let leans = self.leans && self.primary.lacks && scope == Scope::Marked;
        match source {
            Source::Primary => self.primary_counts(scope),
            Source::Secondary if leans && !self.secondary.lacks => Ok(from_secondary(scope, None)),
            Source::Secondary => self.secondary_counts(scope, None),
        }
    }

    /// The primary is the source, if it is complete.
    fn primary_counts(&self, scope: Scope) -> Verdict {
        match (self.primary.lacks, self.secondary.lacks) {
            (true, true) => Err(Refusal::BothLack),
            (true, false) => Err(Refusal::CompleteCopyGone),
            (false, _) => Ok(from_primary(scope, None)),
        }
    }

    /// The secondary is the source, if it is complete and nothing here watches the data change.
    fn secondary_counts(&self, scope: Scope, older: Option<Party>) -> Verdict {
        if self.secondary.lacks {
            Err(Refusal::BothLack)
        } else if self.holds {
            Err(Refusal::Superseded)
        } else {
            Ok(from_secondary(scope, older))
        }
    }
}

fn both_lack_or_split(other: &Record) -> Refusal {
    if other.lacks {
        Refusal::BothLack
    } else {
        Refusal::SplitBrain
    }
}

const fn from_primary(scope: Scope, older: Option<Party>) -> Agreement {
    Agreement {
        source: Source::Primary,
        scope,
        older,
    }
}

const fn from_secondary(scope: Scope, older: Option<Party>) -> Agreement {
    Agreement {
        source: Source::Secondary,
        scope,
        older,
    }
}

#[cfg(test)]
mod tests;
