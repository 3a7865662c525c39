//! Two nodes and a witness, played from a seed: requests and answers are late, lost, or come after
//! later ones; nodes and the witness crash; clocks run at different rates. Whatever happens, the
//! nodes never both have a lease, and none is granted one without force while the other is alone.

use std::collections::BTreeMap;

use super::*;
use crate::witness::client::LIMIT;

const NODES: [&str; 2] = ["a", "b"];

/// Milliseconds of true time.
type Time = u64;

/// How long a request may be on its way, and the witness keeps a connection open.
const DELAY: Time = 5000;

/// How far a clock's rate is off, in millionths: two of them are apart by less than the margin allows.
const DRIFT: u64 = 8000;

#[derive(Debug, Clone)]
enum Ask {
    Acquire(Acquire),
    Release,
}

#[derive(Debug, Clone)]
enum Event {
    /// A node does something, unless it has done something since.
    Think { node: usize, turn: u64 },
    /// The witness accepts a connection: the order of requests.
    Accepted { node: usize, turn: u64 },
    /// A node has a connection, and sends its request.
    Connected { node: usize, turn: u64, order: u64 },
    /// A request arrives.
    Request {
        node: usize,
        turn: u64,
        life: u64,
        order: u64,
        ask: Ask,
    },
    /// An answer arrives.
    Answer {
        node: usize,
        turn: u64,
        granted: bool,
    },
    /// The witness crashes.
    Crash,
    /// It starts again.
    Start,
}

#[derive(Debug, Default)]
struct Node {
    /// Counts what it began: answers to what it gave up are of no interest.
    turn: u64,
    asked: Option<(Time, Ask)>,
    rate: u64,
    /// Until then it acts as the master.
    until: Time,
    /// It was told that it may write without the other, and has not taken that back.
    alone: bool,
}

#[derive(Debug, Default)]
struct Seen {
    grants: u64,
    changes: u64,
    alone: u64,
    overtaken: u64,
    quiet: u64,
    forced: u64,
}

struct Play {
    random: fastrand::Rng,
    now: Time,
    queue: BTreeMap<(Time, u64), Event>,
    number: u64,
    zero: Instant,
    rate: u64,
    table: Option<Table>,
    records: Records,
    /// Lives of the witness: a request of an earlier one's connection is lost.
    life: u64,
    accepted: u64,
    nodes: [Node; 2],
    last: Option<usize>,
    seen: Seen,
}

/// True time as a clock of a rate shows it; rates are around a million.
fn shown(time: Time, rate: u64) -> Duration {
    Duration::from_micros(time * rate / 1000)
}

