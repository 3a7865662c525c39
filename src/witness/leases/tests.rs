//! The table, with a clock that the tests set.

use super::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A table whose requests each come in order; times are seconds since the first start.
struct Witness {
    table: Table,
    zero: Instant,
    order: u64,
}

fn asks(node: &str, seconds: u64) -> Acquire {
    Acquire {
        group: "g".into(),
        node: node.into(),
        time: secs(seconds),
        copies: Copies::AsRecorded,
        force: false,
    }
}

fn forces(node: &str, seconds: u64) -> Acquire {
    Acquire {
        force: true,
        ..asks(node, seconds)
    }
}

fn says(node: &str, copies: Copies) -> Acquire {
    Acquire {
        copies,
        ..asks(node, 10)
    }
}

fn held(by: &str, seconds: u64) -> Result<(), Refusal> {
    let by = by.to_owned();
    Err(Refusal::Held {
        by,
        left: secs(seconds),
    })
}

fn alone(by: &str) -> Result<(), Refusal> {
    Err(Refusal::Alone { by: by.to_owned() })
}

impl Witness {
    fn new() -> Self {
        let zero = Instant::now();
        Self {
            table: Table::new(Records::new(), zero),
            zero,
            order: 0,
        }
    }

    /// One for which the time after its start is over; seconds count from there.
    fn settled() -> Self {
        let mut witness = Self::new();
        witness.zero += LONGEST + MARGIN;
        witness
    }

    fn at(&self, second: u64) -> Instant {
        self.zero + secs(second)
    }

    fn acquire(&mut self, second: u64, asked: &Acquire) -> Result<(), Refusal> {
        self.order += 1;
        self.acquire_as(self.order, second, asked)
    }

    fn acquire_as(&mut self, order: u64, second: u64, asked: &Acquire) -> Result<(), Refusal> {
        let plan = self.table.acquire(self.at(second), order, asked)?;
        self.table.commit(plan);
        Ok(())
    }

    fn release(&mut self, node: &str) -> Result<(), Refusal> {
        self.order += 1;
        if let Some(plan) = self.table.release(self.order, "g", node)? {
            self.table.commit(plan);
        }
        Ok(())
    }

    fn records(&self) -> Records {
        let groups = self.table.groups.iter();
        groups
            .map(|(name, group)| (name.clone(), group.record.clone()))
            .collect()
    }

    /// Another process goes on from what is recorded.
    fn restart(&mut self, second: u64) {
        self.table = Table::new(self.records(), self.at(second));
    }

    fn look(&self, second: u64) -> View {
        self.table.look(self.at(second), "g")
    }
}

#[test]
fn one_holds_the_lease_until_it_has_run_out() {
    let mut witness = Witness::settled();
    assert_eq!(witness.acquire(0, &asks("a", 10)), Ok(()));
    assert_eq!(witness.acquire(4, &asks("b", 10)), held("a", 7));
    assert_eq!(witness.acquire(5, &asks("a", 10)), Ok(()), "renewed");
    // A second longer than the holder was told.
    assert_eq!(witness.acquire(15, &asks("b", 10)), held("a", 1));
    assert_eq!(witness.look(15).holder, Some(("a".to_owned(), secs(1))));
    assert_eq!(witness.acquire(16, &asks("b", 10)), Ok(()));
    assert_eq!(witness.acquire(16, &asks("a", 10)), held("b", 11));
    assert_eq!(witness.look(16).nodes, ["a", "b"]);
}

#[test]
fn a_renewal_shortens_nothing() {
    let mut witness = Witness::settled();
    witness.acquire(0, &asks("a", 60)).unwrap();
    // It may never hear of it.
    witness.acquire(1, &asks("a", 3)).unwrap();
    assert_eq!(witness.acquire(5, &asks("b", 10)), held("a", 56));
}

#[test]
fn released_is_free_and_releasing_twice_is_no_error() {
    let mut witness = Witness::settled();
    witness.release("a").unwrap();
    witness.acquire(0, &asks("a", 60)).unwrap();
    witness.release("b").unwrap();
    witness.release("stranger").unwrap();
    assert_eq!(witness.acquire(1, &asks("b", 10)), held("a", 60));
    witness.release("a").unwrap();
    witness.release("a").unwrap();
    assert_eq!(witness.look(1).holder, None);
    witness.acquire(1, &asks("b", 10)).unwrap();
    witness.release("a").unwrap();
    assert_eq!(witness.acquire(2, &asks("a", 10)), held("b", 10), "not a's");
}

