//! `hast-failover forget`, which asks a witness and no agent.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Place, acquire, client, records};
use crate::support::{Outcome, run};

/// Asks the witness at a port, without a configuration.
fn forget(place: &Place, port: u16, words: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hast-failover"));
    command
        .args(["forget", "--witness", &format!("127.0.0.1:{port}")])
        .args([Path::new("--secret"), &place.path("key")]);
    run(command.args(words))
}

#[track_caller]
fn assert_refused(outcome: &Outcome, code: i32, text: &str) {
    assert_eq!(outcome.status.code(), Some(code), "{outcome:?}");
    assert!(outcome.stderr.contains(text), "{outcome:?}");
}

#[test]
fn it_has_other_nodes_taken_afterwards() {
    let place = Place::new();
    place.record(&records(None));
    let witness = place.start();
    let said = forget(&place, witness.port, &["g"]).success();
    assert_eq!(said, "g: forgotten, with its nodes a and b\n");
    assert!(!fs::read_to_string(place.state()).unwrap().contains("nodes"));
    let again = forget(&place, witness.port, &["g"]);
    assert_refused(&again, 65, "does not know the group 'g'");
}

#[test]
fn a_lease_that_may_be_running_is_in_its_way() {
    let place = Place::new();
    place.record(&records(Some("a")));
    let witness = place.start();
    acquire(&client(witness.port), "a").unwrap();
    for words in [&["g"] as &[&str], &["--force", "g"]] {
        let refused = forget(&place, witness.port, words);
        assert_refused(&refused, 69, "a holds the lease for");
    }
}

#[test]
fn who_has_the_only_current_data_is_forgotten_by_force_only() {
    let place = Place::new();
    let mut alone = records(None);
    alone.get_mut("g").unwrap().alone = Some("b".to_owned());
    place.record(&alone);
    let witness = place.start();
    let refused = forget(&place, witness.port, &["g"]);
    assert_refused(&refused, 69, "only b has the current data of g");
    forget(&place, witness.port, &["--force", "g"]).success();
    let gone = forget(&place, witness.port, &["g"]);
    assert_refused(&gone, 65, "does not know");
}

#[test]
fn the_witness_is_that_of_the_configuration_where_none_is_named() {
    let place = Place::new();
    place.record(&records(None));
    let witness = place.start();
    let config = |failover: &str| {
        let text = format!(
            r#"
            {failover}
            [resource.disk1.on.a]
            local = "/dev/ada1"
            remote = "10.0.0.2"
            [resource.disk1.on.b]
            local = "/dev/ada1"
            remote = "10.0.0.1"
            [group.renamed]
            resources = ["disk1"]
            "#
        );
        fs::write(place.path("hast.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hast-failover"));
        command.args(["forget", "-n", "a", "-c"]);
        run(command.arg(place.path("hast.toml")).arg("g"))
    };
    assert_refused(&config(""), 78, "names no witness");
    let table = |secret: &Path| {
        let (port, secret) = (witness.port, secret.display());
        format!("[failover]\nwitness = \"127.0.0.1:{port}\"\nsecret = \"{secret}\"")
    };
    let none = table(&place.path("none"));
    assert_refused(&config(&none), 78, "unable to read the secret");
    config(&table(&place.path("key"))).success();
}

#[test]
fn what_cannot_be_asked_is_said() {
    let place = Place::new();
    let nobody = forget(&place, crate::harness::free_port(), &["g"]);
    assert_refused(&nobody, 69, "cannot connect to the witness at 127.0.0.1:");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hast-failover"));
    let wrong = run(command.args(["forget", "--witness", "uds:///a", "g"]));
    assert_refused(&wrong, 64, "--witness: found the Unix socket");
}
