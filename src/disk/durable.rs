//! Small writes that have to be on the medium before anything else happens: marks of the activemap,
//! metadata. A flush of the whole component would wait for all the data written before, too.

use super::component::Component;
use super::error::{DiskError, Operation};

impl Component {
    /// Writes all of `data` at `offset`, in bytes; it survives a power cut once this returns. Says
    /// nothing of what was written before.
    pub fn write_durably(&self, data: &[u8], offset: u64) -> Result<(), DiskError> {
        let operation = Operation::Write {
            offset,
            length: data.len() as u64,
        };
        self.check_bounds(offset, data.len() as u64, operation)?;
        if self.write_through(data, offset, operation)? {
            return Ok(());
        }
        self.write_whole(data, offset, operation)?;
        self.flush()
    }

    /// Writes through to the medium; false where that cannot be done.
    #[cfg(target_os = "linux")]
    fn write_through(
        &self,
        data: &[u8],
        offset: u64,
        operation: Operation,
    ) -> Result<bool, DiskError> {
        use std::os::fd::AsFd;

        use nix::errno::Errno;

        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            match hast_ffi::durable::write_at(self.file.as_fd(), &data[done..], at) {
                Ok(0) => return Err(self.ended(at, operation)),
                Ok(count) => done += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(false),
                Err(errno) => return Err(self.error(errno, operation)),
            }
        }
        Ok(true)
    }

    /// FreeBSD's providers write through by themselves up to the disk's cache: only a flush reaches
    /// beyond it.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps)]
    fn write_through(
        &self,
        _data: &[u8],
        _offset: u64,
        _operation: Operation,
    ) -> Result<bool, DiskError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::Access;

    #[test]
    fn what_is_written_durably_is_read_back_and_stays_within_bounds() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(8192).expect("grows");
        let path: &Path = file.path();
        let component = Component::open(path, Access::Exclusive).expect("opens");
        component.write_durably(&[7; 1024], 512).expect("writes");
        let mut found = [0; 1536];
        component.read_at(&mut found, 0).expect("reads");
        assert!(found[..512].iter().all(|byte| *byte == 0));
        assert!(found[512..].iter().all(|byte| *byte == 7));
        assert!(
            component.write_durably(&[7; 1024], 7680).is_err(),
            "beyond the end"
        );
        assert_eq!(component.current_media_size().expect("is there"), 8192);
    }
}
