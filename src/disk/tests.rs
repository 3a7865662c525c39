//! A component on real files and, where the machine lends them, real devices.

use std::fs::{self, File};
#[cfg(target_os = "linux")]
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
#[cfg(target_os = "linux")]
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;

/// A directory with a component file of `size` bytes that reads zero.
fn file_of(size: u64) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("component");
    File::create(&path)
        .and_then(|file| file.set_len(size))
        .expect("a file");
    (directory, path)
}

fn open(path: &Path) -> Component {
    Component::open(path, Access::Exclusive).expect("opened")
}

fn bytes_at(component: &Component, offset: u64, length: usize) -> Vec<u8> {
    let mut buffer = vec![0xEE; length];
    component.read_at(&mut buffer, offset).expect("read");
    buffer
}

/// Says that a test could not run here; where everything has to run, that fails it.
fn skip(why: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "can not be skipped: {why}"
    );
    eprintln!("skipped: {why}");
}

#[test]
fn what_is_written_is_read_at_the_same_place() {
    let (_directory, path) = file_of(4 * MIB);
    let component = open(&path);
    assert_eq!(component.media_size(), 4 * MIB);
    assert_eq!(component.sector_size(), 512);
    assert!(!component.is_provider());
    let data: Vec<u8> = (0..1024).map(|index| (index % 251) as u8).collect();
    component.write_at(&data, 2 * MIB).expect("written");
    component.flush().expect("flushed");
    assert_eq!(bytes_at(&component, 2 * MIB, 1024), data);
    assert_eq!(bytes_at(&component, 2 * MIB - 512, 512), [0; 512]);
    assert_eq!(bytes_at(&component, 2 * MIB + 1024, 512), [0; 512]);
    drop(component);
    let dump = Component::open(&path, Access::ReadOnly).expect("opened");
    assert_eq!(bytes_at(&dump, 2 * MIB, 1024), data);
    assert!(dump.write_at(&data, 0).is_err());
}

#[test]
fn many_threads_share_a_component() {
    let (_directory, path) = file_of(4 * MIB);
    let component = open(&path);
    std::thread::scope(|scope| {
        for index in 0..8_u8 {
            let component = &component;
            scope.spawn(move || {
                let at = u64::from(index) * 4096;
                component.write_at(&[index; 4096], at).expect("written");
                component.flush().expect("flushed");
                assert_eq!(bytes_at(component, at, 4096), [index; 4096]);
            });
        }
    });
    assert_eq!(bytes_at(&component, 3 * 4096, 4096), [3; 4096]);
}

#[test]
fn one_user_at_a_time() {
    let (_directory, path) = file_of(MIB);
    let first = open(&path);
    let error = Component::open(&path, Access::Exclusive).expect_err("locked");
    assert_eq!(error.kind(), &DiskErrorKind::Locked);
    assert_eq!(error.exit_code(), 75);
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    Component::open(&path, Access::ReadOnly).expect("a dump needs no lock");
    drop(first);
    open(&path);
}

#[test]
fn the_lock_is_the_one_that_base_hastd_takes() {
    let (_directory, path) = file_of(MIB);
    let base = Flock::lock(
        File::open(&path).expect("open"),
        FlockArg::LockExclusiveNonblock,
    )
    .expect("locked");
    let error = Component::open(&path, Access::Exclusive).expect_err("locked");
    assert_eq!(error.kind(), &DiskErrorKind::Locked);
    drop(base);
    let _ours = open(&path);
    Flock::lock(
        File::open(&path).expect("open"),
        FlockArg::LockExclusiveNonblock,
    )
    .expect_err("locked by us");
}

#[test]
fn what_is_no_component_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("a fifo");
    // Opening the FIFO would wait for a writer for ever.
    for path in [directory.path(), &fifo, Path::new("/dev/null")] {
        let error = Component::open(path, Access::ReadOnly).expect_err("no component");
        assert_eq!(
            error.kind(),
            &DiskErrorKind::Unsuitable,
            "{}",
            path.display()
        );
        assert_eq!(error.exit_code(), 66);
    }
    let missing = directory.path().join("missing");
    let error = Component::open(&missing, Access::Exclusive).expect_err("missing");
    assert_eq!(error.exit_code(), 66);
    assert_eq!(error.errno(), Errno::ENOENT);
    assert_eq!(
        error.to_string(),
        format!(
            "component '{}' does not exist; create it, or correct the resource's 'local' path",
            missing.display()
        )
    );
    assert!(!missing.exists(), "opening creates nothing");
}

