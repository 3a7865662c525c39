//! Synchronisation: how fast a secondary that was away catches up, against the floor, on loopback and with 40 ms of
//! round trip; and what is left for the application meanwhile.
//!
//! Taken from hook to hook: `syncstart` to `syncdone`, which comes when both copies are flushed and both
//! nodes have stored that they agree. The floor ends with the same two flushes.

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, Instant};

use super::{DEFAULT_BUFFERS, RANDOM_WRITES, scratch, settle};
use crate::Result;
use crate::fio::Load;
use crate::floor::copy;
use crate::pair::{Form, Pair};
use crate::path::Path;
use crate::process::peak_memory;
use crate::report::{Limit, Report, Series, mebibytes};
use crate::settings::Settings;

/// What is copied.
const SIZE: u64 = 1 << 30;

/// What is copied while the application writes: enough to outlast a measurement.
const SIZE_UNDER_LOAD: u64 = 4 << 30;

/// `buffers` where a round trip takes 40 ms, in MiB: half of it is the window, and must hold what a
/// gigabyte and more a second has under way in that time.
const BUFFERS_DELAYED: u64 = 256;

/// Memory-backed files, where there are: the flush costs nothing there, and what remains is the copying.
const MEMORY: &str = "/dev/shm";

const MIB: u64 = 1 << 20;

/// Measures and adds its rows.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    report.section("Synchronisation of 1 GiB, of the floor for 1 MiB pieces");
    let direct = Path::Direct;
    let on_disk = settings.directory.clone();
    against_floor(
        settings,
        report,
        "loopback",
        &on_disk,
        &direct,
        DEFAULT_BUFFERS,
    )?;
    let delayed = Path::delayed();
    let what = format!("40 ms of round trip ({})", delayed.describe());
    against_floor(settings, report, &what, &on_disk, &delayed, BUFFERS_DELAYED)?;
    if FilePath::new(MEMORY).is_dir() {
        let memory = PathBuf::from(MEMORY);
        let what = "loopback, files in memory";
        against_floor(settings, report, what, &memory, &direct, DEFAULT_BUFFERS)?;
    } else {
        report.skipped("loopback, files in memory", "there is no /dev/shm");
    }
    Ok(())
}

fn against_floor(
    settings: &Settings,
    report: &mut Report,
    what: &str,
    directory: &FilePath,
    path: &Path,
    buffers: u64,
) -> Result<()> {
    let data = scratch(directory)?;
    let sockets = tempfile::tempdir()?;
    let form = Form {
        name: "pair",
        size: SIZE,
        buffers,
        path,
    };
    let pair = Pair::start(settings, &form, data.path(), sockets.path())?;
    let source = data.path().join("floor.a");
    let target = data.path().join("floor.b");
    for file in [&source, &target] {
        File::create_new(file)?.set_len(SIZE)?;
    }
    let target = copy::target(&path.prefix(), &target)?;
    let address = path.through(&target.address)?;
    let window = buffers / 2 * MIB;
    let mut ours = Series::default();
    let mut floor = Series::default();
    for round in 0..settings.rounds {
        let mut floor_once = || -> Result<()> {
            rewrite(&source)?;
            settle();
            let took = copy::measure(&path.prefix(), &address, &source, SIZE, window)?;
            floor.push(rate(SIZE, took));
            Ok(())
        };
        // Ours first in one round, the floor in the next.
        if round % 2 == 1 {
            floor_once()?;
        }
        diverge(&pair, SIZE)?;
        settle();
        ours.push(rate(SIZE, synchronise(&pair)?));
        if round % 2 == 0 {
            floor_once()?;
        }
    }
    let beside = format!(
        "pair {}, floor {}",
        mebibytes(ours.median()),
        mebibytes(floor.median())
    );
    report.figure(what, ours.over(&floor), Limit::AtLeast(0.8), beside);
    report_memory(&pair, report, buffers)
}

