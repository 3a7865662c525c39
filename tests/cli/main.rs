//! hastctl as a user meets it: the built program, its texts and its exit codes.
#![allow(clippy::unwrap_used)] // helpers of tests are tests too

mod check;
mod components;
mod control;
mod usage;

use hast::wire::frame::{Limits, Message};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// What a run of hastctl left behind.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn hastctl(arguments: &[&str]) -> Run {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_hastctl"))
        .args(arguments)
        .output()
        .unwrap();
    Run {
        code: status.code().expect("hastctl was killed by a signal"),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// A folder with a configuration of the node hasta, components and a control socket in it.
struct Node {
    folder: TempDir,
}

impl Node {
    /// With the resources disk1 and disk2 on components of these sizes; none where 0.
    fn new(sizes: [u64; 2]) -> Self {
        let node = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut text = format!("control {}\n", node.path("control").display());
        for (name, size) in ["disk1", "disk2"].into_iter().zip(sizes) {
            let component = node.path(name);
            let socket = node.path(&format!("{name}.nbd"));
            write!(
                text,
                "resource {name} {{\n local {}\n provider nbd {}\n \
                 on hasta {{ remote tcp4://127.0.0.1:8458 }}\n}}\n",
                component.display(),
                socket.display(),
            )
            .unwrap();
            if size > 0 {
                std::fs::File::create(component)
                    .unwrap()
                    .set_len(size)
                    .unwrap();
            }
        }
        std::fs::write(node.path("hast.conf"), text).unwrap();
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command with this configuration; `-c` and `-n` are put behind its name.
    fn hastctl(&self, arguments: &[&str]) -> Run {
        let config = self.path("hast.conf");
        let mut all = vec![arguments[0], "-c", config.to_str().unwrap(), "-n", "hasta"];
        all.extend(&arguments[1..]);
        hastctl(&all)
    }

    /// A hastd that takes one request and answers with these bytes; yields the request.
    fn serve(&self, reply: Vec<u8>) -> JoinHandle<Message> {
        let listener = UnixListener::bind(self.path("control")).unwrap();
        std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let limits = Limits {
                nv: 1 << 16,
                payload: 0,
            };
            let request = Message::read_from(&mut connection, limits).unwrap();
            // A client that refuses what it gets may close before it has got all.
            let _ = connection.write_all(&reply);
            request
        })
    }
}

/// A file of the captured vectors (tests/vectors, or the folder named by HAST_VECTORS).
fn vector(name: &str) -> Vec<u8> {
    let vectors = std::env::var_os("HAST_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    );
    let path = vectors.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text_vector(name: &str) -> String {
    String::from_utf8(vector(name)).unwrap()
}
