//! What must never be so.

use std::time::Duration;

use hast::failover::group::OnLeaseLoss;

use crate::profile::FRESHNESS;
use crate::world::World;

/// How much older than `freshness` a lost write may be: until the loss of the peer is noticed.
const NOTICED: Duration = Duration::from_secs(25);

impl World {
    pub fn broken(&mut self, what: String) {
        self.note(format!("BROKEN: {what}"));
        self.violation.get_or_insert(what);
    }

    /// Somebody took a risk with open eyes: what follows from it is nobody's fault.
    pub fn excuse(&mut self, why: &str) {
        self.note(format!("from here on nothing counts: {why}"));
        self.excused = true;
    }

    /// At every moment: one at most takes writes by itself.
    pub fn check_writers(&mut self) {
        let now = self.now;
        if self.nodes.iter().all(|node| node.may_write_alone(now)) {
            self.broken("both nodes serve the pool".to_owned());
        }
    }

    /// A node is told to import.
    pub fn check_import_told(&mut self, node: usize) {
        let now = self.now;
        if self.nodes[1 - node].may_write_alone(now) {
            self.broken(format!(
                "node {node} is told to import what the other one serves"
            ));
        }
    }

    /// A node has the pool from now on.
    pub fn check_imported(&mut self, node: usize) {
        let other = 1 - node;
        if self.nodes[node].data >= self.acknowledged {
            return;
        }
        let group = &self.profile.group;
        let strict = self.profile.witness
            && group.fence.is_none()
            && group.on_lease_loss == OnLeaseLoss::Stop
            && !self.witness_fails;
        let window = FRESHNESS + NOTICED;
        let since = self.nodes[other].lone.unwrap_or(self.now);
        let age = self.now.saturating_sub(since);
        if strict || age > window {
            self.broken(format!(
                "node {node} serves data that lacks acknowledged writes, the oldest {} s old",
                age.as_secs()
            ));
        } else {
            self.excuse("writes made just before the master died are lost, as 'freshness' allows");
        }
    }

    /// At rest, with everything in order: one master, one backup.
    pub fn check_healed(&mut self) {
        let masters = self.nodes.iter().filter(|node| node.serves()).count();
        if masters != 1 {
            let what: Vec<_> = self
                .nodes
                .iter()
                .map(|node| {
                    let status = node.agent.as_ref().map(|agent| agent.supervisor.status());
                    format!("{:?} {status:?}", node.carp)
                })
                .collect();
            self.broken(format!(
                "{masters} masters when all is well again: {what:?}"
            ));
            return;
        }
        let node = usize::from(self.nodes[1].serves());
        if self.nodes[0].data != self.nodes[1].data {
            self.broken("the copies differ when all is well again".to_owned());
        }
        for (index, wanted) in [(node, true), (1 - node, false)] {
            let agent = self.nodes[index].agent.as_ref();
            let status = agent.map(|agent| agent.supervisor.status());
            let word = if wanted { "master" } else { "backup" };
            if status
                .as_ref()
                .is_none_or(|status| status.phase.word() != word)
            {
                self.broken(format!("node {index} is not {word}: {status:?}"));
            }
        }
    }
}
