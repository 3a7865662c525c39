//! Random writes over a sparse 1 TiB: nearly every one touches an extent that is not marked yet.

use std::fs::File;

use super::{DEFAULT_BUFFERS, DEVICE, RANDOM_WRITES, interleaved, scratch};
use crate::Result;
use crate::fio::Load;
use crate::pair::{Form, Pair};
use crate::path::Path;
use crate::process::peak_memory;
use crate::report::{Limit, Report, Series};
use crate::settings::Settings;
use crate::single::Single;

const LARGE: u64 = 1 << 40;

/// Measures and adds its rows.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    report.section("4 KiB random write, 32 in flight: sparse 1 TiB against sparse 512 MiB");
    let mut rates = [Series::default(), Series::default()];
    let mut plain = [Series::default(), Series::default()];
    let mut memory = Series::default();
    for round in 0..settings.rounds {
        // Each round anew: what was written is no longer sparse.
        let order: [usize; 2] = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for index in order {
            let size = [LARGE, DEVICE][index];
            let (rate, single, peak) = measure(settings, size, round)?;
            rates[index].push(rate);
            plain[index].push(single);
            if size == LARGE {
                memory.push(peak as f64 / f64::from(1 << 20));
            }
        }
    }
    let beside = |[large, small]: &[Series; 2]| {
        let (large, small) = (large.median(), small.median());
        format!("1 TiB {large:.0}/s, 512 MiB {small:.0}/s")
    };
    report.figure(
        "a fullsync pair",
        rates[0].over(&rates[1]),
        Limit::AtLeast(0.8),
        beside(&rates),
    );
    report.figure(
        "for comparison: one plain copy",
        plain[0].over(&plain[1]),
        Limit::None,
        beside(&plain),
    );
    report.figure(
        "largest worker over 1 TiB, MiB",
        memory,
        Limit::AtMost(super::resources::memory_limit(DEFAULT_BUFFERS)),
        "peak resident, buffers 32 MiB".to_owned(),
    );
    Ok(())
}

/// The pair's rate, the plain copy's, and the memory of the larger worker.
fn measure(settings: &Settings, size: u64, round: u32) -> Result<(f64, f64, u64)> {
    let data = scratch(&settings.directory)?;
    let sockets = tempfile::tempdir()?;
    let file = data.path().join("plain");
    File::create_new(&file)?.set_len(size)?;
    let single = Single::start(&file, sockets.path(), "plain")?;
    let form = Form {
        name: "pair",
        size,
        buffers: DEFAULT_BUFFERS,
        path: &Path::Direct,
    };
    let pair = Pair::start(settings, &form, data.path(), sockets.path())?;
    let load = Load {
        size,
        ..RANDOM_WRITES
    };
    let servers = [pair.socket.clone(), single.socket.clone()];
    let measured = interleaved(settings, &load, &servers, round)?;
    let mut peak = 0;
    for worker in pair.workers()? {
        peak = peak.max(peak_memory(worker)?);
    }
    Ok((measured[0].rate, measured[1].rate, peak))
}
