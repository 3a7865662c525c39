//! What a test can see of a node: status, log, hooks, components, and what its device holds.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use hast::config::Address;
use hast::control::{Condition, Request, ResourceStatus, Selection, WorkerStatus, client};
use hast::layout::{METADATA_SIZE, Metadata};
use hast::terms::Role;
use nix::unistd::Pid;

use crate::ledger::Ledger;
use crate::load::{Load, Plan, Written, device_size, verify};
use crate::node::Node;

/// How long anything may take that is not expected to take long, on a machine that is busy
/// with other tests.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Waits until `attempt` yields something; panics after [`LIMIT`], saying for what it waited
/// and what `state` is.
#[track_caller]
pub fn wait_for<T>(
    what: &str,
    state: impl Fn() -> String,
    mut attempt: impl FnMut() -> Option<T>,
) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(
            since.elapsed() < LIMIT,
            "not within {LIMIT:?}: {what}\n{}",
            state()
        );
        // Other processes' states can not be waited for otherwise.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Another series of random points than the usual one, for long runs by hand:
/// `for n in $(seq 99); do HAST_CLUSTER_SEED=$n cargo test --test cluster || break; done`.
pub fn series() -> u64 {
    let chosen = std::env::var("HAST_CLUSTER_SEED").ok();
    chosen.map_or(0, |number| number.parse::<u64>().unwrap() << 32)
}

/// Ends a writer; panics with what it found wrong.
#[track_caller]
pub fn finish(load: Load) -> Written {
    match load.finish() {
        Ok(written) => written,
        Err(what) => panic!("the writer found: {what}"),
    }
}

impl Node {
    /// What hastd logged since the first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// What hastd says of its resources; none where it does not answer.
    pub fn statuses(&self) -> Option<Vec<(String, ResourceStatus)>> {
        let control = Address::from_socket_path(self.control().to_str().unwrap()).unwrap();
        let resources = Selection::All;
        let reply = client::status(&control, &Request::Status { resources }).ok()?;
        let named = |(name, result): (String, Result<_, _>)| Some((name, result.ok()?));
        reply.resources.into_iter().map(named).collect()
    }

    pub fn status(&self, resource: &str) -> Option<ResourceStatus> {
        let mut all = self.statuses()?.into_iter();
        Some(all.find(|(name, _)| name == resource)?.1)
    }

    pub fn worker(&self, resource: &str) -> Option<WorkerStatus> {
        self.status(resource)?.worker
    }

    /// Waits until the worker's status is as wanted.
    #[track_caller]
    pub fn until(&self, resource: &str, what: &str, condition: impl Fn(&WorkerStatus) -> bool) {
        let what = format!("{} of {}: {what}", resource, self.name());
        wait_for(
            &what,
            || format!("{:?}\n{}", self.status(resource), self.log()),
            || self.worker(resource).filter(&condition),
        );
    }

    #[track_caller]
    pub fn until_complete(&self, resource: &str) {
        self.until(resource, "complete", |worker| {
            worker.condition == Condition::Complete
        });
    }

    #[track_caller]
    pub fn until_degraded(&self, resource: &str) {
        self.until(resource, "degraded", |worker| {
            worker.condition == Condition::Degraded
        });
    }

    /// Waits until hastd has logged this.
    #[track_caller]
    pub fn until_logged(&self, text: &str) {
        let what = format!("'{text}' in the log of {}", self.name());
        wait_for(
            &what,
            || self.log(),
            || self.log().contains(text).then_some(()),
        );
    }

    /// Waits until a hook was called with these arguments.
    #[track_caller]
    pub fn until_hook(&self, arguments: &str) {
        let what = format!("the hook of {} with '{arguments}'", self.name());
        wait_for(
            &what,
            || format!("{:?}", self.hooks()),
            || {
                self.hooks()
                    .iter()
                    .any(|line| line == arguments)
                    .then_some(())
            },
        );
    }

    /// The arguments of the hooks that this node's hastd has run, in order.
    pub fn hooks(&self) -> Vec<String> {
        let all = self.folder.with_file_name("hooks");
        let all = fs::read_to_string(all).unwrap_or_default();
        let own = |line: &str| {
            let (parent, arguments) = line.split_once(' ')?;
            let parent: u32 = parent.parse().ok()?;
            self.former.contains(&parent).then(|| arguments.to_owned())
        };
        all.lines().filter_map(own).collect()
    }

    /// The worker's process, once there is one.
    pub fn worker_pid(&self, resource: &str) -> Pid {
        let what = format!("a worker for {resource}");
        wait_for(
            &what,
            || self.log(),
            || {
                let pid = self.status(resource)?.workerpid;
                (pid > 0).then(|| Pid::from_raw(pid))
            },
        )
    }

    /// What a component says about itself.
    pub fn metadata(&self, resource: &str) -> Metadata {
        let mut block = vec![0; METADATA_SIZE];
        let file = File::open(self.component(resource)).unwrap();
        file.read_exact_at(&mut block, 0).unwrap();
        Metadata::decode(&block).unwrap()
    }

    /// The data that a component holds.
    pub fn data(&self, resource: &str) -> Vec<u8> {
        let metadata = self.metadata(resource);
        let mut data = vec![0; metadata.datasize as usize];
        let file = File::open(self.component(resource)).unwrap();
        file.read_exact_at(&mut data, metadata.offset).unwrap();
        data
    }

    /// Waits until it says that it is in this role.
    pub fn until_role(&self, resource: &str, role: Role) {
        let what = format!("{resource} of {} in role {role}", self.name());
        wait_for(
            &what,
            || self.log(),
            || self.status(resource).filter(|status| status.role == role),
        );
    }

    /// A verifying writer on the device of `disk1`, which holds zeros.
    pub fn load(&self, seed: u64) -> Load {
        let device = self.device("disk1");
        let size = device_size(&device).unwrap();
        Load::start(&device, Ledger::new(size), Plan::new(seed))
    }

    /// Holds everything that the device of `disk1` gives against the ledger.
    #[track_caller]
    pub fn verify(&self, ledger: &Ledger) {
        if let Err(what) = verify(&self.device("disk1"), ledger) {
            panic!("wrong data on {}: {what}", self.name());
        }
    }
}
