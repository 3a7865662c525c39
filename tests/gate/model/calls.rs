//! The calls of the control device (g_gate_ioctl).

use std::thread::{self, JoinHandle};

use hast::provider::gate::kernel::{
    Change, GateCommand, GateRequest, Kernel, MAX_INFO, Mount, NewDevice, Sequence, Started, Unit,
};
use nix::errno::Errno;

use super::{Call, Consumer, Model, Module, Softc, State, bio};

impl Kernel for Model {
    fn load(&self) -> Result<(), Errno> {
        let mut state = self.lock();
        match state.module {
            Module::Missing => return Err(Errno::ENOENT),
            Module::Absent => {
                state.module = Module::Loaded;
                state.calls.push(Call::Load);
            }
            Module::Loaded => {}
        }
        Ok(())
    }

    fn confine(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn max_transfer(&self) -> usize {
        self.inner.max_transfer
    }

    fn create(&self, device: &NewDevice<'_>) -> Result<Unit, Errno> {
        let mut state = self.lock();
        assert_eq!(state.module, Module::Loaded, "there is no control device");
        if device.size == 0
            || !device.sector_size.is_power_of_two()
            || !device.size.is_multiple_of(u64::from(device.sector_size))
            || device.name.is_empty()
        {
            return Err(Errno::EINVAL);
        }
        let unit = state
            .devices
            .iter()
            .position(Option::is_none)
            .ok_or(Errno::ENFILE)?;
        if state
            .devices
            .iter()
            .flatten()
            .any(|softc| softc.name == device.name)
        {
            return Err(Errno::EEXIST);
        }
        state.devices[unit] = Some(Softc::new(device));
        state.calls.push(Call::Create {
            name: device.name.to_owned(),
            max_count: device.max_count,
            timeout: device.timeout,
        });
        drop(state);
        if self.inner.tastes {
            self.taste(device.name, device.size, device.sector_size);
        }
        self.notify();
        Ok(Unit(unit as u32))
    }

    fn modify(&self, unit: Unit, change: Change<'_>) -> Result<(), Errno> {
        let mut state = self.lock();
        let softc = state.softc(unit.0 as usize).ok_or(Errno::ENXIO)?;
        let result = match change {
            Change::Size(size) => {
                if size == 0 || !size.is_multiple_of(u64::from(softc.sector_size)) {
                    return Err(Errno::EINVAL);
                }
                softc.size = size;
                Ok(())
            }
            Change::Info(info) => {
                softc.info = info.chars().take(MAX_INFO).collect();
                Ok(())
            }
            Change::ReadFrom { provider, offset } => {
                state
                    .calls
                    .push(Call::ReadFrom(provider.to_owned(), offset));
                state.read_from(unit.0 as usize, provider, offset)
            }
            Change::ReadNothing => {
                state.calls.push(Call::ReadNothing);
                // Without a provider of the name given the kernel forgets the old one, and says so. (With an
                // empty name it would go on to use what it has just destroyed.)
                match state.read_from(unit.0 as usize, "no such provider", 0) {
                    Err(Errno::EINVAL) => Ok(()),
                    result => result,
                }
            }
        };
        drop(state);
        self.notify();
        result
    }

    fn destroy(&self, unit: Unit, force: bool) -> Result<(), Errno> {
        let mut state = self.lock();
        let softc = state.softc(unit.0 as usize).ok_or(Errno::ENXIO)?;
        if !force && !softc.opens.is_empty() {
            return Err(Errno::EBUSY);
        }
        softc.being_destroyed = true;
        softc.wakeups += 1;
        for bio in softc.incoming.drain(..).chain(softc.outgoing.drain(..)) {
            bio.finish(Err(Errno::ENXIO));
        }
        if softc
            .consumers
            .values()
            .any(|consumer| consumer.under_way > 0)
        {
            state.note_crash(
                "destroyed with direct reads under way: g_gate_done uses a freed softc",
            );
        }
        state.calls.push(Call::Destroy { force });
        self.notify();
        let held = |state: &mut State| {
            state
                .softc(unit.0 as usize)
                .is_some_and(|softc| softc.holds > 0)
        };
        let mut state = self.inner.changed.wait_while(state, held).unwrap();
        state.devices[unit.0 as usize] = None;
        drop(state);
        self.notify();
        Ok(())
    }

    fn cancel(&self, unit: Unit, sequence: Option<Sequence>) -> Result<(), Errno> {
        let mut state = self.lock();
        state.calls.push(Call::Cancel);
        let softc = state.softc(unit.0 as usize).ok_or(Errno::ENXIO)?;
        let mut kept = std::collections::VecDeque::new();
        let mut position = 0;
        for bio in softc.outgoing.drain(..) {
            if sequence.is_none_or(|sequence| sequence.0 == bio.sequence) {
                softc.incoming.insert(position, bio);
                position += 1;
            } else {
                kept.push_back(bio);
            }
        }
        softc.outgoing = kept;
        // Nobody is woken: see Softc::wakeups.
        drop(state);
        self.notify();
        Ok(())
    }

    fn start(&self, unit: Unit, buffer: &mut [u8]) -> Result<Started, Errno> {
        let unit = unit.0 as usize;
        let mut state = self.lock();
        let Some(softc) = state.softc(unit) else {
            return Ok(Started::Gone);
        };
        softc.holds += 1;
        let started = loop {
            let softc = state.softc(unit).unwrap();
            if !softc.incoming.is_empty() {
                break softc.hand_over(buffer);
            }
            if softc.being_destroyed {
                break Started::Cancelled;
            }
            let wakeups = softc.wakeups;
            let me = thread::current().id();
            state.sleepers.insert(me, false);
            self.notify();
            let asleep = |state: &mut State| {
                !state.sleepers[&me] && state.softc(unit).unwrap().wakeups == wakeups
            };
            state = self.inner.changed.wait_while(state, asleep).unwrap();
            if state.sleepers.remove(&me) == Some(true) {
                break Started::Interrupted;
            }
        };
        state.softc(unit).unwrap().holds -= 1;
        drop(state);
        self.notify();
        Ok(started)
    }

    fn done(
        &self,
        unit: Unit,
        request: &GateRequest,
        answer: Result<&[u8], Errno>,
    ) -> Result<(), Errno> {
        let mut state = self.lock();
        let softc = state.softc(unit.0 as usize).ok_or(Errno::ENOENT)?;
        let found = softc
            .outgoing
            .iter()
            .position(|bio| bio.sequence == request.sequence.0);
        let Some(mut bio) = found.and_then(|index| softc.outgoing.remove(index)) else {
            return Ok(());
        };
        match answer {
            Err(Errno::EAGAIN) => {
                softc.incoming.push_front(bio);
                softc.wakeups += 1;
            }
            Err(error) => bio.finish(Err(error)),
            Ok(data) => {
                if bio.command == bio::READ {
                    assert_eq!(
                        data.len() as u64,
                        bio.length,
                        "a read gets what it asked for"
                    );
                    bio.data = data.to_vec();
                }
                let data = std::mem::take(&mut bio.data);
                bio.finish(Ok(data));
            }
        }
        drop(state);
        self.notify();
        Ok(())
    }

    fn interrupt(&self, thread: &JoinHandle<()>) {
        self.signal(thread.thread().id());
    }

    fn configuration(&self) -> Result<String, Errno> {
        let state = self.lock();
        if state.blind {
            return Err(Errno::EPERM);
        }
        Ok(super::xml::describe(&state))
    }

    fn mounts(&self) -> Result<Vec<Mount>, Errno> {
        Ok(self.lock().mounts.clone())
    }
}

impl Softc {
    fn new(device: &NewDevice<'_>) -> Self {
        Self {
            name: device.name.to_owned(),
            size: device.size,
            sector_size: device.sector_size,
            info: device.info.chars().take(MAX_INFO).collect(),
            max_count: device.max_count,
            timeout: device.timeout,
            next_sequence: 1,
            incoming: std::collections::VecDeque::new(),
            outgoing: std::collections::VecDeque::new(),
            holds: 0,
            being_destroyed: false,
            wakeups: 0,
            reader: None,
            read_offset: 0,
            consumers: std::collections::HashMap::new(),
            opens: Vec::new(),
        }
    }

