//! What applications do: reads, writes, deletes and flushes, several at once, on few sectors, so
//! that they meet each other. Wherever a primary runs, something uses it.

use hast::engine::{Command, Range, Request};

use crate::disk::{SECTOR, Value};
use crate::world::{Happening, World};

/// What the write of this number leaves in a sector: different from all else, and 0 never.
fn stamp(id: u64, sector: usize) -> Value {
    id << 16 | sector as u64
}

impl World {
    /// The applications of a node do something, and will again.
    pub fn application(&mut self, node: usize) {
        if self.calm {
            return;
        }
        self.after_up_to(self.profile.pause * 2, Happening::Application { node });
        let depth = self.profile.depth;
        let busy = self.oracle.waiting(node) >= depth;
        let ready = self.nodes[node]
            .primary()
            .is_some_and(|driver| !driver.stopping);
        if busy || !ready {
            return;
        }
        // Now and then whoever uses the device lets go of it.
        let open = self.oracle.waiting(node) > 0 || self.rng.u8(..64) > 0;
        self.set_open(node, open);
        if !open {
            return;
        }
        let burst = self.rng.usize(1..=1 + depth / 4);
        for _ in 0..burst {
            let request = self.request();
            let value = move |sector| match request.command {
                Command::Write => stamp(request.id, sector),
                Command::Read | Command::Delete | Command::Flush => 0,
            };
            self.submit(node, request, value);
        }
    }

    fn request(&mut self) -> Request {
        let command = match self.rng.u8(..100) {
            0..55 => Command::Write,
            55..85 => Command::Read,
            85..93 => Command::Delete,
            _ => Command::Flush,
        };
        let id = self.next_request;
        self.next_request += 1;
        if command == Command::Flush {
            return Request {
                id,
                command,
                range: Range::new(0, 0),
            };
        }
        let all = self.profile.sectors();
        let span = if self.rng.u8(..10) == 0 {
            all
        } else {
            self.profile.hot
        };
        let start = self.rng.usize(..span.min(all));
        let length = self.rng.usize(1..=self.profile.longest).min(all - start);
        let range = Range::new(start as u64 * SECTOR, length as u64 * SECTOR);
        Request { id, command, range }
    }

    /// Reads everything once, for the oracle to compare.
    pub fn read_everything(&mut self, node: usize) {
        self.set_open(node, true);
        let id = self.next_request;
        self.next_request += 1;
        let range = Range::new(0, self.profile.sectors() as u64 * SECTOR);
        self.submit(
            node,
            Request {
                id,
                command: Command::Read,
                range,
            },
            |_| 0,
        );
    }
}
