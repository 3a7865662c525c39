//! What `<geom/gate/g_gate.h>` (version 3) and `<sys/bio.h>` say: structures, ioctls, constants.

use super::command;
use crate::headers::Claims;
use crate::ioctl::Ioctl;
use crate::layout::structure;

/// Requests that may wait; the kernel lowers any higher number to it.
pub const MOST_QUEUED: u32 = 4096;

pub(super) const VERSION: u32 = 3;
pub(super) const NAME_SIZE: usize = 255;
pub(super) const INFO_SIZE: usize = 2048;

/// Instead of a unit's number: the name says which device.
pub(super) const NAME_GIVEN: i32 = -2;

pub(super) const READ_ONLY: u32 = 0x0001;
pub(super) const WRITE_ONLY: u32 = 0x0002;

pub(super) const MODIFY_MEDIA_SIZE: u32 = 0x01;
pub(super) const MODIFY_INFO: u32 = 0x02;
pub(super) const MODIFY_READ_PROVIDER: u32 = 0x04;
pub(super) const MODIFY_READ_OFFSET: u32 = 0x08;

structure! {
    pub(super) struct CreateArgument = "g_gate_ctl_create", "gctl_" [2608, 2608] {
        pub(super) version: u32 = [0, 0],
        pub(super) mediasize: i64 = [8, 8],
        pub(super) sectorsize: u32 = [16, 16],
        pub(super) flags: u32 = [20, 20],
        pub(super) maxcount: u32 = [24, 24],
        pub(super) timeout: u32 = [28, 28],
        pub(super) name: [u8; NAME_SIZE] = [32, 32],
        pub(super) info: [u8; INFO_SIZE] = [287, 287],
        pub(super) readprov: [u8; NAME_SIZE] = [2335, 2335],
        pub(super) readoffset: i64 = [2592, 2592],
        pub(super) unit: i32 = [2600, 2600],
    }
}

structure! {
    pub(super) struct ModifyArgument = "g_gate_ctl_modify", "gctl_" [2336, 2336] {
        pub(super) version: u32 = [0, 0],
        pub(super) unit: i32 = [4, 4],
        pub(super) modify: u32 = [8, 8],
        pub(super) mediasize: i64 = [16, 16],
        pub(super) info: [u8; INFO_SIZE] = [24, 24],
        pub(super) readprov: [u8; NAME_SIZE] = [2072, 2072],
        pub(super) readoffset: i64 = [2328, 2328],
    }
}

structure! {
    pub(super) struct DestroyArgument = "g_gate_ctl_destroy", "gctl_" [268, 268] {
        pub(super) version: u32 = [0, 0],
        pub(super) unit: i32 = [4, 4],
        pub(super) force: i32 = [8, 8],
        pub(super) name: [u8; NAME_SIZE] = [12, 12],
    }
}

structure! {
    pub(super) struct CancelArgument = "g_gate_ctl_cancel", "gctl_" [272, 268] {
        pub(super) version: u32 = [0, 0],
        pub(super) unit: i32 = [4, 4],
        pub(super) seq: usize = [8, 8],
        pub(super) name: [u8; NAME_SIZE] = [16, 12],
    }
}

structure! {
    pub(super) struct IoArgument = "g_gate_ctl_io", "gctl_" [56, 40] {
        pub(super) version: u32 = [0, 0],
        pub(super) unit: i32 = [4, 4],
        pub(super) seq: usize = [8, 8],
        pub(super) cmd: u32 = [16, 12],
        pub(super) offset: i64 = [24, 16],
        pub(super) length: i64 = [32, 24],
        pub(super) data: *mut u8 = [40, 32],
        pub(super) error: i32 = [48, 36],
    }
}

pub(super) const CREATE: Ioctl<CreateArgument> = Ioctl::read_write("G_GATE_CMD_CREATE", b'm', 0);
pub(super) const MODIFY: Ioctl<ModifyArgument> = Ioctl::read_write("G_GATE_CMD_MODIFY", b'm', 1);
pub(super) const DESTROY: Ioctl<DestroyArgument> = Ioctl::read_write("G_GATE_CMD_DESTROY", b'm', 2);
pub(super) const CANCEL: Ioctl<CancelArgument> = Ioctl::read_write("G_GATE_CMD_CANCEL", b'm', 3);
pub(super) const START: Ioctl<IoArgument> = Ioctl::read_write("G_GATE_CMD_START", b'm', 4);
pub(super) const DONE: Ioctl<IoArgument> = Ioctl::read_write("G_GATE_CMD_DONE", b'm', 5);

/// What this module says of FreeBSD's headers.
pub const CLAIMS: Claims = Claims {
    headers: &["sys/param.h", "sys/bio.h", "geom/gate/g_gate.h"],
    structures: &[
        CreateArgument::STRUCTURE,
        ModifyArgument::STRUCTURE,
        DestroyArgument::STRUCTURE,
        CancelArgument::STRUCTURE,
        IoArgument::STRUCTURE,
    ],
    requests: &[
        CREATE.number(),
        MODIFY.number(),
        DESTROY.number(),
        CANCEL.number(),
        START.number(),
        DONE.number(),
    ],
    constants: &[
        ("G_GATE_VERSION", VERSION as u64),
        ("NAME_MAX", NAME_SIZE as u64),
        ("G_GATE_INFOSIZE", INFO_SIZE as u64),
        ("G_GATE_MAX_QUEUE_SIZE", MOST_QUEUED as u64),
        ("G_GATE_NAME_GIVEN", NAME_GIVEN as u64),
        ("G_GATE_FLAG_READONLY", READ_ONLY as u64),
        ("G_GATE_FLAG_WRITEONLY", WRITE_ONLY as u64),
        ("GG_MODIFY_MEDIASIZE", MODIFY_MEDIA_SIZE as u64),
        ("GG_MODIFY_INFO", MODIFY_INFO as u64),
        ("GG_MODIFY_READPROV", MODIFY_READ_PROVIDER as u64),
        ("GG_MODIFY_READOFFSET", MODIFY_READ_OFFSET as u64),
        ("BIO_READ", command::READ as u64),
        ("BIO_WRITE", command::WRITE as u64),
        ("BIO_DELETE", command::DELETE as u64),
        ("BIO_GETATTR", command::GETATTR as u64),
        ("BIO_FLUSH", command::FLUSH as u64),
        ("BIO_ZONE", command::ZONE as u64),
        ("BIO_SPEEDUP", command::SPEEDUP as u64),
    ],
};