    /// Hands the first request over, if it is not a write that the buffer has no room for.
    fn hand_over(&mut self, buffer: &mut [u8]) -> Started {
        let first = &self.incoming[0];
        if first.command == bio::WRITE {
            if first.data.len() > buffer.len() {
                return Started::NeedsMore(first.data.len());
            }
            buffer[..first.data.len()].copy_from_slice(&first.data);
        }
        let bio = self.incoming.pop_front().unwrap();
        let request = GateRequest {
            sequence: Sequence(bio.sequence),
            command: GateCommand::from_number(bio.command),
            offset: bio.offset,
            length: bio.length,
        };
        self.outgoing.push_back(bio);
        Started::Request(request)
    }
}

impl State {
    /// The part of g_gate_modify that is about direct reads, both of its flags given.
    fn read_from(&mut self, unit: usize, provider: &str, offset: u64) -> Result<(), Errno> {
        let id = self.fresh_id();
        let disk = provider.strip_prefix("/dev/").unwrap_or(provider);
        let media_size = self.disks.get(disk).map(|disk| disk.data.len() as u64);
        let softc = self.softc(unit).unwrap();
        let before = softc.reader.take();
        if let Some(before) = before
            && softc.consumers[&before].under_way == 0
        {
            softc.consumers.remove(&before);
        }
        let Some(media_size) = media_size else {
            return Err(Errno::EINVAL);
        };
        let aligned = offset.is_multiple_of(u64::from(softc.sector_size));
        let fits = aligned && softc.size + offset <= media_size;
        let disk = disk.to_owned();
        softc.consumers.insert(id, Consumer { disk, under_way: 0 });
        if !fits {
            self.note_crash("g_gate_modify returned with the topology lock held");
            return Err(Errno::EINVAL);
        }
        softc.read_offset = offset;
        softc.reader = Some(id);
        Ok(())
    }
}