#[test]
fn nothing_outside_is_touched() {
    let (_directory, path) = file_of(MIB);
    let component = open(&path);
    for offset in [MIB - 256, MIB, u64::MAX - 100] {
        let errors = [
            component
                .read_at(&mut [0; 512], offset)
                .expect_err("outside"),
            component.write_at(&[1; 512], offset).expect_err("outside"),
            component.write_zeroes(offset, 512).expect_err("outside"),
            component.delete(offset, 512).expect_err("outside"),
        ];
        for error in errors {
            assert!(
                matches!(error.kind(), DiskErrorKind::OutOfBounds { .. }),
                "{error}"
            );
            assert_eq!(error.errno(), Errno::EINVAL);
        }
    }
    assert_eq!(fs::metadata(&path).expect("there").len(), MIB);
    assert_eq!(bytes_at(&component, MIB - 256, 256), [0; 256]);
}

#[test]
fn a_file_cut_short_is_an_error_that_says_where() {
    let (_directory, path) = file_of(MIB);
    let component = open(&path);
    let other = File::options().write(true).open(&path).expect("open");
    other.set_len(MIB / 2 + 100).expect("cut");
    let error = component
        .read_at(&mut [0; 1024], MIB / 2)
        .expect_err("short");
    assert!(
        matches!(error.kind(), DiskErrorKind::Ended { at, .. } if *at == MIB / 2 + 100),
        "{error}"
    );
    assert_eq!(error.errno(), Errno::EIO);
    assert_eq!(error.exit_code(), 74);
    assert_eq!(component.current_media_size().expect("size"), MIB / 2 + 100);
    assert_eq!(component.media_size(), MIB);
}

#[test]
fn a_removed_file_is_noticed_without_its_path() {
    let (_directory, path) = file_of(MIB);
    let component = open(&path);
    component.confine();
    fs::rename(&path, path.with_extension("moved")).expect("moved");
    component.still_there().expect("it still has a name");
    fs::remove_file(path.with_extension("moved")).expect("removed");
    let error = component.still_there().expect_err("gone");
    assert_eq!(error.kind(), &DiskErrorKind::Vanished);
}

#[test]
fn a_removed_or_replaced_file_is_noticed() {
    let (_directory, path) = file_of(MIB);
    let component = open(&path);
    component.still_there().expect("there");
    fs::remove_file(&path).expect("removed");
    let error = component.still_there().expect_err("gone");
    assert_eq!(error.kind(), &DiskErrorKind::Vanished);
    File::create(&path)
        .and_then(|file| file.set_len(MIB))
        .expect("another");
    let error = component.still_there().expect_err("replaced");
    assert_eq!(error.kind(), &DiskErrorKind::Vanished);
    component
        .write_at(&[5; 512], 0)
        .expect("the open one works on");
    assert_eq!(bytes_at(&component, 0, 512), [5; 512]);
}

/// Zeroes the middle of a component full of ones, and looks at all of it.
fn zero_the_middle(component: &Component, zero: impl Fn(u64, u64) -> Result<(), DiskError>) {
    component
        .write_at(&vec![1; MIB as usize], 0)
        .expect("written");
    // Longer than the piece in which zeros are written, and no multiple of a page.
    let (offset, length) = (512, 600 * 1024 + 512);
    zero(offset, length).expect("zeroed");
    let now = bytes_at(component, 0, MIB as usize);
    let (offset, end) = (offset as usize, (offset + length) as usize);
    assert!(now[..offset].iter().all(|byte| *byte == 1));
    assert!(now[offset..end].iter().all(|byte| *byte == 0));
    assert!(now[end..].iter().all(|byte| *byte == 1));
}

#[test]
fn what_is_zeroed_reads_zero_and_nothing_beside_it() {
    let (_directory, path) = file_of(MIB);
    let component = open(&path);
    zero_the_middle(&component, |offset, length| {
        component.write_zeroes(offset, length)
    });
    let operation = Operation::Zero {
        offset: 0,
        length: MIB,
    };
    zero_the_middle(&component, |offset, length| {
        component.write_out_zeroes(offset, length, operation)
    });
    component.write_zeroes(MIB, 0).expect("nothing to do");
    assert_eq!(fs::metadata(&path).expect("there").len(), MIB);
}

