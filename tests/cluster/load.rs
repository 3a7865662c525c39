//! A verifying writer: an NBD client that keeps several requests in flight on random blocks,
//! writes stamps, enters in a ledger what was acknowledged, and holds every read against it.
//! A connection that breaks is made again; what was in flight then may or may not be there.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hast::provider::nbd::ListenAddress;
use hast::provider::nbd::client::{Answer, Asked, Client, ClientError};

use crate::ledger::Ledger;
use crate::stamp::{BLOCK, block_bytes};

/// How long a request, or coming back to a device that went away, may take. Longer than any
/// timeout or back-off that tests configure, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between attempts to connect to a device that is away.
const RETRY: Duration = Duration::from_millis(5);
/// Requests of the final reading in flight, and their length.
const VERIFY_DEPTH: usize = 8;
const VERIFY_BLOCKS: u64 = 64;

/// How a writer behaves.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What it chooses its blocks from.
    pub seed: u64,
    /// Requests in flight.
    pub depth: usize,
    /// Whether requests may be answered with an error (a failing disk).
    pub may_fail: bool,
}

impl Plan {
    /// The usual one.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            depth: 8,
            may_fail: false,
        }
    }
}

/// What a writer did.
#[derive(Debug)]
pub struct Written {
    /// What is known of the device now.
    pub ledger: Ledger,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Reads compared.
    pub reads: u64,
    /// Requests answered with an error.
    pub failed: u64,
    /// Writes that were never answered.
    pub unanswered: u64,
    /// How often the connection was lost.
    pub lost_connections: u64,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    socket: Mutex<PathBuf>,
    acknowledged: AtomicU64,
}

/// A writer at work in a thread of its own.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Written, String>>,
}

impl Load {
    /// Starts to write to the device at a socket.
    pub fn start(socket: &Path, ledger: Ledger, plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            socket: Mutex::new(socket.to_owned()),
            acknowledged: AtomicU64::new(0),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            plan,
            random: fastrand::Rng::with_seed(plan.seed),
            written: Written {
                ledger,
                acknowledged: 0,
                reads: 0,
                failed: 0,
                unanswered: 0,
                lost_connections: 0,
            },
        };
        let thread = thread::spawn(move || writer.run());
        Self { shared, thread }
    }

    /// Goes to another device, from the next connection on.
    pub fn aim(&self, socket: &Path) {
        socket.clone_into(&mut self.shared.socket.lock().expect("no panic under it"));
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether it gave up: something was not as it should be, and [`Self::finish`] says what.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Takes the answers still to come, where there is a connection, and ends.
    pub fn finish(self) -> Result<Written, String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|_| Err("the writer panicked".into()))
    }
}

/// A request in flight.
#[derive(Debug)]
enum Job {
    Write { blocks: Range<u64>, sequence: u64 },
    Read { blocks: Range<u64> },
    Flush,
}

