//! The process is killed at a random moment under load, again and again in the same directory: what was
//! confirmed is there, in order, once unless it had been delivered; what was acked stays away.

use std::time::Duration;

use rustix::process::Signal;

use crate::load::{Definitions, Load, Topology};
use crate::program::{Home, Program};
use crate::random::Random;
use crate::verify::verify;

#[test]
fn nothing_confirmed_is_lost_from_one_queue() {
    live_and_die(1, 1);
}

#[test]
fn nothing_confirmed_is_lost_from_8_queues() {
    live_and_die(8, 2);
}

#[test]
fn nothing_confirmed_is_lost_from_64_queues() {
    live_and_die(64, 3);
}

/// A third of all rounds, with so many queues.
fn live_and_die(queues: usize, salt: u64) {
    let rounds = number("LEVERET_ROUNDS").unwrap_or(ROUNDS).div_ceil(3);
    let seed = number("LEVERET_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("LEVERET_SEED={seed}, {rounds} rounds with {queues} queues");
    let mut random = Random::new(seed.wrapping_mul(31) + salt);
    let mut due = 0;
    let mut left = rounds;
    while left > 0 {
        let lives = left.min(random.between(1, 8) as u64);
        due += live(queues, lives, &mut random);
        left -= lives;
    }
    println!("{due} messages were confirmed and due in {rounds} rounds");
}

/// A directory, and the lives of the broker in it. How many messages were due, over all lives.
fn live(queues: usize, lives: u64, random: &mut Random) -> usize {
    let home = Home::new();
    let mut program = home.start();
    let topology = Topology::declare(&program, queues);
    let mut definitions = Definitions::default();
    let mut ledger = crate::ledger::Ledger::default();
    let mut due = 0;
    for life in 1..=lives {
        let load = Load::start(&program, &topology, definitions, life as u32, random);
        std::thread::sleep(Duration::from_millis(random.below(LOAD_MS_MAX) as u64));
        die(program, random);
        let known;
        (known, definitions) = load.end();
        ledger.merge(known);
        due += ledger.due();
        while random.percent(20) {
            home.start_and_kill(Duration::from_micros(random.below(10_000) as u64));
        }
        program = home.start();
        let ack_percent = *random.pick(&[0, 50, 90, 100]);
        let mut faults = verify(
            &program,
            topology.known_queues(),
            &mut ledger,
            ack_percent,
            random,
        );
        faults.extend(definitions.check(&program));
        if !faults.is_empty() {
            fail(&home, life, &faults);
        }
    }
    program.stop();
    due
}

/// Mostly by a kill; now and then it is stopped under load, for which the same must hold.
fn die(program: Program, random: &mut Random) {
    if random.percent(15) {
        program.signal(Signal::TERM);
        program.stop();
    } else {
        program.kill();
    }
}

fn fail(home: &Home, life: u64, faults: &[String]) -> ! {
    let log = home.log();
    let kept = std::env::temp_dir().join(format!("leveret-durability-{}", std::process::id()));
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([home.data(), &kept])
        .status();
    panic!(
        "life {life}: {} faults, of which\n{}\nthe broker logged:\n{log}\nkept in {}: {copied:?}",
        faults.len(),
        faults[..faults.len().min(20)].join("\n"),
        kept.display(),
    );
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

const ROUNDS: u64 = 150;
const LOAD_MS_MAX: usize = 200;
