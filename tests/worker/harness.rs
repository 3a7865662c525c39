//! Nodes for tests: a primary and a secondary worker, each in threads of this process, and what
//! hastd's main process does for them.

use std::fs;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hast::config::{Config, NodeNames, Resource};
use hast::control::{Condition, Permit, WorkerStatus};
use hast::disk::{self, CreateOptions};
use hast::engine::primary::{Hello, Promotion};
use hast::layout::{Metadata, Record, Standing};
use hast::passing;
use hast::provider::nbd::ListenAddress;
use hast::provider::nbd::client::Client;
use hast::wire::frame::{self, Limits, Message};
use hast::wire::handshake::{HelloAnswer, Opening, Situation, Start};
use hast::worker::Surroundings;
use hast::worker::channel::{
    Assignment, Begin, DeviceFate, FromWorker, HookEvent, Introduction, LIMITS, ToWorker,
};

/// How long anything in these tests may take.
pub const LIMIT: Duration = Duration::from_secs(30);
/// The size of a component, in bytes.
pub const SIZE: u64 = 16 << 20;
/// Where its data begins.
pub const DATA: usize = 4608;

/// Waits until something is so; fails if it is not in time.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A node's files.
pub struct Node {
    pub resource: Resource,
    folder: PathBuf,
    name: &'static str,
}

impl Node {
    /// A node with a new component. `settings` are statements of its resource.
    pub fn new(folder: &Path, name: &'static str, settings: &str) -> Self {
        let node = Self::over(folder, name, settings);
        fs::File::create(&node.resource.local)
            .unwrap()
            .set_len(SIZE)
            .unwrap();
        drop(disk::create(&node.resource.local, "disk1", CreateOptions::default()).unwrap());
        node
    }

    /// A node over the component that is there.
    pub fn over(folder: &Path, name: &'static str, settings: &str) -> Self {
        let at = folder.display();
        let text = format!(
            "resource disk1 {{ provider nbd unix://{at}/{name}.sock local {at}/{name}.img timeout 5\n\
             {settings} on here {{ remote 127.0.0.1 }} }}"
        );
        let config = Config::parse(&text, Path::new("hast.conf"), &NodeNames::named("here"));
        let resource = config.unwrap().resources.pop().unwrap();
        Self {
            resource,
            folder: folder.to_owned(),
            name,
        }
    }

    pub fn metadata(&self) -> Metadata {
        Metadata::decode(&fs::read(&self.resource.local).unwrap()[..4096]).unwrap()
    }

    /// What the component holds.
    pub fn data(&self) -> Vec<u8> {
        fs::read(&self.resource.local).unwrap().split_off(DATA)
    }

    pub fn client(&self) -> Client {
        let address = ListenAddress::Unix(self.folder.join(format!("{}.sock", self.name)));
        Client::connect(&address, "disk1", LIMIT).unwrap()
    }
}

/// A worker, and the main process's end of its socket.
pub struct Worker {
    socket: Arc<UnixStream>,
    heard: Arc<Heard>,
    thread: Option<JoinHandle<u8>>,
    listener: Option<JoinHandle<()>>,
    number: AtomicU32,
}

/// What a worker has said.
#[derive(Default)]
pub struct Heard {
    messages: Mutex<Vec<FromWorker>>,
    changed: Condvar,
}

/// Makes connections for a primary.
pub type Connector = Box<dyn Fn() -> Result<TcpStream, String> + Send>;