#[test]
fn a_third_node_is_refused_until_the_group_is_forgotten() {
    let mut witness = Witness::settled();
    witness.acquire(0, &asks("a", 3)).unwrap();
    witness.acquire(4, &asks("b", 3)).unwrap();
    let nodes = vec!["a".to_owned(), "b".to_owned()];
    let refused = Err(Refusal::Stranger { nodes });
    assert_eq!(witness.acquire(20, &forces("c", 10)), refused);
    let forget = |witness: &Witness, second| witness.table.forget(witness.at(second), "g");
    let running = forget(&witness, 7).map(|_| ());
    assert_eq!(running, held("b", 1), "while a lease is running");
    let plan = forget(&witness, 8).unwrap().unwrap();
    assert!(plan.is_durable() && witness.table.records_with(&plan).is_empty());
    witness.table.commit(plan);
    assert_eq!(forget(&witness, 8), Ok(None));
    assert_eq!(witness.acquire(8, &asks("c", 10)), Ok(()));
}

#[test]
fn a_refusal_names_no_node() {
    let mut witness = Witness::settled();
    witness.acquire(0, &asks("a", 3)).unwrap();
    witness.acquire(1, &asks("b", 3)).unwrap_err();
    assert_eq!(witness.look(1).nodes, ["a"]);
}

#[test]
fn groups_are_bounded() {
    let mut witness = Witness::settled();
    let mut asked = asks("a", 3);
    for number in 0..GROUPS {
        asked.group = number.to_string();
        witness.acquire(0, &asked).unwrap();
    }
    asked.group = "one more".to_owned();
    assert_eq!(witness.acquire(0, &asked), Err(Refusal::TooManyGroups));
    asked.group = "0".to_owned();
    assert_eq!(witness.acquire(0, &asked), Ok(()));
}

#[test]
fn after_a_start_nobody_is_granted_a_lease_for_the_longest_one() {
    let mut witness = Witness::new();
    let quiet = |seconds| {
        Err(Refusal::Quiet {
            left: secs(seconds),
        })
    };
    assert_eq!(witness.acquire(0, &asks("a", 10)), quiet(61));
    assert_eq!(witness.acquire(60, &forces("a", 10)), quiet(1));
    assert_eq!(witness.look(60).quiet, secs(1));
    assert_eq!(witness.acquire(61, &asks("a", 10)), Ok(()));
    assert_eq!(witness.look(61).quiet, secs(0));
}

#[test]
fn after_a_restart_the_recorded_holder_goes_on_and_nobody_else_begins() {
    let mut witness = Witness::settled();
    witness.acquire(0, &asks("a", 60)).unwrap();
    witness.restart(1);
    assert_eq!(witness.acquire(2, &forces("b", 10)), held("a", 60));
    assert_eq!(witness.acquire(3, &asks("a", 5)), Ok(()));
    assert_eq!(witness.acquire(8, &asks("b", 10)), held("a", 54));
    witness.release("a").unwrap();
    let quiet = Refusal::Quiet { left: secs(53) };
    assert_eq!(witness.acquire(9, &asks("b", 10)), Err(quiet));
    assert_eq!(witness.acquire(62, &asks("b", 10)), Ok(()));

    witness.restart(70);
    assert_eq!(
        witness.acquire(130, &asks("a", 10)),
        held("b", 1),
        "never came"
    );
    assert_eq!(witness.acquire(131, &asks("a", 10)), Ok(()));
}

#[test]
fn who_is_alone_keeps_the_other_out_until_it_says_otherwise() {
    let mut witness = Witness::settled();
    witness.acquire(0, &says("a", Copies::OnlyMine)).unwrap();
    assert_eq!(witness.look(0).alone.as_deref(), Some("a"));
    assert_eq!(witness.acquire(100, &asks("b", 10)), alone("a"));
    witness.restart(200);
    assert_eq!(witness.acquire(300, &asks("b", 10)), alone("a"));
    // What it says before it renews is of an earlier time.
    witness.acquire(400, &says("a", Copies::Both)).unwrap();
    assert_eq!(witness.look(400).alone.as_deref(), Some("a"));
    witness.acquire(401, &asks("a", 10)).unwrap();
    witness.release("a").unwrap();
    assert_eq!(witness.acquire(402, &asks("b", 10)), alone("a"), "released");
    witness.acquire(403, &asks("a", 10)).unwrap();
    witness.acquire(404, &says("a", Copies::Both)).unwrap();
    assert_eq!(witness.look(404).alone, None);
    witness.release("a").unwrap();
    assert_eq!(witness.acquire(405, &asks("b", 10)), Ok(()));
}

