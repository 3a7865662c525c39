//! Bounded runs of the fuzz targets over random bytes and over captured ones that were mutated.
//! A failure prints the seed; HAST_FUZZ_SEED runs that one alone.

use fastrand::Rng;

use crate::{targets, vectors};

/// Inputs a target gets in one run of the tests.
const ROUNDS: u64 = 20_000;
/// Longest random input, in bytes.
const MAX_RANDOM: usize = 300;
/// Longest captured input kept to be mutated, in bytes.
const MAX_SEED: usize = 4608;

/// Says which input failed when a target panics.
struct Blame(u64);

impl Drop for Blame {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with HAST_FUZZ_SEED={}", self.0);
        }
    }
}

fn run(target: fn(&[u8]), corpus: &[Vec<u8>]) {
    assert!(!corpus.is_empty());
    let chosen = std::env::var("HAST_FUZZ_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let seeds = chosen.map_or(0..ROUNDS, |seed: u64| seed..seed + 1);
    for input in corpus {
        target(input);
    }
    for seed in seeds {
        let _blame = Blame(seed);
        let mut random = Rng::with_seed(seed);
        let input = if random.u8(..4) == 0 {
            noise(&mut random)
        } else {
            mutant(&mut random, corpus)
        };
        target(&input);
    }
}

fn noise(random: &mut Rng) -> Vec<u8> {
    let length = random.usize(..MAX_RANDOM);
    // Small bytes are types, sizes and commands: they get further.
    let top = if random.bool() { u8::MAX } else { 20 };
    (0..length).map(|_| random.u8(..=top)).collect()
}

fn mutant(random: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.choice(corpus).expect("not empty").clone();
    for _ in 0..random.usize(1..6) {
        if input.is_empty() {
            break;
        }
        let at = random.usize(..input.len());
        match random.u8(..6) {
            0 => input[at] ^= 1 << random.u8(..8),
            1 => input[at] = random.u8(..),
            2 => input[at] = [0, 1, 2, 8, 16, 17, 0x7f, 0x80, 0xff][random.usize(..9)],
            3 => input.truncate(at),
            4 => {
                let other = random.choice(corpus).expect("not empty");
                let from = random.usize(..=other.len());
                input.splice(at..at, other[from..].iter().copied());
            }
            _ => {
                let until = random.usize(at..=input.len());
                input.drain(at..until);
            }
        }
        input.truncate(2 * MAX_SEED);
    }
    input
}

/// Every captured message that is short enough, by `part` of it.
fn captured(part: fn(&hast::wire::frame::Message) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut folders = vectors::conversations();
    folders.push(vectors::root().join("control"));
    let files = folders
        .iter()
        .flat_map(|folder| vectors::files(folder, ".bin"));
    let messages = files.flat_map(|path| vectors::messages(&path));
    let mut parts: Vec<_> = messages.map(|(_, message)| part(&message)).collect();
    parts.retain(|part| (1..MAX_SEED).contains(&part.len()));
    parts.sort();
    parts.dedup();
    parts
}

#[test]
fn nv_survives_anything() {
    run(targets::nv, &captured(|message| message.nv.encode()));
}

#[test]
fn frame_survives_anything() {
    run(
        targets::frame,
        &captured(hast::wire::frame::Message::encode),
    );
}

#[test]
fn request_survives_anything() {
    run(targets::request, &captured(|message| message.nv.encode()));
}

#[test]
fn our_own_messages_survive_anything() {
    run(targets::request, &crate::extension::messages());
}

#[test]
fn payload_survives_anything() {
    run(
        targets::payload,
        &captured(|message| {
            let choice = match message.nv.str("compression") {
                None => 0,
                Some("hole") => 1,
                Some(_) => 2,
            };
            [&[choice], &message.payload[..]].concat()
        }),
    );
}

#[test]
fn metadata_survives_anything() {
    let images = vectors::files(&vectors::root().join("disk"), ".bin");
    // Without the zeros at the end mutations hit what matters.
    let corpus: Vec<_> = images
        .iter()
        .map(|path| vectors::read(path)[..400].to_vec())
        .collect();
    run(targets::metadata, &corpus);
}

#[test]
fn metadata_with_a_record_survives_anything() {
    // Nearly all of these are damaged: what is looked for is what takes a damaged one for whole.
    let blocks: Vec<_> = crate::disk::with_records();
    run(targets::metadata, &blocks);
    let records: Vec<_> = blocks
        .iter()
        .map(|block| block[3072 + 60..3072 + 508].to_vec())
        .collect();
    run(targets::metadata, &records);
}
