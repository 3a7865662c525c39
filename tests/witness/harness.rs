//! A witness of the test's own: in a temporary folder, on a free port, ended with the test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hast::config::Address;
use hast::nv::Nv;
use hast::witness::client::{Grant, Witness, WitnessError};
use hast::witness::leases::{LONGEST, MARGIN, Record, Records};
use hast::witness::message::{Copies, Request};
use hast::witness::protocol::{self, Code, GREETING_SIZE, Kind, Sealed};
use hast::witness::secret::Secret;
use hast::witness::server::{Server, Wish};
use hast::witness::store::Store;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{eventually, wait_within};

/// Longest that anything may take that is expected to happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Longest that an answer may take while others misbehave.
pub const PROMPTLY: Duration = Duration::from_secs(2);

/// The secret of all tests.
pub const SECRET: &str = "a secret of tests, long enough for it";

/// Starts that are tried when another process takes the free port.
const ATTEMPTS: u32 = 10;

pub fn secret() -> Secret {
    Secret::of(SECRET.as_bytes()).unwrap()
}

/// A client of the witness at a port.
pub fn client(port: u16) -> Witness {
    client_with(port, secret())
}

pub fn client_with(port: u16, secret: Secret) -> Witness {
    let address = Address::parse(&format!("127.0.0.1:{port}"), 0).unwrap();
    Witness::new(address, secret)
}

/// Asks for a short lease of the group `g`.
pub fn acquire(witness: &Witness, node: &str) -> Result<Grant, WitnessError> {
    acquire_saying(witness, node, Copies::AsRecorded)
}

pub fn acquire_saying(
    witness: &Witness,
    node: &str,
    copies: Copies,
) -> Result<Grant, WitnessError> {
    witness.acquire("g", node, Duration::from_secs(3), copies, false)
}

/// The group `g` with the nodes a and b, of whom one may hold the lease.
pub fn records(holder: Option<&str>) -> Records {
    let record = Record {
        nodes: vec!["a".to_owned(), "b".to_owned()],
        holder: holder.map(str::to_owned),
        alone: None,
    };
    [("g".to_owned(), record)].into()
}

/// A folder with a secret, for `hastd --witness`.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        let key = place.path("key");
        fs::write(&key, SECRET).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The state file; in a folder that is made by the witness.
    pub fn state(&self) -> PathBuf {
        self.path("db").join("witness")
    }

    /// Puts records into the state file.
    pub fn record(&self, records: &Records) {
        let (mut store, _) = Store::open(&self.state()).unwrap();
        store.write(records).unwrap();
    }

    pub fn command(&self, port: u16) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hastd"));
        command
            .arg("--witness")
            .arg(format!("--listen=127.0.0.1:{port}"))
            .args([Path::new("--secret"), &self.path("key")])
            .args([Path::new("--state"), &self.state()])
            .stdin(Stdio::null());
        command
    }

    /// Runs it in the foreground, where it is expected to fail; its code and what it says.
    pub fn fails(&self, change: impl FnOnce(&mut Command)) -> (i32, String) {
        let mut command = self.command(free_port());
        command.arg("-F");
        change(&mut command);
        let outcome = crate::support::run(&mut command);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        (outcome.status.code().unwrap(), outcome.stderr)
    }

    /// Starts it in the foreground.
    pub fn start(&self) -> Process {
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let mut command = self.command(port);
            let mut child = command
                .args(["-F", "-d"])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let log = follow(&mut child);
            let mut process = Process { child, port, log };
            if process.wait_for_log(&["Started successfully", "ddress already in use"]) == 0 {
                return process;
            }
        }
        panic!("no free port in {ATTEMPTS} attempts");
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A witness in a process of its own.
pub struct Process {
    child: Child,
    pub port: u16,
    log: Receiver<String>,
}

impl Process {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        wait_within(&mut self.child, PATIENCE).expect("it has ended")
    }

    /// Ends it, as a power cut does.
    pub fn crash(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Waits for a new line in its log with one of these texts; which.
    pub fn wait_for_log(&mut self, texts: &[&str]) -> usize {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("none of {texts:?}: {error}"));
            if let Some(found) = texts.iter().position(|text| line.contains(text)) {
                return found;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            // Read on even if nobody wants it, so that the process never waits for us.
            let _ = sender.send(line);
        }
    });
    lines
}

/// A witness in a thread of this process, which was started long ago.
pub struct Settled {
    pub port: u16,
    end: UnixStream,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    _folder: tempfile::TempDir,
}

impl Settled {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("witness")).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (end, ended) = UnixStream::pair().unwrap();
        let before = Instant::now().checked_sub(LONGEST + MARGIN).unwrap();
        let mut server = Server::new(vec![listener.into()], secret(), store, before);
        let thread = std::thread::spawn(move || server.run(ended.as_fd(), || Wish::End));
        Self {
            port,
            end,
            thread: Some(thread),
            _folder: folder,
        }
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        let _ = self.end.write_all(&[0]);
        if std::thread::panicking() {
            return;
        }
        let thread = self.thread.take().unwrap();
        eventually("the witness has ended", || thread.is_finished());
        thread.join().unwrap().unwrap();
    }
}

/// A connection that is opened and spoken on by hand.
pub struct Raw {
    pub stream: TcpStream,
    pub challenge: Code,
}

impl Raw {
    /// Connects, and hears the challenge.
    pub fn connect(port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut greeting = [0; GREETING_SIZE];
        stream.read_exact(&mut greeting).unwrap();
        let challenge = protocol::read_greeting(greeting).unwrap();
        Self { stream, challenge }
    }

    /// A proper request for this connection.
    pub fn seal(&self, request: &Request) -> Sealed {
        let body = request.to_nv().unwrap();
        protocol::seal(&secret(), Kind::Request, &self.challenge, &[5; 32], &body)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The answer to a request with this code.
    pub fn hear(&mut self, code: &Code) -> Nv {
        let mut frame = Vec::new();
        self.stream.read_to_end(&mut frame).unwrap();
        assert_eq!(protocol::frame_size(&frame), Ok(frame.len()), "and no more");
        let (body, _) = protocol::open(&secret(), Kind::Answer, code, &frame).unwrap();
        body
    }

    /// The witness closes without a word.
    #[track_caller]
    pub fn assert_dropped(&mut self) {
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection should have ended: {other:?}"),
        }
    }
}

/// What went through between a client and a witness.
pub struct Recorded {
    pub greeting: Vec<u8>,
    pub request: Vec<u8>,
    pub answer: Vec<u8>,
    /// When the request had come.
    pub asked: Instant,
}

/// Passes one exchange of a client on to the witness at a port; the answer late.
pub fn pass_on(listener: &TcpListener, port: u16, late: Duration) -> Recorded {
    let (mut client, _) = listener.accept().unwrap();
    let mut witness = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut greeting = vec![0; GREETING_SIZE];
    witness.read_exact(&mut greeting).unwrap();
    client.write_all(&greeting).unwrap();
    let mut request = Vec::new();
    while request.len() < protocol::frame_size(&request).unwrap() {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        request.extend_from_slice(&byte);
    }
    let asked = Instant::now();
    witness.write_all(&request).unwrap();
    let mut answer = Vec::new();
    witness.read_to_end(&mut answer).unwrap();
    std::thread::sleep(late);
    client.write_all(&answer).unwrap();
    Recorded {
        greeting,
        request,
        answer,
        asked,
    }
}
