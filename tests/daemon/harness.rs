//! A hastd of the test's own: in a temporary folder, on a free port, ended with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hast::control::{self, Failure, Request, ResourceStatus, RoleReply, Selection, StatusReply};
use hast::nv::Nv;
use hast::terms::Role;
use hast::wire::frame::{self, Limits, Message};
use hast::wire::handshake::{Hello, Start, Token};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest that anything may take that is expected to happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Longest that an answer may take while somebody else misbehaves.
pub const PROMPTLY: Duration = Duration::from_secs(3);

/// Starts that are tried when another process takes the free port.
const ATTEMPTS: u32 = 10;

/// The lines that a process has logged.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// A running hastd.
pub struct Hastd {
    child: Child,
    pub folder: tempfile::TempDir,
    pub port: u16,
    log: Arc<Log>,
}

/// A command for hastd.
pub fn hastd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hastd"));
    command.stdin(Stdio::null());
    command
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Writes a program.
pub fn script(path: &Path, body: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

impl Hastd {
    /// Starts one for node `a` in the foreground. In `resources`, `FOLDER` stands for its folder.
    pub fn start(resources: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            write_configuration(folder.path(), port, resources);
            let mut child = hastd()
                .args(["-F", "-d", "-n", "a", "-c"])
                .arg(folder.path().join("hast.conf"))
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let log = follow(&mut child);
            if log.wait_for(&["Started successfully", "ddress already in use"]) == 0 {
                return Self {
                    child,
                    folder,
                    port,
                    log,
                };
            }
            child.wait().unwrap();
        }
        panic!("no free port in {ATTEMPTS} attempts");
    }

    /// Two resources, of which the second is another address's.
    pub fn with_two_resources() -> Self {
        Self::start(TWO_RESOURCES)
    }

    /// Changes the configuration file.
    pub fn configure(&self, resources: &str) {
        write_configuration(self.folder.path(), self.port, resources);
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn control(&self) -> PathBuf {
        self.path("control")
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits until it has logged something with this text.
    pub fn wait_for_log(&self, text: &str) {
        self.log.wait_for(&[text]);
    }

    /// How many lines it has logged with this text.
    pub fn logged(&self, text: &str) -> usize {
        let lines = self.log.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Asks it something, as hastctl does.
    pub fn ask(&self, request: &Request) -> Nv {
        ask(&self.control(), request)
    }

    pub fn status(&self, name: &str) -> ResourceStatus {
        let resources = Selection::Named(vec![name.to_owned()]);
        let reply = StatusReply::from_nv(&self.ask(&Request::Status { resources })).unwrap();
        let [(_, status)] = <[_; 1]>::try_from(reply.resources).unwrap();
        status.unwrap()
    }

    /// Sets a role; the one before.
    pub fn set_role(&self, name: &str, role: Role) -> Result<Role, Failure> {
        let resources = Selection::Named(vec![name.to_owned()]);
        let force = false;
        let request = Request::SetRole {
            role,
            resources,
            force,
            guard: None,
        };
        let reply = RoleReply::from_nv(&self.ask(&request)).unwrap();
        let [(_, role)] = <[_; 1]>::try_from(reply.resources).unwrap();
        role
    }

    /// A connection to its port.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Hastd {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGTERM);
            wait(&mut self.child);
        }
        if std::thread::panicking() {
            let lines = self.log.lines.lock().unwrap();
            eprintln!("hastd's log:\n{}", lines.join("\n"));
        }
    }
}

/// `disk1` is of 127.0.0.1, `disk2` of 127.0.0.3.
pub const TWO_RESOURCES: &str = "
    resource disk1 { local FOLDER/disk1 on a { remote 127.0.0.1 } }
    resource disk2 { local FOLDER/disk2 on a { remote 127.0.0.3 } }
";

fn write_configuration(folder: &Path, port: u16, resources: &str) {
    let place = folder.display();
    let head = format!("control {place}/control\nlisten tcp4://127.0.0.1:{port}\n");
    let body = resources.replace("FOLDER", &place.to_string());
    std::fs::write(folder.join("hast.conf"), head + &body).unwrap();
}

/// Collects what a child writes to its standard error.
fn follow(child: &mut Child) -> Arc<Log> {
    let log = Arc::new(Log::default());
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let shared = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            shared.lines.lock().unwrap().push(line);
            shared.grown.notify_all();
        }
    });
    log
}

impl Log {
    /// Waits for a line with one of these texts; which.
    fn wait_for(&self, texts: &[&str]) -> usize {
        let find = |lines: &Vec<String>| {
            texts
                .iter()
                .position(|text| lines.iter().any(|line| line.contains(text)))
        };
        let lines = self.lines.lock().unwrap();
        let waiting = |lines: &mut Vec<String>| find(lines).is_none();
        let (lines, _) = self
            .grown
            .wait_timeout_while(lines, PATIENCE, waiting)
            .unwrap();
        find(&lines).unwrap_or_else(|| panic!("none of {texts:?} in:\n{}", lines.join("\n")))
    }
}

/// Waits until a child has ended; kills it when that takes too long.
pub fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the process did not end: {:?}", child.wait());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A connection to a control socket.
pub fn connect(control: &Path) -> UnixStream {
    let stream = UnixStream::connect(control).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Asks a hastd something, as hastctl does.
pub fn ask(control: &Path, request: &Request) -> Nv {
    let mut stream = connect(control);
    stream
        .write_all(&control::encode(&request.to_nv()))
        .unwrap();
    let reply = Message::read_from(&mut stream, control::REPLY_LIMITS).unwrap();
    assert_ended(&mut stream);
    reply.nv
}

/// Sends a message as a peer does.
pub fn send(stream: &mut TcpStream, version: u8, nv: &Nv) {
    stream.write_all(&frame::encode(version, nv, &[])).unwrap();
}

/// Receives a message as a peer does.
pub fn receive(stream: &mut TcpStream) -> Nv {
    Message::read_from(stream, Limits::PEER).unwrap().nv
}

/// The other side has closed, and sends nothing more.
pub fn assert_ended(stream: &mut impl Read) {
    match stream.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => assert_ended(stream),
        other => panic!("the connection should have ended: {other:?}"),
    }
}

fn hello(resource: &str) -> Nv {
    let (version, extension) = (Some(2), None);
    let resource = resource.to_owned();
    Hello {
        resource,
        version,
        extension,
    }
    .to_nv()
}

/// A second message, of a primary that has written before.
pub fn start_message(resource: &str, token: Token) -> Nv {
    let resource = resource.to_owned();
    let (resuid, localcnt, remotecnt, virgin) = (7, 1, 0, false);
    Start {
        resource,
        token,
        resuid,
        localcnt,
        remotecnt,
        virgin,
        ours: None,
    }
    .to_nv()
}

/// Opens a connection, says hello, and gets an answer.
pub fn say_hello(hastd: &Hastd, resource: &str) -> (TcpStream, Nv) {
    let mut stream = hastd.connect();
    send(&mut stream, 1, &hello(resource));
    let answer = receive(&mut stream);
    (stream, answer)
}

/// What is to be shown on the second connection.
pub fn token_of(answer: &Nv) -> Token {
    answer.bytes("token").unwrap().try_into().unwrap()
}