fn report_memory(pair: &Pair<'_>, report: &mut Report, buffers: u64) -> Result<()> {
    let mut peak = Series::default();
    let mut most = 0;
    for worker in pair.workers()? {
        most = most.max(peak_memory(worker)?);
    }
    peak.push(most as f64 / MIB as f64);
    report.figure(
        "  its largest worker, MiB",
        peak,
        Limit::AtMost(super::resources::memory_limit(buffers)),
        format!("peak resident, buffers {buffers} MiB"),
    );
    Ok(())
}

/// Writes all of the primary while the secondary is away.
fn diverge(pair: &Pair<'_>, size: u64) -> Result<()> {
    pair.part()?;
    let everything = Load {
        pattern: "write",
        block: MIB,
        depth: 8,
        size,
    };
    everything.run_once(&pair.socket)?;
    Ok(())
}

/// New content for the floor's source, so that both copy what was just written.
fn rewrite(file: &FilePath) -> Result<()> {
    use std::io::Write as _;
    let mut file = File::options().write(true).open(file)?;
    // Content that is not zeros and that does not repeat within a piece.
    let mut piece = vec![0_u8; MIB as usize];
    let mut state = Instant::now().elapsed().as_nanos() as u64 | 1;
    for number in 0..SIZE / MIB {
        for word in piece.chunks_exact_mut(8) {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(number | 1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&piece)?;
    }
    Ok(())
}

/// Lets the secondary catch up; how long it took.
fn synchronise(pair: &Pair<'_>) -> Result<Duration> {
    let started = pair.count_of("syncstart")?;
    let done = pair.count_of("syncdone")?;
    pair.rejoin()?;
    pair.wait_for("syncstart", started)?;
    let begun = Instant::now();
    pair.wait_for("syncdone", done)?;
    let took = begun.elapsed();
    pair.wait_for_complete()?;
    Ok(took)
}

fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64()
}

/// The application's rate while a synchronisation runs, of its rate when none does.
pub fn under_load(settings: &Settings, report: &mut Report) -> Result<()> {
    report.section("An application beside a synchronisation of 4 GiB");
    let data = scratch(&settings.directory)?;
    let sockets = tempfile::tempdir()?;
    let form = Form {
        name: "pair",
        size: SIZE_UNDER_LOAD,
        buffers: DEFAULT_BUFFERS,
        path: &Path::Direct,
    };
    let pair = Pair::start(settings, &form, data.path(), sockets.path())?;
    let load = Load {
        size: SIZE_UNDER_LOAD,
        ..RANDOM_WRITES
    };
    let mut quiet = Series::default();
    let mut busy = Series::default();
    let mut copying = Series::default();
    let mut outlasted = true;
    for _ in 0..settings.rounds {
        settle();
        quiet.push(load.run(&pair.socket, settings.seconds)?.rate);
        diverge(&pair, SIZE_UNDER_LOAD)?;
        settle();
        let (started, done) = (pair.count_of("syncstart")?, pair.count_of("syncdone")?);
        pair.rejoin()?;
        pair.wait_for("syncstart", started)?;
        let begun = Instant::now();
        let before = pair.dirty()?;
        busy.push(load.run(&pair.socket, settings.seconds)?.rate);
        let copied = before.saturating_sub(pair.dirty()?);
        copying.push(rate(copied, begun.elapsed()) / MIB as f64);
        outlasted &= pair.count_of("syncdone")? == done;
        pair.wait_for("syncdone", done)?;
        pair.wait_for_complete()?;
    }
    let note = if outlasted {
        ""
    } else {
        "; a synchronisation ended before the measurement did"
    };
    let beside = format!(
        "synchronising {:.0}/s, otherwise {:.0}/s{note}",
        busy.median(),
        quiet.median()
    );
    report.figure(
        "4 KiB random writes, of their rate otherwise",
        busy.over(&quiet),
        Limit::AtLeast(0.5),
        beside,
    );
    let beside = "copied beside the application".to_owned();
    report.figure(
        "  the copying meanwhile, MiB/s",
        copying,
        Limit::None,
        beside,
    );
    report_memory(&pair, report, DEFAULT_BUFFERS)
}
