//! What a changed resource needs when the configuration is read again (spec, section 7).

use super::model::Resource;
use crate::terms::Role;

/// What a running resource needs to follow its new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Unchanged,
    /// The worker can take the new settings while it runs.
    InPlace,
    /// Back to init, then into its role again.
    Restart,
}

impl Resource {
    /// What must happen to this running resource in `role` to become `new`.
    ///
    /// Another device, another component or another memory budget is another worker. Everything
    /// else changes in place in a primary; a secondary is cheap to restart (its primary
    /// connects again), and in init nothing runs that could notice.
    pub fn change_to(&self, new: &Self, role: Role) -> Change {
        if self == new && self.remote_text() == new.remote_text() && same_source_text(self, new) {
            return Change::Unchanged;
        }
        let other_worker = self.name != new.name
            || self.provname != new.provname
            || self.local != new.local
            || self.provider != new.provider
            || self.buffers != new.buffers;
        match role {
            Role::Primary if !other_worker => Change::InPlace,
            Role::Init | Role::Primary | Role::Secondary => Change::Restart,
        }
    }
}

/// Equal addresses may be spelled differently, and status shows the spelling.
fn same_source_text(one: &Resource, other: &Resource) -> bool {
    let text = |resource: &Resource| resource.source.as_ref().map(ToString::to_string);
    text(one) == text(other)
}
