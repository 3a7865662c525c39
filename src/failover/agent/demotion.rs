//! This machine's CARP demotion, one figure that all groups share: raised when the first of them wants that, lowered
//! after the last.
//!
//! Invariants: what the agent has added it takes away once, whatever comes between: who wants it raised, and that
//! a change is under way, is kept durably, with the boot it speaks of, before the figure is touched. What
//! others add to the figure is left alone.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::durable;
use crate::failover::commands::{Command, Table};
use crate::failover::group::Programs;
use crate::failover::runner::{Ran, Run, shown};
use crate::failover::step::{DEMOTION, Outcome};

/// Made by rc.d/hast_carp when it raises the demotion at boot, before there is an agent.
pub const MARK: &str = "/var/run/hast_carp";

/// A change that may or may not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    raise: bool,
    /// The figure before.
    from: i64,
}

/// The file's contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    boot: String,
    /// The groups that want it raised.
    groups: BTreeSet<String>,
    /// It is raised, by the agent or at boot.
    raised: bool,
    change: Option<Change>,
}

/// The demotion, and who wants it.
pub struct Demotion {
    file: PathBuf,
    mark: PathBuf,
    programs: Programs,
    runner: Arc<dyn Run>,
    kept: Kept,
}

impl Demotion {
    /// As the file says, where it is of this boot; of a boot that it knows nothing of, as the mark says.
    pub fn load(
        file: PathBuf,
        mark: PathBuf,
        boot: &str,
        programs: &Programs,
        runner: Arc<dyn Run>,
    ) -> Self {
        let kept = match durable::read(&file) {
            Ok(None) => None,
            Ok(Some(bytes)) => serde_json::from_slice::<Kept>(&bytes)
                .inspect_err(|error| {
                    let path = file.display();
                    log::error!(
                        "The state in {path} can not be used and is taken for none: {error}"
                    );
                })
                .ok(),
            Err(error) => {
                log::error!("Unable to read {}: {error}", file.display());
                None
            }
        };
        let kept = kept.filter(|kept| kept.boot == boot);
        let kept = kept.unwrap_or_else(|| Kept {
            boot: boot.to_owned(),
            raised: mark.exists(),
            ..Kept::default()
        });
        Self {
            file,
            mark,
            programs: programs.clone(),
            runner,
            kept,
        }
    }

    /// Forgets groups that are configured no more. What they have raised is lowered with the others'.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.kept.groups.retain(|group| is_there(group));
    }

    /// Notes whether a group wants it raised, and changes it where that is the first or the last.
    pub fn set(&mut self, group: &str, raise: bool, limit: Duration) -> Outcome {
        match self.try_to_set(group, raise, limit) {
            Ok(()) => Outcome::Done,
            Err(outcome) => outcome,
        }
    }

    fn try_to_set(&mut self, group: &str, raise: bool, limit: Duration) -> Result<(), Outcome> {
        let before = self.kept.clone();
        let figure = self.figure(limit)?;
        self.settle(figure);
        if raise {
            self.kept.groups.insert(group.to_owned());
        } else {
            self.kept.groups.remove(group);
        }
        let wanted = !self.kept.groups.is_empty();
        if wanted == self.kept.raised {
            return self.keep(before);
        }
        let groups = std::mem::replace(&mut self.kept.groups, before.groups.clone());
        self.kept.change = Some(Change {
            raise: wanted,
            from: figure,
        });
        self.keep(before)?;
        self.run(&Table::add_to_demotion(&self.programs, wanted), limit)?;
        self.kept.groups = groups;
        self.kept.raised = wanted;
        self.kept.change = None;
        let changed = self.kept.clone();
        self.keep(changed)?;
        if !wanted
            && let Err(error) = std::fs::remove_file(&self.mark)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("Unable to remove {}: {error}", self.mark.display());
        }
        Ok(())
    }

    /// Whether a change that was under way has happened, and whether somebody else took ours back.
    fn settle(&mut self, figure: i64) {
        let by = i64::from(DEMOTION);
        if let Some(change) = self.kept.change.take() {
            let happened = if change.raise {
                figure >= change.from + by
            } else {
                figure <= change.from - by
            };
            self.kept.raised = change.raise == happened;
        }
        if self.kept.raised && figure < by {
            log::warn!("The CARP demotion was lowered to {figure} by somebody else.");
            self.kept.raised = false;
        }
    }

    /// Writes the file; where that fails everything is as `before`.
    fn keep(&mut self, before: Kept) -> Result<(), Outcome> {
        let bytes = serde_json::to_vec(&self.kept).map_err(std::io::Error::from);
        bytes
            .and_then(|bytes| durable::write(&self.file, &bytes))
            .map_err(|error| {
                self.kept = before;
                Outcome::Failed(format!("cannot write {}: {error}", self.file.display()))
            })
    }

    fn figure(&self, limit: Duration) -> Result<i64, Outcome> {
        let command = Table::demotion(&self.programs);
        let output = self.run(&command, limit)?;
        let figure = output.trim().parse();
        figure.map_err(|_| Outcome::Failed(format!("'{command}' says '{}'", shown(&output))))
    }

    fn run(&self, command: &Command, limit: Duration) -> Result<String, Outcome> {
        match self.runner.run(command, limit) {
            Ran::Ended {
                code: Some(0),
                output,
            } => Ok(output),
            other => Err(super::steps::failure(command, &other)),
        }
    }
}

#[cfg(test)]
#[path = "demotion_tests.rs"]
mod tests;
