//! The primary: serves the device, keeps both copies, and is told what to do by its engine.
//!
//! Invariants: the engine is told of everything exactly once; a request is answered exactly once, by
//! whichever thread finished it last; nothing is done under the lock that could wait.

mod core;
mod device;
mod meeting;
mod notices;
mod receiver;
mod report;
mod served;
mod talk;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::core::{Core, Work};
use self::meeting::Meeting;
use self::report::Rate;
use self::served::Served;
use crate::config::Resource;
use crate::control::{Permit, WorkerStatus};
use crate::disk::{self, Prepared};
use crate::engine;
use crate::engine::primary::{Event, Promotion, Start};
use crate::provider::gate::kernel::Kernel;
use crate::provider::{Answers, Backend, Buffer, BufferError, BufferPool, ProviderRequest};
use crate::wire::PROTOCOL_VERSION;
use crate::worker::channel::{DeviceFate, FromWorker};
use crate::worker::counts::Counts;
use crate::worker::exit;
use crate::worker::link::Link;
use crate::worker::local::{Ended, Local, Task};
use crate::worker::lock;
use crate::worker::outbox::{Outbox, Style};
use crate::worker::peer::Connection;
use crate::worker::pool::{self, Pool};
use crate::worker::refusal::RoleError;
use crate::worker::station::{self, Busy, Ending, Station};
use crate::worker::watch::Watch;

/// Requests not released, at most. Those with data are bounded by their buffers; without, in async, a
/// peer that takes its time could let them grow without end.
const MOST_HELD: usize = 8192;
/// How often it is looked whether there is room again, at the least.
const LOOK: Duration = Duration::from_millis(100);

/// How long what was written stays uncovered by a point: an older image of a component that is put back is
/// told from the right one only across a point.
const POINT_INTERVAL: Duration = Duration::from_secs(5);

/// Whether a thread may wait for a quick disk itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    /// It may.
    Quick,
    /// It has other things to do.
    Nothing,
}

/// A running primary.
pub(super) struct Primary {
    pub(super) core: Mutex<Core>,
    /// Requests were released.
    room: Condvar,
    pub(super) outbox: Outbox,
    pub(super) local: Local,
    pub(super) link: Arc<Link>,
    pub(super) ending: Ending,
    pub(super) resource: Mutex<Resource>,
    pub(super) meeting: Meeting,
    /// The connection in use, or on its way to be.
    pub(super) connection: Mutex<Option<Arc<Connection>>>,
    /// Buffers of synchronisations.
    pub(super) copies: BufferPool,
    pub(super) keepdirty: u32,
    pub(super) counts: Counts,
    pub(super) rate: Mutex<Rate>,
    buffers: BufferPool,
    pool: Pool<Task>,
    watch: Mutex<Watch>,
    provider: RwLock<Option<Served>>,
    /// Held while it is decided whether there are direct reads.
    direct_reads: Mutex<()>,
    /// Somebody else destroyed the device.
    lost: AtomicBool,
}

/// On what terms the role is taken.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    /// How it was asked for.
    pub promotion: Promotion,
    /// What may be acknowledged alone.
    pub permit: Permit,
}

/// Takes the role and keeps it until told to end, or until it has to. Returns the exit code.
pub fn run(
    link: &Arc<Link>,
    resource: Resource,
    rights: Rights,
    gate: Option<Arc<dyn Kernel>>,
) -> Result<u8, RoleError> {
    let primary = Arc::new(Primary::new(link.clone(), resource, rights)?);
    let threads = primary.start()?;
    let served = primary.serve(gate).and_then(|()| primary.confine());
    if served.is_ok() {
        link.send(&FromWorker::Started);
        log::info!("the device is served");
    } else {
        primary.ending.reached();
    }
    let code = station::attend(link, &primary.ending, &*primary);
    primary.end(threads);
    // Without its device it is to be replaced by a worker that makes a new one.
    let ended = if primary.lost.load(Ordering::Relaxed) {
        exit::TEMPORARY
    } else {
        exit::OK
    };
    served.map(|()| code.unwrap_or(ended))
}

