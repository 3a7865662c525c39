//! What groups may not share: two of them would take it from each other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::config::Problem;

/// The kinds of things that belong to one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Resource,
    Pool,
    Service,
    Address,
    Mount,
}

impl Kind {
    const fn describe(self) -> &'static str {
        match self {
            Self::Resource => "the resource",
            Self::Pool => "the pool",
            Self::Service => "the service",
            Self::Address => "the address",
            Self::Mount => "the mount of the resource",
        }
    }
}

#[derive(Debug, Clone)]
struct Owner {
    group: String,
    line: usize,
}

impl Owner {
    /// Where else, seen from `group`.
    fn place(&self, group: &str) -> String {
        let line = self.line;
        if self.group == group {
            format!("line {line}")
        } else {
            format!("line {line}, in group {}", self.group)
        }
    }
}

/// What is taken already, and by whom.
#[derive(Debug, Default)]
pub struct Taken {
    names: HashMap<(Kind, String), Owner>,
    paths: Vec<(PathBuf, Owner)>,
}

impl Taken {
    /// Takes a thing for `group`, which names it on `line`.
    pub fn take(
        &mut self,
        kind: Kind,
        name: &str,
        group: &str,
        line: usize,
    ) -> Result<(), Problem> {
        let owner = Owner {
            group: group.to_owned(),
            line,
        };
        match self.names.insert((kind, name.to_owned()), owner) {
            None => Ok(()),
            Some(first) => {
                let (kind, place) = (kind.describe(), first.place(group));
                let what = format!("group {group}: {kind} {name} stands on {place}, too");
                Err(Problem::at(line, what))
            }
        }
    }

    /// Takes a mount point. One below another of its group has to come behind it; that of
    /// another group may be mounted or not.
    pub fn take_path(&mut self, path: &Path, group: &str, line: usize) -> Result<(), Problem> {
        for (earlier, owner) in &self.paths {
            let place = owner.place(group);
            let (own, other) = (path.display(), earlier.display());
            let what = if path == earlier {
                format!("{own} is the mount point on {place}, too")
            } else if earlier.starts_with(path) {
                format!("{own} hides {other} of {place}; expected it before that")
            } else if owner.group != group && path.starts_with(earlier) {
                format!("{own} lies in {other} of {place}; expected both in one group")
            } else {
                continue;
            };
            return Err(Problem::at(line, format!("group {group}: {what}")));
        }
        let owner = Owner {
            group: group.to_owned(),
            line,
        };
        self.paths.push((path.to_owned(), owner));
        Ok(())
    }
}
