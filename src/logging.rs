//! Where a process's log goes, and what stands before each line: standard error while it is in
//! the foreground, syslog (facility daemon) once it is in the background, the main process from a worker
//! (see [`relay`]); the resource and role that a line is about, as base hastd writes them:
//! `[disk1] (primary) text`.
//!
//! Never decides what is worth a line. A line below the level costs one comparison, and its text
//! is never made. One message is one line: control characters in it (a peer's words, a
//! path) are shown escaped.

pub mod relay;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::io::Write as _;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

use hast_ffi::syslog::{self, Priority};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::terms::Role;

/// The name of hastd and its workers in each line of syslog.
pub const HASTD: &CStr = c"hastd";
/// The name of the failover agent there.
pub const HAST_FAILOVER: &CStr = c"hast-failover";

/// What every line of this process starts with, where its thread says nothing else.
static PROCESS_PREFIX: RwLock<String> = RwLock::new(String::new());

thread_local! {
    /// What the lines of this thread start with for now.
    static THREAD_PREFIX: RefCell<Option<String>> = const { RefCell::new(None) };
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    stderr: env_logger::Logger,
    to_syslog: AtomicBool,
    /// In a worker, where the main process takes its lines.
    relay: OnceLock<relay::Sender>,
}

/// Starts logging to standard error: `debug` is how often -d was given (0: errors, warnings
/// and notices; 1: debugging; 2 and more: everything). A panic is logged, too. To be
/// called once; later calls only change the level.
pub fn start(debug: u8) {
    let logger = LOGGER.get_or_init(|| Logger::new(env_logger::Target::Stderr));
    // Fails only where a logger is set already, which is this one.
    let _ = log::set_logger(logger);
    // In the background nobody sees what the standard hook prints.
    std::panic::set_hook(Box::new(|panic| log::error!("internal error: {panic}")));
    set_debug(debug);
}

/// Changes how much is logged.
pub fn set_debug(debug: u8) {
    log::set_max_level(level(debug));
}

/// Sends what is logged from here on to syslog, under this name: for a process that goes to the background.
pub fn to_syslog(name: &'static CStr) {
    syslog::open(name);
    if let Some(logger) = LOGGER.get() {
        logger.to_syslog.store(true, Ordering::Release);
    }
}

/// Hands what is logged from here on to the main process, which knows who says it; as long as
/// there is one. To be called once, after [`start`]: later calls change nothing.
pub fn to_main_process(relay: relay::Sender) {
    if let Some(logger) = LOGGER.get() {
        // Fails only where there is one already.
        let _ = logger.relay.set(relay);
    }
}

/// Where lines are handed to the main process, if they are.
pub fn relay() -> Option<&'static relay::Sender> {
    LOGGER.get()?.relay.get()
}

/// Sets what every line of this process is about: for a worker.
pub fn set_subject(resource: &str, role: Role) {
    let mut prefix = PROCESS_PREFIX
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    *prefix = subject(resource, Some(role));
}

/// Says what the lines of this thread are about until the guard is dropped: for the main process,
/// which speaks of many resources. Guards may be nested.
#[must_use = "the subject ends when the guard is dropped"]
pub fn about(resource: &str, role: Option<Role>) -> About {
    let prefix = subject(resource, role);
    let before = THREAD_PREFIX.with(|current| current.replace(Some(prefix)));
    About {
        before,
        this_thread: PhantomData,
    }
}

/// While it lives, lines of this thread are about a resource; see [`about`].
pub struct About {
    before: Option<String>,
    /// It must end on the thread that it began on.
    this_thread: PhantomData<*const ()>,
}

impl Drop for About {
    fn drop(&mut self) {
        let before = self.before.take();
        THREAD_PREFIX.with(|current| current.replace(before));
    }
}

fn subject(resource: &str, role: Option<Role>) -> String {
    match role {
        Some(role) => format!("[{resource}] ({role}) "),
        None => format!("[{resource}] "),
    }
}

