//! The secondary: does what one primary sends over one pair of connections, and ends with it.
//!
//! Invariants: what failed its checksum or is not within the device never reaches the component; a
//! connection that sends nonsense is dropped, with one line in the log; whatever was received whole is
//! carried out before the worker ends.

mod arrivals;
mod core;
mod report;
mod serve;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::arrivals::{Arrival, Arrivals};
use self::core::{Core, Work};
use self::report::Sight;
use self::serve::ServeError;
use crate::config::Resource;
use crate::control::{Permit, Queues, WorkerStatus};
use crate::disk::{self, Prepared};
use crate::engine;
use crate::engine::meeting::Source;
use crate::engine::secondary::{Dialect, Event};
use crate::provider::BufferPool;
use crate::wire::handshake::Refusal;
use crate::worker::channel::{DeviceFate, FromWorker, HookEvent, Introduction};
use crate::worker::confinement;
use crate::worker::counts::Counts;
use crate::worker::exit;
use crate::worker::inbox::Inbox;
use crate::worker::link::Link;
use crate::worker::local::{Ended, Local, Task};
use crate::worker::lock;
use crate::worker::outbox::{Outbox, Style};
use crate::worker::peer::{self, Connection};
use crate::worker::pool::{self, Pool};
use crate::worker::refusal::{RoleError, explain};
use crate::worker::station::{self, Busy, Ending, Station};
use crate::worker::watch::Watch;

/// How long a primary may say nothing: twice the time after which it sends a keepalive.
const SILENCE: Duration = Duration::from_secs(20);
/// Requests without an answer, and answers not sent, at most: more than any primary has under way.
/// Beyond, nothing is received.
const MOST: usize = 4096;
/// How long what was received may take once the connection is gone.
const LAST_REQUESTS: Duration = Duration::from_secs(30);
/// How often it is looked whether they have ended.
const LOOK: Duration = Duration::from_millis(100);

/// A running secondary.
pub(super) struct Secondary {
    core: Mutex<Core>,
    /// A request was finished.
    finished: Condvar,
    outbox: Outbox,
    pub(super) local: Local,
    pool: Pool<Task>,
    pub(super) buffers: BufferPool,
    connection: Arc<Connection>,
    ending: Ending,
    /// Told to end; otherwise the end is a connection's loss.
    stopped: AtomicBool,
    /// Who was the source when the two met.
    source: Source,
    /// The primary says how the copies are.
    pub(super) extension: bool,
    /// Why the connection was lost, once it was.
    lost: Mutex<Option<String>>,
    timeout: Duration,
    watch: Mutex<Watch>,
    pub(super) counts: Counts,
}

/// Answers a primary and serves it until its connections end. Returns the exit code.
pub fn run(
    link: &Arc<Link>,
    resource: &Resource,
    primary: &Introduction,
    connections: [OwnedFd; 2],
) -> Result<u8, RoleError> {
    let Prepared {
        component,
        metadata,
        geometry,
        ..
    } = disk::open_for_use(&resource.local, &resource.name)?;
    let local = Local::new(component, geometry, resource.metaflush);
    let [first, second] = connections;
    let incoming = peer::prepare(first, resource.timeout)?;
    let outgoing = peer::prepare(second, resource.timeout)?;
    let dialect = if primary.extension > 0 {
        Dialect::Extended
    } else {
        Dialect::Base
    };
    let (metadata, source) = match serve::answer(&local, resource, metadata, primary, &incoming) {
        Ok(agreed) => agreed,
        Err(error) => return Ok(refused(link, resource, &error)),
    };
    incoming.set_read_timeout(Some(SILENCE))?;
    let connection = Arc::new(Connection { outgoing, incoming });
    let style = Style {
        version: primary.version,
        compression: resource.compression,
        checksum: resource.checksum,
    };
    let secondary = Arc::new(Secondary {
        core: Mutex::new(Core::new(metadata, dialect)),
        finished: Condvar::new(),
        outbox: Outbox::new(style),
        local,
        pool: Pool::default(),
        buffers: BufferPool::new(resource.buffers as usize),
        connection: connection.clone(),
        ending: Ending::new(link.clone()),
        stopped: AtomicBool::new(false),
        source,
        extension: dialect == Dialect::Extended,
        lost: Mutex::default(),
        timeout: resource.timeout,
        watch: Mutex::default(),
        counts: Counts::default(),
    });
    secondary.outbox.open(connection, primary.version);
    secondary.local.confine();
    confinement::confine()?;
    let threads = secondary.start()?;
    link.send(&FromWorker::Started);
    link.send(&FromWorker::Hook(HookEvent::Connect));
    log::info!("serving the primary");
    let code = station::attend(link, &secondary.ending, &*secondary);
    secondary.end(threads);
    link.send(&FromWorker::Hook(HookEvent::Disconnect));
    let lost = lock(&secondary.lost).take();
    Ok(code.unwrap_or(match lost {
        None => exit::OK,
        Some(why) => {
            let (exit, message) = (exit::TEMPORARY, lost_sentence(&why));
            link.send(&FromWorker::Refused { exit, message });
            exit
        }
    }))
}

fn lost_sentence(why: &str) -> String {
    format!(
        "the connection to the primary was lost: {why}; waiting for the primary to connect again"
    )
}

