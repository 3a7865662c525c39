//! What can go wrong with a component, as one sentence for the user, an errno for the
//! request that failed and an exit code for the process that can not go on.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::layout::geometry::LayoutError;
use crate::layout::metadata::MetadataError;

/// sysexits(3): the content of the component is not what it should be.
const EX_DATAERR: u8 = 65;
/// sysexits(3): the component does not exist or can not be opened.
const EX_NOINPUT: u8 = 66;
/// sysexits(3): reading or writing failed.
const EX_IOERR: u8 = 74;
/// sysexits(3): it may work when tried again.
const EX_TEMPFAIL: u8 = 75;

/// A failure on the local component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("component '{}' {kind}", path.display())]
pub struct DiskError {
    kind: DiskErrorKind,
    path: PathBuf,
    operation: Operation,
}

/// What was being done, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening it, or learning its size and sector.
    Open,
    /// Looking whether it is still what it was.
    Examine,
    /// Reading `length` bytes at `offset`.
    Read { offset: u64, length: u64 },
    /// Writing `length` bytes at `offset`.
    Write { offset: u64, length: u64 },
    /// Making `length` bytes at `offset` zero.
    Zero { offset: u64, length: u64 },
    /// Giving up `length` bytes at `offset`.
    Delete { offset: u64, length: u64 },
    /// Making everything written so far survive a power cut.
    Flush,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut ranged = |verb: &str, offset: &u64, length: &u64| {
            write!(f, "{verb} ({length} bytes at offset {offset})")
        };
        match self {
            Self::Open => f.write_str("opened"),
            Self::Examine => f.write_str("examined"),
            Self::Read { offset, length } => ranged("read", offset, length),
            Self::Write { offset, length } => ranged("written", offset, length),
            Self::Zero { offset, length } => ranged("zeroed", offset, length),
            Self::Delete { offset, length } => ranged("deleted", offset, length),
            Self::Flush => f.write_str("flushed"),
        }
    }
}

/// The ways in which a component fails. Each reads on from "component '/path' ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskErrorKind {
    /// Nothing is at the path.
    #[error("does not exist; create it, or correct the resource's 'local' path")]
    Missing,
    /// Not permitted.
    #[error("could not be {operation}: {errno}; correct its permissions, or end what is using it")]
    Denied { operation: Operation, errno: Errno },
    /// A directory, a terminal, a socket, ...
    #[error("is neither a disk device nor a regular file; correct the resource's 'local' path")]
    Unsuitable,
    /// Somebody else has it open.
    #[error(
        "is in use by another process (a worker, hastctl, or a mounted file system); \
         wait for it to end, or end it"
    )]
    Locked,
    /// The path does not lead to the open component any more.
    #[error(
        "was removed or replaced while in use: what is written still goes to the old one, \
         which is lost when the role ends; put the resource into role init"
    )]
    Vanished,
    /// There is less of it than when it was opened.
    #[error("ended at {at} bytes while being {operation}: it was cut short while in use")]
    Ended { operation: Operation, at: u64 },
    /// A range that was never part of it.
    #[error("can not be {operation}: it has only {media_size} bytes")]
    OutOfBounds {
        operation: Operation,
        media_size: u64,
    },
    /// The file system that holds it has no room for what it has not allocated yet.
    #[error("could not be {operation}: {errno}; free space on the file system that holds it")]
    Full { operation: Operation, errno: Errno },
    /// There is no metadata that could be used, or none could be made.
    #[error("can not be used: {0}")]
    Metadata(MetadataError),
    /// What was stored as its metadata is not what is read.
    #[error(
        "does not keep its metadata: what was written reads otherwise; look at the disk, and use another one"
    )]
    NotKept,
    /// Its size can not be divided.
    #[error("can not be used: {0}")]
    Layout(LayoutError),
    /// It belongs to another resource.
    #[error(
        "belongs to resource '{found}' and not to '{expected}'; correct the resource's 'local' \
         path, or give the component up to it with 'hastctl create {expected}'"
    )]
    OtherResource { found: String, expected: String },
    /// It is smaller than when it was made.
    #[error(
        "was made for {made_for} bytes and has {has} now; restore its size, or make it anew with \
         'hastctl create' and let the other node's copy be copied to it"
    )]
    OtherSize { made_for: u64, has: u64 },
    /// Its data is not where its size and sectors say.
    #[error(
        "has its data at offset {offset} where its size and sectors ask for {expected}: it was \
         made with other sectors, or its metadata is damaged; make it anew with 'hastctl create'"
    )]
    OtherLayout { offset: u64, expected: u64 },
    /// More was asked for than it has.
    #[error("has {has} bytes, but {wanted} are to be used; choose less with 'hastctl create -m'")]
    TooSmall { wanted: u64, has: u64 },
    /// Anything else.
    #[error("could not be {operation}: {errno}")]
    Failed { operation: Operation, errno: Errno },
}

