//! Reads what an administrator asks of failover: the tables `failover` and `group`, which stand in
//! hast.toml itself, or beside a hast.conf in a file of their own, hast-failover.toml.
//!
//! Nothing is ignored: an unknown word, a name that the configuration of the resources does not know,
//! a promise that can not be kept is an error, and every error names file and line. As with the
//! resources, what is said for the other node is checked here too. Never looks names up in the network
//! or checks that paths exist.

mod group_table;
mod tables;
mod taken;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::group::{Programs, Settings, WitnessSettings};
use crate::config::{
    Config, ConfigError, NodeNames, Notation, Problem, document, in_order, line_at, read, whence,
};
use group_table::GroupReader;
use tables::{FailoverTable, OwnFile, ProgramsTable, SharedFile};
use taken::Taken;

pub(super) use values::witness as witness_address;

/// The file beside a hast.conf.
pub const OWN_FILE: &str = "hast-failover.toml";

/// Where the agent listens unless told otherwise.
pub const DEFAULT_CONTROL: &str = "/var/run/hast-failover";

/// Where states are kept unless told otherwise.
pub const DEFAULT_STATE: &str = "/var/db/hast";

/// How long a lease is unless told otherwise.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(15);

impl Settings {
    /// Reads the configuration `path` and what belongs to it for failover, for the node `node`. Where
    /// there is no path, or no node, it is found as hastd finds it.
    pub fn load(path: Option<&Path>, node: Option<&str>) -> Result<(Config, Self), ConfigError> {
        let (path, node) = whence(path, node)?;
        let text = read(&path)?;
        let config = Config::parse(&text, &path, &node)?;
        let settings = match beside(&path) {
            None => Self::parse(&text, &path, &config, &node)?,
            Some(own) => Self::parse(&read(&own)?, &own, &config, &node)?,
        };
        Ok((config, settings))
    }

    /// Makes the settings for `node` from `text`, the contents of `path`, which are about the resources
    /// of `config`. A file called [`OWN_FILE`] holds nothing else.
    pub fn parse(
        text: &str,
        path: &Path,
        config: &Config,
        node: &NodeNames,
    ) -> Result<Self, ConfigError> {
        let tables = if path.file_name().is_some_and(|name| name == OWN_FILE) {
            document::<OwnFile>(text).map(SharedFile::from)
        } else {
            document::<SharedFile>(text)
        };
        let reader = Reader { text, config, node };
        tables
            .and_then(|tables| reader.settings(tables))
            .map_err(|problem| ConfigError::invalid(path, problem))
    }
}

/// The file that has the tables for the configuration at `path`; none where they are in it.
fn beside(path: &Path) -> Option<PathBuf> {
    match Notation::of(path) {
        Notation::Toml => None,
        Notation::Conf => Some(path.with_file_name(OWN_FILE)),
    }
}

/// What the tables are read with.
struct Reader<'a> {
    text: &'a str,
    config: &'a Config,
    node: &'a NodeNames,
}

impl Reader<'_> {
    fn settings(&self, tables: SharedFile) -> Result<Settings, Problem> {
        let Some(node) = self.config.node.clone() else {
            return Err(Problem::at(1, "no resource is configured for this node"));
        };
        let table = tables.failover.unwrap_or_default();
        let control = self.optional("failover: control", table.control.as_ref(), values::socket)?;
        let state = self.optional("failover: state", table.state.as_ref(), values::path)?;
        let witness = self.witness(&table)?;
        let programs = self.programs(table.programs)?;

        let mut taken = Taken::default();
        let mut groups = Vec::new();
        for (name, line, table) in in_order(self.text, tables.group) {
            let mut group = GroupReader {
                reader: self,
                taken: &mut taken,
                name: &name,
                witness: witness.is_some(),
            };
            groups.push(group.read(line, table)?);
        }
        if groups.is_empty() {
            let what = "no group is configured; expected a table such as [group.storage]";
            return Err(Problem::at(1, what));
        }
        Ok(Settings {
            control: control.unwrap_or_else(|| DEFAULT_CONTROL.into()),
            state: state.unwrap_or_else(|| DEFAULT_STATE.into()),
            node,
            witness,
            programs,
            groups,
        })
    }

    fn witness(&self, table: &FailoverTable) -> Result<Option<WitnessSettings>, Problem> {
        let address = table.witness.as_ref();
        let address = self.optional("failover: witness", address, values::witness)?;
        let secret = table.secret.as_ref();
        let secret = self.optional("failover: secret", secret, values::path)?;
        let lease = self.seconds("failover: lease", table.lease.as_ref(), values::LEASE)?;
        match (address, secret) {
            (Some(address), Some(secret)) => Ok(Some(WitnessSettings {
                address,
                secret,
                lease: lease.unwrap_or(DEFAULT_LEASE),
            })),
            (Some(_), None) => {
                let what =
                    "a witness needs a 'secret', the path of a file; see hast-failover.toml(5)";
                Err(self.fault("failover: witness", table.witness.as_ref(), what))
            }
            (None, secret) => {
                let what = "there is no 'witness' that it could be for";
                if secret.is_some() {
                    return Err(self.fault("failover: secret", table.secret.as_ref(), what));
                }
                if lease.is_some() {
                    return Err(self.fault("failover: lease", table.lease.as_ref(), what));
                }
                Ok(None)
            }
        }
    }

    fn programs(&self, table: ProgramsTable) -> Result<Programs, Problem> {
        let mut programs = Programs::default();
        let places = [
            ("zpool", table.zpool, &mut programs.zpool),
            ("mount", table.mount, &mut programs.mount),
            ("umount", table.umount, &mut programs.umount),
            ("fsck", table.fsck, &mut programs.fsck),
            ("service", table.service, &mut programs.service),
            ("ifconfig", table.ifconfig, &mut programs.ifconfig),
            ("sysctl", table.sysctl, &mut programs.sysctl),
            ("reboot", table.reboot, &mut programs.reboot),
        ];
        for (key, value, place) in places {
            let key = format!("failover: programs: {key}");
            if let Some(path) = self.optional(&key, value.as_ref(), values::path)? {
                *place = path;
            }
        }
        Ok(programs)
    }

    /// The line that a byte offset lies on.
    fn line(&self, offset: usize) -> usize {
        line_at(self.text, offset)
    }

    /// A problem with a value; of one that is not there, on the first line.
    fn fault<T>(&self, key: &str, value: Option<&Spanned<T>>, what: &str) -> Problem {
        let offset = value.map_or(0, |value| value.span().start);
        Problem::at(self.line(offset), format!("{key}: {what}"))
    }

    /// A value understood by `read`.
    fn value<T>(
        &self,
        key: &str,
        value: &Spanned<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Problem> {
        read(value.get_ref()).map_err(|what| self.fault(key, Some(value), &what))
    }

    fn optional<T>(
        &self,
        key: &str,
        value: Option<&Spanned<String>>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        value.map(|value| self.value(key, value, read)).transpose()
    }

    /// A number of seconds in a range.
    fn seconds(
        &self,
        key: &str,
        value: Option<&Spanned<u64>>,
        range: values::Seconds,
    ) -> Result<Option<Duration>, Problem> {
        let Some(value) = value else { return Ok(None) };
        let read = values::seconds(*value.get_ref(), range);
        read.map(Some)
            .map_err(|what| self.fault(key, Some(value), &what))
    }
}
