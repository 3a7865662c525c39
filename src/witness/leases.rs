//! Which node of a group may be master, and which has the only current data. Pure: told the time and the
//! order of requests, it does nothing else.
//!
//! A request is first planned ([`Table::plan`]), which changes nothing, then what must outlive the
//! witness is stored, and only then does it count ([`Table::commit`]) and is answered.
//!
//! Invariants, for each group:
//! - At most one node holds the lease. It lasts [`MARGIN`] longer here than the node was told, which counts
//!   it from before it asked.
//! - A holder is recorded before it is told. After a restart the recorded one may have a lease that
//!   is still running, so until the longest possible has passed nobody else is granted one, whether
//!   forced or not.
//! - While a node is recorded as alone with the current data, another is granted a lease only by force,
//!   and is then the one that is.
//! - A request that was overtaken by a later one of the same node does nothing: a node that gave up
//!   waiting may go by what it asked next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::message::{Acquire, Copies, Refusal, View};

/// The shortest lease: less could not be renewed over a slow line.
pub const SHORTEST: Duration = Duration::from_secs(3);

/// The longest lease, and so how long a witness that was restarted grants none to a new node.
pub const LONGEST: Duration = Duration::from_mins(1);

/// How much longer a lease lasts on the witness, for clocks that do not run at the same rate.
pub const MARGIN: Duration = Duration::from_secs(1);

/// Nodes of a group.
pub const NODES: usize = 2;

/// Groups that a witness keeps: more than anybody has, and few enough to be written at each change.
pub const GROUPS: usize = 256;

/// What must outlive the witness, of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The nodes that were granted a lease; at most [`NODES`].
    pub nodes: Vec<String>,
    /// Whose lease may be running; one of the nodes.
    pub holder: Option<String>,
    /// Who has the only current data; one of the nodes.
    pub alone: Option<String>,
}

/// The records by the groups' names.
pub type Records = BTreeMap<String, Record>;

#[derive(Debug, Clone, Default)]
struct Group {
    record: Record,
    /// When the holder's lease ends; none where it was granted before the start.
    until: Option<Instant>,
    /// The latest request carried out, for each of the nodes.
    latest: BTreeMap<String, u64>,
}

/// What is to be done for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    group: String,
    /// None where the group is forgotten.
    after: Option<Record>,
    until: Option<Instant>,
    node: Option<(String, u64)>,
    durable: bool,
}

impl Plan {
    /// Whether it changes what must outlive the witness.
    pub const fn is_durable(&self) -> bool {
        self.durable
    }

    /// Who has the only current data then.
    pub fn alone(&self) -> Option<&str> {
        self.after.as_ref()?.alone.as_deref()
    }
}

/// All groups.
#[derive(Debug)]
pub struct Table {
    groups: BTreeMap<String, Group>,
    /// Until then a lease granted before the start may be running.
    quiet_until: Instant,
}

impl Table {
    /// A table that starts at `now` with what is recorded.
    pub fn new(records: Records, now: Instant) -> Self {
        let groups = records.into_iter().map(|(name, record)| {
            let group = Group {
                record,
                ..Group::default()
            };
            (name, group)
        });
        Self {
            groups: groups.collect(),
            quiet_until: now + LONGEST + MARGIN,
        }
    }

    /// Plans to grant a lease, or to renew it. `order` grows with each connection: a node's later
    /// request has a higher one.
    pub fn acquire(&self, now: Instant, order: u64, asked: &Acquire) -> Result<Plan, Refusal> {
        let empty = Group::default();
        let group = match self.groups.get(&asked.group) {
            Some(group) => group,
            None if self.groups.len() >= GROUPS => return Err(Refusal::TooManyGroups),
            None => &empty,
        };
        let mut after = group.record.clone();
        if !after.nodes.contains(&asked.node) {
            if after.nodes.len() >= NODES {
                return Err(Refusal::Stranger { nodes: after.nodes });
            }
            after.nodes.push(asked.node.clone());
        }
        group.check_order(&asked.node, order)?;
        let running = match self.holder(group, now) {
            Some((holder, left)) if holder == asked.node => Some(now + left),
            Some((holder, left)) => {
                return Err(Refusal::Held {
                    by: holder.to_owned(),
                    left,
                });
            }
            None if now < self.quiet_until => {
                let left = self.quiet_until - now;
                return Err(Refusal::Quiet { left });
            }
            None => None,
        };
        after.alone = alone_after(group.record.alone.as_deref(), asked, running.is_some())?;
        after.holder = Some(asked.node.clone());
        Ok(Plan {
            group: asked.group.clone(),
            durable: after != group.record,
            after: Some(after),
            // Never sooner than before: the node may not hear that it is renewed.
            until: running.max(Some(now + asked.time + MARGIN)),
            node: Some((asked.node.clone(), order)),
        })
    }