#[test]
fn who_is_refused_changes_nothing() {
    let mut witness = Witness::settled();
    witness.acquire(0, &says("a", Copies::OnlyMine)).unwrap();
    let before = witness.records();
    witness
        .acquire(1, &says("b", Copies::OnlyMine))
        .unwrap_err();
    witness.acquire(50, &says("b", Copies::Both)).unwrap_err();
    assert_eq!(witness.records(), before);
}

#[test]
fn force_overrides_who_is_alone_but_no_lease() {
    let mut witness = Witness::settled();
    witness.acquire(0, &says("a", Copies::OnlyMine)).unwrap();
    assert_eq!(witness.acquire(10, &forces("b", 10)), held("a", 1));
    let forced = Acquire {
        copies: Copies::Both,
        ..forces("b", 10)
    };
    assert_eq!(witness.acquire(11, &forced), Ok(()));
    assert_eq!(witness.look(11).alone.as_deref(), Some("b"));
    assert_eq!(witness.acquire(30, &asks("a", 10)), alone("b"));
    // Force where there is nothing to force.
    witness.acquire(31, &forces("b", 10)).unwrap();
    witness.acquire(32, &says("b", Copies::Both)).unwrap();
    assert_eq!(witness.acquire(50, &forces("a", 10)), Ok(()));
    assert_eq!(witness.look(50).alone, None);
}

#[test]
fn what_was_overtaken_does_nothing() {
    let mut witness = Witness::settled();
    let both = says("a", Copies::Both);
    witness.acquire_as(2, 0, &asks("a", 10)).unwrap();
    witness
        .acquire_as(5, 0, &says("a", Copies::OnlyMine))
        .unwrap();
    for order in [3, 4, 5] {
        let refused = witness.acquire_as(order, 1, &both);
        assert_eq!(refused, Err(Refusal::Overtaken));
        let refused = witness.table.release(order, "g", "a").map(|_| ());
        assert_eq!(refused, Err(Refusal::Overtaken));
    }
    assert_eq!(witness.look(1).alone.as_deref(), Some("a"));
    let other = witness.acquire_as(4, 1, &asks("b", 10));
    assert_eq!(
        other,
        held("a", 10),
        "the other node has an order of its own"
    );
    witness.acquire_as(6, 1, &both).unwrap();

    let plan = witness.table.release(8, "g", "a").unwrap().unwrap();
    witness.table.commit(plan);
    assert_eq!(
        witness.acquire_as(7, 2, &asks("a", 10)),
        Err(Refusal::Overtaken)
    );
}

#[test]
fn what_must_outlive_the_witness_is_said_to() {
    let mut witness = Witness::settled();
    let plan = |witness: &Witness, asked: &Acquire| {
        let plan = witness.table.acquire(witness.at(0), 100, asked).unwrap();
        (plan.is_durable(), witness.table.records_with(&plan))
    };
    let (durable, records) = plan(&witness, &asks("a", 10));
    assert!(
        durable && witness.records().is_empty(),
        "a plan changes nothing"
    );
    witness.acquire(0, &asks("a", 10)).unwrap();
    assert_eq!(records, witness.records());
    assert_eq!(records["g"].holder.as_deref(), Some("a"));

    assert!(
        !plan(&witness, &asks("a", 20)).0,
        "renewals are for this life"
    );
    assert!(!plan(&witness, &says("a", Copies::Both)).0);
    let (durable, records) = plan(&witness, &says("a", Copies::OnlyMine));
    assert!(durable);
    assert_eq!(records["g"].alone.as_deref(), Some("a"));
    let release = |node| witness.table.release(100, "g", node).unwrap().unwrap();
    assert!(release("a").is_durable());
    let records = witness.table.records_with(&release("a"));
    assert_eq!(records["g"].holder, None);
}
