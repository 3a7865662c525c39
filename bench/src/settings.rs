//! How much is measured, and where: environment variables with defaults.

use std::path::PathBuf;
use std::str::FromStr;

use crate::Result;

/// What the environment asks for.
#[derive(Debug)]
pub struct Settings {
    /// `HAST_BENCH_ROUNDS`: how often each measurement is made; the table shows medians.
    pub rounds: u32,
    /// `HAST_BENCH_SECONDS`: how long one measurement takes.
    pub seconds: u32,
    /// `HAST_BENCH_DIR`: where the components lie. By default in `target/bench`: a disk, not memory.
    pub directory: PathBuf,
    /// `HAST_BENCH_ONLY`: parts to run, comma-separated; all by default.
    only: Option<Vec<String>>,
    /// Where hastd and hastctl are.
    pub programs: PathBuf,
}

impl Settings {
    /// Reads the environment.
    pub fn from_environment() -> Result<Self> {
        let executable = std::env::current_exe()?;
        let programs = executable
            .parent()
            .ok_or("this program lies nowhere")?
            .to_owned();
        let only: Option<String> = variable("HAST_BENCH_ONLY")?;
        let directory = match variable::<PathBuf>("HAST_BENCH_DIR")? {
            Some(directory) => directory,
            None => programs.parent().unwrap_or(&programs).join("bench"),
        };
        Ok(Self {
            rounds: variable("HAST_BENCH_ROUNDS")?.unwrap_or(3).max(1),
            seconds: variable("HAST_BENCH_SECONDS")?.unwrap_or(5).max(1),
            directory: std::path::absolute(directory)?,
            only: only.map(|names| names.split(',').map(str::to_owned).collect()),
            programs,
        })
    }

    /// Whether a part is wanted.
    pub fn wants(&self, part: &str) -> bool {
        match &self.only {
            Some(only) => only.iter().any(|name| name == part),
            None => true,
        }
    }

    /// The path of one of our programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

fn variable<T: FromStr>(name: &str) -> Result<Option<T>> {
    match std::env::var(name) {
        Ok(text) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!("{name}='{text}' is not what was expected").into()),
        },
        Err(_) => Ok(None),
    }
}
