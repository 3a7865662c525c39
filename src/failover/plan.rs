//! The steps up and down, in their order.

use super::group::{ForceImport, Group, HookPoint, OnLeaseLoss};
use super::step::Step;

/// Why this node may become primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The peer is secondary and has promised to stay so.
    Promise,
    /// The peer is in no role and has promised to stay out of the primary's.
    PromiseOfInit,
    /// The peer is off.
    Fenced,
    /// The witness has granted the lease.
    Lease,
    /// A person vouches for it.
    Person,
    /// The policy takes the risk of two primaries.
    Risk,
}

impl Authority {
    /// Whether the peer is known not to have the pools.
    fn confirms(self, group: &Group) -> bool {
        match self {
            Self::Promise | Self::PromiseOfInit | Self::Fenced | Self::Person => true,
            // A master whose lease has run out writes no more.
            Self::Lease => group.on_lease_loss == OnLeaseLoss::Stop,
            Self::Risk => false,
        }
    }
}

/// What is known when the way up is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ascent {
    /// Why it is allowed.
    pub authority: Authority,
    /// A witness grants leases.
    pub witness: bool,
    /// Nothing has moved the address here.
    pub take_address: bool,
}

fn hook(group: &Group, point: HookPoint) -> Option<Step> {
    group.hook(point).map(|_| Step::Hook(point))
}

/// From the right to be primary to being master.
pub fn up(group: &Group, ascent: Ascent) -> Vec<Step> {
    let authority = ascent.authority;
    let person = authority == Authority::Person;
    let held = ascent.witness && group.on_lease_loss == OnLeaseLoss::Stop;
    let import = person || group.force_import == ForceImport::Confirmed;
    let mut steps = Vec::new();
    steps.extend(held.then_some(Step::Hold));
    steps.push(Step::Promote { force: person });
    steps.push(Step::WaitForDevices);
    if authority == Authority::Promise {
        steps.push(Step::WaitForPeer);
    }
    steps.extend(hook(group, HookPoint::AfterPromote));
    steps.extend(group.pools.iter().map(|pool| Step::Import {
        pool: pool.clone(),
        force: import && authority.confirms(group),
    }));
    for mount in &group.mounts {
        steps.push(Step::Check(mount.clone()));
        steps.push(Step::Mount(mount.clone()));
    }
    steps.extend(hook(group, HookPoint::AfterImport));
    steps.extend(group.services.iter().cloned().map(Step::Start));
    if ascent.take_address && group.carp.is_some() {
        steps.push(Step::TakeAddress);
    }
    steps.extend(hook(group, HookPoint::AfterMaster));
    steps.extend(group.carp.is_some().then_some(Step::LowerDemotion));
    steps
}

/// From wherever this node is to being backup.
pub fn down(group: &Group, witness: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(hook(group, HookPoint::BeforeBackup));
    steps.extend(group.services.iter().rev().cloned().map(Step::Stop));
    steps.extend(hook(group, HookPoint::AfterServices));
    steps.extend(group.mounts.iter().rev().map(|mount| Step::Unmount {
        mount: mount.clone(),
        force: false,
    }));
    steps.extend(group.pools.iter().rev().map(|pool| Step::Export {
        pool: pool.clone(),
        force: false,
    }));
    steps.extend(hook(group, HookPoint::AfterExport));
    steps.push(Step::Demote { force: false });
    steps.extend(witness.then_some(Step::ReleaseLease));
    steps.extend(hook(group, HookPoint::AfterBackup));
    steps
}

/// What keeps the address from this node.
pub fn away(group: &Group) -> Vec<Step> {
    if group.carp.is_some() {
        vec![Step::RaiseDemotion, Step::YieldAddress]
    } else {
        Vec::new()
    }
}
