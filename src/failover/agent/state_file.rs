//! What of a group outlives the agent, in a file `failover.<group>`: JSON, written durably.
//!
//! A file that is damaged is said to be and taken for none: the group is then taken down and looked
//! at anew, as after a restart of the machine.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable;
use crate::failover::supervisor::Saved;

/// The file's contents.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Which boot of the machine it speaks of.
    boot: String,
    master: bool,
    moving: bool,
    pinned: bool,
    trouble: Option<String>,
}

/// The file of one group.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    boot: String,
}

impl StateFile {
    /// In a folder, for a group's name, which the configuration has found fit for file names.
    pub fn new(folder: &Path, group: &str, boot: &str) -> Self {
        Self {
            path: folder.join(format!("failover.{group}")),
            boot: boot.to_owned(),
        }
    }

    /// What was kept, and whether the machine has not been restarted since.
    pub fn load(&self) -> (Option<Saved>, bool) {
        let path = self.path.display();
        let kept = match durable::read(&self.path) {
            Ok(None) => return (None, false),
            Ok(Some(bytes)) => serde_json::from_slice::<Kept>(&bytes).map_err(io::Error::from),
            Err(error) => Err(error),
        };
        match kept {
            Ok(kept) => {
                let saved = Saved {
                    master: kept.master,
                    moving: kept.moving,
                    pinned: kept.pinned,
                    trouble: kept.trouble,
                };
                (Some(saved), kept.boot == self.boot)
            }
            Err(error) => {
                log::error!("The state in {path} can not be used and is taken for none: {error}");
                (None, false)
            }
        }
    }

    /// Keeps this. It is on the medium when this returns.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        let kept = Kept {
            boot: self.boot.clone(),
            master: saved.master,
            moving: saved.moving,
            pinned: saved.pinned,
            trouble: saved.trouble.clone(),
        };
        durable::write(&self.path, &serde_json::to_vec(&kept)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        Saved {
            master: true,
            moving: false,
            pinned: true,
            trouble: Some("a \"reason\"\n".to_owned()),
        }
    }

    #[test]
    fn what_is_kept_reads_back_and_knows_its_boot() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path(), "storage", "boot 1");
        assert_eq!(file.load(), (None, false));
        file.save(&saved()).unwrap();
        assert_eq!(file.load(), (Some(saved()), true));
        let later = StateFile::new(folder.path(), "storage", "boot 2");
        assert_eq!(later.load(), (Some(saved()), false));
        let other = StateFile::new(folder.path(), "other", "boot 1");
        assert_eq!(other.load(), (None, false));
    }

    #[test]
    fn a_damaged_file_is_none_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path(), "storage", "boot");
        file.save(&saved()).unwrap();
        let path = folder.path().join("failover.storage");
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(file.load(), (None, false), "{length} bytes");
        }
        file.save(&saved()).unwrap();
        assert_eq!(file.load(), (Some(saved()), true));
    }
}
