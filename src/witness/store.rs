//! What must outlive the witness, in a file: a line with what it is and the checksum of the rest, and the
//! [`Records`] as TOML, which a person can read.
//!
//! Invariants: after a crash at any moment the file holds either what it held or what was written,
//! whole; what [`Store::write`] returned from is there after a power cut; one process uses a file.
//! A file that is damaged is never taken for an empty one.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use super::leases::{GROUPS, NODES, Record, Records};
use super::message::check_name;

/// Where the state is kept unless a file is named.
pub const DEFAULT_PATH: &str = "/var/db/hast-witness/state";

/// How the file begins; the checksum follows, and the end of the line.
const HEAD: &str = "hast witness state 1, sha256 ";

/// Largest file that is read: as many groups as there can be, with the longest names, have a third.
const FILE_MAX: u64 = 1 << 20;

/// Why there is no state to go on with.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("another hastd --witness uses the state file {}", .0.display())]
    Held(PathBuf),
    /// Its content is not what was written.
    #[error(
        "the state file {shown} is damaged ({fault}), so nothing is granted; once both nodes of each \
         group have everything ('hastctl status' says complete), remove it",
        shown = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// It cannot be opened, read or written.
    #[error("unable to {what} the state file {}: {error}", path.display())]
    Io {
        /// Open, lock, read, write.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A state file, locked for as long as this lives.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    clean: bool,
    /// Of a file beside it, since the state file itself is replaced at each writing.
    _lock: Flock<File>,
}