const fn level(debug: u8) -> LevelFilter {
    match debug {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

const fn priority(level: Level) -> Priority {
    match level {
        Level::Error => Priority::Error,
        Level::Warn => Priority::Warning,
        Level::Info => Priority::Info,
        Level::Debug | Level::Trace => Priority::Debug,
    }
}

/// What this thread's lines are about for now.
fn prefix() -> String {
    THREAD_PREFIX.with_borrow(|prefix| match prefix {
        Some(prefix) => prefix.clone(),
        None => PROCESS_PREFIX
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
    })
}

/// A record's text on one line, behind what it is about.
fn line(mut line: String, record: &Record<'_>) -> String {
    let text = match record.args().as_str() {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(record.args().to_string()),
    };
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

impl Logger {
    fn new(target: env_logger::Target) -> Self {
        let stderr = env_logger::Builder::new()
            .filter_level(LevelFilter::Trace)
            // Its view of the event loop is of use only to its own developers.
            .filter_module("mio", LevelFilter::Info)
            .target(target)
            .format(|out, record| {
                let time = out.timestamp_seconds();
                writeln!(
                    out,
                    "{time} {:<5} {}",
                    record.level(),
                    line(prefix(), record)
                )
            })
            .build();
        Self {
            stderr,
            to_syslog: AtomicBool::new(false),
            relay: OnceLock::new(),
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.stderr.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.stderr.matches(record) {
            return;
        }
        if let Some(relay) = self.relay.get()
            && relay
                .send(record.level(), &line(String::new(), record))
                .is_ok()
        {
            return;
        }
        if !self.to_syslog.load(Ordering::Acquire) {
            self.stderr.log(record);
        // Control characters, NUL among them, are escaped in a line.
        } else if let Ok(line) = CString::new(line(prefix(), record)) {
            syslog::write(priority(record.level()), &line);
        }
    }

    fn flush(&self) {
        if let Some(relay) = self.relay.get() {
            // Nobody is left to be told.
            let _ = relay.flush();
        }
        self.stderr.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Hands every write over as text.
    struct Lines(Sender<String>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logger() -> (Logger, Receiver<String>) {
        let (sender, lines) = channel();
        (
            Logger::new(env_logger::Target::Pipe(Box::new(Lines(sender)))),
            lines,
        )
    }

    fn log_to(logger: &Logger, level: Level, target: &str, text: &str) {
        logger.log(
            &Record::builder()
                .level(level)
                .target(target)
                .args(format_args!("{text}"))
                .build(),
        );
    }

    /// What follows the time, which is 20 characters of RFC 3339 and a space.
    fn after_time(line: &str) -> &str {
        assert_eq!(&line[19..21], "Z ", "{line}");
        &line[21..]
    }

    #[test]
    fn a_line_names_what_it_is_about() {
        let (logger, lines) = logger();
        log_to(&logger, Level::Info, "hast", "ready");
        {
            let _disk = about("disk1", None);
            log_to(&logger, Level::Warn, "hast", "one");
            {
                let _worker = about("disk2", Some(Role::Secondary));
                log_to(&logger, Level::Error, "hast", "two");
            }
            log_to(&logger, Level::Debug, "hast", "three");
        }
        log_to(&logger, Level::Trace, "hast", "done");
        let lines: Vec<String> = lines.try_iter().collect();
        let lines: Vec<&str> = lines.iter().map(|line| after_time(line)).collect();
        assert_eq!(
            lines,
            [
                "INFO  ready\n",
                "WARN  [disk1] one\n",
                "ERROR [disk2] (secondary) two\n",
                "DEBUG [disk1] three\n",
                "TRACE done\n",
            ]
        );
    }

    #[test]
    fn a_message_can_not_make_lines_of_its_own() {
        let (logger, lines) = logger();
        log_to(&logger, Level::Info, "hast", "peer said 'x\n\u{1b}[2J\0'");
        let line = lines.try_recv().expect("a line");
        assert_eq!(
            after_time(&line),
            "INFO  peer said 'x\\n\\u{1b}[2J\\u{0}'\n"
        );
    }

    #[test]
    fn a_library_s_debugging_is_left_out() {
        let (logger, lines) = logger();
        log_to(&logger, Level::Trace, "mio::poll", "registering");
        assert!(lines.try_recv().is_err());
        log_to(&logger, Level::Error, "mio::poll", "failed");
        assert!(lines.try_recv().is_ok());
    }

    #[test]
    fn each_d_shows_more() {
        assert_eq!(level(0), LevelFilter::Info);
        assert_eq!(level(1), LevelFilter::Debug);
        assert_eq!(level(2), LevelFilter::Trace);
        assert_eq!(level(9), LevelFilter::Trace);
        assert_eq!(priority(Level::Trace), Priority::Debug);
        assert_eq!(priority(Level::Warn), Priority::Warning);
    }
}