impl DiskError {
    pub(super) fn new(kind: DiskErrorKind, path: &Path, operation: Operation) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            operation,
        }
    }

    /// The kind of an errno, as the operation got it.
    pub(super) fn from_errno(errno: Errno, path: &Path, operation: Operation) -> Self {
        let kind = match errno {
            Errno::ENOENT | Errno::ENOTDIR => DiskErrorKind::Missing,
            Errno::EACCES | Errno::EPERM | Errno::EROFS => {
                DiskErrorKind::Denied { operation, errno }
            }
            Errno::EBUSY if operation == Operation::Open => DiskErrorKind::Locked,
            Errno::ENOSPC | Errno::EDQUOT => DiskErrorKind::Full { operation, errno },
            _ => DiskErrorKind::Failed { operation, errno },
        };
        Self::new(kind, path, operation)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> &DiskErrorKind {
        &self.kind
    }

    /// The component's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The errno to answer a request with.
    pub fn errno(&self) -> Errno {
        match self.kind {
            DiskErrorKind::Missing | DiskErrorKind::Vanished => Errno::ENOENT,
            DiskErrorKind::Locked => Errno::EBUSY,
            DiskErrorKind::Ended { .. } | DiskErrorKind::NotKept => Errno::EIO,
            DiskErrorKind::Denied { errno, .. }
            | DiskErrorKind::Full { errno, .. }
            | DiskErrorKind::Failed { errno, .. } => errno,
            DiskErrorKind::Unsuitable
            | DiskErrorKind::OutOfBounds { .. }
            | DiskErrorKind::Metadata(_)
            | DiskErrorKind::Layout(_)
            | DiskErrorKind::OtherResource { .. }
            | DiskErrorKind::OtherSize { .. }
            | DiskErrorKind::OtherLayout { .. }
            | DiskErrorKind::TooSmall { .. } => Errno::EINVAL,
        }
    }

    /// The exit code (sysexits(3)) of a process that can not go on for it.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            DiskErrorKind::Missing | DiskErrorKind::Unsuitable | DiskErrorKind::Vanished => {
                EX_NOINPUT
            }
            DiskErrorKind::Locked => EX_TEMPFAIL,
            DiskErrorKind::OutOfBounds { .. }
            | DiskErrorKind::Metadata(_)
            | DiskErrorKind::Layout(_)
            | DiskErrorKind::OtherResource { .. }
            | DiskErrorKind::OtherSize { .. }
            | DiskErrorKind::OtherLayout { .. }
            | DiskErrorKind::TooSmall { .. } => EX_DATAERR,
            DiskErrorKind::NotKept => EX_IOERR,
            DiskErrorKind::Denied { operation, .. }
            | DiskErrorKind::Full { operation, .. }
            | DiskErrorKind::Failed { operation, .. }
            | DiskErrorKind::Ended { operation, .. } => match operation {
                Operation::Open | Operation::Examine => EX_NOINPUT,
                _ => EX_IOERR,
            },
        }
    }
}