impl Primary {
    fn new(link: Arc<Link>, resource: Resource, rights: Rights) -> Result<Self, RoleError> {
        let Prepared {
            component,
            metadata,
            geometry,
            ..
        } = disk::open_for_use(&resource.local, &resource.name)?;
        let local = Local::new(component, geometry, resource.metaflush);
        let keepdirty = metadata.keepdirty;
        // Requests and synchronisation never wait for each other's buffers.
        let window = resource.buffers / 2;
        let engine = engine::Primary::new(Start {
            geometry,
            metadata,
            map: local.read_map()?,
            replication: resource.replication,
            window,
            piece: engine::MAX_REQUEST,
            patience: resource.timeout.as_millis() as u64,
            point_interval: POINT_INTERVAL.as_millis() as u64,
            fresh_resuid: random()?,
            entropy: random()?,
            promotion: rights.promotion,
        })?;
        // The engine keeps what is under way within the window; rounding may add to it.
        let copies = BufferPool::new(2 * window as usize);
        let style = Style {
            version: PROTOCOL_VERSION,
            compression: resource.compression,
            checksum: resource.checksum,
        };
        Ok(Self {
            core: Mutex::new(Core::new(
                engine,
                copies.clone(),
                geometry.sector_size,
                rights.permit,
            )),
            room: Condvar::new(),
            outbox: Outbox::new(style),
            local,
            ending: Ending::new(link.clone()),
            link,
            meeting: Meeting::new(&resource),
            connection: Mutex::new(None),
            copies,
            keepdirty,
            counts: Counts::default(),
            rate: Mutex::default(),
            buffers: BufferPool::new((resource.buffers - window) as usize),
            pool: Pool::default(),
            watch: Mutex::default(),
            provider: RwLock::new(None),
            direct_reads: Mutex::default(),
            lost: AtomicBool::new(false),
            resource: Mutex::new(resource),
        })
    }

    /// Starts the threads.
    fn start(self: &Arc<Self>) -> io::Result<Vec<JoinHandle<()>>> {
        let primary = self.clone();
        let finish = move |task| primary.finish(task);
        let mut threads = self.pool.start(pool::THREADS, finish)?;
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let primary = self.clone();
        threads.push(named("sender").spawn(move || primary.outbox.attend())?);
        let primary = self.clone();
        threads.push(named("peer").spawn(move || primary.keep_connected())?);
        // The metadata is to say that this node is primary before anything is written.
        self.tell(Event::Tick(0), Here::Nothing);
        Ok(threads)
    }

    /// Closes everything and waits for the threads.
    fn end(&self, threads: Vec<JoinHandle<()>>) {
        self.end_serving();
        self.buffers.close();
        self.meeting.close();
        self.shut_connection();
        self.outbox.end();
        self.pool.close();
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a thread of the worker panicked");
            }
        }
        // Requests without an answer end here, with an error each.
        self.copies.close();
    }

    /// Tells the engine what happened and does what it wants.
    pub(super) fn tell(&self, event: Event, here: Here) {
        let mut work = Work::default();
        lock(&self.core).step(event, &self.outbox, &mut work);
        self.carry_out(work, here);
    }

    /// Does the engine's work, and what comes of it.
    pub(super) fn carry_out(&self, mut work: Work, here: Here) {
        loop {
            if work.sends {
                work.sends = false;
                self.outbox.drain();
            }
            let mut answers = Answers::default();
            for (completion, result) in work.completions.drain(..) {
                answers.add(completion, result);
            }
            drop(answers);
            self.announce(&mut work);
            let mut ended = std::mem::take(&mut work.ended);
            let here = here == Here::Quick;
            for task in work.tasks.drain(..) {
                if here && self.local.is_quick(&task) {
                    ended.push(self.do_task(task));
                } else if let Err(task) = self.pool.submit(task) {
                    ended.push(self.do_task(task));
                }
            }
            if ended.is_empty() {
                return;
            }
            self.take_note(ended, &mut work);
        }
    }

    /// Does a task in a thread that is there for it.
    fn finish(&self, task: Task) {
        let ended = self.do_task(task);
        let mut work = Work::default();
        self.take_note([ended], &mut work);
        self.carry_out(work, Here::Nothing);
    }

    fn take_note(&self, ended: impl IntoIterator<Item = Ended>, work: &mut Work) {
        let mut core = lock(&self.core);
        for ended in ended {
            core.ended(ended, &self.outbox, work);
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        lock(&self.resource).timeout
    }

    /// Looks whether the peer is still alive, and lets it know that we are.
    fn look_after_connection(&self) {
        let (unanswered, heard) = {
            let mut core = lock(&self.core);
            (core.unanswered.count(), core.unanswered.take_heard())
        };
        let mut watch = lock(&self.watch);
        watch.second(
            self.outbox.progress(),
            self.outbox.is_stuck(),
            unanswered > 0,
            heard,
        );
        if let Some(complaint) = watch.complaint(self.timeout()) {
            self.meeting.closing(complaint);
            self.shut_connection();
            watch.forgive();
        }
        let keepalive = watch.wants_keepalive();
        drop(watch);
        if keepalive && lock(&self.connection).is_some() {
            lock(&self.core).break_silence(&self.outbox);
            self.outbox.drain();
        }
    }
}

