//! Runs programs with a limit. What does not end in time is killed with all that it has started; what can not be
//! killed, because it hangs in the kernel, is left behind and remembered.
//!
//! Invariants: a run never takes much longer than its limit; a command of which one still hangs is not started
//! again; what a program prints is kept up to a limit, and never blocks or kills it: a daemon that a
//! service leaves running keeps its output's descriptor for ever.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Whence, lseek};

use super::commands::Command;

/// Bytes that a program may print: what `mount -p` says of some thousand file systems.
const OUTPUT: u64 = 1 << 20;
/// Characters of it that an error shows, the last ones.
const SHOWN: usize = 500;
/// How long a killed program may take to be gone.
const GRACE: Duration = Duration::from_secs(2);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// By itself.
    Ended {
        /// Its exit code; none where a signal ended it.
        code: Option<i32>,
        /// What it has printed, to standard output and error alike.
        output: String,
    },
    /// It took longer than its limit, and is gone.
    Overdue,
    /// It took longer than its limit and can not be killed.
    Hangs {
        /// Its process.
        pid: u32,
    },
    /// Not started: one that was started earlier hangs still.
    StillHangs {
        /// Its process.
        pid: u32,
    },
    /// Not started; why.
    Failed(String),
}

/// Runs commands; tests have their own.
pub trait Run: Send + Sync {
    /// Runs a command to its end, for at most `limit`.
    fn run(&self, command: &Command, limit: Duration) -> Ran;
}

/// What of a program's output is worth a line: its end.
pub fn shown(output: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let text = lines.join("; ");
    let from = text.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

/// Something that was left behind.
struct Hanging {
    command: Command,
    pid: u32,
    ended: Receiver<io::Result<ExitStatus>>,
}

/// Runs real programs.
#[derive(Default)]
pub struct Programs {
    hanging: Mutex<Vec<Hanging>>,
}

impl Programs {
    /// The process of an earlier run of this command that has not ended yet.
    fn hangs(&self, command: &Command) -> Option<u32> {
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.retain(|one| one.ended.try_recv().is_err());
        let one = hanging.iter().find(|one| one.command == *command)?;
        Some(one.pid)
    }

    fn leave(&self, hanging: Hanging) {
        let mut all = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(hanging);
    }
}

impl Run for Programs {
    fn run(&self, command: &Command, limit: Duration) -> Ran {
        if let Some(pid) = self.hangs(command) {
            return Ran::StillHangs { pid };
        }
        let deadline = Instant::now() + limit;
        let (pid, ended, output) = match start(command) {
            Ok(started) => started,
            Err(error) => return Ran::Failed(format!("cannot run {}: {error}", command.argv[0])),
        };
        match ended.recv_deadline(deadline) {
            Ok(Ok(status)) => Ran::Ended {
                code: status.code(),
                output: printed(&output) + &by_signal(status),
            },
            Ok(Err(error)) => Ran::Failed(format!("cannot wait for {command}: {error}")),
            Err(RecvTimeoutError::Disconnected) => {
                Ran::Failed(format!("nobody waits for {command} any more"))
            }
            Err(RecvTimeoutError::Timeout) => {
                let process = Pid::from_raw(pid.cast_signed());
                // These fail only where there is nobody any more, which is what is wanted. It may have left its group.
                let _ = killpg(process, Signal::SIGKILL);
                let _ = kill(process, Signal::SIGKILL);
                if ended.recv_timeout(GRACE).is_ok() {
                    return Ran::Overdue;
                }
                let command = command.clone();
                self.leave(Hanging {
                    command,
                    pid,
                    ended,
                });
                Ran::Hangs { pid }
            }
        }
    }
}

fn by_signal(status: ExitStatus) -> String {
    status
        .signal()
        .map_or_else(String::new, |signal| format!("\nended by signal {signal}"))
}

type Started = (u32, Receiver<io::Result<ExitStatus>>, File);

/// Starts a command in a process group of its own, and a thread that waits for it.
fn start(command: &Command) -> io::Result<Started> {
    let output = paper()?;
    let mut child = std::process::Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(output.try_clone()?))
        .stderr(OwnedFd::from(output.try_clone()?))
        .process_group(0)
        .spawn()?;
    let pid = child.id();
    let (sender, ended) = bounded(1);
    std::thread::Builder::new()
        .name(format!("wait for {pid}"))
        .spawn(move || {
            // Nobody listens where the agent has ended.
            let _ = sender.send(child.wait());
        })?;
    Ok((pid, ended, output))
}

/// Memory for what a program prints. It can not grow: beyond its end a write fails, and harms nobody.
fn paper() -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"hast-failover output", flags)?);
    file.set_len(OUTPUT)?;
    let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK;
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

/// What was written: so far as the descriptor, which they share, has come.
fn printed(file: &File) -> String {
    let length = lseek(file, 0, Whence::SeekCur).unwrap_or(0).max(0) as u64;
    let mut bytes = vec![0; length.min(OUTPUT) as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(its output can not be read: {error})"),
    }
}
