//! Conditions of the rules, each of which can be dropped: an explorer that notices none is worth nothing.

use crate::world::Event;

/// A condition dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    LackingMayBeSource,
    OpenDeviceFetchesNewer,
    BothOwnIsNoSplit,
    UnknownOwnIgnored,
    OlderCopiesMarkedOnly,
    OwnKeptAcrossLives,
    OwnKeptAfterProposal,
    KilledSecondaryUnmarked,
    LackingPromoted,
    ConnectedPromoted,
    PromotedWithDeadMetadata,
    ForceKeepsAt,
    TargetUnmarkedAtMeeting,
    TargetNotMarked,
    PermitIgnored,
    OwnOnlyBeforeAnswer,
    AnswerBeforeOwn,
    FlushAloneNeverCounts,
    FreshPrimaryFlushNotCounted,
    FailedSecondaryUnmarked,
    LeaderMarksItself,
    LeadWithoutOthersRecord,
    LeadWithOwn,
    LeadWithoutDrain,
    MarksGoBeforePoint,
    NoNext,
    NextNotFull,
    NextOverwrittenUnresolved,
    FullKeepsLacks,
    FullNotRefused,
    SentPointGivenUp,
    LiveLeanForgetsItsSets,
    SourceNotFlushed,
    SupersededUnmarked,
    SupersededKeepsNext,
}

impl Mutant {
    pub fn is_healed(self) -> bool {
        true
    }
}

/// Where an event is named only.
pub const NONE: Option<Event> = None;
