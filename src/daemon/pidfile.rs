//! The pid file: locked for as long as the main process lives, so that there is one of it, and
//! holding its number once it has reached the background.
//!
//! Invariant: the file that is locked is the one that the path leads to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// How often a file that is removed while we lock it is tried again.
const ATTEMPTS: u32 = 8;

/// Most bytes of a pid file that are read.
const CONTENT_MAX: u64 = 32;

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another hastd has it.
    #[error("another hastd is already running, pidfile: {}, pid: {}", path.display(), holder(*.pid))]
    Held {
        /// The file.
        path: PathBuf,
        /// What the file says; none where that hastd has not written it yet.
        pid: Option<u32>,
    },
    /// It can not be opened, locked or written.
    #[error("unable to open or create the pidfile {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "not yet known".to_owned(), |pid| pid.to_string())
}

/// A locked pid file. Dropping it gives the lock up and leaves the file.
#[derive(Debug)]
pub struct PidFile {
    file: Flock<File>,
    path: PathBuf,
}

impl PidFile {
    /// Opens and locks the file, making it where it is not there.
    pub fn open(path: &Path) -> Result<Self, PidFileError> {
        let io = |error: io::Error| PidFileError::Io {
            path: path.to_owned(),
            error,
        };
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(io)?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((file, Errno::EWOULDBLOCK)) => {
                    return Err(PidFileError::Held {
                        path: path.to_owned(),
                        pid: content(&file),
                    });
                }
                Err((_, errno)) => return Err(io(errno.into())),
            };
            let locked = Self {
                file,
                path: path.to_owned(),
            };
            // Its last owner may have removed it between our opening and our locking.
            if locked.is_in_place() {
                locked.file.set_len(0).map_err(io)?;
                return Ok(locked);
            }
        }
        Err(io(io::ErrorKind::ResourceBusy.into()))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes this process's number.
    pub fn write(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        write!(self.file, "{}", std::process::id())
    }

    /// Removes the file and gives the lock up.
    pub fn remove(self) -> io::Result<()> {
        if self.is_in_place() {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }

    fn is_in_place(&self) -> bool {
        let (Ok(named), Ok(ours)) = (fs::metadata(&self.path), self.file.metadata()) else {
            return false;
        };
        (named.dev(), named.ino()) == (ours.dev(), ours.ino())
    }
}

fn content(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(CONTENT_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_by_one_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        fs::write(&path, "99999999 left by a crash").unwrap();
        let mut first = PidFile::open(&path).unwrap();
        match PidFile::open(&path) {
            Err(PidFileError::Held { pid: None, .. }) => {}
            other => panic!("{other:?}"),
        }
        first.write().unwrap();
        let pid = std::process::id();
        assert_eq!(fs::read_to_string(&path).unwrap(), pid.to_string());
        let message = PidFile::open(&path).unwrap_err().to_string();
        assert!(message.ends_with(&format!("pid: {pid}")), "{message}");
        first.remove().unwrap();
        assert!(!path.exists());
        PidFile::open(&path).unwrap();
    }

    #[test]
    fn a_file_that_took_its_place_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let file = PidFile::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
    }
}
