//! The file of a unix socket. It is known by its device and inode, so that only the one that was meant is ever
//! removed, whatever is at its path by then.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A socket's file, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The socket that is at a path now.
    ///
    /// # Errors
    /// There is nothing, nothing that can be looked at, or something that is no socket.
    pub fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name which is no socket",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    /// Removes it, where it is still there.
    pub fn remove(&self) {
        if Self::at(&self.path).is_ok_and(|found| found == *self)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("Unable to remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_the_socket_that_was_seen_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // Open, so that its inode is not used again.
        let _first = UnixListener::bind(&path).unwrap();
        let file = SocketFile::at(&path).unwrap();
        let aside = folder.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        file.remove();
        let second = UnixListener::bind(&path).unwrap();
        file.remove();
        assert!(path.exists(), "another's");
        drop(second);
        fs::rename(&aside, &path).unwrap();
        file.remove();
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        let error = SocketFile::at(&path).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
    }
}
