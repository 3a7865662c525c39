//! Steps with programs that say what a test wants, and without hastd.

use std::collections::BTreeMap;

use super::*;
use crate::config::Address;
use crate::failover::group::{
    FailBack, ForceImport, Fsck, Group, Limits, OnHang, OnLeaseLoss, OnUnreachable, Programs,
};

/// Answers by the end of the command line; records all of it.
#[derive(Default)]
struct Script {
    answers: Mutex<BTreeMap<&'static str, Vec<Ran>>>,
    calls: Mutex<Vec<String>>,
}

impl Script {
    /// The answers to a call, one after the other; the last one stands.
    fn says(&self, call: &'static str, answers: &[Ran]) {
        let answers = answers.iter().rev().cloned().collect();
        self.answers.lock().unwrap().insert(call, answers);
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

impl Run for Script {
    fn run(&self, command: &Command, _: Duration) -> Ran {
        let words = command.argv[1..].join(" ");
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.get_mut(words.as_str());
        self.calls.lock().unwrap().push(words);
        match answers {
            Some(answers) if answers.len() > 1 => answers.pop().unwrap(),
            Some(answers) => answers[0].clone(),
            None => ended(0, ""),
        }
    }
}

fn ended(code: i32, output: &str) -> Ran {
    Ran::Ended {
        code: Some(code),
        output: output.to_owned(),
    }
}

fn group() -> Group {
    Group {
        name: "storage".to_owned(),
        resources: Vec::new(),
        pools: vec!["tank".to_owned()],
        mounts: Vec::new(),
        services: vec!["samba".to_owned()],
        carp: None,
        on_unreachable: OnUnreachable::Refuse,
        fence: Some(vec!["/fence".to_owned(), "now".to_owned()]),
        force_import: ForceImport::Never,
        fsck: Fsck::Preen,
        on_hang: OnHang::Retry,
        on_lease_loss: OnLeaseLoss::Stop,
        fail_back: FailBack::Manual,
        freshness: Duration::from_secs(30),
        debounce: Duration::ZERO,
        limits: Limits::default(),
        hooks: Vec::new(),
    }
}

fn steps(folder: &std::path::Path) -> (Steps, Arc<Script>) {
    let script = Arc::new(Script::default());
    let programs = Programs::default();
    let (file, mark) = (folder.join("demotion"), folder.join("mark"));
    let demotion = Demotion::load(file, mark, "boot", &programs, script.clone());
    let control = folder.join("nobody").display().to_string();
    let (_, hurried) = crossbeam_channel::unbounded();
    let steps = Steps {
        table: Table::new(&programs, &group(), &[]),
        runner: script.clone(),
        hastd: Hastd::new(Address::from_socket_path(&control).unwrap(), Vec::new()),
        leases: None,
        demotion: Arc::new(Mutex::new(demotion)),
        hurry: Hurry::new(hurried),
        claimed: None,
    };
    (steps, script)
}

const LIST: &str = "list -H -o name tank";
const EXPORT: &str = "export tank";

fn export() -> Step {
    Step::Export {
        pool: "tank".to_owned(),
        force: false,
    }
}

#[test]
fn what_is_done_already_is_left_alone_and_what_can_not_be_told_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let (mut steps, script) = steps(folder.path());
    script.says(LIST, &[ended(1, "cannot open 'tank': no such pool")]);
    assert_eq!(steps.perform(&export()), Outcome::Done);
    assert_eq!(script.calls(), [LIST]);
    script.says(LIST, &[ended(0, "tank")]);
    assert_eq!(steps.perform(&export()), Outcome::Done);
    assert_eq!(script.calls(), [LIST, EXPORT]);
    script.says(LIST, &[ended(1, "internal error")]);
    let outcome = steps.perform(&export());
    assert!(matches!(outcome, Outcome::Failed(why) if why.contains("internal error")));
    assert_eq!(script.calls(), [LIST]);
    script.says(LIST, &[Ran::Overdue]);
    assert_eq!(steps.perform(&export()), Outcome::Overdue);
}

#[test]
fn an_end_that_was_not_as_it_should_be_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (mut steps, script) = steps(folder.path());
    script.says(LIST, &[ended(0, "tank")]);
    for (ran, expected) in [
        (ended(1, "pool is busy\n"), "exit code 1: pool is busy"),
        (ended(2, ""), "said nothing"),
        (Ran::StillHangs { pid: 7 }, "process 7"),
        (Ran::Failed("cannot run it".to_owned()), "cannot run it"),
    ] {
        script.says(EXPORT, &[ran]);
        match steps.perform(&export()) {
            Outcome::Failed(why) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    for ran in [Ran::Overdue, Ran::Hangs { pid: 7 }] {
        script.says(EXPORT, &[ran]);
        assert_eq!(steps.perform(&export()), Outcome::Overdue);
    }
    // It complains, but what was to go is gone.
    let gone = ended(1, "cannot open 'tank': no such pool");
    script.says(LIST, &[ended(0, "tank"), gone]);
    script.says(EXPORT, &[ended(1, "no such pool")]);
    assert_eq!(steps.perform(&export()), Outcome::Done);
}

#[test]
fn a_service_that_can_not_tell_is_started_and_stopped_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (mut steps, script) = steps(folder.path());
    script.says("samba onestatus", &[ended(1, "unknown directive")]);
    let start = Step::Start("samba".to_owned());
    assert_eq!(steps.perform(&start), Outcome::Done);
    assert_eq!(script.calls(), ["samba onestatus", "samba onestart"]);
    script.says("samba onestatus", &[ended(0, "samba is running as pid 1.")]);
    assert_eq!(steps.perform(&start), Outcome::Done);
    assert_eq!(script.calls(), ["samba onestatus"]);
}

#[test]
fn a_fencing_command_says_by_its_code_what_is_so() {
    let folder = tempfile::tempdir().unwrap();
    let (mut steps, script) = steps(folder.path());
    for (ran, outcome) in [
        (ended(0, ""), Outcome::Fence(FenceAnswer::Fenced)),
        (ended(1, ""), Outcome::Fence(FenceAnswer::NotFenced)),
        (ended(2, ""), Outcome::Fence(FenceAnswer::Unknown)),
        (Ran::Overdue, Outcome::Overdue),
    ] {
        script.says("now", &[ran]);
        assert_eq!(steps.perform(&Step::Fence), outcome);
    }
    // One that was killed has said nothing at all.
    let killed = Ran::Ended {
        code: None,
        output: String::new(),
    };
    script.says("now", &[killed]);
    assert!(matches!(steps.perform(&Step::Fence), Outcome::Failed(_)));
}

#[test]
fn without_hastd_nothing_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (mut steps, script) = steps(folder.path());
    let outcome = steps.perform(&Step::Verify);
    assert!(matches!(outcome, Outcome::Failed(why) if why.contains("hastd is not running")));
    assert_eq!(script.calls(), [] as [&str; 0]);
}
