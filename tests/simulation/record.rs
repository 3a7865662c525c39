//! What the oracle takes down of the disks and of what primaries do, for others to judge by; and rule 9:
//! whether a component was marked inconsistent for a reason.

use hast::engine::primary::Action;
use hast::engine::{Command, Owner};

use crate::dialect;
use crate::disk::Disk;
use crate::oracle::{Oracle, Rule};
use crate::view::Moment;

impl Oracle {
    /// A primary does this: a request that only waited has not been attempted.
    pub fn issued(&mut self, node: usize, action: &Action) {
        let (Action::WriteLocal(operation, _)
        | Action::DeleteLocal(operation, _)
        | Action::FlushLocal(operation)
        | Action::Send { operation, .. }) = action
        else {
            return;
        };
        let Owner::Request(id) = operation.owner else {
            return;
        };
        if let Some(request) = self.outstanding.get_mut(&id)
            && request.command != Command::Read
        {
            request.issued = true;
            self.apart[node].maybe |= self.sessions[node].is_none();
        }
    }

    /// Whether applications wait for a change or a flush of a node.
    pub fn is_asked_to_change(&self, node: usize) -> bool {
        let mut asked = self.outstanding.values();
        asked.any(|o| o.node == node && o.command != Command::Read)
    }

    /// A disk failed.
    pub fn faulted(&mut self, node: usize) {
        self.complete_since[1 - node] = None;
        self.last_fault = self.step();
        self.faulted = true;
        self.lacking = [true; 2];
    }

    /// A flush of a component that began at `begun` succeeded.
    pub fn flushed(&mut self, node: usize, begun: Moment) {
        self.last_flush[node] = self.last_flush[node].max(begun);
    }

    /// A component's disk carried out an application's write, perhaps into its cache only.
    pub fn written(&mut self, node: usize, sectors: std::ops::Range<usize>) {
        let now = self.step();
        self.last_write[node][sectors].fill(now);
    }

    /// A component was not promoted: its mark says that it is inconsistent.
    pub fn refused(&mut self, node: usize, disks: [&Disk; 2]) {
        if self.odd {
            return;
        }
        let marked = |disk: &Disk| !dialect::claims(disk.metadata());
        if !self.faulted && disks.into_iter().all(marked) {
            self.broken(Rule::Refused, || {
                "both components are marked inconsistent, though no disk failed".to_owned()
            });
        }
        if !self.lacking[node] {
            self.broken(Rule::Refused, || {
                format!("node {node} was refused as inconsistent, but the two were up to date")
            });
        }
    }

    /// Part of a synchronisation was written to a component.
    pub fn copied_to(&mut self, node: usize) {
        self.half_copied[node] = true;
    }
}
