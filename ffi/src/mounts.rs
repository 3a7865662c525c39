//! What is mounted where (getfsstat(2)). Asks the kernel only for what it has at hand, so that a
//! file system that hangs does not hang whoever asks. On another system this fails with ENOSYS.

use std::path::PathBuf;

use nix::Result;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted: a device's path, or whatever its kind of file system calls it.
    pub from: PathBuf,
    /// Where.
    pub on: PathBuf,
    /// Its kind, as in mount(8)'s `-t`.
    pub kind: String,
}

/// All that is mounted.
pub fn list() -> Result<Vec<Mount>> {
    system::list()
}

#[cfg(target_os = "freebsd")]
mod system {
    use std::ffi::{OsStr, c_char, c_long};
    use std::os::unix::ffi::OsStrExt;

    use nix::Result;
    use nix::errno::Errno;

    use super::Mount;

    /// Room for what is mounted between counting and listing.
    const MORE: usize = 16;

    pub fn list() -> Result<Vec<Mount>> {
        loop {
            // SAFETY: without room nothing is written.
            let count = unsafe { libc::getfsstat(std::ptr::null_mut(), 0, libc::MNT_NOWAIT) };
            let count = Errno::result(count)? as usize;
            let mut entries = Vec::with_capacity(count + MORE);
            let room = (entries.capacity() * size_of::<libc::statfs>()) as c_long;
            // SAFETY: the room is the vector's, which is empty and as long as it says.
            let count = unsafe { libc::getfsstat(entries.as_mut_ptr(), room, libc::MNT_NOWAIT) };
            let count = Errno::result(count)? as usize;
            // A list that fills the room may be cut.
            if count < entries.capacity() {
                // SAFETY: the kernel has filled in so many entries, fewer than there is room for.
                unsafe { entries.set_len(count) };
                return Ok(entries.iter().map(mount).collect());
            }
        }
    }

    fn mount(entry: &libc::statfs) -> Mount {
        Mount {
            from: OsStr::from_bytes(&text(&entry.f_mntfromname)).into(),
            on: OsStr::from_bytes(&text(&entry.f_mntonname)).into(),
            kind: String::from_utf8_lossy(&text(&entry.f_fstypename)).into_owned(),
        }
    }

    /// A field up to its NUL.
    fn text(field: &[c_char]) -> Vec<u8> {
        // Signed on some machines.
        let bytes = field.iter().map(|character| character.to_ne_bytes()[0]);
        bytes.take_while(|byte| *byte != 0).collect()
    }
}

#[cfg(not(target_os = "freebsd"))]
mod system {
    use nix::Result;
    use nix::errno::Errno;

    use super::Mount;

    pub fn list() -> Result<Vec<Mount>> {
        Err(Errno::ENOSYS)
    }
}
