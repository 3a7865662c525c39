//! A real witness beside the two nodes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hast::control::Holding;
use hast::witness::leases::{Record, Records};
use hast::witness::store::Store;

use crate::cluster::Folder;
use crate::observe::{finish, wait_for};
use crate::pair::Pair;
use crate::ports::free_port;

/// `hastd --witness`, with what it keeps.
struct Witness {
    child: Option<Child>,
    port: u16,
    folder: Folder,
}

impl Witness {
    /// One that was restarted a moment ago while `nodea` had the lease. To a node that it has not seen master it grants
    /// nothing for a minute.
    fn start() -> Self {
        let folder = Folder::new();
        let (mut store, _) = Store::open(&folder.0.join("state")).unwrap();
        let record = Record {
            nodes: vec!["nodea".into(), "nodeb".into()],
            holder: Some("nodea".into()),
            alone: None,
        };
        let records = Records::from([("storage".to_owned(), record)]);
        store.write(&records).unwrap();
        drop(store);
        let secret = folder.0.join("secret");
        std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, mode).unwrap();
        let mut witness = Self {
            child: None,
            port: free_port(),
            folder,
        };
        witness.go_on();
        witness
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    fn go_on(&mut self) {
        let log = std::fs::File::options();
        let log = log
            .clone()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hastd"));
        command.args(["--witness", "-F", "-d", "--listen"]);
        command.arg(format!("127.0.0.1:{}", self.port));
        command.arg("--secret").arg(self.path("secret"));
        command.arg("--state").arg(self.path("state"));
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What failover is told of it.
    fn table(&self) -> String {
        let secret = self.path("secret");
        let secret: &Path = &secret;
        format!(
            "witness = \"127.0.0.1:{}\"\nsecret = \"{}\"\nlease = 5\n",
            self.port,
            secret.display()
        )
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            eprintln!("--- log of the witness:\n{log}");
        }
    }
}

#[test]
fn without_its_peer_a_node_is_master_by_its_lease_and_writes_by_it() {
    let mut witness = Witness::start();
    let mut pair = Pair::with_master_and(&witness.table(), "force-import = \"confirmed\"");
    wait_for("a lease", || pair.a.log(), || pair.a.says("lease_seconds"));
    let load = pair.cluster.a.load(3);
    pair.cluster.progress(&load, 100);

    load.aim(&pair.cluster.b.device("disk1"));
    pair.a.kill();
    pair.cluster.a.kill();
    std::fs::remove_dir(pair.cluster.path("pool.tank")).unwrap();
    pair.b.carp("MASTER");
    pair.b.until_logged("the other node has the lease");
    pair.b.assert_bare();
    pair.b.until("master");
    pair.b.assert_serves();
    pair.cluster.progress(&load, 100);

    // Neither peer nor witness: what only this node has is not acknowledged.
    witness.kill();
    let holding = || -> Option<Holding> {
        let worker = pair.cluster.b.status("disk1")?.worker?;
        worker.details?.holding
    };
    let held = || holding().filter(|holding| holding.left == 0 && holding.held > 0);
    wait_for("held writes", || pair.b.log(), held);
    pair.b.until_logged("held until there is one");
    let before = load.acknowledged();
    let since = std::time::Instant::now();
    while since.elapsed() < std::time::Duration::from_secs(2) {
        assert_eq!(load.acknowledged(), before, "acknowledged without a permit");
        std::thread::yield_now();
    }
    assert_eq!(pair.b.says("state").unwrap(), "master");

    witness.go_on();
    pair.cluster.progress(&load, 100);
    let written = finish(load);
    pair.cluster.b.verify(&written.ledger);

    // The one whose data is old is not let in by the witness.
    let state = std::fs::read_to_string(witness.path("state")).unwrap();
    assert!(state.contains("nodeb"), "{state}");
}