impl Store {
    /// Locks the file and reads it; one that is not there is empty. Its folder is made where that
    /// is missing. Writes it once, to find out now whether that can be done.
    pub fn open(path: &Path) -> Result<(Self, Records), StoreError> {
        let fail = |what| {
            move |error| StoreError::Io {
                what,
                path: path.to_owned(),
                error,
            }
        };
        make_folder(folder(path)).map_err(fail("make the folder of"))?;
        let lock = lock(path)?;
        let records = match read(path) {
            Ok(bytes) => parse(&bytes).map_err(|fault| StoreError::Damaged {
                path: path.to_owned(),
                fault,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Records::new(),
            Err(error) => return Err(fail("read")(error)),
        };
        let mut store = Self {
            path: path.to_owned(),
            clean: false,
            _lock: lock,
        };
        store.write(&records).map_err(fail("write"))?;
        Ok((store, records))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file holds what was last meant to be written. Where a writing has failed it may
    /// hold either: then whatever is granted next has to be written, changed or not.
    pub const fn is_clean(&self) -> bool {
        self.clean
    }

    /// Replaces what the file holds; returns when that is on the medium.
    pub fn write(&mut self, records: &Records) -> io::Result<()> {
        self.clean = false;
        let new = beside(&self.path, ".new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&encode(records)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder(&self.path))?.sync_all()?;
        self.clean = true;
        Ok(())
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// The path with something behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn lock(path: &Path) -> Result<Flock<File>, StoreError> {
    let fail = |error| StoreError::Io {
        what: "lock",
        path: path.to_owned(),
        error,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(beside(path, ".lock"))
        .map_err(fail)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => StoreError::Held(path.to_owned()),
        _ => fail(errno.into()),
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn encode(records: &Records) -> io::Result<Vec<u8>> {
    let body = toml::to_string(records).map_err(io::Error::other)?;
    let sum = checksum(body.as_bytes());
    Ok(format!("{HEAD}{sum}\n{body}").into_bytes())
}

fn checksum(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse(bytes: &[u8]) -> Result<Records, String> {
    if bytes.len() as u64 > FILE_MAX {
        return Err("it is too large".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let (sum, body) = text
        .strip_prefix(HEAD)
        .and_then(|rest| rest.split_once('\n'))
        .ok_or_else(|| format!("it does not begin with '{HEAD}'"))?;
    if checksum(body.as_bytes()) != sum {
        return Err("its checksum is wrong".to_owned());
    }
    let records: Records = toml::from_str(body).map_err(|error| error.message().to_owned())?;
    if records.len() > GROUPS {
        return Err(format!("it has more than {GROUPS} groups"));
    }
    for (group, record) in &records {
        check(group, record).map_err(|fault| format!("group '{group}': {fault}"))?;
    }
    Ok(records)
}

fn check(group: &str, record: &Record) -> Result<(), String> {
    check_name("group", group).map_err(|error| error.to_string())?;
    for node in &record.nodes {
        check_name("node", node).map_err(|error| error.to_string())?;
    }
    if record.nodes.len() > NODES {
        return Err(format!("it has more than {NODES} nodes"));
    }
    for named in [&record.holder, &record.alone].into_iter().flatten() {
        if !record.nodes.contains(named) {
            return Err(format!("'{named}' is not one of its nodes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let text = |name: &str| name.to_owned();
        let full = Record {
            nodes: vec![text("hast1"), text("hast\"2")],
            holder: Some(text("hast1")),
            alone: Some(text("hast\"2")),
        };
        let one = Record {
            nodes: vec![text("a")],
            ..Record::default()
        };
        [(text("storage"), full), (text("gröup one"), one)].into()
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db").join("witness");
        (folder, path)
    }

    #[test]
    fn what_was_written_is_read() {
        let (_folder, path) = place();
        let (mut store, empty) = Store::open(&path).unwrap();
        assert!(empty.is_empty() && path.exists());
        store.write(&records()).unwrap();
        assert!(store.is_clean());
        drop(store);
        let (mut store, found) = Store::open(&path).unwrap();
        assert_eq!(found, records());
        store.write(&Records::new()).unwrap();
        drop(store);
        assert!(Store::open(&path).unwrap().1.is_empty());
    }

    #[test]
    fn one_process_uses_it() {
        let (_folder, path) = place();
        let held = Store::open(&path).unwrap();
        match Store::open(&path) {
            Err(StoreError::Held(found)) => assert_eq!(found, path),
            other => panic!("{other:?}"),
        }
        drop(held);
        Store::open(&path).unwrap();
    }

    #[test]
    fn every_changed_bit_and_every_missing_byte_is_noticed() {
        let bytes = encode(&records()).unwrap();
        assert_eq!(parse(&bytes).unwrap(), records());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_damaged_file_stays_as_it_is() {
        let (_folder, path) = place();
        drop(Store::open(&path).unwrap());
        fs::write(&path, "").unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn what_cannot_be_is_damaged_whatever_the_checksum() {
        let three = Record {
            nodes: ["a", "b", "c"].map(str::to_owned).into(),
            ..Record::default()
        };
        let foreign = Record {
            alone: Some("x".to_owned()),
            ..Record::default()
        };
        let empty = Record {
            nodes: vec![String::new()],
            ..Record::default()
        };
        for (record, fault) in [
            (three, "more than 2 nodes"),
            (foreign, "'x' is not one of its nodes"),
            (empty, "from 1 to"),
        ] {
            let records = [("g".to_owned(), record)].into();
            let error = parse(&encode(&records).unwrap()).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
        let many = (0..=GROUPS).map(|number| (number.to_string(), Record::default()));
        let error = parse(&encode(&many.collect()).unwrap()).unwrap_err();
        assert!(error.contains("groups"), "{error}");
    }

    #[test]
    fn the_largest_state_can_be_read_again() {
        let name = |number: usize| format!("{number:\"<255}");
        let record = Record {
            nodes: vec![name(1), name(2)],
            holder: Some(name(1)),
            alone: Some(name(2)),
        };
        let records: Records = (0..GROUPS)
            .map(|number| (name(number), record.clone()))
            .collect();
        assert_eq!(parse(&encode(&records).unwrap()).unwrap(), records);
    }

    #[test]
    fn a_writing_that_fails_is_remembered() {
        let (folder, path) = place();
        let (mut store, _) = Store::open(&path).unwrap();
        let away = folder.path().join("away");
        fs::rename(path.parent().unwrap(), &away).unwrap();
        store.write(&records()).unwrap_err();
        assert!(!store.is_clean());
        fs::rename(&away, path.parent().unwrap()).unwrap();
        store.write(&records()).unwrap();
        assert!(store.is_clean());
    }
}
