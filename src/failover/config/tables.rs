//! The tables as TOML has them. Only their shape is checked here: keys, and what kind each value is.

use serde::Deserialize;
use toml::Spanned;

use crate::config::Tables;

/// A text and its place.
pub type Text = Spanned<String>;

/// A list of texts, each with its place.
pub type Texts = Spanned<Vec<Text>>;

/// hast.toml: what else is in it was checked with the resources.
#[derive(Deserialize)]
pub struct SharedFile {
    pub failover: Option<FailoverTable>,
    #[serde(default)]
    pub group: Tables<GroupTable>,
}

/// hast-failover.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnFile {
    failover: Option<FailoverTable>,
    #[serde(default)]
    group: Tables<GroupTable>,
}

impl From<OwnFile> for SharedFile {
    fn from(own: OwnFile) -> Self {
        Self {
            failover: own.failover,
            group: own.group,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverTable {
    pub control: Option<Text>,
    pub state: Option<Text>,
    pub witness: Option<Text>,
    pub secret: Option<Text>,
    pub lease: Option<Spanned<u64>>,
    #[serde(default)]
    pub programs: ProgramsTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramsTable {
    pub zpool: Option<Text>,
    pub mount: Option<Text>,
    pub umount: Option<Text>,
    pub fsck: Option<Text>,
    pub service: Option<Text>,
    pub ifconfig: Option<Text>,
    pub sysctl: Option<Text>,
    pub reboot: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GroupTable {
    pub resources: Option<Texts>,
    pub pools: Option<Texts>,
    #[serde(default)]
    pub mounts: Vec<MountTable>,
    pub services: Option<Texts>,
    pub carp: Option<Text>,
    pub on_unreachable: Option<Text>,
    pub fence: Option<Texts>,
    pub force_import: Option<Text>,
    pub fsck: Option<Text>,
    pub on_hang: Option<Text>,
    pub on_lease_loss: Option<Text>,
    pub fail_back: Option<Text>,
    pub freshness: Option<Spanned<u64>>,
    pub debounce: Option<Spanned<u64>>,
    #[serde(default)]
    pub limits: LimitsTable,
    #[serde(default)]
    pub hooks: Tables<Texts>,
    #[serde(default)]
    pub on: Tables<NodeTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountTable {
    pub resource: Text,
    pub path: Text,
    pub options: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsTable {
    pub hastd: Option<Spanned<u64>>,
    pub peer: Option<Spanned<u64>>,
    pub promote: Option<Spanned<u64>>,
    pub import: Option<Spanned<u64>>,
    pub export: Option<Spanned<u64>>,
    pub fsck: Option<Spanned<u64>>,
    pub mount: Option<Spanned<u64>>,
    pub service: Option<Spanned<u64>>,
    pub fence: Option<Spanned<u64>>,
    pub hook: Option<Spanned<u64>>,
    pub takeover: Option<Spanned<u64>>,
}

/// What is different on one node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeTable {
    pub carp: Option<Text>,
    pub fence: Option<Texts>,
}
