//! What is looked at, and done, before a resource begins to change its role because somebody said so.
//!
//! Never starts or ends a worker: that is the lifecycle's.

use std::time::Instant;

use super::lifecycle::Stage;
use super::managed::Managed;
use crate::config::{Provider, Resource};
use crate::control::{ErrorCode, Failure, Guard};
use crate::moment::Moment;
use crate::provider::gate;
use crate::terms::Role;
use crate::worker::secondary::SILENCE;

/// What is to become of a resource.
#[derive(Debug, Clone, Copy)]
pub struct RoleChange {
    /// The role.
    pub role: Role,
    /// Whatever speaks against it.
    pub force: bool,
    /// Of a promotion by a program.
    pub guard: Option<Guard>,
}

impl RoleChange {
    /// Looks whether it may begin, and does what has to be done before.
    pub fn prepare(self, managed: &Managed) -> Result<(), Failure> {
        if self.role == Role::Primary && managed.lifecycle.is_superseded() {
            let message = managed.complaint.message().unwrap_or("superseded");
            return Err(Failure::new(ErrorCode::REFUSED, message));
        }
        self.hinder(managed)?;
        self.leave_nothing(managed)
    }

    /// Whether the other node forbids it: what it has said, or that it is primary.
    fn hinder(self, managed: &Managed) -> Result<(), Failure> {
        let becomes = self.role == Role::Primary && managed.lifecycle.role() != Role::Primary;
        if !becomes || self.force {
            return Ok(());
        }
        let node = managed.resource.remote_text();
        managed
            .claims
            .hinder(self.guard, node, Instant::now(), Moment::now())
            .map_err(|hindrance| Failure::new(ErrorCode::CLAIMED, hindrance.to_string()))?;
        // Who promotes under a guard has asked the other node, or had it switched off, and so knows more than a
        // connection whose other end may have lost power.
        if self.guard.is_none() && managed.serves_a_primary() {
            let message = beside_a_primary(&managed.resource);
            return Err(Failure::new(ErrorCode::REFUSED, message));
        }
        Ok(())
    }

    /// Where there is no worker to do it: what a primary that died left in the kernel goes, before the resource
    /// becomes something else.
    fn leave_nothing(self, managed: &Managed) -> Result<(), Failure> {
        // A superseded one's device is destroyed already.
        let alone = matches!(managed.lifecycle.stage(), Stage::Idle | Stage::BackOff);
        if self.role == Role::Primary || !alone || managed.resource.provider != Provider::Gate {
            return Ok(());
        }
        let Some(kernel) = gate::of_this_system() else {
            return Ok(());
        };
        gate::orphan::remove(&*kernel, &managed.resource.provname, self.force)
            .map(drop)
            .map_err(|error| Failure::new(ErrorCode::REFUSED, error.to_string()))
    }
}

/// Why a node does not become primary that answers a primary now.
fn beside_a_primary(resource: &Resource) -> String {
    let (name, remote) = (&resource.name, resource.remote_text());
    format!(
        "{remote} is primary and connected; make it secondary first ('hastctl role secondary {name}' there), or \
         use 'role primary --force' (if it is dead, its connection ends within {} s of its last word: try again \
         then)",
        SILENCE.as_secs()
    )
}
