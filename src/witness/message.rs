//! What a node asks the witness and what it answers, as lists of named values. No sockets, no
//! authentication: those are [`super::protocol`]'s.

use std::time::Duration;

use super::leases::{GROUPS, LONGEST, SHORTEST};
use crate::nv::Nv;

/// The longest name of a group or a node, in bytes: as of a host.
pub const NAME_MAX: usize = 255;

/// What a node knows of the copies when it asks for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Nothing new: what is recorded stays.
    AsRecorded,
    /// It will write without the other node, or does: only its own data is current from now on.
    OnlyMine,
    /// The other node has everything. Counts only from a node that renews its lease.
    Both,
}

/// Asks for a lease, or for a longer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    /// The group.
    pub group: String,
    /// Who asks.
    pub node: String,
    /// For how long, in whole seconds from [`SHORTEST`] to [`LONGEST`].
    pub time: Duration,
    /// What it knows of the copies.
    pub copies: Copies,
    /// A person says that what only the other node has may be given up. A lease that may be
    /// running is not overridden by this.
    pub force: bool,
}

/// What a node asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// For a lease.
    Acquire(Acquire),
    /// To end its own lease.
    Release {
        /// The group.
        group: String,
        /// Who asks.
        node: String,
    },
    /// What there is.
    Look {
        /// The group.
        group: String,
    },
    /// To forget a group: its nodes, and who has the only current data.
    Forget {
        /// The group.
        group: String,
    },
}

/// What the witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The lease is granted for the time asked.
    Granted,
    /// It is released, or forgotten.
    Done,
    /// What there is.
    View(View),
    /// No.
    Refused(Refusal),
}

/// What the witness knows of a group. Times are counted from its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The nodes that were granted a lease.
    pub nodes: Vec<String>,
    /// Whose lease may be running, and how long yet.
    pub holder: Option<(String, Duration)>,
    /// Who has the only current data.
    pub alone: Option<String>,
    /// How long no new node is granted a lease, because the witness was started lately.
    pub quiet: Duration,
}

/// Why the witness does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another node's lease may be running.
    #[error("{by} holds the lease for {} more seconds", seconds(*.left))]
    Held {
        /// Who.
        by: String,
        /// How long yet.
        left: Duration,
    },
    /// Only the other node has what was written last.
    #[error(
        "only {by} has the current data; what it wrote alone is lost if another node is forced"
    )]
    Alone {
        /// Who.
        by: String,
    },
    /// The witness does not know yet whether a lease is running.
    #[error(
        "the witness was started lately and grants no new lease for {} more seconds",
        seconds(*.left)
    )]
    Quiet {
        /// How long yet.
        left: Duration,
    },
    /// The group has its two nodes.
    #[error(
        "the witness knows the group with the nodes {}; if that is wrong run 'hast-failover forget'",
        nodes.join(" and ")
    )]
    Stranger {
        /// They.
        nodes: Vec<String>,
    },
    /// It has no room.
    #[error(
        "the witness has {GROUPS} groups already; have one forgotten by 'hast-failover forget'"
    )]
    TooManyGroups,
    /// A later request of the same node was there first.
    #[error("a later request of this node was carried out before this one")]
    Overtaken,
    /// It cannot store what it would have to remember.
    #[error("the witness cannot write its state file; its log says why")]
    Storage,
}

/// Why a request cannot be made, or a message is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A name that is none.
    #[error("the name of a {0} has from 1 to {NAME_MAX} bytes and no control characters")]
    Name(&'static str),
    /// A lease out of bounds.
    #[error(
        "a lease lasts from {least} to {most} seconds, and {0} were asked for",
        least = SHORTEST.as_secs(), most = LONGEST.as_secs()
    )]
    Time(u64),
    /// Not a message of this protocol.
    #[error("a message without a usable '{0}'")]
    Field(&'static str),
}

/// Whole seconds, so that after them the time is over.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl Copies {
    const ALL: [Self; 3] = [Self::AsRecorded, Self::OnlyMine, Self::Both];

    const fn number(self) -> u8 {
        match self {
            Self::AsRecorded => 0,
            Self::OnlyMine => 1,
            Self::Both => 2,
        }
    }
}

impl Request {
    /// The request as it is sent, if it may be.
    pub fn to_nv(&self) -> Result<Nv, MessageError> {
        self.check()?;
        let mut nv = Nv::new();
        match self {
            Self::Acquire(asked) => nv
                .add_str("ask", "acquire")
                .add_str("group", &asked.group)
                .add_str("node", &asked.node)
                .add_u64("seconds", asked.time.as_secs())
                .add_u8("copies", asked.copies.number())
                .add_u8("force", asked.force.into()),
            Self::Release { group, node } => nv
                .add_str("ask", "release")
                .add_str("group", group)
                .add_str("node", node),
            Self::Look { group } => nv.add_str("ask", "look").add_str("group", group),
            Self::Forget { group } => nv.add_str("ask", "forget").add_str("group", group),
        };
        Ok(nv)
    }