#[test]
fn space_is_given_up() {
    let (_directory, path) = file_of(4 * MIB);
    let allocated = || fs::metadata(&path).expect("there").blocks() * 512;
    let component = open(&path);
    for give_up in [Component::write_zeroes, Component::delete] {
        component
            .write_at(&vec![1; 4 * MIB as usize], 0)
            .expect("written");
        component.flush().expect("flushed");
        assert!(allocated() >= 4 * MIB);
        give_up(&component, MIB, 2 * MIB).expect("given up");
        if allocated() >= 4 * MIB {
            return skip("the file system of the temporary directory keeps the space of holes");
        }
        assert!(
            allocated() <= 2 * MIB + 64 * 1024,
            "{} bytes allocated",
            allocated()
        );
        assert_eq!(bytes_at(&component, MIB - 1, 1), [1]);
        assert_eq!(bytes_at(&component, 3 * MIB, 1), [1]);
    }
}

#[test]
fn a_sparse_terabyte_takes_no_space() {
    let (_directory, path) = file_of(1 << 40);
    let component = open(&path);
    let at = (1 << 40) - 4096;
    component.write_at(&[9; 4096], at).expect("written");
    component
        .write_zeroes(0, 1 << 39)
        .expect("zeroed without writing half a terabyte");
    assert_eq!(bytes_at(&component, at, 4096), [9; 4096]);
    assert!(fs::metadata(&path).expect("there").blocks() * 512 < MIB);
}

/// Runs its command when dropped: what undoes a mount or a loop device.
#[cfg(target_os = "linux")]
struct Undo(&'static str, &'static [&'static str], PathBuf);

#[cfg(target_os = "linux")]
impl Drop for Undo {
    fn drop(&mut self) {
        let status = Command::new(self.0).args(self.1).arg(&self.2).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{} {}",
            self.0,
            self.2.display()
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_file_system_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(directory.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return skip("mounting a tmpfs needs root");
    }
    let _undo = Undo("umount", &[], directory.path().to_owned());
    let path = directory.path().join("component");
    File::create(&path)
        .and_then(|file| file.set_len(8 * MIB))
        .expect("a file");
    let component = open(&path);
    let error = component
        .write_at(&vec![1; 4 * MIB as usize], 0)
        .expect_err("full");
    assert!(
        matches!(error.kind(), DiskErrorKind::Full { .. }),
        "{error}"
    );
    assert_eq!(error.errno(), Errno::ENOSPC);
    assert_eq!(error.exit_code(), 74);
    assert!(
        error.to_string().contains("free space on the file system"),
        "{error}"
    );
    component.delete(0, 4 * MIB).expect("gives space back");
    component.write_at(&[1; 4096], 0).expect("room again");
}

#[test]
#[cfg(target_os = "linux")]
fn a_block_device_is_a_component() {
    let (_directory, path) = file_of(4 * MIB);
    let attached = Command::new("losetup")
        .args(["--find", "--show"])
        .arg(&path)
        .output();
    let device = match attached {
        Ok(output) if output.status.success() => {
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => return skip("loop devices need root, losetup and a kernel with them"),
    };
    let undo = Undo("losetup", &["--detach"], device.clone());
    let component = open(&device);
    assert!(component.is_provider());
    assert_eq!(component.media_size(), 4 * MIB);
    assert_eq!(component.current_media_size().expect("size"), 4 * MIB);
    assert_eq!(component.sector_size(), 512);
    component.still_there().expect("there");
    let error = Component::open(&device, Access::Exclusive).expect_err("locked");
    assert_eq!(error.kind(), &DiskErrorKind::Locked);
    zero_the_middle(&component, |offset, length| {
        component.write_zeroes(offset, length)
    });
    component.delete(0, MIB).expect("deleted, or nothing done");
    component.write_at(&[7; 4096], 2 * MIB).expect("written");
    component.flush().expect("flushed");
    let mut below = [0; 4096];
    File::open(&path)
        .and_then(|file| file.read_exact_at(&mut below, 2 * MIB))
        .expect("read");
    assert_eq!(below, [7; 4096], "a flush reaches what is below the device");
    drop(component);
    drop(undo);
}
