//! Conditions of the rules, each of which can be dropped: an explorer that notices none is worth nothing.

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
    PromotedWithoutAsking,
    ForceKeepsAt,
    TargetUnmarkedAtMeeting,
    TargetNotMarked,
    PermitIgnored,
    OwnOnlyBeforeAnswer,
    AnswerBeforeOwn,
    FlushAloneNeverCounts,
    FreshPrimaryFlushNotCounted,
    FailedSecondaryUnmarked,
    FailureHeardLate,
    LeaderMarksItself,
    LeadsOnlyWhileFetching,
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
    UnsureMeets,
    MemsyncWhileLeaning,
    ClearsBeforeMerged,
    LeadWhileBehind,
    LackingGoesAlone,
    MarksGoThoughWritten,
    FailedHereNotBehind,
    FlushWhileOtherBehind,
    PromotedBeforeDrained,
    FlushStaysAlone,
    StaleKeptThoughComplete,
    StoredUnsettled,
}

/// Every mutant, the space in which it is looked for, and within how many states it is to be noticed.
pub const NOTICED: &[(Mutant, &str, usize)] = &[
    (
        Mutant::LackingMayBeSource,
        "events 5 writes 1 promote 2 image 1 put-back 1 cut 1 heal-each",
        4_100,
    ),
    (
        Mutant::OpenDeviceFetchesNewer,
        "events 4 writes 1 promote 2 disconnect 1 permit 1",
        510,
    ),
    (
        Mutant::BothOwnIsNoSplit,
        "events 3 writes 2 promote 2 cut 1",
        510,
    ),
    (
        Mutant::UnknownOwnIgnored,
        "events 5 writes 1 promote 2 image 1 put-back 1 cut 1 heal-each",
        80_000,
    ),
    (
        Mutant::OlderCopiesMarkedOnly,
        "events 5 writes 1 promote 2 image 1 put-back 1 cut 1",
        46_000,
    ),
    (
        Mutant::OwnKeptAcrossLives,
        "events 4 writes 2 promote 2 disconnect 1 cut 1",
        150_000,
    ),
    (
        Mutant::OwnKeptAfterProposal,
        "events 4 writes 2 promote 2 disconnect 2",
        52_000,
    ),
    (
        Mutant::KilledSecondaryUnmarked,
        "events 4 writes 2 promote 2 kill-secondary 1 cut 1 memsync",
        6_200,
    ),
    (
        Mutant::LackingPromoted,
        "events 4 writes 2 promote 2 disconnect 1 cut 1",
        780,
    ),
    (
        Mutant::PromotedWithoutAsking,
        "leaning events 3 writes 1 write-error 1 promote 1 cut 1",
        9_300,
    ),
    (
        Mutant::ForceKeepsAt,
        "events 4 writes 1 promote 2 force 1 disconnect 1 cut 1",
        400_000,
    ),
    (
        Mutant::TargetUnmarkedAtMeeting,
        "events 4 writes 2 promote 2 disconnect 2 cut 1",
        510,
    ),
    (
        Mutant::TargetNotMarked,
        "events 4 writes 2 promote 2 write-error 1 cut 1 memsync",
        77_000,
    ),
    (
        Mutant::PermitIgnored,
        "events 4 writes 1 promote 2 disconnect 1 permit 1",
        510,
    ),
    (
        Mutant::OwnOnlyBeforeAnswer,
        "leaning events 2 writes 1 promote 1 cut 1",
        3_600,
    ),
    (
        Mutant::AnswerBeforeOwn,
        "events 3 writes 2 promote 2 cut 1 disconnect 1",
        6_500,
    ),
    (
        Mutant::FlushAloneNeverCounts,
        "events 4 writes 1 flushes 1 promote 2 cut 2",
        50_000,
    ),
    (
        Mutant::FreshPrimaryFlushNotCounted,
        "events 4 writes 1 flushes 1 promote 2 cut 1",
        50_000,
    ),
    (
        Mutant::FailedSecondaryUnmarked,
        "events 4 writes 2 promote 2 write-error 1 cut 1 memsync",
        4_500,
    ),
    (
        Mutant::FailureHeardLate,
        "events 4 writes 1 promote 2 write-error 1 cut 1",
        12_000,
    ),
    (
        Mutant::LeaderMarksItself,
        "leaning events 2 writes 1 disconnect 1 write-error 1",
        740,
    ),
    (
        Mutant::LeadsOnlyWhileFetching,
        "leaning events 2 writes 1 disconnect 1 write-error 1 heal-each",
        22_000,
    ),
    (
        Mutant::LeadWithoutOthersRecord,
        "events 4 writes 1 flushes 1 promote 2 write-error 1 metadata-dies 1 cut 1",
        110_000,
    ),
    (
        Mutant::LeadWithOwn,
        "events 4 writes 1 flushes 1 promote 2 write-error 1 cut 1",
        140_000,
    ),
    (
        Mutant::LeadWithoutDrain,
        "events 4 writes 2 promote 1 write-error 2 disconnect 1 two-at-once",
        140_000,
    ),
    (
        Mutant::MarksGoBeforePoint,
        "events 5 writes 1 promote 2 image 1 put-back 1 cut 1",
        48_000,
    ),
    (
        Mutant::NoNext,
        "events 4 writes 1 promote 2 disconnect 2",
        590,
    ),
    (
        Mutant::NextNotFull,
        "leaning events 2 writes 1 disconnect 1 write-error 1",
        3_300,
    ),
    (
        Mutant::NextOverwrittenUnresolved,
        "events 3 writes 1 promote 1 disconnect 2",
        1_200,
    ),
    (
        Mutant::FullKeepsLacks,
        "events 3 writes 1 promote 2 cut 1",
        510,
    ),
    (
        Mutant::FullNotRefused,
        "events 4 writes 1 promote 2 write-error 1 two-at-once cut 1",
        6_000,
    ),
    (
        Mutant::SentPointGivenUp,
        "leaning events 3 writes 1 write-error 1 kill-primary 1 disconnect 1",
        41_000,
    ),
    (
        Mutant::LiveLeanForgetsItsSets,
        "leaning events 2 writes 1 disconnect 1 write-error 1",
        4_700,
    ),
    (
        Mutant::SourceNotFlushed,
        "leaning events 2 writes 1 kill-primary 1 cut 1",
        30_000,
    ),
    (
        Mutant::SupersededUnmarked,
        "events 4 writes 1 promote 3 disconnect 1",
        520,
    ),
    (
        Mutant::UnsureMeets,
        "events 4 writes 1 promote 2 slot-error 1 cut 1",
        9_400,
    ),
    (
        Mutant::MemsyncWhileLeaning,
        "leaning events 2 writes 1 kill-secondary 1 memsync disconnect 1",
        810,
    ),
    (
        Mutant::ClearsBeforeMerged,
        "events 4 writes 1 promote 2 disconnect 1 cut 1",
        6_300,
    ),
    (
        Mutant::LeadWhileBehind,
        "leaning events 2 writes 1 write-error 1 disconnect 1",
        5_400,
    ),
    (
        Mutant::LackingGoesAlone,
        "leaning events 2 writes 1 cut 1 promote 1",
        510,
    ),
    (
        Mutant::MarksGoThoughWritten,
        "events 3 writes 2 promote 1 cut 1",
        44_000,
    ),
    (
        Mutant::FailedHereNotBehind,
        "events 4 writes 2 promote 2 write-error 1 cut 1",
        17_000,
    ),
    (
        Mutant::FlushWhileOtherBehind,
        "leaning events 2 writes 1 flushes 1 cut 1 kill-primary 1",
        200_000,
    ),
    (
        Mutant::PromotedBeforeDrained,
        "events 3 writes 1 promote 2 disconnect 1 memsync",
        2_600,
    ),
    (
        Mutant::FlushStaysAlone,
        "events 4 writes 1 flushes 1 promote 2 disconnect 1 cut 1",
        130_000,
    ),
    (
        Mutant::StaleKeptThoughComplete,
        "leaning events 3 writes 1 kill-primary 1 cut 1 disconnect 1",
        130_000,
    ),
];

/// Conditions whose loss nothing here notices: why, and where it was looked for.
pub const UNNOTICED: &[(Mutant, &str, &str)] = &[
    (
        Mutant::ConnectedPromoted,
        "a policy: the two notice each other and report what diverged",
        "events 4 writes 2 flushes 1 promote 2 disconnect 1",
    ),
    (
        Mutant::PromotedWithDeadMetadata,
        "a policy: such a node can begin nothing alone",
        "events 4 writes 2 flushes 1 promote 2 metadata-dies 1 cut 1",
    ),
    (
        Mutant::SupersededKeepsNext,
        "its `lacks` is taken back only at a meeting with the node that is newer, which is the source there",
        "events 5 writes 1 promote 2 disconnect 1 permit 1 cut 1",
    ),
    (
        Mutant::StoredUnsettled,
        "it costs time only: until the next full point the node is not promoted, though complete",
        "leaning events 3 writes 1 promote 1 cut 1 write-error 1",
    ),
];