/// Says why there is no agreement; returns the exit code. The main process logs it, where it has not been
/// said before: a primary that is refused asks again and again.
fn refused(link: &Link, resource: &Resource, error: &ServeError) -> u8 {
    let (exit, message) = match error {
        ServeError::Refused(refusal) => {
            if *refusal == engine::meeting::Refusal::SplitBrain {
                link.send(&FromWorker::Hook(HookEvent::SplitBrain));
            }
            let refusal = Refusal::new(refusal.to_string());
            (exit::CONFIG, explain(&refusal, resource))
        }
        ServeError::Io(_) => (exit::TEMPORARY, error.to_string()),
        ServeError::Disk(error) => (error.exit_code(), error.to_string()),
    };
    link.send(&FromWorker::Refused { exit, message });
    exit
}

impl Secondary {
    /// Starts the threads.
    fn start(self: &Arc<Self>) -> io::Result<Vec<JoinHandle<()>>> {
        let secondary = self.clone();
        let finish = move |task| {
            let ended = secondary.local.carry_out(task);
            secondary.take_note([ended]);
        };
        let mut threads = self.pool.start(pool::THREADS, finish)?;
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let secondary = self.clone();
        threads.push(named("sender").spawn(move || secondary.outbox.attend())?);
        let secondary = self.clone();
        threads.push(named("peer").spawn(move || secondary.serve())?);
        Ok(threads)
    }

    /// Receives until the connection ends, finishes what was received, and ends the role.
    fn serve(&self) {
        let inbox = Inbox::new(self.connection.incoming.clone());
        let error = Arrivals::new(self, inbox).receive();
        if !self.stopped.load(Ordering::Relaxed) {
            lock(&self.lost).get_or_insert_with(|| error.to_string());
        }
        // Nothing more is to be taken from it, but answers may still go out.
        let _ = self.connection.incoming.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + LAST_REQUESTS;
        let mut core = lock(&self.core);
        while core.requests() > 0 && Instant::now() < deadline {
            let waited = self.finished.wait_timeout(core, LOOK);
            core = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(core);
        self.ending.reached();
    }

    /// Closes everything and waits for the threads.
    fn end(&self, threads: Vec<JoinHandle<()>>) {
        self.connection.shut();
        self.buffers.close();
        self.outbox.end();
        self.pool.close();
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a thread of the worker panicked");
            }
        }
    }

    /// Tells the engine of requests that arrived, and does what it wants.
    pub(super) fn take(&self, arrivals: &mut Vec<Arrival>) {
        let mut work = Work::default();
        let mut core = lock(&self.core);
        for arrival in arrivals.drain(..) {
            core.take(arrival, &self.outbox, &mut work);
        }
        drop(core);
        self.carry_out(work, true);
        self.wait_for_room();
    }

    /// Waits while there is too much to be done, or to be sent.
    fn wait_for_room(&self) {
        let mut core = lock(&self.core);
        while core.requests() > MOST || self.outbox.waiting() > MOST {
            let waited = self.finished.wait_timeout(core, LOOK);
            core = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Does the engine's work, and what comes of it; at once where that is quick and `here` allows.
    fn carry_out(&self, mut work: Work, here: bool) {
        loop {
            if work.sends {
                work.sends = false;
                self.outbox.drain();
            }
            let mut ended = Vec::new();
            for task in work.tasks.drain(..) {
                if here && self.local.is_quick(&task) {
                    ended.push(self.local.carry_out(task));
                } else if let Err(task) = self.pool.submit(task) {
                    ended.push(self.local.carry_out(task));
                }
            }
            if std::mem::take(&mut work.disconnect) {
                lock(&self.lost).get_or_insert_with(|| {
                    String::from(
                        "this node could not store its metadata, and so may answer nothing; look at its disk",
                    )
                });
                self.connection.shut();
            }
            if ended.is_empty() {
                return;
            }
            self.note(ended, &mut work);
        }
    }

    fn take_note(&self, ended: impl IntoIterator<Item = Ended>) {
        let mut work = Work::default();
        self.note(ended, &mut work);
        self.carry_out(work, false);
    }

    fn note(&self, ended: impl IntoIterator<Item = Ended>, work: &mut Work) {
        let mut core = lock(&self.core);
        for ended in ended {
            core.ended(ended, &self.outbox, work);
        }
        if core.requests() == 0 {
            self.finished.notify_all();
        }
    }
}

impl Station for Secondary {
    fn tick(&self, _milliseconds: u64) {
        let mut work = Work::default();
        lock(&self.core).step(Event::Tick, &self.outbox, &mut work);
        self.carry_out(work, false);
        self.local.look();
        let mut watch = lock(&self.watch);
        watch.second(self.outbox.progress(), self.outbox.is_stuck(), false, false);
        if let Some(complaint) = watch.complaint(self.timeout) {
            lock(&self.lost).get_or_insert(complaint);
            self.connection.shut();
            watch.forgive();
        }
    }

    fn status(&self) -> WorkerStatus {
        let core = lock(&self.core);
        let extentsize = core.metadata().extentsize;
        let sight = Sight {
            lacks: core.metadata().record.lacks,
            source: self.source,
            extension: self.extension,
            said: core.sight(),
        };
        drop(core);
        let queues = Queues {
            local: self.pool.waiting() as u64,
            send: self.outbox.waiting() as u64,
            ..Queues::default()
        };
        report::report(&self.local, extentsize, sight, &self.counts, queues)
    }

    fn permit(&self, _: Permit) {}

    fn reload(&self, resource: Resource) {
        self.outbox
            .set_style(resource.compression, resource.checksum);
        self.local.set_metaflush(resource.metaflush);
    }

    fn connection(&self, number: u32, _result: Result<OwnedFd, String>) {
        log::debug!("connection {number}, which nobody asked for");
    }

    fn stop(&self, _device: DeviceFate) -> Result<(), Busy> {
        self.stopped.store(true, Ordering::Relaxed);
        self.connection.shut();
        Ok(())
    }
}