    /// Plans to end a node's lease; for one that has none there is nothing to do, which is no error.
    /// Who is alone with the current data stays.
    pub fn release(&self, order: u64, group: &str, node: &str) -> Result<Option<Plan>, Refusal> {
        let Some(found) = self.groups.get(group) else {
            return Ok(None);
        };
        found.check_order(node, order)?;
        if !found.record.nodes.iter().any(|known| known == node) {
            return Ok(None);
        }
        let mut after = found.record.clone();
        after.holder.take_if(|holder| holder == node);
        Ok(Some(Plan {
            group: group.to_owned(),
            durable: after != found.record,
            until: found.until.filter(|_| after.holder.is_some()),
            after: Some(after),
            node: Some((node.to_owned(), order)),
        }))
    }

    /// Plans to forget a group, its nodes and who is alone; refused while a lease may be running.
    pub fn forget(&self, now: Instant, group: &str) -> Result<Option<Plan>, Refusal> {
        let Some(found) = self.groups.get(group) else {
            return Ok(None);
        };
        if let Some((holder, left)) = self.holder(found, now) {
            let by = holder.to_owned();
            return Err(Refusal::Held { by, left });
        }
        Ok(Some(Plan {
            group: group.to_owned(),
            after: None,
            until: None,
            node: None,
            durable: true,
        }))
    }

    /// What is known of a group; of one that is not known, nothing.
    pub fn look(&self, now: Instant, group: &str) -> View {
        let quiet = self.quiet_until.saturating_duration_since(now);
        let Some(found) = self.groups.get(group) else {
            return View {
                quiet,
                ..View::default()
            };
        };
        View {
            nodes: found.record.nodes.clone(),
            holder: self
                .holder(found, now)
                .map(|(holder, left)| (holder.to_owned(), left)),
            alone: found.record.alone.clone(),
            quiet,
        }
    }

    /// Makes what was planned count. Nothing else may have been committed since.
    pub fn commit(&mut self, plan: Plan) {
        let Some(after) = plan.after else {
            self.groups.remove(&plan.group);
            return;
        };
        let group = self.groups.entry(plan.group).or_default();
        group.record = after;
        group.until = plan.until;
        group.latest.extend(plan.node);
    }

    /// What has to be stored before a plan counts.
    pub fn records_with(&self, plan: &Plan) -> Records {
        let mut records: Records = self
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), group.record.clone()))
            .collect();
        match &plan.after {
            Some(record) => records.insert(plan.group.clone(), record.clone()),
            None => records.remove(&plan.group),
        };
        records
    }

    /// Whose lease may be running, and how long it may.
    fn holder<'a>(&self, group: &'a Group, now: Instant) -> Option<(&'a str, Duration)> {
        let holder = group.record.holder.as_deref()?;
        let until = group.until.unwrap_or(self.quiet_until);
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some((holder, left))
    }
}

impl Group {
    fn check_order(&self, node: &str, order: u64) -> Result<(), Refusal> {
        match self.latest.get(node) {
            Some(latest) if *latest >= order => Err(Refusal::Overtaken),
            _ => Ok(()),
        }
    }
}

/// Who is alone with the current data once a request is granted.
fn alone_after(
    before: Option<&str>,
    asked: &Acquire,
    renews: bool,
) -> Result<Option<String>, Refusal> {
    let own = || Some(asked.node.clone());
    match (before, asked.copies) {
        (Some(other), _) if other != asked.node => {
            if asked.force {
                // From now on its data is what counts, whatever else it said.
                Ok(own())
            } else {
                Err(Refusal::Alone {
                    by: other.to_owned(),
                })
            }
        }
        (_, Copies::OnlyMine) => Ok(own()),
        // What a node says that held no lease a moment ago is of an earlier time.
        (Some(_), Copies::Both) if renews => Ok(None),
        (before, Copies::Both | Copies::AsRecorded) => Ok(before.map(str::to_owned)),
    }
}

#[cfg(test)]
mod played;
#[cfg(test)]
mod tests;
