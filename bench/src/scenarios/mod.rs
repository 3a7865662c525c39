//! What is measured, in parts.

pub mod client;
pub mod resources;
pub mod sparse;
pub mod synchronisation;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Result;
use crate::fio::{Load, Measured};
use crate::settings::Settings;

/// 512 MiB: in memory once written, so that what is compared is the programs' work.
pub const DEVICE: u64 = 512 << 20;

/// hastd's default, in MiB.
pub const DEFAULT_BUFFERS: u64 = 32;

/// Random writes of 4 KiB with 32 in flight.
pub const RANDOM_WRITES: Load = Load {
    pattern: "randwrite",
    block: 4 << 10,
    depth: 32,
    size: DEVICE,
};

/// Writes out what earlier measurements left in memory, so that it does not slow the next.
pub fn settle() {
    nix::unistd::sync();
}

/// Runs `load` on each of `sockets` once, beginning with another one in each round.
pub fn interleaved(
    settings: &Settings,
    load: &Load,
    sockets: &[PathBuf],
    round: u32,
) -> Result<Vec<Measured>> {
    let count = sockets.len();
    let mut measured = vec![None; count];
    for step in 0..count {
        let turn = (step + round as usize) % count;
        settle();
        measured[turn] = Some(load.run(&sockets[turn], settings.seconds)?);
    }
    Ok(measured.into_iter().flatten().collect())
}

/// A folder of this run's own for components, under `parent`; it goes when it is dropped.
pub fn scratch(parent: &Path) -> Result<TempDir> {
    std::fs::create_dir_all(parent)?;
    Ok(tempfile::Builder::new()
        .prefix("hast-bench-")
        .tempdir_in(parent)?)
}
