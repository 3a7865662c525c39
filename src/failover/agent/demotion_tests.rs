//! A machine whose figure is a number here.

use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::failover::runner::Ran;

#[derive(Default)]
struct Machine {
    figure: Mutex<i64>,
    writes: Mutex<u32>,
    /// Writing fails, after it was done where it is true.
    breaks: Mutex<Option<bool>>,
}

impl Run for Machine {
    fn run(&self, command: &Command, _: Duration) -> Ran {
        let ended = |code, output: String| Ran::Ended {
            code: Some(code),
            output,
        };
        let mut figure = self.figure.lock().unwrap();
        if command.argv[1] == "-n" {
            return ended(0, format!("{figure}\n"));
        }
        let breaks = *self.breaks.lock().unwrap();
        if breaks != Some(false) {
            let (_, by) = command.argv[1].split_once('=').unwrap();
            *figure += by.parse::<i64>().unwrap();
            *self.writes.lock().unwrap() += 1;
        }
        ended(breaks.map_or(0, |_| 1), String::new())
    }
}

impl Machine {
    fn figure(&self) -> i64 {
        *self.figure.lock().unwrap()
    }
}

const LIMIT: Duration = Duration::from_secs(1);

fn load(folder: &Path, boot: &str, machine: &Arc<Machine>) -> Demotion {
    let programs = Programs::default();
    let (file, mark) = (folder.join("demotion"), folder.join("mark"));
    Demotion::load(file, mark, boot, &programs, machine.clone())
}

#[test]
fn the_first_raises_it_and_the_last_lowers_it() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Arc::new(Machine::default());
    *machine.figure.lock().unwrap() = 7;
    let mut demotion = load(folder.path(), "boot", &machine);
    for (group, raise, figure) in [
        ("one", true, 247),
        ("one", true, 247),
        ("two", true, 247),
        ("one", false, 247),
        ("two", false, 7),
        ("two", false, 7),
    ] {
        assert_eq!(demotion.set(group, raise, LIMIT), Outcome::Done);
        assert_eq!(machine.figure(), figure, "{group} {raise}");
        // Whoever comes after knows the same.
        demotion = load(folder.path(), "boot", &machine);
    }
    assert_eq!(*machine.writes.lock().unwrap(), 2);
}

#[test]
fn what_was_raised_at_boot_is_not_raised_again_and_is_lowered_once() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Arc::new(Machine::default());
    let mut demotion = load(folder.path(), "boot 1", &machine);
    assert_eq!(demotion.set("one", true, LIMIT), Outcome::Done);
    // The machine is restarted, and rc.d raises it.
    *machine.figure.lock().unwrap() = 240;
    std::fs::write(folder.path().join("mark"), "").unwrap();
    let mut demotion = load(folder.path(), "boot 2", &machine);
    assert_eq!(demotion.set("one", true, LIMIT), Outcome::Done);
    assert_eq!(machine.figure(), 240);
    assert_eq!(demotion.set("one", false, LIMIT), Outcome::Done);
    assert_eq!(machine.figure(), 0);
    assert!(!folder.path().join("mark").exists());
}

#[test]
fn a_change_that_broke_is_found_to_have_happened_or_not() {
    for happens in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let machine = Arc::new(Machine::default());
        let mut demotion = load(folder.path(), "boot", &machine);
        *machine.breaks.lock().unwrap() = Some(happens);
        assert!(matches!(
            demotion.set("one", true, LIMIT),
            Outcome::Failed(_)
        ));
        *machine.breaks.lock().unwrap() = None;
        let mut demotion = load(folder.path(), "boot", &machine);
        assert_eq!(demotion.set("one", true, LIMIT), Outcome::Done);
        assert_eq!(machine.figure(), 240, "it had happened: {happens}");
    }
}

#[test]
fn one_that_somebody_took_back_is_raised_again() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Arc::new(Machine::default());
    let mut demotion = load(folder.path(), "boot", &machine);
    assert_eq!(demotion.set("one", true, LIMIT), Outcome::Done);
    *machine.figure.lock().unwrap() = 0;
    assert_eq!(demotion.set("one", true, LIMIT), Outcome::Done);
    assert_eq!(machine.figure(), 240);
}
