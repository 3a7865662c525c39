//! What goes wrong. Everything here could happen to two real machines.
//! What operators then do about it is in `operators`.

use hast::engine::primary::{Event, Promotion};
use hast::engine::{Owner, Request};
use hast::terms::{Replication, Role};

use crate::disk::sectors;
use crate::node::{Shared, Worker};
use crate::world::{Happening, World};

impl World {
    /// Something bad happens, and will again.
    pub fn adversary(&mut self) {
        if self.calm {
            return;
        }
        self.after_up_to(self.profile.calamity * 2, Happening::Adversary);
        let total: u32 = self.profile.weights.iter().sum();
        if total == 0 {
            return;
        }
        let mut chosen = self.rng.u32(..total);
        let index = self.profile.weights.iter().position(|weight| {
            let here = chosen < *weight;
            chosen = chosen.saturating_sub(*weight);
            here
        });
        let node = self.rng.usize(..2);
        match index.unwrap_or(0) {
            0 => self.kill_worker(node),
            1 => self.cut_power(node),
            2 => self.cut_connections(),
            3 => self.fall_silent(),
            4 => self.take_network_down(),
            5 => self.change_mode(node),
            6 => self.switch_over(),
            7 => self.promote_apart(node),
            9 => self.insist(node, Promotion::Forced, 8),
            10 => self.take_image(node),
            11 => self.put_back(node),
            12 => self.replace(node),
            _ => {
                // Both at once: the power of a room.
                self.cut_power(0);
                self.cut_power(1);
                self.favourite = node;
            }
        }
    }

    /// A primary loses its power while its peer may be half synchronised, and the peer is to take over.
    pub fn ambush(&mut self, node: usize, both: bool) {
        if !self.calm && self.nodes[node].primary().is_some() {
            self.favourite = 1 - node;
            self.cut_power(node);
            if both {
                self.cut_power(1 - node);
            }
        }
    }

    fn kill_worker(&mut self, node: usize) {
        let was_primary = self.nodes[node].primary().is_some();
        let waiting = self.unanswered(node);
        self.kill(node);
        if was_primary {
            self.nodes[node].requeued = waiting;
            let worker = self.nodes[node].incarnation;
            self.after_up_to(200_000, Happening::Resume { node, worker });
        }
    }

    /// What applications wait for, where the device outlives the worker and asks the next one again.
    fn unanswered(&mut self, node: usize) -> Vec<(Request, Shared)> {
        let lasting = self.profile.lasting_device;
        let Some(driver) = self.nodes[node].primary().filter(|_| lasting) else {
            return Vec::new();
        };
        let data = |request: &Request| driver.buffers.get(&Owner::Request(request.id)).cloned();
        let requests = driver.requests.values();
        requests
            .filter_map(|request| Some((*request, data(request)?)))
            .collect()
    }

    /// The daemon replaces a primary worker that died.
    pub fn resume(&mut self, node: usize, worker: u64) {
        let mut requeued = std::mem::take(&mut self.nodes[node].requeued);
        let this = &self.nodes[node];
        let wanted = this.powered && this.role == Role::Primary && this.incarnation == worker;
        let free = matches!(this.worker, Worker::None);
        if !wanted || !free {
            return;
        }
        if self.promote(node, Promotion::Resumed).is_err() {
            self.nodes[node].role = Role::Init;
            return;
        }
        self.rng.shuffle(&mut requeued);
        for (mut request, data) in requeued {
            request.id = self.next_request;
            self.next_request += 1;
            let (start, values) = (
                sectors(request.range).start,
                data.borrow().values().to_vec(),
            );
            self.submit(node, request, |sector| values[sector - start]);
        }
    }

    pub fn cut_power(&mut self, node: usize) {
        if !self.nodes[node].powered {
            return;
        }
        self.note(|| format!("node {node}: power cut"));
        let timeout = self.profile.timeout;
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for connection in all {
            // Nobody says that it is gone.
            let Some(link) = self.connections.get_mut(&connection) else {
                continue;
            };
            link.lose(1 - node, &mut self.rng);
            if std::mem::replace(&mut link.open[node], false) {
                self.after_up_to(
                    timeout,
                    Happening::Closed {
                        connection,
                        node: 1 - node,
                    },
                );
            }
        }
        self.end_worker(node, true);
        self.oracle.consumers[node].turn(false);
        self.nodes[node].disk.power_cut(&mut self.rng);
        let leant_on = self.nodes[1 - node].leans_on_peer();
        self.oracle.power_cut(node, leant_on);
        self.check_promise(node);
        self.nodes[node].powered = false;
        self.nodes[node].role = Role::Init;
        self.after_up_to(800_000, Happening::PowerOn { node });
    }

    /// The power is back.
    pub fn power_on(&mut self, node: usize) {
        self.nodes[node].powered = true;
    }

    fn cut_connections(&mut self) {
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for connection in all {
            self.note(|| format!("connection {connection} is cut"));
            let Some(link) = self.connections.get_mut(&connection) else {
                continue;
            };
            link.lose(0, &mut self.rng);
            link.lose(1, &mut self.rng);
            let most = self.profile.timeout / 4;
            for node in 0..2 {
                self.after_up_to(most, Happening::Closed { connection, node });
            }
        }
    }

    fn fall_silent(&mut self) {
        let deaf = self.rng.usize(..2);
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for connection in all {
            self.note(|| format!("connection {connection} is silent towards node {deaf}"));
            let Some(link) = self.connections.get_mut(&connection) else {
                continue;
            };
            link.lose(deaf, &mut self.rng);
            let timeout = self.profile.timeout;
            self.after(
                timeout,
                Happening::Closed {
                    connection,
                    node: deaf,
                },
            );
            let later = timeout / 2 + self.rng.u64(..=timeout);
            self.after(
                later,
                Happening::Closed {
                    connection,
                    node: 1 - deaf,
                },
            );
        }
    }

    fn take_network_down(&mut self) {
        if self.network_up {
            self.network_up = false;
            self.cut_connections();
            self.after_up_to(1_500_000, Happening::NetworkUp);
        }
    }

    /// A permit runs out, or is given, and will be again.
    pub fn change_permit(&mut self, node: usize) {
        let Some(most) = self.profile.permits.filter(|_| !self.calm) else {
            return;
        };
        self.after_up_to(most, Happening::Permit { node });
        let permitted = !self.nodes[node].permitted;
        self.set_permit(node, permitted);
    }

    pub fn set_permit(&mut self, node: usize, permitted: bool) {
        self.nodes[node].permitted = permitted;
        self.feed_primary(node, Event::Permit(permitted));
    }

    fn change_mode(&mut self, node: usize) {
        let mode = Replication::ALL[self.rng.usize(..3)];
        if let Some(driver) = self.nodes[node].primary() {
            driver.replication = mode;
            self.feed_primary(node, Event::SetReplication(mode));
        }
    }
}