impl Worker {
    fn start(
        surroundings: Surroundings,
        begin: Begin,
        connections: &[OwnedFd],
        connector: Option<Connector>,
    ) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || hast::worker::run_with(theirs, surroundings));
        let socket = Arc::new(ours);
        let heard = Arc::new(Heard::default());
        let listener = {
            let (socket, heard) = (socket.clone(), heard.clone());
            thread::spawn(move || listen(&socket, &heard, connector.as_ref()))
        };
        let worker = Self {
            socket,
            heard,
            thread: Some(thread),
            listener: Some(listener),
            number: AtomicU32::new(0),
        };
        send(
            &worker.socket,
            &ToWorker::Begin(Box::new(begin)),
            connections,
        )
        .unwrap();
        worker
    }

    /// A primary on this node.
    pub fn primary(node: &Node, promotion: Promotion, connector: Connector) -> Self {
        Self::primary_in(Surroundings::default(), node, promotion, connector)
    }

    /// A primary on this node that begins with this permit to go on alone.
    pub fn primary_under(node: &Node, permit: Permit, connector: Connector) -> Self {
        let begin = Begin {
            resource: node.resource.clone(),
            assignment: Assignment::Primary(Promotion::Asked),
            permit,
            debug: 0,
            foreground: true,
        };
        Self::start(Surroundings::default(), begin, &[], Some(connector))
    }

    /// A primary on this node, with its surroundings.
    pub fn primary_in(
        surroundings: Surroundings,
        node: &Node,
        promotion: Promotion,
        connector: Connector,
    ) -> Self {
        let begin = Begin {
            resource: node.resource.clone(),
            assignment: Assignment::Primary(promotion),
            permit: Permit::Free,
            debug: 0,
            foreground: true,
        };
        Self::start(surroundings, begin, &[], Some(connector))
    }

    /// A secondary that was introduced to a primary.
    pub fn secondary(node: &Node, introduction: Introduction, pair: &[OwnedFd; 2]) -> Self {
        let begin = Begin {
            resource: node.resource.clone(),
            assignment: Assignment::Secondary(introduction),
            permit: Permit::Free,
            debug: 0,
            foreground: true,
        };
        Self::start(Surroundings::default(), begin, pair, None)
    }

    pub fn tell(&self, message: &ToWorker) {
        send(&self.socket, message, &[]).unwrap();
    }

    /// Waits until the worker has said something like this, and returns it.
    #[track_caller]
    pub fn hear(&self, is_it: impl Fn(&FromWorker) -> bool) -> FromWorker {
        let deadline = Instant::now() + LIMIT;
        let mut messages = self.heard.messages.lock().unwrap();
        loop {
            if let Some(found) = messages.iter().find(|message| is_it(message)) {
                return found.clone();
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            assert!(!wait.is_zero(), "not in time; heard {messages:?}");
            messages = self.heard.changed.wait_timeout(messages, wait).unwrap().0;
        }
    }

    #[track_caller]
    pub fn started(&self) {
        let heard = self
            .hear(|message| matches!(message, FromWorker::Started | FromWorker::Refused { .. }));
        assert_eq!(heard, FromWorker::Started);
    }

    /// How often a hook was asked for.
    pub fn hooks(&self, event: HookEvent) -> usize {
        let messages = self.heard.messages.lock().unwrap();
        messages
            .iter()
            .filter(|message| **message == FromWorker::Hook(event))
            .count()
    }

    #[track_caller]
    pub fn status(&self) -> WorkerStatus {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        self.tell(&ToWorker::Status { number });
        let report = self.hear(
            |message| matches!(message, FromWorker::Report { number: n, .. } if *n == number),
        );
        let FromWorker::Report { status, .. } = report else {
            unreachable!()
        };
        WorkerStatus::from_nv(&status).unwrap()
    }

    #[track_caller]
    pub fn becomes(&self, condition: Condition) {
        let mut last = None;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let status = self.status();
            if status.condition == condition {
                return;
            }
            last = Some(status);
            thread::sleep(Duration::from_millis(5));
        }
        panic!("does not become {condition}: {last:#?}");
    }

    /// Ends it in an orderly way; returns its exit code.
    pub fn stop(mut self) -> u8 {
        // One that has ended already has closed its socket.
        let _ = send(&self.socket, &ToWorker::Stop(DeviceFate::Release), &[]);
        self.join()
    }

    /// Waits for its end; returns its exit code.
    pub fn join(&mut self) -> u8 {
        let code = self.thread.take().unwrap().join().unwrap();
        let _ = self.socket.shutdown(Shutdown::Both);
        self.listener.take().unwrap().join().unwrap();
        code
    }

    /// As if the main process had died: what is left of the worker ends at once.
    #[cfg(target_os = "linux")]
    pub fn abandon(mut self) -> u8 {
        let _ = self.socket.shutdown(Shutdown::Both);
        self.join()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.socket.shutdown(Shutdown::Both);
            let _ = self.thread.take().unwrap().join();
            let _ = self.listener.take().unwrap().join();
        }
    }
}

fn send(socket: &UnixStream, message: &ToWorker, descriptors: &[OwnedFd]) -> io::Result<()> {
    let bytes = message.encode();
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let sent = passing::send(socket, &bytes, &borrowed)?;
    let mut rest = socket;
    rest.write_all(&bytes[sent..])
}

fn listen(socket: &UnixStream, heard: &Heard, connector: Option<&Connector>) {
    let mut reader = socket;
    while let Ok(message) = Message::read_from(&mut reader, LIMITS) {
        let message = FromWorker::decode(message.nv.view()).unwrap();
        if let (FromWorker::Connect { number }, Some(connect)) = (&message, connector) {
            let number = *number;
            let answered = match connect() {
                Ok(stream) => send(socket, &ToWorker::Connection { number }, &[stream.into()]),
                Err(reason) => send(socket, &ToWorker::ConnectionFailed { number, reason }, &[]),
            };
            // The worker may have ended meanwhile.
            let _ = answered;
        }
        heard.messages.lock().unwrap().push(message);
        heard.changed.notify_all();
    }
}

