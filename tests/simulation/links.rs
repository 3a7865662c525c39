//! Messages and connections in the world: sent, delivered, closed by one end, noticed by the other,
//! and what the death of a worker does to them.

use crate::dialect;
use crate::network::Message;
use crate::node::Worker;
use crate::world::{Happening, World};

impl World {
    /// Sends a message.
    pub fn send(&mut self, connection: u64, to: usize, message: Message) {
        let delay = self.profile.network_delay(&mut self.rng);
        let Some(link) = self.connections.get_mut(&connection) else {
            return;
        };
        if !link.open[1 - to] {
            return;
        }
        let (time, number) = link.send(to, self.now, delay);
        let message = Box::new(message);
        self.at(
            time,
            Happening::Deliver {
                connection,
                to,
                number,
                message,
            },
        );
    }

    pub fn deliver(&mut self, connection: u64, to: usize, message: Message) {
        if self
            .connections
            .get(&connection)
            .is_some_and(|link| link.primary == to)
        {
            self.answered(to, connection, message);
        } else if let Message::Hello(hello) = message {
            self.hello(to, connection, *hello);
        } else {
            self.received(to, connection, message);
        }
    }

    /// Whether a node's end of a connection is open.
    pub fn is_open(&self, connection: u64, node: usize) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|link| link.open[node])
    }

    /// A node closes its end; the other learns of it.
    pub fn close_end(&mut self, connection: u64, node: usize) {
        let delay = self.profile.network_delay(&mut self.rng);
        let Some(link) = self.connections.get_mut(&connection) else {
            return;
        };
        if !std::mem::replace(&mut link.open[node], false) {
            return;
        }
        let other = 1 - node;
        if !link.open[other] {
            self.connections.remove(&connection);
            return;
        }
        let time = (self.now + delay).max(link.last_arrival(other));
        self.at(
            time,
            Happening::Closed {
                connection,
                node: other,
            },
        );
    }

    /// A node finds its connection closed.
    pub fn closed(&mut self, connection: u64, node: usize) {
        let Some(link) = self.connections.get(&connection) else {
            return;
        };
        if !link.open[node] {
            return;
        }
        let by_us = link.primary == node;
        self.note(|| format!("node {node} sees connection {connection} closed"));
        if by_us {
            self.link_lost(node);
        } else if let Some(driver) = self.nodes[node].secondary()
            && driver.connection == Some(connection)
        {
            driver.connection = None;
        }
        self.close_end(connection, node);
    }

    /// The process of a node's worker dies. Its disk keeps what it has.
    pub fn kill(&mut self, node: usize) {
        self.end_worker(node, false);
    }

    /// The worker dies, with `torn` in a power cut.
    pub fn end_worker(&mut self, node: usize, torn: bool) {
        self.note(|| format!("node {node}: the worker dies"));
        let mine: Vec<u64> = self.connections.keys().copied().collect();
        for connection in mine {
            if self.rng.bool()
                && let Some(link) = self.connections.get_mut(&connection)
            {
                link.lose(1 - node, &mut self.rng);
            }
            self.close_end(connection, node);
        }
        self.evict(node);
        let tears = torn && self.profile.torn;
        self.nodes[node].abandon_jobs(tears, &mut self.rng);
        let lasting = self.profile.lasting_device && !torn;
        if !lasting {
            self.oracle.consumers[node].turn(false);
        }
        self.bury_worker(node);
        if !torn {
            self.check_promise(node);
        }
    }

    /// What a dead worker leaves behind.
    fn bury_worker(&mut self, node: usize) {
        match std::mem::replace(&mut self.nodes[node].worker, Worker::None) {
            Worker::None => {}
            Worker::Primary(_) => {
                let disks = [&self.nodes[0].disk, &self.nodes[1].disk];
                self.oracle.crashed(node, disks);
            }
            Worker::Secondary(driver) => {
                let lost = driver.only_in_memory();
                let disk = &mut self.nodes[node].disk;
                dialect::secondary_died(disk, !lost.is_empty());
                for range in lost {
                    let lost = crate::disk::sectors(range);
                    let leant_on = self.nodes[1 - node].leans_on_peer();
                    let disk = &self.nodes[node].disk;
                    self.oracle.memory_lost(node, leant_on, lost, disk);
                }
            }
        }
    }
}
