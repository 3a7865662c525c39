//! A hundred resources in one daemon: all of them at work within a bounded time.

use std::time::{Duration, Instant};

use hast::control::Condition;

use crate::cluster::Setup;
use crate::load::connect;
use crate::observe::wait_for;

const RESOURCES: usize = 100;
/// On a machine of two cores that is busy with other tests. Alone it takes a few seconds.
const WITHIN: Duration = Duration::from_secs(90);

#[test]
fn resources_in_one_daemon() {
    let since = Instant::now();
    let mut setup = Setup::new("fullsync").size(1 << 20);
    setup.resources = (0..RESOURCES)
        .map(|number| format!("disk{number}"))
        .collect();
    // On a busy machine the first connections may take longer than usual.
    setup.settings = "replication fullsync\ntimeout 20\n".into();
    let mut cluster = setup.created();
    cluster.b.ctl("role secondary all");
    cluster.a.ctl("role primary all");
    let all_complete = |cluster: &crate::cluster::Cluster| {
        let statuses = cluster.a.statuses()?;
        let complete = statuses.iter().filter(|(_, status)| {
            let worker = status.worker.as_ref();
            worker.is_some_and(|worker| worker.condition == Condition::Complete)
        });
        (statuses.len() == RESOURCES && complete.count() == RESOURCES).then_some(())
    };
    wait_for(
        "all complete",
        || cluster.a.ctl("status"),
        || all_complete(&cluster),
    );

    let names = cluster.setup.resources.clone();
    for (number, name) in names.iter().enumerate() {
        let mut client = connect(&cluster.a.device(name)).unwrap();
        client.write(4096, &[number as u8 + 1; 4096], true).unwrap();
        client.disconnect().unwrap();
    }
    let table = cluster.a.ctl("status");
    assert_eq!(
        table.matches("\tcomplete primary ").count(),
        RESOURCES,
        "{table}"
    );
    for name in &names {
        cluster.assert_equal(name);
    }

    // One after the other they go over to the other node.
    cluster.a.kill();
    cluster.b.ctl("role primary all");
    for (number, name) in names.iter().enumerate() {
        let mut client = connect(&cluster.b.device(name)).unwrap();
        let bytes = client.read(4096, 4096).unwrap();
        assert!(bytes.iter().all(|byte| *byte == number as u8 + 1), "{name}");
    }
    let elapsed = since.elapsed();
    assert!(elapsed < WITHIN, "it took {elapsed:?}");
}