/// What a primary has said of itself.
pub fn introduced(start: &Start) -> Hello {
    let standing = |record| Standing {
        resuid: start.resuid,
        localcnt: start.localcnt,
        remotecnt: start.remotecnt,
        record,
    };
    let virgin = start.virgin;
    match start.ours.clone() {
        Some(Situation {
            record,
            holds,
            leans,
        }) => Hello {
            standing: standing(record),
            virgin,
            holds,
            leans,
        },
        // Base's.
        None => Hello {
            standing: standing(Record::of_base(start.resuid)),
            virgin,
            holds: false,
            leans: false,
        },
    }
}

/// The secondary's side of a network: accepts primaries and starts a worker for each, one at a time.
pub struct Host {
    shared: Arc<HostShared>,
    thread: Option<JoinHandle<()>>,
}

struct HostShared {
    node: Node,
    address: SocketAddr,
    /// The worker that serves now.
    worker: Mutex<Option<Worker>>,
    /// Exit codes of those that ended.
    codes: Mutex<Vec<u8>>,
    streams: Mutex<Vec<TcpStream>>,
    /// What is accepted is dropped at once.
    deaf: AtomicBool,
    ended: AtomicBool,
}

impl Host {
    pub fn new(node: Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(HostShared {
            node,
            address: listener.local_addr().unwrap(),
            worker: Mutex::new(None),
            codes: Mutex::default(),
            streams: Mutex::default(),
            deaf: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let thread = {
            let shared = shared.clone();
            thread::spawn(move || shared.accept(&listener))
        };
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// For a primary on another node.
    pub fn connector(&self) -> Connector {
        let address = self.shared.address;
        Box::new(move || TcpStream::connect(address).map_err(|error| error.to_string()))
    }

    /// Breaks the connections that there are now.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether connections are refused from here on.
    pub fn set_deaf(&self, deaf: bool) {
        self.shared.deaf.store(deaf, Ordering::SeqCst);
    }

    /// Exit codes of workers that ended.
    pub fn codes(&self) -> Vec<u8> {
        self.shared.codes.lock().unwrap().clone()
    }

    /// Looks at the worker that serves now.
    pub fn with_worker<T>(&self, look: impl FnOnce(&Worker) -> T) -> Option<T> {
        self.shared.worker.lock().unwrap().as_ref().map(look)
    }

    /// Ends the worker and the listener; returns the node.
    pub fn end(mut self) -> Node {
        self.shut();
        let shared = self.shared.clone();
        drop(self);
        let shared = Arc::try_unwrap(shared).unwrap_or_else(|_| panic!("still in use"));
        shared.node
    }

    fn shut(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = TcpStream::connect(self.shared.address);
            let _ = thread.join();
        }
        self.shared.end_worker();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shut();
    }
}

impl HostShared {
    fn accept(&self, listener: &TcpListener) {
        let mut waiting: Option<(HelloAnswer, TcpStream)> = None;
        for stream in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            if self.deaf.load(Ordering::SeqCst) {
                continue;
            }
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let Ok(message) = Message::read_from(&mut stream, Limits::PEER) else {
                continue;
            };
            match Opening::from_nv(message.nv.view()).unwrap() {
                Opening::Hello(hello) => {
                    let answer = HelloAnswer {
                        version: hello.negotiated(),
                        token: [fastrand::u8(..); 16],
                        extension: hello.extension,
                    };
                    let bytes = frame::encode(2, &answer.to_nv(), &[]);
                    if stream.write_all(&bytes).is_ok() {
                        waiting = Some((answer, stream));
                    }
                }
                Opening::Start(start) => {
                    let (answer, first) = waiting.take().unwrap();
                    assert_eq!(start.token, answer.token);
                    self.begin(&answer, &start, first, stream);
                }
                Opening::Query(query) => panic!("a worker asks nothing: {query:?}"),
            }
        }
    }

    fn begin(&self, answer: &HelloAnswer, start: &Start, first: TcpStream, second: TcpStream) {
        self.end_worker();
        let mut streams = self.streams.lock().unwrap();
        streams.extend([first.try_clone().unwrap(), second.try_clone().unwrap()]);
        drop(streams);
        let introduction = Introduction {
            version: answer.version,
            extension: answer.extension.unwrap_or(0),
            hello: introduced(start),
        };
        let pair = [first.into(), second.into()];
        *self.worker.lock().unwrap() = Some(Worker::secondary(&self.node, introduction, &pair));
    }

    fn end_worker(&self) {
        if let Some(worker) = self.worker.lock().unwrap().take() {
            self.codes.lock().unwrap().push(worker.stop());
        }
    }
}
