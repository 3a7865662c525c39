//! The values of the tables, each by itself: what is one, and what is wrong with one that is not.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{Address, absolute_path};
use crate::failover::group::Vhid;
use crate::terms::UnknownWord;

/// A range of whole seconds.
pub type Seconds = RangeInclusive<u64>;

/// A lease: less could not be renewed over a slow line, and more is what a witness that was restarted
/// would have to wait.
pub const LEASE: Seconds = 3..=60;
/// A step's limit: at most a day, more is a slip of the keyboard.
pub const LIMIT: Seconds = 1..=86400;
/// How old the knowledge may be that a copy is up to date.
pub const FRESHNESS: Seconds = 1..=86400;
/// Events are told apart within a minute, or are not waited for by anybody.
pub const DEBOUNCE: Seconds = 0..=60;

/// The port of a witness where its address names none.
const WITNESS_PORT: u16 = 8458;
/// The word for every group, which therefore names none.
const ALL: &str = "all";
/// Longest name of a group: it becomes part of file names and of messages to a witness.
const GROUP_LENGTH_MAX: usize = 64;
/// Longest name of a pool, as in ZFS (ZFS_MAX_DATASET_NAME_LEN less a NUL).
const POOL_LENGTH_MAX: usize = 255;
/// Longest name of an interface, as in FreeBSD (IFNAMSIZ less a NUL).
const INTERFACE_LENGTH_MAX: usize = 15;
/// Words that `zpool create` takes for something else, so that no pool is called so.
const NOT_POOLS: [&str; 6] = ["mirror", "raidz", "draid", "spare", "log", "cache"];
/// What a group stands on: it can not be started or stopped with one.
const FOUNDATIONS: [&str; 6] = [
    "hast",
    "hastd",
    "hast_failover",
    "hast_carp",
    "devd",
    "netif",
];

/// An absolute path.
pub fn path(value: &str) -> Result<PathBuf, String> {
    absolute_path(value)
}

/// The path of a unix socket.
pub fn socket(value: &str) -> Result<PathBuf, String> {
    absolute_path(value)?;
    let address = Address::from_socket_path(value).map_err(|error| error.to_string())?;
    let path = address.socket_path().map(PathBuf::from);
    path.ok_or_else(|| format!("found '{value}'; expected the path of a socket"))
}

/// A witness's TCP address.
pub fn witness(value: &str) -> Result<Address, String> {
    let address = Address::parse(value, WITNESS_PORT).map_err(|error| error.to_string())?;
    if address.socket_path().is_some() {
        return Err(format!(
            "found the Unix socket '{value}'; expected a TCP address"
        ));
    }
    Ok(address)
}

/// A number of seconds in a range.
pub fn seconds(value: u64, range: Seconds) -> Result<Duration, String> {
    if range.contains(&value) {
        return Ok(Duration::from_secs(value));
    }
    let (least, most) = range.into_inner();
    Err(format!(
        "found {value}; expected a number of seconds from {least} to {most}"
    ))
}

/// One of the words of an enum.
pub fn word<T: FromStr<Err = UnknownWord>>(value: &str) -> Result<T, String> {
    value.parse::<T>().map_err(|error| error.to_string())
}

/// A group's name.
pub fn group_name(value: &str) -> Result<(), String> {
    if value == ALL {
        return Err(format!("'{ALL}' means every group; choose another name"));
    }
    let good = value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.len() <= GROUP_LENGTH_MAX
        && only(value, "-_.");
    good.then_some(()).ok_or_else(|| {
        format!(
            "found '{value}'; expected at most {GROUP_LENGTH_MAX} letters, digits, '-', '_' and '.', \
             and a letter or digit first"
        )
    })
}

/// A pool's name, as ZFS has them.
pub fn pool(value: &str) -> Result<String, String> {
    if value.contains('/') {
        return Err(format!(
            "found '{value}'; expected a whole pool, and no file system in it"
        ));
    }
    let good = value.starts_with(|first: char| first.is_ascii_alphabetic())
        && value.len() <= POOL_LENGTH_MAX
        && only(value, "-_.:")
        && !NOT_POOLS.contains(&value);
    good.then(|| value.to_owned()).ok_or_else(|| {
        format!(
            "found '{value}'; expected a pool's name: a letter, then letters, digits, '-', '_', '.' and ':'"
        )
    })
}

/// The name of a script of rc(8).
pub fn service(value: &str) -> Result<String, String> {
    if FOUNDATIONS.contains(&value) {
        return Err(format!(
            "the group depends on {value}, so it can not be one of its services"
        ));
    }
    let good = value.starts_with(|first: char| first.is_ascii_alphanumeric()) && only(value, "-_.");
    good.then(|| value.to_owned()).ok_or_else(|| {
        format!("found '{value}'; expected the name of a service, as service(8) takes it")
    })
}

/// `vhid@interface`
pub fn vhid(value: &str) -> Result<Vhid, String> {
    let read = || {
        let (vhid, interface) = value.split_once('@')?;
        let digits = vhid.bytes().all(|byte| byte.is_ascii_digit());
        let vhid = vhid.parse::<u8>().ok().filter(|vhid| digits && *vhid > 0)?;
        let good = interface.starts_with(|first: char| first.is_ascii_alphabetic())
            && interface.len() <= INTERFACE_LENGTH_MAX
            && only(interface, "_.");
        good.then(|| Vhid {
            vhid,
            interface: interface.to_owned(),
        })
    };
    read().ok_or_else(|| {
        format!("found '{value}'; expected vhid@interface, such as 1@em0, the vhid from 1 to 255")
    })
}

/// What is given to mount(8) behind `-o`.
pub fn mount_options(value: &str) -> Result<String, String> {
    let good = !value.is_empty() && value.chars().all(|character| character.is_ascii_graphic());
    good.then(|| value.to_owned())
        .ok_or_else(|| format!("found {value:?}; expected options of mount(8), such as noatime"))
}

/// An argument of a program.
pub fn argument(value: &str) -> Result<String, String> {
    if value.contains('\0') {
        return Err(format!("the argument {value:?} holds a NUL"));
    }
    Ok(value.to_owned())
}

/// Whether there are only letters, digits and these.
fn only(value: &str, more: &str) -> bool {
    value
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || more.contains(character))
}
