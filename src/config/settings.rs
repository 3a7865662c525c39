//! The statements of one section with their values understood: the same for both notations and
//! for sections of this node and of others, so that a shared file is checked whole.

use super::address::{Address, AddressError, DEFAULT_PORT, NBD_PORT};
use super::model::{BUFFERS_MAX, BUFFERS_MIN, NAME_LENGTH_MAX, PATH_LENGTH_MAX, TIMEOUT_MAX};
use super::size::parse_size;
use super::tree::{Keyword, Problem, Section, Statement};
use crate::terms::{Checksum, Compression, Replication};
use std::path::PathBuf;
use std::time::Duration;

/// The provider a section asks for; the default socket depends on the provider's name, which
/// may stand in another section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderChoice {
    /// `provider gate`
    Gate,
    /// `provider nbd [address]`
    Nbd(Option<Address>),
}

/// The peer a section names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// `remote none`: not known yet.
    None,
    /// `remote <address>`
    At(Address),
}

/// What one section says; what it does not say is None or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // one field a statement, named like it
pub struct Settings {
    pub control: Option<Address>,
    pub listen: Vec<Address>,
    pub pidfile: Option<PathBuf>,
    pub replication: Option<Replication>,
    pub checksum: Option<Checksum>,
    pub compression: Option<Compression>,
    pub timeout: Option<Duration>,
    pub exec: Option<PathBuf>,
    pub metaflush: Option<bool>,
    pub provider: Option<ProviderChoice>,
    pub buffers: Option<u64>,
    pub name: Option<String>,
    pub local: Option<PathBuf>,
    pub remote: Option<Remote>,
    pub source: Option<Address>,
}

impl Settings {
    /// Reads a section's statements.
    pub fn read(section: &Section) -> Result<Self, Problem> {
        let mut settings = Self::default();
        let mut seen: Vec<(Keyword, usize)> = Vec::new();
        for statement in &section.statements {
            let keyword = statement.keyword;
            if let Some((_, first)) = seen.iter().find(|(earlier, _)| *earlier == keyword)
                && keyword != Keyword::Listen
            {
                let what = format!("'{keyword}' is repeated; it was already set on line {first}");
                return Err(Problem::at(statement.line, what));
            }
            seen.push((keyword, statement.line));
            settings
                .set(statement)
                .map_err(|what| Problem::at(statement.line, format!("{keyword}: {what}")))?;
        }
        Ok(settings)
    }

    fn set(&mut self, statement: &Statement) -> Result<(), String> {
        let value = statement.value.as_str();
        match statement.keyword {
            Keyword::Control => self.control = Some(address(value, DEFAULT_PORT)?),
            Keyword::Listen => self.listen.push(tcp_address(value, DEFAULT_PORT)?),
            Keyword::Pidfile => self.pidfile = Some(path(value)?),
            Keyword::Replication => self.replication = Some(word(value)?),
            Keyword::Checksum => self.checksum = Some(word(value)?),
            Keyword::Compression => self.compression = Some(word(value)?),
            Keyword::Timeout => self.timeout = Some(timeout(value)?),
            Keyword::Exec => self.exec = Some(path(value)?),
            Keyword::Metaflush => self.metaflush = Some(switch(value)?),
            Keyword::Provider => self.provider = Some(provider(value)?),
            Keyword::Buffers => self.buffers = Some(buffers(value)?),
            Keyword::Name => self.name = Some(name(value)?),
            Keyword::Local => self.local = Some(path(value)?),
            Keyword::Remote => {
                self.remote = Some(match value {
                    "none" => Remote::None,
                    _ => Remote::At(tcp_address(value, DEFAULT_PORT)?),
                });
            }
            Keyword::Source => self.source = Some(tcp_address(value, 0)?),
        }
        Ok(())
    }
}

/// A resource's or provider's name: it becomes part of paths and of process titles.
pub fn name(value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err("found an empty name".to_owned());
    }
    if value.len() > NAME_LENGTH_MAX {
        let length = value.len();
        return Err(format!(
            "the name is too long ({length} bytes; at most {NAME_LENGTH_MAX})"
        ));
    }
    if value
        .chars()
        .any(|character| character.is_whitespace() || character.is_control())
    {
        return Err(format!("the name {value:?} holds white space"));
    }
    if value.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("the name '{value}' is not usable below /dev/hast"));
    }
    Ok(value.to_owned())
}

fn address(value: &str, default_port: u16) -> Result<Address, String> {
    Address::parse(value, default_port).map_err(|error: AddressError| error.to_string())
}

fn tcp_address(value: &str, default_port: u16) -> Result<Address, String> {
    let address = address(value, default_port)?;
    if address.socket_path().is_some() {
        return Err(format!(
            "found the Unix socket '{value}'; expected a TCP address"
        ));
    }
    Ok(address)
}

/// A path that does not depend on the folder a program runs in.
pub fn path(value: &str) -> Result<PathBuf, String> {
    if !value.starts_with('/') {
        return Err(format!(
            "found '{value}'; expected a path that begins with '/'"
        ));
    }
    if value.len() > PATH_LENGTH_MAX {
        let length = value.len();
        return Err(format!(
            "the path is too long ({length} bytes; at most {PATH_LENGTH_MAX})"
        ));
    }
    if value.contains('\0') {
        return Err(format!("the path {value:?} holds a NUL"));
    }
    Ok(PathBuf::from(value))
}

fn word<T: std::str::FromStr<Err = crate::terms::UnknownWord>>(value: &str) -> Result<T, String> {
    value.parse::<T>().map_err(|error| error.to_string())
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("found '{value}'; expected on or off")),
    }
}

fn timeout(value: &str) -> Result<Duration, String> {
    value
        .parse::<u64>()
        .ok()
        .map(Duration::from_secs)
        .filter(|timeout| !timeout.is_zero() && *timeout <= TIMEOUT_MAX)
        .ok_or_else(|| {
            let most = TIMEOUT_MAX.as_secs();
            format!("found '{value}'; expected a number of seconds from 1 to {most}")
        })
}

fn buffers(value: &str) -> Result<u64, String> {
    let bytes = parse_size(value).map_err(|error| error.to_string())?;
    if (BUFFERS_MIN..=BUFFERS_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    let (least, most) = (BUFFERS_MIN >> 20, BUFFERS_MAX >> 20);
    Err(format!(
        "found '{value}'; expected a size from {least}m to {most}m"
    ))
}

fn provider(value: &str) -> Result<ProviderChoice, String> {
    match value.split_once(' ') {
        None if value == "gate" => Ok(ProviderChoice::Gate),
        None if value == "nbd" => Ok(ProviderChoice::Nbd(None)),
        Some(("nbd", text)) => Ok(ProviderChoice::Nbd(Some(address(text, NBD_PORT)?))),
        _ => Err(format!(
            "found '{value}'; expected gate, nbd, or nbd and an address"
        )),
    }
}
