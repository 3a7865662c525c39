//! Runs the `exec` programs of resources (spec, section 7) without ever waiting for one.
//!
//! Invariants: the hooks of one resource run one after the other, in the order of their events;
//! at most [`AT_ONCE`] run and [`QUEUE`] wait; each ends within [`TIME`] and [`GRACE`], and one that
//! has to be ended takes the processes of its group with it; what it prints is logged, up to
//! [`LINES`] lines.

use std::collections::{HashMap, VecDeque};
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use mio::Token;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::reactor::{Deadline, Reactor, Source};
use super::timers::TimerId;
use crate::logging::about;

/// Hooks that run at the same time: a reboot of the peer is an event for every resource.
const AT_ONCE: usize = 8;
/// Hooks that wait: some for each of a hundred resources.
const QUEUE: usize = 1024;
/// How long a hook may run.
const TIME: Duration = Duration::from_mins(1);
/// How long after SIGTERM it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Lines of a hook's output that are logged.
const LINES: usize = 100;
/// Longest line logged, in bytes; a longer one is cut into several.
const LINE_LENGTH: usize = 1024;
/// Bytes read from a hook before others have their turn.
const TURN: usize = 64 << 10;

/// A hook to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program.
    pub path: PathBuf,
    /// What happened: `role`, `connect` and so on.
    pub event: &'static str,
    /// To what.
    pub resource: String,
    /// What else there is to say: the old and the new role.
    pub more: Vec<&'static str>,
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.path.display(),
            self.event,
            self.resource
        )?;
        self.more.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

/// A hook that runs.
#[derive(Debug)]
struct Running {
    hook: Hook,
    child: Child,
    output: PipeReader,
    lines: Lines,
    timer: TimerId,
    told_to_end: bool,
}

/// The hooks that run and those that wait.
#[derive(Debug)]
pub struct Hooks {
    running: HashMap<Token, Running>,
    waiting: VecDeque<Hook>,
    time: Duration,
    grace: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        Self::with_limits(TIME, GRACE)
    }
}

impl Hooks {
    /// None yet; each may take `time`, and `grace` to end when told to.
    fn with_limits(time: Duration, grace: Duration) -> Self {
        Self {
            running: HashMap::new(),
            waiting: VecDeque::new(),
            time,
            grace,
        }
    }

    /// Runs a hook as soon as it may.
    pub fn run(&mut self, reactor: &mut Reactor, hook: Hook) {
        if self.waiting.len() >= QUEUE {
            log::error!("Hook not run, {QUEUE} others are waiting: {hook}");
            return;
        }
        self.waiting.push_back(hook);
        self.start_waiting(reactor);
    }

    /// A hook has printed something, or closed its output.
    pub fn ready(&mut self, reactor: &mut Reactor, token: Token) {
        let Some(running) = self.running.get_mut(&token) else {
            return;
        };
        let _about = about(&running.hook.resource, None);
        if running.read(TURN) == Turn::Over
            && let Err(error) = reactor.again(&running.output, token)
        {
            log::warn!("Unable to watch the output of a hook: {error}");
        }
    }

    /// A hook's time is over: it is told to end, then killed.
    pub fn overdue(&mut self, reactor: &mut Reactor, token: Token) {
        let Some(running) = self.running.get_mut(&token) else {
            return;
        };
        let _about = about(&running.hook.resource, None);
        let signal = if running.told_to_end {
            Signal::SIGKILL
        } else {
            Signal::SIGTERM
        };
        log::error!(
            "Hook runs for too long, sending {signal} (pid={}, cmd=[{}]).",
            running.child.id(),
            running.hook
        );
        running.signal(signal);
        running.told_to_end = true;
        running.timer = reactor.after(self.grace, Deadline::Hook(token));
    }

