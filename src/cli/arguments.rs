//! hastctl's command line.

use crate::config::{SizeError, parse_size};
use crate::terms::{Role, UnknownWord};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Control of HAST: replicated disks of two nodes
#[derive(Debug, Parser)]
#[command(name = "hastctl", version, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, in the order of base's usage.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the local components of resources ready for use
    Create(CreateArguments),
    /// Put resources into a role
    Role(RoleArguments),
    /// Show everything known of resources
    List(NamesArguments),
    /// Show the state of resources in a table
    Status(NamesArguments),
    /// Show what the local components say of themselves
    Dump(NamesArguments),
    /// Check the configuration and show what this node would run
    Check(Common),
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Common {
    /// Configuration file [default: hast.toml or hast.conf in /usr/local/etc, /etc/hast.conf]
    #[arg(short, value_name = "config")]
    pub config: Option<PathBuf>,
    /// Say more; may be repeated
    #[arg(short, action = clap::ArgAction::Count)]
    pub debug: u8,
    /// Take the sections of this node instead of this host's
    #[arg(short, value_name = "node")]
    pub node: Option<String>,
}

/// `hastctl create`
#[derive(Debug, Args)]
pub struct CreateArguments {
    #[command(flatten)]
    pub common: Common,
    /// Size of an extent, the unit of the activemap [default: 2m]
    #[arg(short, value_name = "extentsize", value_parser = small_size)]
    pub extentsize: Option<u32>,
    /// Number of extents kept dirty [default: 64]
    #[arg(short, value_name = "keepdirty", value_parser = small_size)]
    pub keepdirty: Option<u32>,
    /// How much of the component to use [default: all]
    #[arg(short, value_name = "mediasize", value_parser = parse_size)]
    pub mediasize: Option<u64>,
    /// Overwrite a component that belongs to another resource
    #[arg(long)]
    pub force: bool,
    /// Names of resources
    #[arg(required = true, value_name = "name")]
    pub names: Vec<String>,
}

/// `hastctl role`
#[derive(Debug, Args)]
pub struct RoleArguments {
    #[command(flatten)]
    pub common: Common,
    /// Become primary even with a copy that is known to lack data of the other node, or while the other node takes the role; stop being primary even while the
    /// device is open, which takes it away from whoever has
    #[arg(long)]
    pub force: bool,
    /// init, primary or secondary
    #[arg(value_parser = role, value_name = "init|primary|secondary")]
    pub role: Role,
    /// Names of resources, or all
    #[arg(required = true, value_name = "name")]
    pub names: Vec<String>,
}

/// `hastctl list`, `status` and `dump`
#[derive(Debug, Args)]
pub struct NamesArguments {
    #[command(flatten)]
    pub common: Common,
    /// Names of resources, or all
    #[arg(value_name = "name")]
    pub names: Vec<String>,
}

fn small_size(text: &str) -> Result<u32, SizeError> {
    let bytes = parse_size(text)?;
    u32::try_from(bytes).map_err(|_| SizeError::TooLarge(text.to_owned()))
}

fn role(word: &str) -> Result<Role, UnknownWord> {
    word.parse()
}
