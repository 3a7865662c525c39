//! What differs from run to run, and the faults that are put in on purpose.

use std::time::Duration;

use fastrand::Rng;
use hast::failover::group::{
    FailBack, ForceImport, Fsck, Group, Limits, OnHang, OnLeaseLoss, OnUnreachable, Vhid,
};

/// As the configuration has it by default.
pub const FRESHNESS: Duration = Duration::from_secs(30);

/// A part of the protection that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    PeerNotAsked,
    ClaimIgnored,
    LeaseForAll,
    PermitForEver,
    AloneForgotten,
    FenceLies,
    StaleIsFresh,
    ExportSkipped,
}

pub struct Profile {
    pub group: Group,
    pub witness: bool,
    pub preempt: bool,
    /// One step in so many fails.
    pub fails: u32,
    /// Between two mishaps, on average.
    pub mishap: Duration,
    /// The policy takes the risk of two primaries.
    pub risky: bool,
}

impl Profile {
    pub fn new(rng: &mut Rng) -> Self {
        let mut one_in = |n: u32| rng.u32(..n) == 0;
        let (witness, fence, preempt) = (one_in(2), one_in(2), one_in(2));
        let on_unreachable = match (one_in(6), one_in(4)) {
            (true, _) => OnUnreachable::Promote,
            (_, true) => OnUnreachable::Wait,
            _ => OnUnreachable::Refuse,
        };
        let on_lease_loss = if witness && one_in(6) {
            OnLeaseLoss::Keep
        } else {
            OnLeaseLoss::Stop
        };
        let fail_back = if one_in(2) {
            FailBack::Synchronised
        } else {
            FailBack::Manual
        };
        let force_import = if one_in(4) {
            ForceImport::Never
        } else {
            ForceImport::Confirmed
        };
        let on_hang = *rng.choice(OnHang::ALL).expect("there are some");
        let group = Group {
            on_unreachable,
            fence: fence.then(|| vec!["/fence".to_owned()]),
            force_import,
            on_hang,
            on_lease_loss,
            fail_back,
            ..group()
        };
        Self {
            risky: on_unreachable == OnUnreachable::Promote || on_lease_loss == OnLeaseLoss::Keep,
            group,
            witness,
            preempt,
            fails: *rng.choice(&[5, 12, 50]).expect("there are some"),
            mishap: Duration::from_secs(rng.u64(20..120)),
        }
    }

    /// Nothing fails, and nothing is risked.
    pub fn plain() -> Self {
        Self {
            group: group(),
            witness: false,
            preempt: false,
            fails: u32::MAX,
            mishap: Duration::MAX,
            risky: false,
        }
    }
}

/// As the configuration has it by default.
fn group() -> Group {
    Group {
        name: "storage".to_owned(),
        resources: vec!["disk1".to_owned()],
        pools: vec!["tank".to_owned()],
        mounts: Vec::new(),
        services: vec!["samba".to_owned()],
        carp: Some(Vhid {
            vhid: 1,
            interface: "em0".to_owned(),
        }),
        on_unreachable: OnUnreachable::Refuse,
        fence: None,
        force_import: ForceImport::Never,
        fsck: Fsck::Preen,
        on_hang: OnHang::Retry,
        on_lease_loss: OnLeaseLoss::Stop,
        fail_back: FailBack::Manual,
        freshness: FRESHNESS,
        debounce: Duration::from_secs(2),
        limits: Limits {
            export: Duration::from_mins(1),
            ..Limits::default()
        },
        hooks: Vec::new(),
    }
}
