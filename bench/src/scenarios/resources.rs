//! What a pair takes from the machine: processor while idle, memory under load.

use std::time::{Duration, Instant};

use super::{DEFAULT_BUFFERS, DEVICE, RANDOM_WRITES, scratch};
use crate::Result;
use crate::fio::Load;
use crate::pair::{Form, Pair};
use crate::path::Path;
use crate::process::{peak_memory, processor_time};
use crate::report::{Limit, Report, Series};
use crate::settings::Settings;

/// Half a percent of one processor, for both daemons and both workers: no CPU to speak of.
const IDLE_PERCENT: f64 = 0.5;

/// How long idleness is watched: the kernel counts in hundredths of a second.
const WATCHED: Duration = Duration::from_secs(10);

/// What a worker may take beside its buffers, in MiB.
const BESIDE_BUFFERS: u64 = 64;

/// The most a worker may take with this budget of buffers, in MiB.
pub fn memory_limit(buffers: u64) -> f64 {
    (BESIDE_BUFFERS + buffers) as f64
}

/// Measures and adds its rows.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    report.section("What a pair takes from the machine");
    let data = scratch(&settings.directory)?;
    let sockets = tempfile::tempdir()?;
    let form = Form {
        name: "pair",
        size: DEVICE,
        buffers: DEFAULT_BUFFERS,
        path: &Path::Direct,
    };
    let pair = Pair::start(settings, &form, data.path(), sockets.path())?;
    idle(&pair, report)?;
    let large = Load {
        pattern: "randwrite",
        block: 1 << 20,
        depth: 64,
        size: DEVICE,
    };
    for load in [RANDOM_WRITES, large] {
        load.run(&pair.socket, settings.seconds)?;
    }
    let names = ["primary's worker, MiB", "secondary's worker, MiB"];
    for (name, worker) in names.into_iter().zip(pair.workers()?) {
        let mut peak = Series::default();
        peak.push(peak_memory(worker)? as f64 / f64::from(1 << 20));
        report.figure(
            name,
            peak,
            Limit::AtMost(memory_limit(DEFAULT_BUFFERS)),
            "peak resident after 4 KiB x 32 and 1 MiB x 64 in flight, buffers 32 MiB".to_owned(),
        );
    }
    Ok(())
}

fn idle(pair: &Pair<'_>, report: &mut Report) -> Result<()> {
    let processes = pair.processes()?;
    let used = || -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for process in &processes {
            sum += processor_time(*process)?;
        }
        Ok(sum)
    };
    let before = used()?;
    let begun = Instant::now();
    std::thread::sleep(WATCHED);
    let spent = used()?.saturating_sub(before);
    let percent = 100.0 * spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    let mut series = Series::default();
    series.push(percent);
    report.figure(
        "idle pair, percent of one processor",
        series,
        Limit::AtMost(IDLE_PERCENT),
        format!(
            "{} ms in {} s, four processes",
            spent.as_millis(),
            WATCHED.as_secs()
        ),
    );
    Ok(())
}
