//! What a group's supervision is made from: where none of it has changed a new configuration changes nothing.

use std::path::PathBuf;

use super::lease::Leases;
use super::waiting::Clock;
use crate::config::{Address, Config, Resource};
use crate::failover::group::{Group, Programs, Settings, WitnessSettings};
use crate::witness::client::Witness;
use crate::witness::secret::Secret;

/// Everything of the configuration that a group's supervision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The group.
    pub group: Group,
    pub(super) programs: Programs,
    pub(super) witness: Option<WitnessSettings>,
    pub(super) state: PathBuf,
    pub(super) node: String,
    pub(super) control: Address,
    pub(super) resources: Vec<Resource>,
}

impl Definition {
    /// Of a group of `settings`.
    pub fn new(group: &Group, settings: &Settings, config: &Config) -> Self {
        let resources = group.resources.iter();
        let resources = resources.filter_map(|name| config.resource(name).cloned());
        Self {
            group: group.clone(),
            programs: settings.programs.clone(),
            witness: settings.witness.clone(),
            state: settings.state.clone(),
            node: settings.node.clone(),
            control: config.control.clone(),
            resources: resources.collect(),
        }
    }

    /// The witness's, where there is one.
    pub(super) fn leases(&self, clock: Clock) -> Result<Option<Leases>, String> {
        let Some(witness) = &self.witness else {
            return Ok(None);
        };
        let secret = Secret::read(&witness.secret).map_err(|error| error.to_string())?;
        let (group, node) = (self.group.name.clone(), self.node.clone());
        let length = witness.lease;
        let witness = Witness::new(witness.address.clone(), secret);
        Ok(Some(Leases::new(witness, group, node, length, clock)))
    }
}
