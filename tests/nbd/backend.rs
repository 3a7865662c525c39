//! Backends in memory: one that is quick, and wrappers of it that are late, out of order,
//! failing, or stopped until told.

use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use hast::provider::{Backend, Buffer, BufferError, BufferPool, Command, ProviderRequest};
use nix::errno::Errno;

/// The budget of a test's pool, in bytes.
const BUDGET: usize = 64 << 20;

/// A device in memory. Completes in the thread that submits.
pub struct Memory {
    data: Mutex<Vec<u8>>,
    pool: BufferPool,
    /// Requests seen, in order of arrival.
    log: Mutex<Vec<(Command, u64, u32)>>,
}

impl Memory {
    pub fn new(size: usize) -> Arc<Self> {
        Self::with_budget(size, BUDGET)
    }

    pub fn with_budget(size: usize, budget: usize) -> Arc<Self> {
        let data = Mutex::new(vec![0; size]);
        Arc::new(Self {
            data,
            pool: BufferPool::new(budget),
            log: Mutex::default(),
        })
    }

    pub fn bytes(&self, offset: usize, length: usize) -> Vec<u8> {
        self.data.lock().unwrap()[offset..offset + length].to_vec()
    }

    pub fn pool(&self) -> &BufferPool {
        &self.pool
    }

    pub fn log(&self) -> Vec<(Command, u64, u32)> {
        self.log.lock().unwrap().clone()
    }

    pub fn seen(&self, command: Command) -> usize {
        self.log
            .lock()
            .unwrap()
            .iter()
            .filter(|(seen, ..)| *seen == command)
            .count()
    }

    /// Carries a request out, and completes it.
    pub fn carry_out(&self, request: ProviderRequest) {
        let ProviderRequest {
            command,
            offset,
            length,
            mut data,
            completion,
        } = request;
        self.log.lock().unwrap().push((command, offset, length));
        let range = offset as usize..offset as usize + length as usize;
        let mut device = self.data.lock().unwrap();
        match command {
            Command::Read => {
                data.as_mut()
                    .expect("a read has a buffer")
                    .copy_from_slice(&device[range]);
            }
            Command::Write => {
                device[range].copy_from_slice(&data.take().expect("a write has a payload"));
            }
            Command::Zeroes | Command::Delete => device[range].fill(0),
            Command::Flush => {}
        }
        drop(device);
        completion.complete(Ok(data));
    }
}

impl Backend for Memory {
    fn submit(&self, request: ProviderRequest) {
        self.carry_out(request);
    }

    fn buffer(&self, length: usize) -> Result<Buffer, BufferError> {
        self.pool.acquire(length)
    }

    fn budget(&self) -> usize {
        self.pool.budget()
    }
}

/// Completes from several threads, in another order than asked.
pub struct Shuffled {
    memory: Arc<Memory>,
    lanes: Vec<Sender<ProviderRequest>>,
    next: Mutex<usize>,
}

impl Shuffled {
    pub fn new(memory: Arc<Memory>) -> Arc<Self> {
        let lane = |_| {
            let (sender, requests) = mpsc::channel();
            let memory = memory.clone();
            thread::spawn(move || {
                // Takes what is there and goes through it backwards.
                while let Ok(first) = requests.recv() {
                    thread::yield_now();
                    let mut batch: Vec<ProviderRequest> = vec![first];
                    batch.extend(requests.try_iter());
                    batch
                        .into_iter()
                        .rev()
                        .for_each(|request| memory.carry_out(request));
                }
            });
            sender
        };
        Arc::new(Self {
            lanes: (0..3).map(lane).collect(),
            memory,
            next: Mutex::new(0),
        })
    }
}

impl Backend for Shuffled {
    fn submit(&self, request: ProviderRequest) {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        self.lanes[*next % self.lanes.len()]
            .send(request)
            .expect("lanes live as long as this");
    }

    fn buffer(&self, length: usize) -> Result<Buffer, BufferError> {
        self.memory.buffer(length)
    }

    fn budget(&self) -> usize {
        self.memory.budget()
    }
}

/// Fails the requests that a test names, by their offset and command.
pub struct Failing {
    pub memory: Arc<Memory>,
    pub failures: HashMap<(Command, u64), Errno>,
}

impl Backend for Failing {
    fn submit(&self, request: ProviderRequest) {
        match self.failures.get(&(request.command, request.offset)) {
            Some(errno) => request.completion.complete(Err(*errno)),
            None => self.memory.carry_out(request),
        }
    }

    fn buffer(&self, length: usize) -> Result<Buffer, BufferError> {
        self.memory.buffer(length)
    }

    fn budget(&self) -> usize {
        self.memory.budget()
    }
}

/// Holds requests until a test lets them go.
pub struct Gated {
    memory: Arc<Memory>,
    held: Mutex<Option<Vec<ProviderRequest>>>,
    arrived: Condvar,
}

impl Gated {
    pub fn new(memory: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self {
            memory,
            held: Mutex::new(Some(Vec::new())),
            arrived: Condvar::new(),
        })
    }

    /// Waits until `count` requests are held; how many there are.
    pub fn wait_for(&self, count: usize) -> usize {
        let limit = std::time::Duration::from_secs(20);
        let held = self.held.lock().unwrap();
        let few = |held: &mut Option<Vec<_>>| held.as_ref().is_none_or(|held| held.len() < count);
        let (held, waited) = self.arrived.wait_timeout_while(held, limit, few).unwrap();
        assert!(!waited.timed_out(), "fewer than {count} requests arrived");
        held.as_ref().map_or(0, Vec::len)
    }

    /// Takes what is held; later requests are held.
    pub fn take(&self) -> Vec<ProviderRequest> {
        self.held
            .lock()
            .unwrap()
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Carries out what is held and what comes later.
    pub fn open(&self) {
        let held = self.held.lock().unwrap().take();
        held.into_iter()
            .flatten()
            .for_each(|request| self.memory.carry_out(request));
    }
}

impl Backend for Gated {
    fn submit(&self, request: ProviderRequest) {
        let mut held = self.held.lock().unwrap();
        if let Some(requests) = &mut *held {
            requests.push(request);
            self.arrived.notify_all();
        } else {
            drop(held);
            self.memory.carry_out(request);
        }
    }

    fn buffer(&self, length: usize) -> Result<Buffer, BufferError> {
        self.memory.buffer(length)
    }

    fn budget(&self) -> usize {
        self.memory.budget()
    }
}