/// A random number that is not 0.
fn random() -> io::Result<u64> {
    loop {
        let number = getrandom::u64().map_err(io::Error::other)?;
        if number != 0 {
            return Ok(number);
        }
    }
}

impl Backend for Primary {
    fn submit(&self, request: ProviderRequest) {
        self.submit_all(&mut vec![request]);
    }

    fn submit_all(&self, requests: &mut Vec<ProviderRequest>) {
        let mut work = Work::default();
        let mut core = lock(&self.core);
        for request in requests.drain(..) {
            while core.held() > MOST_HELD {
                // What was taken so far may be what is waited for.
                drop(core);
                self.carry_out(std::mem::take(&mut work), Here::Quick);
                core = lock(&self.core);
                if core.held() > MOST_HELD {
                    let waited = self.room.wait_timeout(core, LOOK);
                    core = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
            let command = core::command_of(request.command);
            self.counts.count(command);
            core.submit(command, request, &self.outbox, &mut work);
        }
        drop(core);
        self.carry_out(work, Here::Quick);
    }

    fn buffer_now(&self, length: usize) -> Result<Option<Buffer>, BufferError> {
        self.buffers.try_acquire(length)
    }

    fn buffer(&self, length: usize) -> Result<Buffer, BufferError> {
        self.buffers.acquire(length)
    }

    fn budget(&self) -> usize {
        self.buffers.budget()
    }
}

impl Station for Primary {
    fn tick(&self, milliseconds: u64) {
        self.tell(Event::Tick(milliseconds), Here::Nothing);
        self.look_after_connection();
        self.local.look();
        let progress = lock(&self.core).engine().status().synchronising;
        lock(&self.rate).second(progress.map(|progress| progress.done));
        if !self.look_after_device() {
            self.lost.store(true, Ordering::Relaxed);
            self.ending.reached();
        }
    }

    fn status(&self) -> WorkerStatus {
        self.report()
    }

    fn permit(&self, permit: Permit) {
        let mut work = Work::default();
        lock(&self.core).permit(permit, &self.outbox, &mut work);
        self.carry_out(work, Here::Nothing);
    }

    fn reload(&self, resource: Resource) {
        self.outbox
            .set_style(resource.compression, resource.checksum);
        self.local.set_metaflush(resource.metaflush);
        let replication = resource.replication;
        let before = std::mem::replace(&mut *lock(&self.resource), resource.clone());
        self.tell(Event::SetReplication(replication), Here::Nothing);
        if self.meeting.reload(&before, &resource) {
            self.meeting.closing(String::from(
                "its addresses were changed in the configuration",
            ));
            self.shut_connection();
        }
    }

    fn connection(&self, number: u32, result: Result<OwnedFd, String>) {
        self.meeting.connection(number, result);
    }

    fn stop(&self, device: DeviceFate) -> Result<(), Busy> {
        self.stop_serving(device)?;
        self.tell(Event::Stop, Here::Nothing);
        Ok(())
    }
}
