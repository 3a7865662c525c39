//! What comes in place of an answer (spec, section 3), and the texts that base hastd uses.

use super::ComponentFacts;
use super::standing::{standing_from, write_standing};
use crate::layout::Standing;
use crate::nv::{Nv, NvView};
use crate::terms::Role;

/// What comes in place of an answer; the connection closes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for a person; [`Self::SPLIT_BRAIN`] also for the program.
    pub errmsg: String,
    /// "Still primary, probably on my way down: try again each second until `timeout`."
    pub wait: bool,
    /// What the refusing node's component says about itself: only ours says it, and only to ours. What
    /// cannot be counts as not said, as the refusal stands in any case.
    pub standing: Option<Box<Standing>>,
}

impl Refusal {
    /// The one text that the other side compares.
    pub const SPLIT_BRAIN: &'static str = "Split-brain condition!";
    /// The resource is in nobody's configuration here.
    pub const NOT_CONFIGURED: &'static str = "Resource not configured.";
    /// The address is not the resource's `remote`.
    pub const NO_ACCESS: &'static str = "No access to the resource.";
    /// The second connection shows another token than the first was given.
    pub const WRONG_TOKEN: &'static str = "Token doesn't match.";

    /// A refusal that retrying soon does not help.
    pub fn new(errmsg: impl Into<String>) -> Self {
        Self {
            errmsg: errmsg.into(),
            wait: false,
            standing: None,
        }
    }

    /// The same, and what this node's component says about itself; only for a peer that speaks the extension.
    #[must_use]
    pub fn with_standing(self, standing: Standing) -> Self {
        Self {
            standing: Some(Box::new(standing)),
            ..self
        }
    }

    /// Both wrote apart from each other.
    pub fn split_brain() -> Self {
        Self::new(Self::SPLIT_BRAIN)
    }

    /// The node is not secondary; a primary asks the peer to wait.
    pub fn not_secondary(role: Role) -> Self {
        let errmsg = format!("Remote node acts as {role} for the resource and not as secondary.");
        Self {
            wait: role == Role::Primary,
            ..Self::new(errmsg)
        }
    }

    /// The two components are not of one data set.
    pub fn resuid_mismatch(primary: u64, secondary: u64) -> Self {
        Self::new(format!(
            "Resource unique ID mismatch (primary={primary}, secondary={secondary})."
        ))
    }

    /// Whether both wrote apart from each other: run the hook.
    pub fn is_split_brain(&self) -> bool {
        self.errmsg == Self::SPLIT_BRAIN
    }

    /// Whether the two components are not of one data set.
    pub fn is_resuid_mismatch(&self) -> bool {
        self.errmsg.starts_with("Resource unique ID mismatch")
    }

    /// Whether the node that was asked is not secondary.
    pub fn is_not_secondary(&self) -> bool {
        self.errmsg.starts_with("Remote node acts as ")
    }

    /// The role of the node that was asked, where the refusal is that it is not secondary.
    pub fn acts_as(&self) -> Option<Role> {
        let rest = self.errmsg.strip_prefix("Remote node acts as ")?;
        rest.split(' ').next()?.parse().ok()
    }

    /// The message's entries.
    pub fn to_nv(&self) -> Nv {
        let mut nv = Nv::new();
        if let Some(standing) = &self.standing {
            nv.add_u64("localcnt", standing.localcnt)
                .add_u64("remotecnt", standing.remotecnt);
        }
        self.add_to(&mut nv);
        nv
    }

    /// The entries of a refusal in place of the third message, where base hastd sends what it
    /// has of that message first. The counters are said by `facts`: those of the standing, where it is there.
    pub fn to_nv_after(&self, facts: ComponentFacts) -> Nv {
        let mut nv = Nv::new();
        facts.add_to(&mut nv);
        self.add_to(&mut nv);
        nv
    }

    fn add_to(&self, nv: &mut Nv) {
        nv.add_str("errmsg", &self.errmsg);
        if self.wait {
            nv.add_u8("wait", 1);
        }
        if let Some(standing) = &self.standing {
            write_standing(standing, &mut nv.writer());
        }
    }

    /// The refusal, if the message is one, whatever else it holds.
    pub fn from_nv(nv: NvView<'_>) -> Option<Self> {
        let errmsg = nv.text("errmsg")?.into_owned();
        Some(Self {
            errmsg,
            wait: nv.contains("wait"),
            standing: standing_from(nv).map(Box::new),
        })
    }
}