/// The true time that a clock of a rate takes for a duration.
fn lasts(time: Duration, rate: u64) -> Time {
    time.as_micros() as u64 * 1000 / rate
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut rate = || match random.u8(..3) {
            0 => 1_000_000 - DRIFT,
            1 => 1_000_000 + DRIFT,
            _ => random.u64(1_000_000 - DRIFT..=1_000_000 + DRIFT),
        };
        let rates = [rate(), rate(), rate()];
        let node = |rate| Node {
            rate,
            ..Node::default()
        };
        let mut play = Self {
            random,
            now: 0,
            queue: BTreeMap::new(),
            number: 0,
            zero: Instant::now(),
            rate: rates[2],
            table: None,
            records: Records::new(),
            life: 0,
            accepted: 0,
            nodes: [node(rates[0]), node(rates[1])],
            last: None,
            seen: Seen::default(),
        };
        play.after(0, Event::Start);
        for node in 0..2 {
            play.after(node as Time, Event::Think { node, turn: 0 });
        }
        play
    }

    fn after(&mut self, time: Time, event: Event) {
        self.number += 1;
        self.queue.insert((self.now + time, self.number), event);
    }

    /// Mostly short, sometimes as long as can be.
    fn delay(&mut self) -> Time {
        match self.random.u8(..10) {
            0 => self.random.u64(..DELAY),
            _ => self.random.u64(..50),
        }
    }

    fn run(mut self, events: usize) -> Seen {
        for _ in 0..events {
            let Some(((now, _), event)) = self.queue.pop_first() else {
                break;
            };
            self.now = now;
            self.happen(event);
        }
        self.seen
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Think { node, turn } if turn == self.nodes[node].turn => self.think(node),
            Event::Accepted { node, turn } if self.table.is_some() => {
                self.accepted += 1;
                let order = self.accepted;
                let delay = self.delay();
                self.after(delay, Event::Connected { node, turn, order });
            }
            Event::Connected { node, turn, order } if turn == self.nodes[node].turn => {
                self.send(node, turn, order);
            }
            Event::Request {
                node,
                turn,
                life,
                order,
                ask,
            } if life == self.life => {
                self.decide(node, turn, order, &ask);
            }
            Event::Answer {
                node,
                turn,
                granted,
            } if turn == self.nodes[node].turn => {
                if granted {
                    self.granted(node);
                }
                self.nodes[node].asked = None;
                // Sometimes it lets its lease run out.
                let longest = if self.random.u8(..10) == 0 {
                    90_000
                } else {
                    4000
                };
                let pause = self.random.u64(..longest);
                self.next_turn(node, pause);
            }
            Event::Crash => {
                self.table = None;
                self.life += 1;
                let pause = self.random.u64(..2000);
                self.after(pause, Event::Start);
            }
            Event::Start => {
                let now = self.zero + shown(self.now, self.rate);
                self.table = Some(Table::new(self.records.clone(), now));
                let pause = self.random.u64(1000..600_000);
                self.after(pause, Event::Crash);
            }
            // What comes to those who have given it up, or to a witness that is not there.
            _ => {}
        }
    }

    fn next_turn(&mut self, node: usize, pause: Time) {
        self.nodes[node].turn += 1;
        let turn = self.nodes[node].turn;
        self.after(pause, Event::Think { node, turn });
    }

    /// A node begins something new, giving up what it has begun before.
    fn think(&mut self, node: usize) {
        self.nodes[node].turn += 1;
        let turn = self.nodes[node].turn;
        let ask = match self.random.u8(..20) {
            0 => {
                // It crashes: what it knew of its lease is lost, what it wrote is not.
                self.nodes[node].until = 0;
                let pause = self.random.u64(..90_000);
                self.after(pause, Event::Think { node, turn });
                return;
            }
            1 | 2 => Ask::Release,
            _ => Ask::Acquire(self.choose(node)),
        };
        self.nodes[node].asked = Some((0, ask));
        let delay = self.delay();
        self.after(delay, Event::Accepted { node, turn });
        let limit = lasts(LIMIT, self.nodes[node].rate);
        self.after(limit, Event::Think { node, turn });
    }

    fn choose(&mut self, node: usize) -> Acquire {
        let seconds = match self.random.u8(..4) {
            0 => 60,
            _ => self.random.u64(3..=6),
        };
        Acquire {
            group: "g".to_owned(),
            node: NODES[node].to_owned(),
            time: Duration::from_secs(seconds),
            copies: match self.random.u8(..6) {
                0 | 1 => Copies::OnlyMine,
                2 | 3 => Copies::Both,
                _ => Copies::AsRecorded,
            },
            force: self.random.u8(..40) == 0,
        }
    }

    fn send(&mut self, node: usize, turn: u64, order: u64) {
        let Some((sent, ask)) = &mut self.nodes[node].asked else {
            return;
        };
        *sent = self.now;
        let ask = ask.clone();
        match &ask {
            // It stops being the master before it says so.
            Ask::Release => self.nodes[node].until = 0,
            Ask::Acquire(asked) if asked.copies == Copies::Both => self.nodes[node].alone = false,
            Ask::Acquire(_) => {}
        }
        let (life, delay) = (self.life, self.delay());
        self.after(
            delay,
            Event::Request {
                node,
                turn,
                life,
                order,
                ask,
            },
        );
    }

    fn decide(&mut self, node: usize, turn: u64, order: u64, ask: &Ask) {
        let now = self.zero + shown(self.now, self.rate);
        let Some(table) = &mut self.table else {
            return;
        };
        let planned = match ask {
            Ask::Acquire(asked) => table.acquire(now, order, asked).map(Some),
            Ask::Release => table.release(order, "g", NODES[node]),
        };
        let granted = matches!((&planned, ask), (Ok(_), Ask::Acquire(_)));
        if granted && matches!(ask, Ask::Acquire(asked) if asked.force) {
            // Whether it hears of it or not: a person has given up what the other has alone.
            let other = &mut self.nodes[1 - node];
            self.seen.forced += u64::from(std::mem::take(&mut other.alone));
        }
        match planned {
            Ok(Some(plan)) => {
                if plan.is_durable() {
                    self.records = table.records_with(&plan);
                }
                if self.random.u8(..200) == 0 {
                    // It is stored, and that is all.
                    self.after(0, Event::Crash);
                    return;
                }
                table.commit(plan);
            }
            Ok(None) | Err(Refusal::Held { .. }) => {}
            Err(Refusal::Overtaken) => self.seen.overtaken += 1,
            Err(Refusal::Alone { .. }) => self.seen.alone += 1,
            Err(Refusal::Quiet { .. }) => self.seen.quiet += 1,
            Err(other) => panic!("{other}"),
        }
        let delay = self.delay();
        self.after(
            delay,
            Event::Answer {
                node,
                turn,
                granted,
            },
        );
    }

    /// A node hears that it has the lease.
    fn granted(&mut self, node: usize) {
        let Some((sent, Ask::Acquire(asked))) = self.nodes[node].asked.clone() else {
            return;
        };
        let until = sent + lasts(asked.time, self.nodes[node].rate);
        let other = &mut self.nodes[1 - node];
        assert!(
            other.until <= self.now || until <= self.now,
            "both have a lease at {}",
            self.now
        );
        assert!(
            !other.alone,
            "{} alone has what was written last, at {}",
            NODES[1 - node],
            self.now
        );
        self.nodes[node].until = until;
        self.nodes[node].alone |= asked.copies == Copies::OnlyMine;
        self.seen.grants += 1;
        self.seen.changes += u64::from(self.last.replace(node) == Some(1 - node));
    }
}

#[test]
fn never_two_holders_and_never_the_one_that_lacks_something() {
    let mut all = Seen::default();
    for seed in 0..500 {
        let played = std::panic::catch_unwind(|| Play::new(seed).run(4000));
        let Ok(seen) = played else {
            panic!("seed {seed}");
        };
        all.grants += seen.grants;
        all.changes += seen.changes;
        all.alone += seen.alone;
        all.overtaken += seen.overtaken;
        all.quiet += seen.quiet;
        all.forced += seen.forced;
    }
    // Enough of everything to be worth something.
    let enough = [
        (all.grants, 50_000),
        (all.changes, 3_000),
        (all.alone, 2_000),
        (all.overtaken, 100),
        (all.quiet, 2_000),
        (all.forced, 100),
    ];
    assert!(enough.iter().all(|(seen, least)| seen >= least), "{all:?}");
}
