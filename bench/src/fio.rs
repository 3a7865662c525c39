//! fio as the client: somebody else's program, through its nbd engine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::process::output_of;

/// Left out at the start of each measurement, in seconds.
const RAMP: u32 = 1;

/// What fio does.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// fio's `rw`: randwrite, write, randread, read.
    pub pattern: &'static str,
    /// Bytes of a request.
    pub block: u64,
    /// Requests in flight.
    pub depth: u32,
    /// How much of the device is used, in bytes.
    pub size: u64,
}

/// What fio measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Requests a second.
    pub rate: f64,
    /// Bytes a second.
    pub bytes: f64,
    /// Half of the requests took less.
    pub median: Duration,
}

impl Load {
    /// Runs against a unix socket for `seconds`.
    pub fn run(&self, socket: &Path, seconds: u32) -> Result<Measured> {
        let mut command = self.command(socket);
        command.args([
            "--time_based",
            &format!("--runtime={seconds}"),
            &format!("--ramp_time={RAMP}"),
        ]);
        self.read(&output_of(&mut command)?)
    }

    /// Writes or reads the whole size once.
    pub fn run_once(&self, socket: &Path) -> Result<Measured> {
        self.read(&output_of(&mut self.command(socket))?)
    }

    fn command(&self, socket: &Path) -> Command {
        let mut command = Command::new("fio");
        command.args([
            "--name=bench",
            "--ioengine=nbd",
            &format!("--uri=nbd+unix:///?socket={}", socket.display()),
            &format!("--rw={}", self.pattern),
            &format!("--bs={}", self.block),
            &format!("--iodepth={}", self.depth),
            &format!("--size={}", self.size),
            "--norandommap",
            "--random_generator=tausworthe64",
            // Another place to write each time, as an application would.
            "--randrepeat=0",
            "--output-format=json",
        ]);
        command
    }

    fn read(&self, output: &str) -> Result<Measured> {
        // Some versions say things before the braces.
        let json = output.find('{').map_or(output, |at| &output[at..]);
        let report: serde_json::Value = serde_json::from_str(json)?;
        let job = &report["jobs"][0];
        if job["error"] != 0 {
            return Err(format!("fio met error {}", job["error"]).into());
        }
        let part = if self.pattern.ends_with("read") {
            "read"
        } else {
            "write"
        };
        let number = |value: &serde_json::Value| {
            let missing = || format!("fio's report lacks a figure of {part}");
            value.as_f64().ok_or_else(missing)
        };
        let median = number(&job[part]["clat_ns"]["percentile"]["50.000000"])?;
        Ok(Measured {
            rate: number(&job[part]["iops"])?,
            bytes: number(&job[part]["bw_bytes"])?,
            median: Duration::from_nanos(median as u64),
        })
    }
}