    /// The request of a message.
    pub fn from_nv(nv: &Nv) -> Result<Self, MessageError> {
        let group = text(nv, "group")?;
        let request = match nv.str("ask") {
            Some("acquire") => Self::Acquire(Acquire {
                group,
                node: text(nv, "node")?,
                time: time(nv, "seconds")?,
                copies: Copies::ALL
                    .into_iter()
                    .find(|it| nv.u8("copies") == Some(it.number()))
                    .ok_or(MessageError::Field("copies"))?,
                force: match nv.u8("force") {
                    Some(0) => false,
                    Some(1) => true,
                    _ => return Err(MessageError::Field("force")),
                },
            }),
            Some("release") => Self::Release {
                group,
                node: text(nv, "node")?,
            },
            Some("look") => Self::Look { group },
            Some("forget") => Self::Forget { group },
            _ => return Err(MessageError::Field("ask")),
        };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), MessageError> {
        let (group, node) = match self {
            Self::Acquire(asked) => (&asked.group, Some(&asked.node)),
            Self::Release { group, node } => (group, Some(node)),
            Self::Look { group } | Self::Forget { group } => (group, None),
        };
        check_name("group", group)?;
        if let Some(node) = node {
            check_name("node", node)?;
        }
        match self {
            Self::Acquire(Acquire { time, .. })
                if !(SHORTEST..=LONGEST).contains(time) || time.subsec_nanos() > 0 =>
            {
                Err(MessageError::Time(time.as_secs()))
            }
            _ => Ok(()),
        }
    }
}

impl Answer {
    /// The answer as it is sent.
    pub fn to_nv(&self) -> Nv {
        let mut nv = Nv::new();
        match self {
            Self::Granted => {
                nv.add_str("answer", "granted");
            }
            Self::Done => {
                nv.add_str("answer", "done");
            }
            Self::View(view) => {
                nv.add_str("answer", "view")
                    .add_u64("quiet", seconds(view.quiet));
                add_nodes(&mut nv, &view.nodes);
                if let Some((holder, left)) = &view.holder {
                    nv.add_str("holder", holder).add_u64("left", seconds(*left));
                }
                if let Some(alone) = &view.alone {
                    nv.add_str("alone", alone);
                }
            }
            Self::Refused(refusal) => {
                nv.add_str("answer", "refused");
                refusal.add_to(&mut nv);
            }
        }
        nv
    }

    /// The answer of a message.
    pub fn from_nv(nv: &Nv) -> Result<Self, MessageError> {
        Ok(match nv.str("answer") {
            Some("granted") => Self::Granted,
            Some("done") => Self::Done,
            Some("view") => Self::View(View {
                nodes: nodes(nv),
                holder: match nv.str("holder") {
                    Some(holder) => Some((holder.to_owned(), time(nv, "left")?)),
                    None => None,
                },
                alone: nv.str("alone").map(str::to_owned),
                quiet: time(nv, "quiet")?,
            }),
            Some("refused") => Self::Refused(Refusal::from_nv(nv)?),
            _ => return Err(MessageError::Field("answer")),
        })
    }
}

impl Refusal {
    const fn word(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Alone { .. } => "alone",
            Self::Quiet { .. } => "quiet",
            Self::Stranger { .. } => "stranger",
            Self::TooManyGroups => "groups",
            Self::Overtaken => "overtaken",
            Self::Storage => "storage",
        }
    }

    fn add_to(&self, nv: &mut Nv) {
        nv.add_str("reason", self.word());
        match self {
            Self::Held { by, left } => {
                nv.add_str("by", by).add_u64("left", seconds(*left));
            }
            Self::Alone { by } => {
                nv.add_str("by", by);
            }
            Self::Quiet { left } => {
                nv.add_u64("left", seconds(*left));
            }
            Self::Stranger { nodes } => add_nodes(nv, nodes),
            Self::TooManyGroups | Self::Overtaken | Self::Storage => {}
        }
    }

    fn from_nv(nv: &Nv) -> Result<Self, MessageError> {
        Ok(match nv.str("reason") {
            Some("held") => Self::Held {
                by: text(nv, "by")?,
                left: time(nv, "left")?,
            },
            Some("alone") => Self::Alone {
                by: text(nv, "by")?,
            },
            Some("quiet") => Self::Quiet {
                left: time(nv, "left")?,
            },
            Some("stranger") => Self::Stranger { nodes: nodes(nv) },
            Some("groups") => Self::TooManyGroups,
            Some("overtaken") => Self::Overtaken,
            Some("storage") => Self::Storage,
            _ => return Err(MessageError::Field("reason")),
        })
    }
}

/// Whether a text may name a group or a node.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), MessageError> {
    if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(MessageError::Name(what));
    }
    Ok(())
}

fn text(nv: &Nv, name: &'static str) -> Result<String, MessageError> {
    let found = nv.str(name).map(str::to_owned);
    found.ok_or(MessageError::Field(name))
}

fn time(nv: &Nv, name: &'static str) -> Result<Duration, MessageError> {
    let found = nv.u64(name).map(Duration::from_secs);
    found.ok_or(MessageError::Field(name))
}

fn add_nodes(nv: &mut Nv, nodes: &[String]) {
    for node in nodes {
        nv.add_str("known", node);
    }
}

fn nodes(nv: &Nv) -> Vec<String> {
    let known = nv.entries().filter(|entry| entry.name == b"known");
    known
        .filter_map(|entry| match entry.value {
            crate::nv::Value::Str(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
