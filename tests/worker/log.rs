//! A worker's log, of a process of its own: it goes to the main process, outlives the worker, and never holds
//! it up.

use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use hast::control::Permit;
use hast::engine::primary::Promotion;
use hast::logging::relay::Receiver;
use hast::wire::frame::Message;
use hast::worker::channel::{
    ARGUMENT, Assignment, Begin, DESCRIPTOR, FromWorker, LIMITS, LOG_DESCRIPTOR, ToWorker,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::harness::{Node, eventually};

/// A worker that has taken the role primary.
struct Process {
    child: Child,
    /// The worker ends when this is closed.
    socket: UnixStream,
}

impl Process {
    fn start(node: &Node, log: Option<OwnedFd>) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hastd"));
        command
            .arg(ARGUMENT)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut descriptors = vec![(OwnedFd::from(theirs), DESCRIPTOR)];
        descriptors.extend(log.map(|log| (log, LOG_DESCRIPTOR)));
        let child = hast_ffi::spawn::with_descriptors(command, descriptors).unwrap();
        let begin = ToWorker::Begin(Box::new(Begin {
            resource: node.resource.clone(),
            assignment: Assignment::Primary(Promotion::Asked),
            permit: Permit::Free,
            debug: 1,
            foreground: true,
        }));
        (&socket).write_all(&begin.encode()).unwrap();
        let mut worker = Self { child, socket };
        worker.hear(&FromWorker::Started);
        worker
    }

    fn hear(&mut self, wanted: &FromWorker) {
        loop {
            let message = Message::read_from(&mut self.socket, LIMITS).unwrap();
            let message = FromWorker::decode(message.nv.view()).unwrap();
            if message == *wanted {
                return;
            }
        }
    }

    /// What it has written to standard error by its end, which something else has brought about.
    fn stderr(&mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        self.child.wait().unwrap();
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(receiver: &mut Receiver) -> Vec<String> {
    let mut lines = Vec::new();
    receiver.receive(usize::MAX, |_, text| lines.push(text.to_owned()));
    lines
}

fn node() -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(folder.path(), "a", "");
    (folder, node)
}

#[test]
fn its_lines_go_to_the_main_process_and_outlive_it() {
    let (_folder, node) = node();
    let (mut receiver, pipe) = Receiver::new().unwrap();
    let mut worker = Process::start(&node, Some(pipe));
    drop(node.client());
    let mut heard = Vec::new();
    eventually("the client is in the log", || {
        heard.extend(lines(&mut receiver));
        heard.iter().any(|line| line.contains(": connected"))
    });
    // Of whom it is, the main process says.
    assert!(
        heard.iter().any(|line| line == "the device is served"),
        "{heard:?}"
    );

    // That is logged before the connection is closed.
    let mut guest = UnixStream::connect(node_socket(&node)).unwrap();
    guest
        .write_all(b"nothing that NBD knows, and long enough")
        .unwrap();
    guest.read_to_end(&mut Vec::new()).unwrap_or_default();
    worker.child.kill().unwrap();
    assert_eq!(worker.stderr(), "");
    let last = lines(&mut receiver);
    assert!(
        last.iter()
            .any(|line| line.contains("dropped in the handshake")),
        "{last:?}"
    );
}

fn node_socket(node: &Node) -> std::path::PathBuf {
    node.resource.local.with_extension("sock")
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let (_folder, node) = node();
    let (mut receiver, pipe) = Receiver::new().unwrap();
    fill(&mut PipeWriter::from(pipe.try_clone().unwrap()));
    let _worker = Process::start(&node, Some(pipe));
    for round in 0..20 {
        let mut client = node.client();
        client.write(0, &[round; 4096], true).unwrap();
        assert!(client.read(0, 4096).unwrap() == [round; 4096]);
    }
    let mut heard = lines(&mut receiver);
    eventually("it says how many lines were left out", || {
        heard.extend(lines(&mut receiver));
        let notice = heard
            .iter()
            .find_map(|line| line.split_once(" lines of this log were left out"));
        notice.is_some_and(|(count, _)| count.parse::<u32>().unwrap() > 20)
    });
}

/// Leaves a pipe without any room.
fn fill(pipe: &mut PipeWriter) {
    let flags = OFlag::from_bits_retain(fcntl(&*pipe, FcntlArg::F_GETFL).unwrap());
    fcntl(&*pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let full = loop {
        if let Err(error) = pipe.write_all(b"Ifull\n") {
            break error;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn it_logs_by_itself_where_nobody_takes_its_lines() {
    let (_folder, node) = node();
    let (receiver, pipe) = Receiver::new().unwrap();
    let mut worker = Process::start(&node, Some(pipe));
    drop(receiver);
    // As when the main process dies.
    worker.socket.shutdown(std::net::Shutdown::Both).unwrap();
    let said = worker.stderr();
    assert!(
        said.contains("[disk1] (primary) hastd's main process is gone: ending"),
        "{said}"
    );

    let mut worker = Process::start(&node, None);
    worker.socket.shutdown(std::net::Shutdown::Both).unwrap();
    let said = worker.stderr();
    assert!(
        said.contains("[disk1] (primary) the device is served"),
        "{said}"
    );
}
