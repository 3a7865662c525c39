//! A process that can die: what it does with the kernel and with its disk ends at once, and its threads
//! are gone from the kernel.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle, ThreadId};

use hast::provider::gate::kernel::{
    Change, GateRequest, Kernel, Mount, NewDevice, Sequence, Started, Unit,
};
use hast::provider::{Backend, Buffer, BufferError, ProviderRequest};
use nix::errno::Errno;

use crate::backend::Memory;
use crate::model::Model;

/// Whether a process lives, and its view of kernel and disk. Clones are the same one.
#[derive(Clone)]
pub struct Process {
    model: Model,
    memory: Arc<Memory>,
    life: Arc<Life>,
}

struct Life {
    state: Mutex<State>,
    /// It does less.
    fewer: Condvar,
    threads: Mutex<HashSet<ThreadId>>,
}

struct State {
    alive: bool,
    /// Things it is doing. What begins while it dies is not done any more.
    doing: usize,
}

impl Process {
    pub fn new(model: &Model, memory: &Arc<Memory>) -> Self {
        let life = Life {
            state: Mutex::new(State {
                alive: true,
                doing: 0,
            }),
            fewer: Condvar::new(),
            threads: Mutex::default(),
        };
        Self {
            model: model.clone(),
            memory: memory.clone(),
            life: Arc::new(life),
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        let mut state = self.life.state.lock().unwrap();
        state.alive = false;
        let doing = |state: &mut State| state.doing > 0;
        drop(self.life.fewer.wait_while(state, doing).unwrap());
        let is_here = |thread: &ThreadId| self.model.is_in_kernel(*thread);
        while self.life.threads.lock().unwrap().iter().any(is_here) {
            let threads = self.life.threads.lock().unwrap().clone();
            for thread in threads {
                self.model.signal(thread);
            }
            thread::yield_now();
        }
    }

    /// Does something, unless it is dead.
    fn living<T>(&self, dead: T, act: impl FnOnce() -> T) -> T {
        let mut state = self.life.state.lock().unwrap();
        if !state.alive {
            return dead;
        }
        state.doing += 1;
        drop(state);
        let result = act();
        self.life.state.lock().unwrap().doing -= 1;
        self.life.fewer.notify_all();
        result
    }
}

impl Kernel for Process {
    fn load(&self) -> Result<(), Errno> {
        self.model.load()
    }

    fn confine(&self) -> Result<(), Errno> {
        self.model.confine()
    }

    fn max_transfer(&self) -> usize {
        self.model.max_transfer()
    }

    fn create(&self, device: &NewDevice<'_>) -> Result<Unit, Errno> {
        self.living(Err(Errno::EIO), || self.model.create(device))
    }

    fn modify(&self, unit: Unit, change: Change<'_>) -> Result<(), Errno> {
        self.living(Err(Errno::ENXIO), || self.model.modify(unit, change))
    }

    fn destroy(&self, unit: Unit, force: bool) -> Result<(), Errno> {
        self.living(Err(Errno::ENXIO), || self.model.destroy(unit, force))
    }

    fn cancel(&self, unit: Unit, sequence: Option<Sequence>) -> Result<(), Errno> {
        self.living(Err(Errno::ENXIO), || self.model.cancel(unit, sequence))
    }

    fn start(&self, unit: Unit, buffer: &mut [u8]) -> Result<Started, Errno> {
        let entered = self.living(false, || {
            let me = thread::current().id();
            self.life.threads.lock().unwrap().insert(me);
            self.model.enter(me);
            true
        });
        if !entered {
            return Ok(Started::Gone);
        }
        let started = self.model.start(unit, buffer);
        self.model.leave(thread::current().id());
        // What was received dies with it.
        self.living(Ok(Started::Gone), || started)
    }

    fn done(
        &self,
        unit: Unit,
        request: &GateRequest,
        answer: Result<&[u8], Errno>,
    ) -> Result<(), Errno> {
        self.living(Ok(()), || self.model.done(unit, request, answer))
    }

    fn interrupt(&self, thread: &JoinHandle<()>) {
        self.model.interrupt(thread);
    }

    fn configuration(&self) -> Result<String, Errno> {
        self.model.configuration()
    }

    fn mounts(&self) -> Result<Vec<Mount>, Errno> {
        self.model.mounts()
    }
}

/// Carries requests out in other threads, in whatever order, as long as it lives.
impl Backend for Process {
    fn submit(&self, request: ProviderRequest) {
        let process = self.clone();
        thread::spawn(move || {
            let memory = process.memory.clone();
            process.living(None, move || {
                memory.carry_out(request);
                Some(())
            })
        });
    }

    fn buffer(&self, length: usize) -> Result<Buffer, BufferError> {
        self.memory.buffer(length)
    }

    fn budget(&self) -> usize {
        self.memory.budget()
    }
}
