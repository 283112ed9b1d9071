//! What kind of run a seed gives: who comes, how the network treats them, which bounds are near.

use std::rc::Rc;

use leveret::config::Limits;

use crate::client::{Habits, Mistake};
use crate::commands::{CONSUMER, EVERYTHING, ORGANIZER, PUBLISHER};
use crate::order::WORKER;
use crate::random::Random;
use crate::socket::Pace;
use crate::wares::{Focus, Wares};

/// What kind of run it is.
pub struct Temper {
    pub turns: usize,
    pub clients: usize,
    pub clients_max: usize,
    /// Percentage of turns in which somebody hangs up without a word.
    pub cuts: usize,
    /// Percentage of turns in which the clock leaps, and how far at most.
    pub leaps: usize,
    pub leap_ms: usize,
    /// Percentage of turns in which publishers are blocked from outside, or no longer.
    pub outside_alarms: usize,
    /// Percentage of turns in which a policy is set or cleared.
    pub policies: usize,
    pub wakings_per_turn: usize,
    pub body_max: usize,
    pub flood: usize,
    pub wares: Rc<Wares>,
    /// Percentage of turns that begin when something is due, or just before or after.
    pub punctuality: usize,
    /// There is a store.
    pub is_kept: bool,
    /// Percentage of turns in which an administrator orders something else.
    pub deeds: usize,
    /// Percentage of turns in which something goes wrong with the disk.
    pub mishaps: usize,
    /// Turns in which the broker ends and starts again.
    pub restarts: Vec<usize>,
    /// How many messages of a hundred want to survive.
    pub persistent: usize,
    /// Most queues survive, and messages go into them.
    pub is_durable: bool,
}

impl Temper {
    pub fn new(random: &mut Random) -> Self {
        let turns = *random.pick(&[40, 80, 120, 160]);
        let wares = Rc::new(Wares::new(random));
        let share = match wares.focus.is_some_and(Focus::is_durable) {
            true => 80,
            false => 45,
        };
        let is_kept = random.percent(share);
        let is_durable = is_kept && random.percent(share);
        let restarts = match is_durable {
            true => *random.pick(&[0, 1, 2, 4]),
            false => *random.pick(&[0, 0, 0, 1, 2]),
        };
        let restarts = if is_kept { restarts } else { 0 };
        Temper {
            turns,
            clients: random.between(2, 6),
            clients_max: random.between(6, 12),
            cuts: *random.pick(&[0, 1, 3]),
            leaps: *random.pick(&[0, 2, 10]),
            leap_ms: *random.pick(&[500, 3000, 30_000, 90_000]),
            outside_alarms: *random.pick(&[0, 0, 2, 30]),
            policies: match wares.focus {
                Some(Focus::Alternates) => 15,
                _ => *random.pick(&[0, 0, 0, 2, 10]),
            },
            deeds: *random.pick(&[0, 0, 1, 4]),
            wakings_per_turn: *random.pick(&[1, 2, 100]),
            body_max: *random.pick(&[1000, 6000, 40_000, 300_000]),
            flood: *random.pick(&[8, 8, 8, 60]),
            wares,
            punctuality: *random.pick(&[0, 20, 60]),
            is_kept,
            mishaps: if is_kept {
                *random.pick(&[0, 0, 0, 1, 3])
            } else {
                0
            },
            persistent: if is_durable {
                *random.pick(&[80, 100])
            } else {
                35
            },
            is_durable,
            restarts: (0..restarts).map(|_| random.between(1, turns)).collect(),
        }
    }
}

impl Pace {
    pub fn new(random: &mut Random) -> Self {
        Pace {
            moves: *random.pick(&[30, 80, 100, 100]),
            bytes_max: *random.pick(&[30, 500, 5000, 100_000, 1 << 20]),
            buffer: *random.pick(&[500, 10_000, 1 << 20]),
            stalls: *random.pick(&[0, 0, 2, 5]),
            stall_turns: *random.pick(&[5, 30, 100]),
        }
    }
}

/// Small bounds are reached often.
pub fn limits(random: &mut Random, is_durable: bool) -> Limits {
    let budgets: &[usize] = match is_durable {
        true => &[0, 0, 2 << 10, 20 << 10, 32 << 20],
        false => &[0, 20 << 10, 200 << 10, 32 << 20],
    };
    Limits {
        outbox_bytes_max: *random.pick(&[2 << 10, 4 << 10, 16 << 10, 64 << 10]),
        messages_bytes_max: *random.pick(&[200 << 10, 600 << 10, 2 << 20, 1 << 30, 1 << 30]),
        messages_bytes_budget: *random.pick(budgets),
        message_size_max_bytes: *random.pick(&[3000, 25_000, 128 << 20, 128 << 20]),
        consumer_timeout_ms: *random.pick(&[None, None, None, None, None, None, Some(400)]),
        ..Limits::default()
    }
}

/// Who takes turns with others needs others.
fn weights(random: &mut Random, focus: Option<Focus>) -> Vec<usize> {
    let kinds = match focus {
        None | Some(Focus::Alternates) => [PUBLISHER, CONSUMER, ORGANIZER, EVERYTHING],
        Some(_) => [PUBLISHER, CONSUMER, CONSUMER, EVERYTHING],
    };
    let mut weights = random.pick(&kinds).to_vec();
    if focus == Some(Focus::SingleActive) {
        // They come and go.
        weights[4] *= 3;
        weights[12] *= 3;
    }
    weights
}

pub fn habits(random: &mut Random, temper: &Temper) -> Habits {
    let mistakes = [
        Mistake::Password,
        Mistake::FrameMax,
        Mistake::VirtualHost,
        Mistake::Silence,
    ];
    Habits {
        weights: weights(random, temper.wares.focus),
        body_max: temper.body_max,
        flood: temper.flood,
        persistent: temper.persistent,
        is_durable: temper.is_durable,
        wares: temper.wares.clone(),
        heartbeat_seconds: *random.pick(&[0, 1, 5, 60]),
        wants_cancels: random.percent(70),
        wants_blocked: random.percent(70),
        wants_refusals: random.percent(50),
        mistake: random.percent(4).then(|| *random.pick(&mistakes)),
        reckless: random.percent(25),
        user: random.pick::<&str>(&["guest", "guest", "guest", WORKER]),
    }
}
