//! What runs programs: limits, output, and what is left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use hast::failover::commands::Command;
use hast::failover::runner::{Programs, Ran, Run, shown};

const LONG: Duration = Duration::from_mins(1);

fn shell(script: &str) -> Command {
    Command::new(Path::new("/bin/sh"), ["-c", script])
}

fn ended(code: i32, output: &str) -> Ran {
    Ran::Ended {
        code: Some(code),
        output: output.to_owned(),
    }
}

#[test]
fn a_program_ends_with_its_code_and_its_words() {
    let programs = Programs::default();
    let run = |script| programs.run(&shell(script), LONG);
    assert_eq!(run("exit 0"), ended(0, ""));
    assert_eq!(
        run("echo out; echo err >&2; exit 7"),
        ended(7, "out\nerr\n")
    );
    match run("kill -9 $$") {
        Ran::Ended { code: None, output } => assert!(output.contains("signal 9"), "{output}"),
        other => panic!("{other:?}"),
    }
    let missing = Command::new(Path::new("/no/such"), ["x"]);
    match programs.run(&missing, LONG) {
        Ran::Failed(why) => assert!(why.contains("/no/such"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_takes_too_long_is_killed_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let since = Instant::now();
    let ran = Programs::default().run(&shell(&script), Duration::from_millis(300));
    assert_eq!(ran, Ran::Overdue);
    assert!(since.elapsed() < LONG);
    let pid: i32 = std::fs::read_to_string(&pid)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    crate::support::eventually("its child is gone", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err();
        gone || stat.contains(") Z ")
    });
}

#[test]
fn a_daemon_that_stays_is_not_waited_for_and_may_print() {
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let go = folder.path().join("go");
    // It prints after its starter has ended, more than there is room for.
    let script = format!(
        "(while [ ! -e {} ]; do sleep 0.01; done; head -c 3000000 /dev/zero; echo late; : > {}) & echo started",
        go.display(),
        done.display()
    );
    assert_eq!(
        Programs::default().run(&shell(&script), LONG),
        ended(0, "started\n")
    );
    std::fs::write(go, "").unwrap();
    crate::support::eventually("the daemon goes on", || done.exists());
}

#[test]
fn much_output_is_cut_and_an_error_shows_its_end() {
    let ran = Programs::default().run(&shell("yes 2>/dev/null | head -c 3000000; exit 3"), LONG);
    match ran {
        Ran::Ended {
            code: Some(3),
            output,
        } => assert_eq!(output.len(), 1 << 20),
        other => panic!("{other:?}"),
    }
    assert_eq!(shown("\n one \n\n two\n"), "one; two");
    let long = "é".repeat(2000) + "end";
    assert!(shown(&long).ends_with("end") && shown(&long).chars().count() < 600);
}
