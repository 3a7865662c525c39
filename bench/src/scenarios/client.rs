//! What a client sees: the same loads on a fullsync pair, on one plain copy, and on the floor.

use std::fs::File;
use std::path::PathBuf;

use super::{DEFAULT_BUFFERS, DEVICE, RANDOM_WRITES, interleaved, scratch};
use crate::Result;
use crate::fio::{Load, Measured};
use crate::floor::Floor;
use crate::pair::{Form, Pair};
use crate::path::Path;
use crate::report::{Limit, Report, Series, mebibytes};
use crate::settings::Settings;
use crate::single::Single;

/// What of a measurement is compared.
#[derive(Debug, Clone, Copy)]
enum Figure {
    Rate,
    Latency,
    Bandwidth,
}

impl Figure {
    fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::Rate => measured.rate,
            Self::Latency => measured.median.as_secs_f64(),
            Self::Bandwidth => measured.bytes,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{value:.0}/s"),
            Self::Latency => format!("{:.0} us", value * 1e6),
            Self::Bandwidth => mebibytes(value),
        }
    }
}

struct Scenario {
    what: &'static str,
    load: Load,
    figure: Figure,
    against_single: Limit,
    against_floor: Limit,
}

const fn load(pattern: &'static str, block: u64, depth: u32) -> Load {
    Load {
        pattern,
        block,
        depth,
        size: DEVICE,
    }
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        what: "4 KiB random write, 32 in flight",
        load: RANDOM_WRITES,
        figure: Figure::Rate,
        against_single: Limit::AtLeast(0.35),
        against_floor: Limit::AtLeast(0.7),
    },
    Scenario {
        what: "4 KiB random write, 1 in flight, latency",
        load: load("randwrite", 4 << 10, 1),
        figure: Figure::Latency,
        against_single: Limit::AtMost(2.2),
        against_floor: Limit::None,
    },
    Scenario {
        what: "128 KiB sequential write, 8 in flight",
        load: load("write", 128 << 10, 8),
        figure: Figure::Bandwidth,
        against_single: Limit::AtLeast(0.45),
        against_floor: Limit::None,
    },
    Scenario {
        what: "4 KiB random read, 32 in flight",
        load: load("randread", 4 << 10, 32),
        figure: Figure::Rate,
        against_single: Limit::AtLeast(0.9),
        against_floor: Limit::None,
    },
    Scenario {
        what: "128 KiB sequential read, 8 in flight",
        load: load("read", 128 << 10, 8),
        figure: Figure::Bandwidth,
        against_single: Limit::AtLeast(0.9),
        against_floor: Limit::None,
    },
];

/// Measures and adds its rows.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    report.section("A fullsync pair, one plain copy (nbdkit file), the floor: 512 MiB");
    let data = scratch(&settings.directory)?;
    let sockets = tempfile::tempdir()?;
    let file = |name: &str| -> Result<PathBuf> {
        let path = data.path().join(name);
        File::create_new(&path)?.set_len(DEVICE)?;
        Ok(path)
    };
    let single = Single::start(&file("plain")?, sockets.path(), "plain")?;
    let floor = Floor::start(&file("floor.a")?, &file("floor.b")?, sockets.path())?;
    let form = Form {
        name: "pair",
        size: DEVICE,
        buffers: DEFAULT_BUFFERS,
        path: &Path::Direct,
    };
    let pair = Pair::start(settings, &form, data.path(), sockets.path())?;
    let servers = [
        pair.socket.clone(),
        single.socket.clone(),
        floor.socket.clone(),
    ];
    for server in &servers {
        load("write", 1 << 20, 8).run_once(server)?;
    }
    for scenario in &SCENARIOS {
        measure(settings, scenario, &servers, report)?;
    }
    Ok(())
}

fn measure(
    settings: &Settings,
    scenario: &Scenario,
    servers: &[PathBuf; 3],
    report: &mut Report,
) -> Result<()> {
    let mut series = [Series::default(), Series::default(), Series::default()];
    for round in 0..settings.rounds {
        let measured = interleaved(settings, &scenario.load, servers, round)?;
        for (series, measured) in series.iter_mut().zip(&measured) {
            series.push(scenario.figure.of(measured));
        }
    }
    let [pair, single, floor] = series;
    let text = |series: &Series| scenario.figure.text(series.median());
    report.figure(
        scenario.what,
        pair.over(&single),
        scenario.against_single,
        format!("pair {}, one copy {}", text(&pair), text(&single)),
    );
    report.figure(
        "  of the floor",
        pair.over(&floor),
        scenario.against_floor,
        format!("pair {}, floor {}", text(&pair), text(&floor)),
    );
    Ok(())
}
