//! Measures what replication costs: a fullsync pair of hastd on this machine, with fio as the
//! client, against one plain copy and against the unavoidable work (the [`floor`]). Run by `make bench`.
//!
//! Never changes anything outside its own folders, which it removes. Measurements of the compared
//! programs take turns in every round, so that a machine that is slow for a while is slow for all.
//!
//! Environment: see [`settings::Settings`].

mod fio;
mod floor;
mod pair;
mod path;
mod process;
mod report;
mod scenarios;
mod settings;
mod single;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use report::Report;
use settings::Settings;

/// What stops the bench is only ever shown.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A part: measures and adds its rows.
type Part = fn(&Settings, &mut Report) -> Result<()>;

const PARTS: [(&str, Part); 5] = [
    ("client", scenarios::client::run),
    ("sparse", scenarios::sparse::run),
    ("synchronisation", scenarios::synchronisation::run),
    ("meanwhile", scenarios::synchronisation::under_load),
    ("resources", scenarios::resources::run),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] => bench(),
        ["floor-primary", peer, file, socket] => {
            floor::primary::run(peer, Path::new(file), Path::new(socket))
        }
        ["floor-secondary", file] => floor::secondary::run(Path::new(file)),
        ["floor-copy", peer, file, bytes, window] => copy(peer, file, bytes, window),
        _ => Err("takes no arguments; see docs/bench.md for what the environment can say".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn copy(peer: &str, file: &str, bytes: &str, window: &str) -> Result<()> {
    floor::copy::run(peer, Path::new(file), bytes.parse()?, window.parse()?)
}

fn bench() -> Result<()> {
    let settings = Settings::from_environment()?;
    // Before anything is measured: what else the machine was doing.
    let machine = machine(&settings);
    let mut report = Report::default();
    let mut failed = 0;
    for (name, part) in PARTS {
        // What one part meets must not cost the others' figures.
        if settings.wants(name)
            && let Err(error) = part(&settings, &mut report)
        {
            report.skipped(name, &error.to_string());
            failed += 1;
        }
    }
    println!("{machine}\n\n{}", report.text());
    println!("limits missed: {}", report.missed());
    if failed > 0 {
        return Err(format!("{failed} parts could not be measured").into());
    }
    Ok(())
}

/// One line on where this was measured.
fn machine(settings: &Settings) -> String {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |rest| {
        rest.trim_start_matches(['\t', ' ', ':'])
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown");
    format!(
        "{processors} x {model}, {} {}; load average before {load}; {} rounds of {} s; components in {}",
        std::env::consts::OS,
        kernel.trim(),
        settings.rounds,
        settings.seconds,
        settings.directory.display()
    )
}
