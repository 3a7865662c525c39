//! The secret that the nodes and the witness share, read from a file that nobody else may read.
//!
//! Never shown: neither in the log nor by `{:?}`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Where the secret is looked for unless a file is named.
pub const DEFAULT_PATH: &str = "/usr/local/etc/hast.key";

/// Fewest bytes of a secret: 32 hexadecimal digits are the 128 bits that cannot be guessed.
pub const SHORTEST: usize = 32;

/// Most bytes that are read: whatever is longer is not a secret.
const LONGEST: u64 = 4096;

/// The bits of a file's mode that let others in.
const OTHERS: u32 = 0o077;

/// Why a file holds no secret to use.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("unable to read the secret {}: {error}; {}", path.display(), advice(path, error))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A folder, a device.
    #[error("the secret {} is not a regular file", .0.display())]
    NoFile(PathBuf),
    /// It belongs to somebody else, who can change it.
    #[error("the secret {} belongs to user {owner}: chown it to the user that runs this", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// Others may read or write it.
    #[error("the secret {shown} is open to others (mode {mode:04o}): chmod 600 {shown}", shown = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Too short to be one.
    #[error("the secret {} has {length} bytes; at least {SHORTEST} are needed", path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// How many it has.
        length: usize,
    },
    /// Too long to be one.
    #[error("the secret {} has more than {LONGEST} bytes", .0.display())]
    Long(PathBuf),
}

fn advice(path: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "chown it to the user that runs this".to_owned();
    }
    format!(
        "make one, the same on both nodes and the witness, with: (umask 077; openssl rand -hex 32 > {})",
        path.display()
    )
}

/// A shared secret.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads a file that belongs to this user (or to root) and to which no other has access.
    /// White space around the secret, as an editor leaves it, does not count.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let io = |error| SecretError::Io {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(io)?;
        // Of the file that is open, whatever the path leads to by now.
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(SecretError::NoFile(path.to_owned()));
        }
        let owner = metadata.uid();
        if owner != geteuid().as_raw() && owner != 0 {
            let path = path.to_owned();
            return Err(SecretError::Owner { path, owner });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS != 0 {
            let path = path.to_owned();
            return Err(SecretError::Mode { path, mode });
        }
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > LONGEST {
            return Err(SecretError::Long(path.to_owned()));
        }
        Self::of(bytes.trim_ascii()).map_err(|length| SecretError::Short {
            path: path.to_owned(),
            length,
        })
    }

    /// A secret of these bytes; their number where they are too few.
    pub fn of(bytes: &[u8]) -> Result<Self, usize> {
        if bytes.len() < SHORTEST {
            return Err(bytes.len());
        }
        Ok(Self(bytes.to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn white_space_around_it_does_not_count() {
        let (_folder, path) = file(&format!("{TEXT}\n"), 0o600);
        let secret = Secret::read(&path).unwrap();
        assert_eq!(secret.bytes(), TEXT.as_bytes());
        assert!(!format!("{secret:?}").contains("0123"));
        let (_folder, path) = file(TEXT, 0o400);
        assert_eq!(Secret::read(&path).unwrap().bytes(), TEXT.as_bytes());
    }

    #[test]
    fn what_others_may_read_or_write_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o602, 0o644] {
            let (_folder, path) = file(TEXT, mode);
            let error = Secret::read(&path).unwrap_err().to_string();
            let expected = format!("(mode {mode:04o}): chmod 600 {}", path.display());
            assert!(error.ends_with(&expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_said() {
        let fails = |path: &Path| Secret::read(path).unwrap_err().to_string();
        let (_folder, path) = file(&TEXT[1..], 0o600);
        assert!(fails(&path).contains("has 31 bytes; at least 32 are needed"));
        let (_folder, path) = file(&" ".repeat(64), 0o600);
        assert!(fails(&path).contains("has 0 bytes"));
        let (folder, path) = file(&TEXT.repeat(1000), 0o600);
        assert!(fails(&path).contains("more than 4096 bytes"));
        assert!(fails(folder.path()).contains("not a regular file"));
        let missing = fails(&folder.path().join("none"));
        assert!(missing.contains("No such file") && missing.contains("openssl rand"));
    }

    /// Root, as which tests may run, may read everything.
    #[test]
    fn of_one_that_may_not_be_read_the_remedy_is_another() {
        let (_folder, path) = file(TEXT, 0o600);
        let error = io::ErrorKind::PermissionDenied.into();
        let said = SecretError::Io { path, error }.to_string();
        assert!(
            said.ends_with("; chown it to the user that runs this"),
            "{said}"
        );
    }

    #[test]
    fn another_users_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let (_folder, path) = file(TEXT, 0o600);
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        let error = Secret::read(&path).unwrap_err().to_string();
        assert!(error.contains("belongs to user 12345"), "{error}");
    }
}
