//! The other node went on as primary without this one, while the device here was open or requests were held.
//!
//! What is under an open device never changes but by that device's own requests. So this node does not follow while
//! anybody has it open: the engine fails every request, what is written here reaches neither disk, and the device goes
//! as a disk does that is pulled. The main process has it done (it tells this worker to stop, the device destroyed),
//! and makes the resource secondary once the last of its users has closed it.
//!
//! Invariant: it is said once in a worker's life, and there is no way back from it.

use super::Primary;
use crate::worker::channel::{FromWorker, HookEvent};
use crate::worker::lock;

impl Primary {
    /// Says so. Whoever brings it may hold up requests: nothing is waited for here.
    pub(super) fn superseded(&self, requests: u64) {
        let remote = lock(&self.resource).remote_text().to_owned();
        let message = sentence(&remote, requests);
        if self.superseded.set(message.clone()).is_err() {
            return;
        }
        self.hook(HookEvent::Superseded);
        self.link.send(&FromWorker::Superseded { message });
    }
}

/// What happened and what to do.
fn sentence(remote: &str, requests: u64) -> String {
    format!(
        "superseded: {remote} went on as primary; what was written here and not acknowledged ({requests} requests) \
         has failed; close the device (zpool export -f, umount -f, or reboot); this node then becomes secondary by \
         itself"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::Rights;
    use super::*;
    use crate::config::{Config, NodeNames};
    use crate::control::{Condition, Permit};
    use crate::disk::{self, CreateOptions};
    use crate::engine::primary::{Notice, Promotion};
    use crate::provider::nbd::ListenAddress;
    use crate::provider::nbd::client::Client;
    use crate::wire::frame::Message;
    use crate::worker::channel::{DeviceFate, LIMITS};
    use crate::worker::link::Link;
    use crate::worker::primary::core::Work;
    use crate::worker::station::Station;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A primary that is not served yet, and the main process's end of its link.
    fn primary(folder: &Path) -> (Arc<Primary>, UnixStream) {
        let at = folder.display();
        let text = format!(
            "resource disk1 {{ local {at}/disk1 provider nbd {at}/nbd on a {{ remote 10.0.0.2 }} }}"
        );
        let config = Config::parse(&text, Path::new("hast.conf"), &NodeNames::named("a"));
        let resource = config.unwrap().resources.pop().unwrap();
        let file = std::fs::File::create(&resource.local).unwrap();
        file.set_len(8 << 20).unwrap();
        drop(disk::create(&resource.local, "disk1", CreateOptions::default()).unwrap());
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(LIMIT)).unwrap();
        let rights = Rights {
            promotion: Promotion::Asked,
            permit: Permit::Free,
        };
        let primary = Primary::new(Arc::new(Link::new(theirs)), resource, rights).unwrap();
        (Arc::new(primary), ours)
    }

    fn said(mut socket: &UnixStream) -> FromWorker {
        let message = Message::read_from(&mut socket, LIMITS).unwrap();
        FromWorker::decode(message.nv.view()).unwrap()
    }

    #[test]
    fn it_is_said_once_and_shown_and_the_clients_lose_their_device() {
        let folder = tempfile::tempdir().unwrap();
        let (primary, main) = primary(folder.path());
        assert!(!primary.device_is_open());
        primary.serve(None).unwrap();
        assert!(!primary.device_is_open());
        let device = ListenAddress::Unix(folder.path().join("nbd"));
        let mut client = Client::connect(&device, "disk1", LIMIT).unwrap();
        assert!(primary.device_is_open());

        let mut work = Work {
            notices: vec![
                Notice::Superseded { requests: 3 },
                Notice::Superseded { requests: 0 },
            ],
            ..Work::default()
        };
        primary.announce(&mut work);
        primary.hook(HookEvent::Connect);
        assert_eq!(said(&main), FromWorker::Hook(HookEvent::Superseded));
        let message = sentence("10.0.0.2", 3);
        assert!(message.contains("(3 requests)"), "{message}");
        let superseded = FromWorker::Superseded { message };
        assert_eq!(said(&main), superseded);
        assert_eq!(said(&main), FromWorker::Hook(HookEvent::Connect), "once");
        let status = primary.report();
        assert_eq!(status.condition, Condition::Superseded);
        let reason = status.details.unwrap().reason.unwrap();
        assert!(
            reason.starts_with("superseded: 10.0.0.2 went on"),
            "{reason}"
        );

        primary.stop(DeviceFate::Destroy).unwrap();
        assert!(client.read(0, 512).is_err());
        assert!(Client::connect(&device, "disk1", LIMIT).is_err());
        assert!(!primary.device_is_open());
    }

    #[test]
    fn a_device_of_which_nothing_is_heard_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let (primary, main) = primary(folder.path());
        lock(&primary.resource).provider = crate::config::Provider::Gate;
        lock(&primary.resource).timeout = Duration::from_millis(50);
        let begin = Instant::now();
        assert!(primary.device_is_open(), "nobody answers");
        assert!(begin.elapsed() < LIMIT);
        let FromWorker::AskOpen { number } = said(&main) else {
            panic!("no question");
        };

        lock(&primary.resource).timeout = LIMIT;
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| primary.device_is_open());
            let FromWorker::AskOpen { number: next } = said(&main) else {
                panic!("no question");
            };
            // The late answer to the first question is none to this.
            primary.opened(number, true);
            std::thread::yield_now();
            primary.opened(next, false);
            assert!(!asks.join().unwrap());
        });
    }
}
