//! `hast-failover forget`: has the witness forget a group. Asks no agent, and needs no configuration where the
//! witness is named, as on its own machine.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Failure, configuration, print, sysexits};
use crate::failover::config::witness_address;
use crate::witness::client::Witness;
use crate::witness::secret::{DEFAULT_PATH, Secret};

#[derive(Debug, Args)]
pub struct ForgetArguments {
    #[command(flatten)]
    common: Common,
    /// Although the witness has noted that only one node has the current data
    #[arg(long)]
    force: bool,
    /// The secret of the witness that is named
    #[arg(long, value_name = "file", requires = "witness", default_value = DEFAULT_PATH)]
    secret: PathBuf,
    /// Ask this witness, and read no configuration
    #[arg(long, value_name = "address", conflicts_with_all = ["config", "node"])]
    witness: Option<String>,
    /// Name of the group, which need not be in the configuration any more
    #[arg(value_name = "group")]
    group: String,
}

/// Asks who is current before: that is what must not be forgotten by mistake.
pub fn run(arguments: &ForgetArguments) -> Result<u8, Failure> {
    let witness = witness(arguments)?;
    let group = &arguments.group;
    let refused = |error| Failure::new(error, sysexits::EX_UNAVAILABLE);
    let view = witness.look(group).map_err(refused)?;
    if view.nodes.is_empty() {
        let what = format!(
            "the witness at {} does not know the group '{group}'",
            witness.address()
        );
        return Err(Failure::new(what, sysexits::EX_DATAERR));
    }
    if let Some(alone) = view.alone
        && !arguments.force
    {
        let what = format!(
            "only {alone} has the current data of {group}, and the witness keeps others from taking over without \
             it; with --force it forgets that, too"
        );
        return Err(Failure::new(what, sysexits::EX_UNAVAILABLE));
    }
    witness.forget(group).map_err(refused)?;
    print(&format!(
        "{group}: forgotten, with its nodes {}\n",
        view.nodes.join(" and ")
    ))?;
    Ok(0)
}

/// The one that is named, or that of the configuration.
fn witness(arguments: &ForgetArguments) -> Result<Witness, Failure> {
    let (address, secret) = if let Some(text) = &arguments.witness {
        let address = witness_address(text)
            .map_err(|error| Failure::new(format!("--witness: {error}"), sysexits::EX_USAGE))?;
        (address, arguments.secret.clone())
    } else {
        let (_, settings) = configuration(&arguments.common)?;
        let Some(found) = settings.witness else {
            let what = "the configuration names no witness; name one with --witness";
            return Err(Failure::new(what, sysexits::EX_CONFIG));
        };
        (found.address, found.secret)
    };
    let secret = Secret::read(&secret).map_err(|error| Failure::new(error, sysexits::EX_CONFIG))?;
    Ok(Witness::new(address, secret))
}
