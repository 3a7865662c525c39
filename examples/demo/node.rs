//! What the demonstration runs: a node's hastd and hastctl, and the terminal that shows them.
//! Whatever happens, its processes end with the value that started them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hast::layout::{METADATA_SIZE, Metadata};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::{COMPONENT_SIZE, DISKS, LIMIT};

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(20);
/// What hastd says where another program listens at its port.
const PORT_TAKEN: &str = "in use";

/// Why the demonstration ends early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("interrupted")]
    Interrupted,
    #[error("another program took a port that was free")]
    PortTaken,
    #[error("{0}")]
    Wrong(String),
    #[error("'{command}' failed: {said}")]
    Command { command: String, said: String },
    #[error("no {} beside this program; 'make demo' builds it", .0.display())]
    Missing(PathBuf),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("cannot put text together")]
    Format(#[from] std::fmt::Error),
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

/// Where everything is shown, and ctrl-C comes from.
#[derive(Debug)]
pub struct Terminal {
    interrupted: Arc<AtomicBool>,
}

impl Terminal {
    pub fn new() -> io::Result<Self> {
        let interrupted = Arc::default();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signal_hook::flag::register(signal as i32, Arc::clone(&interrupted))?;
        }
        Ok(Self { interrupted })
    }

    pub fn line(&self, text: &str) -> Result<(), Failure> {
        writeln!(io::stdout(), "{text}")?;
        self.check()
    }

    /// A sentence between commands.
    pub fn explain(&self, text: &str) -> Result<(), Failure> {
        self.line("")?;
        text.lines()
            .try_for_each(|line| self.line(&format!("# {line}")))
    }

    /// A command, as typed on a node.
    pub fn typed(&self, node: &str, command: &str) -> Result<(), Failure> {
        self.line(&format!("{node}# {command}"))
    }

    /// Waits a moment.
    pub fn pause(&self) -> Result<(), Failure> {
        std::thread::sleep(PAUSE);
        self.check()
    }

    fn check(&self) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        Ok(())
    }
}

/// One of the two nodes.
#[derive(Debug)]
pub struct Node {
    pub name: &'static str,
    /// With its disks, sockets and log.
    pub folder: PathBuf,
    /// That it listens at.
    pub port: u16,
    config: PathBuf,
    hastd: Option<Child>,
}

impl Node {
    /// Makes its folder and its disks, without content.
    pub fn new(name: &'static str, root: &Path, port: u16) -> io::Result<Self> {
        let folder = root.join(name);
        fs::create_dir_all(&folder)?;
        for disk in DISKS {
            File::create(folder.join(disk))?.set_len(COMPONENT_SIZE)?;
        }
        let config = root.join("hast.conf");
        Ok(Self {
            name,
            folder,
            port,
            config,
            hastd: None,
        })
    }

    pub fn component(&self, disk: &str) -> PathBuf {
        self.folder.join(disk)
    }

    pub fn device(&self, disk: &str) -> PathBuf {
        self.folder.join(format!("{disk}.nbd"))
    }