    /// Looks which hooks have ended, and starts those that waited for it.
    pub fn reap(&mut self, reactor: &mut Reactor) {
        let ended: Vec<(Token, io::Result<ExitStatus>)> = self
            .running
            .iter_mut()
            .filter_map(|(token, running)| {
                let status = running.child.try_wait().transpose()?;
                Some((*token, status))
            })
            .collect();
        for (token, status) in ended {
            if let Some(mut running) = self.running.remove(&token) {
                let _about = about(&running.hook.resource, None);
                reactor.cancel(running.timer);
                running.read(TURN);
                running.lines.end(&running.hook);
                reactor.remove(&running.output, token);
                log_end(&running, status);
                if running.told_to_end {
                    // What it started may have minded the first signal less than it did.
                    running.signal(Signal::SIGKILL);
                }
            }
        }
        self.start_waiting(reactor);
    }

    /// Whether every hook has run.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    fn start_waiting(&mut self, reactor: &mut Reactor) {
        while self.running.len() < AT_ONCE {
            // The first whose resource has none running: per resource they stay in order.
            let next = self.waiting.iter().position(|hook| {
                let same = |running: &Running| running.hook.resource == hook.resource;
                !self.running.values().any(same)
            });
            let Some(hook) = next.and_then(|index| self.waiting.remove(index)) else {
                return;
            };
            let _about = about(&hook.resource, None);
            let text = hook.to_string();
            if let Err(error) = self.start(reactor, hook) {
                log::error!("Unable to run the hook [{text}]: {error}");
            }
        }
    }

    fn start(&mut self, reactor: &mut Reactor, hook: Hook) -> io::Result<()> {
        log::debug!("Executing hook: {hook}");
        let (output, input) = io::pipe()?;
        fcntl(output.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let child = Command::new(&hook.path)
            .arg(hook.event)
            .arg(&hook.resource)
            .args(&hook.more)
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .process_group(0)
            .spawn()?;
        let token = reactor.add_readable(&output, Source::Hook)?;
        let running = Running {
            hook,
            child,
            output,
            lines: Lines::default(),
            timer: reactor.after(self.time, Deadline::Hook(token)),
            told_to_end: false,
        };
        self.running.insert(token, running);
        Ok(())
    }
}

fn log_end(running: &Running, status: io::Result<ExitStatus>) {
    let (pid, hook) = (running.child.id(), &running.hook);
    match status {
        Ok(status) if status.success() => {
            log::debug!("Hook exited gracefully (pid={pid}, cmd=[{hook}]).");
        }
        Ok(status) => match status.signal() {
            Some(signal) => {
                log::error!("Hook was killed (pid={pid}, signal={signal}, cmd=[{hook}]).");
            }
            None => log::error!(
                "Hook exited ungracefully (pid={pid}, exitcode={}, cmd=[{hook}]).",
                status.code().unwrap_or(-1)
            ),
        },
        Err(error) => log::error!("Unable to wait for the hook [{hook}]: {error}"),
    }
}

/// Whether a reader stopped for want of data or because its turn is over.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Nothing,
    Over,
}

impl Running {
    /// Reads and logs output, at most `most` bytes of it.
    fn read(&mut self, most: usize) -> Turn {
        let mut piece = [0; 4096];
        let mut taken = 0;
        while taken < most {
            match self.output.read(&mut piece) {
                Ok(0) => return Turn::Nothing,
                Ok(length) => {
                    self.lines.add(&piece[..length], &self.hook);
                    taken += length;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Turn::Nothing,
            }
        }
        Turn::Over
    }

    /// To the whole process group, which bears the number of the hook.
    fn signal(&self, signal: Signal) {
        // Fails only where the group is gone, which is what is wanted.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), signal);
    }
}

/// Output cut into lines of bounded number and length.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
    logged: usize,
}

impl Lines {
    fn add(&mut self, bytes: &[u8], hook: &Hook) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end(hook);
            } else if self.logged <= LINES {
                self.partial.push(*byte);
                if self.partial.len() >= LINE_LENGTH {
                    self.end(hook);
                }
            }
        }
    }

    /// Logs what is there as a line.
    fn end(&mut self, hook: &Hook) {
        let line = std::mem::take(&mut self.partial);
        if line.is_empty() || self.logged > LINES {
            return;
        }
        self.logged += 1;
        if self.logged > LINES {
            log::warn!("Hook prints more than {LINES} lines, the rest is left out ([{hook}]).");
        } else {
            log::info!("Hook [{hook}]: {}", String::from_utf8_lossy(&line));
        }
    }
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