impl Job {
    fn overlaps(&self, other: &Range<u64>) -> bool {
        match self {
            Self::Write { blocks, .. } | Self::Read { blocks } => {
                blocks.start < other.end && other.start < blocks.end
            }
            Self::Flush => false,
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    plan: Plan,
    random: fastrand::Rng,
    written: Written,
}

impl Writer {
    fn run(mut self) -> Result<Written, String> {
        let mut away_since = Instant::now();
        while !self.stopping() {
            let socket = self.shared.socket.lock().expect("no panic under it");
            let address = ListenAddress::Unix(socket.clone());
            drop(socket);
            let mut client = match Client::connect(&address, "", PATIENCE) {
                Ok(client) => client,
                Err(error) if away_since.elapsed() > PATIENCE => {
                    return Err(format!("no device for {PATIENCE:?}: {error}"));
                }
                Err(_) => {
                    thread::sleep(RETRY);
                    continue;
                }
            };
            let mut flight = HashMap::new();
            let ended = self.serve(&mut client, &mut flight);
            let writes = flight
                .values()
                .filter(|job| matches!(job, Job::Write { .. }));
            self.written.unanswered += writes.count() as u64;
            match ended {
                Ok(()) => break,
                Err(Ended::Wrong(what)) => return Err(what),
                Err(Ended::Lost(ClientError::Lost(_))) => self.written.lost_connections += 1,
                Err(Ended::Lost(error)) => return Err(error.to_string()),
            }
            away_since = Instant::now();
        }
        Ok(self.written)
    }

    fn stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Keeps requests in flight until told to stop, then takes the last answers.
    fn serve(&mut self, client: &mut Client, flight: &mut HashMap<u64, Job>) -> Result<(), Ended> {
        loop {
            while !self.stopping() && flight.len() < self.plan.depth {
                self.submit(client, flight)?;
            }
            if flight.is_empty() {
                return Ok(client.flush()?);
            }
            let answer = client.wait()?;
            let job = flight.remove(&answer.cookie).expect("asked for");
            self.judge(job, answer).map_err(Ended::Wrong)?;
        }
    }

    fn submit(&mut self, client: &mut Client, flight: &mut HashMap<u64, Job>) -> Result<(), Ended> {
        let blocks = self.free_blocks(flight);
        let offset = blocks.start * BLOCK as u64;
        let length = (blocks.end - blocks.start) as u32 * BLOCK as u32;
        let (cookie, job) = match self.random.u8(..100) {
            0..4 => (client.submit(Asked::Flush, 0, 0, &[], false)?, Job::Flush),
            4..20 => {
                let cookie = client.submit(Asked::Read, offset, length, &[], false)?;
                (cookie, Job::Read { blocks })
            }
            choice => {
                let zeros = choice < 25;
                let fua = choice > 95;
                let sequence = self.written.ledger.send(blocks.clone(), zeros);
                // Counted before it is sent: it may arrive where sending seems to fail.
                let (asked, bytes) = if zeros {
                    (Asked::Zeroes, Vec::new())
                } else {
                    let bytes = blocks
                        .clone()
                        .flat_map(|block| block_bytes(block, sequence));
                    (Asked::Write, bytes.collect())
                };
                let cookie = client.submit(asked, offset, length, &bytes, fua)?;
                (cookie, Job::Write { blocks, sequence })
            }
        };
        flight.insert(cookie, job);
        Ok(())
    }

    /// A random range that no request in flight touches, mostly one block.
    fn free_blocks(&mut self, flight: &HashMap<u64, Job>) -> Range<u64> {
        let all = self.written.ledger.blocks();
        loop {
            let length = match self.random.u8(..10) {
                0 => self.random.u64(2..=16.min(all)),
                _ => 1,
            };
            let start = self.random.u64(..=all - length);
            let blocks = start..start + length;
            if !flight.values().any(|job| job.overlaps(&blocks)) {
                return blocks;
            }
        }
    }

    fn judge(&mut self, job: Job, answer: Answer) -> Result<(), String> {
        let written = &mut self.written;
        match (job, answer.result) {
            (Job::Write { blocks, sequence }, Ok(_)) => {
                written.ledger.acknowledge(blocks, sequence);
                written.acknowledged += 1;
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            (Job::Read { blocks }, Ok(bytes)) => {
                written.reads += 1;
                let found = written.ledger.check(blocks.start, &bytes);
                found.map_err(|what| format!("wrong data while writing: {what}"))
            }
            (Job::Flush, Ok(_)) => Ok(()),
            // The device is being taken away; the connection will end.
            (_, Err(nix::errno::Errno::ESHUTDOWN)) => Ok(()),
            (_, Err(_)) if self.plan.may_fail => {
                written.failed += 1;
                Ok(())
            }
            (job, Err(errno)) => Err(format!("{job:?} was answered with {errno}")),
        }
    }
}

/// Why a connection ended before the writer was told to stop.
#[derive(Debug)]
enum Ended {
    Lost(ClientError),
    Wrong(String),
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        Self::Lost(error)
    }
}

/// The size in bytes of the device at a socket, once there is one.
pub fn device_size(socket: &Path) -> Result<u64, String> {
    Ok(connect(socket)?.size())
}

/// A client of the device at a socket, once there is one.
pub fn connect(socket: &Path) -> Result<Client, String> {
    let address = ListenAddress::Unix(socket.to_owned());
    let since = Instant::now();
    loop {
        match Client::connect(&address, "", PATIENCE) {
            Ok(client) => return Ok(client),
            Err(error) if since.elapsed() > PATIENCE => return Err(error.to_string()),
            Err(_) => thread::sleep(RETRY),
        }
    }
}

/// Reads a whole device and hands each piece with the number of its first block to `judge`;
/// the number of bytes read.
pub fn read_all(
    socket: &Path,
    blocks: u64,
    mut judge: impl FnMut(u64, &[u8]) -> Result<(), String>,
) -> Result<u64, String> {
    let mut client = connect(socket)?;
    let mut firsts = HashMap::new();
    let (mut next, mut total) = (0, 0);
    while next < blocks || !firsts.is_empty() {
        if next < blocks && firsts.len() < VERIFY_DEPTH {
            let count = VERIFY_BLOCKS.min(blocks - next);
            let length = count as u32 * BLOCK as u32;
            let cookie = client
                .submit(Asked::Read, next * BLOCK as u64, length, &[], false)
                .map_err(|error| error.to_string())?;
            firsts.insert(cookie, next);
            next += count;
            continue;
        }
        let answer = client.wait().map_err(|error| error.to_string())?;
        let first = firsts.remove(&answer.cookie).expect("asked for");
        let bytes = answer
            .result
            .map_err(|errno| format!("reading from block {first} on failed: {errno}"))?;
        judge(first, &bytes)?;
        total += bytes.len() as u64;
    }
    Ok(total)
}

/// Reads a whole device and holds it against a ledger; the number of bytes read.
pub fn verify(socket: &Path, ledger: &Ledger) -> Result<u64, String> {
    read_all(socket, ledger.blocks(), |first, bytes| {
        ledger.check(first, bytes)
    })
}