    /// The last lines of its hastd's log.
    pub fn log(&self, lines: usize) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn configured<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.arg("-c").arg(&self.config).arg("-n").arg(self.name)
    }

    /// Starts hastd and waits until it answers.
    pub fn start(&mut self, terminal: &Terminal) -> Result<(), Failure> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        let mut command = program("hastd")?;
        self.configured(command.arg("-F"))
            .stdout(Stdio::null())
            .stderr(log);
        // A group of its own: a node's processes can be killed at one moment, and ctrl-C is
        // for the demonstration, which then ends them.
        self.hastd = Some(command.process_group(0).spawn()?);
        let since = Instant::now();
        loop {
            let ended = self.hastd.as_mut().map(Child::try_wait).transpose()?;
            if let Some(status) = ended.flatten() {
                self.hastd = None;
                let said = self.log(1);
                if said.contains(PORT_TAKEN) {
                    return Err(Failure::PortTaken);
                }
                let command = format!("hastd of {}", self.name);
                return Err(Failure::Command {
                    command,
                    said: format!("{status}: {said}"),
                });
            }
            if self.folder.join("control").exists() && self.quiet("status").is_ok() {
                return Ok(());
            }
            if since.elapsed() > LIMIT {
                return Err(Failure::Wrong(format!(
                    "hastd of {} does not answer",
                    self.name
                )));
            }
            terminal.pause()?;
        }
    }

    /// Runs hastctl without showing it; what it prints.
    pub fn quiet(&self, words: &str) -> Result<String, Failure> {
        let mut words_left = words.split_whitespace();
        let mut command = program("hastctl")?;
        command.args(words_left.next());
        let output = self.configured(&mut command).args(words_left).output()?;
        if !output.status.success() {
            return Err(Failure::Command {
                command: format!("hastctl {words}"),
                said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs hastctl as typed.
    pub fn hastctl(&self, terminal: &Terminal, words: &str) -> Result<(), Failure> {
        terminal.typed(self.name, &format!("hastctl {words}"))?;
        let printed = self.quiet(words)?;
        printed
            .lines()
            .try_for_each(|line| terminal.line(&format!("    {line}")))
    }

    /// Kills hastd and all its workers at one moment.
    pub fn kill(&mut self, terminal: &Terminal) -> Result<(), Failure> {
        if let Some(mut hastd) = self.hastd.take() {
            killpg(number(&hastd), Signal::SIGKILL).map_err(io::Error::from)?;
            let killed = hastd.wait()?;
            terminal.typed(self.name, &format!("kill -9 -{}", hastd.id()))?;
            if killed.success() {
                return Err(Failure::Wrong(
                    "hastd had ended before it was killed".into(),
                ));
            }
        }
        Ok(())
    }

    /// Ends hastd as the system does when it goes down, and waits for it.
    pub fn end(&mut self, terminal: &Terminal) -> Result<(), Failure> {
        let Some(hastd) = &mut self.hastd else {
            return Ok(());
        };
        terminal.typed(self.name, &format!("kill {}", hastd.id()))?;
        kill(number(hastd), Signal::SIGTERM).map_err(io::Error::from)?;
        let since = Instant::now();
        let status = loop {
            if let Some(status) = hastd.try_wait()? {
                break status;
            }
            if since.elapsed() > LIMIT {
                return Err(Failure::Wrong(format!(
                    "hastd of {} does not end",
                    self.name
                )));
            }
            terminal.pause()?;
        };
        self.hastd = None;
        if !status.success() {
            return Err(Failure::Wrong(format!(
                "hastd of {} ended with {status}",
                self.name
            )));
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut hastd) = self.hastd.take() {
            // The group before its leader is reaped: until then the number is ours. Both fail
            // only where it has ended.
            let _ = killpg(number(&hastd), Signal::SIGKILL);
            let _ = hastd.wait();
        }
    }
}

/// A program that was built beside this one.
fn program(name: &str) -> Result<Command, Failure> {
    // target/debug/examples/demo, and target/debug/hastd.
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).unwrap_or(Path::new(""));
    let path = folder.join(name);
    if !path.is_file() {
        return Err(Failure::Missing(path));
    }
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    Ok(command)
}

fn number(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Compares the data of two components; the number of bytes, all equal.
pub fn compare(one: &Path, other: &Path) -> Result<u64, Failure> {
    let (one, other) = (data(one)?, data(other)?);
    if one.len() != other.len() {
        return Err(Failure::Wrong("the two copies have different sizes".into()));
    }
    match one.iter().zip(&other).position(|(one, other)| one != other) {
        None => Ok(one.len() as u64),
        Some(at) => Err(Failure::Wrong(format!(
            "the two copies differ at byte {at}"
        ))),
    }
}

fn data(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut file = File::open(path)?;
    let mut block = vec![0; METADATA_SIZE];
    file.read_exact(&mut block)?;
    let metadata = Metadata::decode(&block)
        .map_err(|error| Failure::Wrong(format!("{}: {error}", path.display())))?;
    file.seek(SeekFrom::Start(metadata.offset))?;
    let mut data = vec![0; metadata.datasize as usize];
    file.read_exact(&mut data)?;
    Ok(data)
}
