//! A whole run: the hub, sockets on a made-up network, a made-up clock, and the model beside it.
//!
//! Turns have the stages of `src/protocol/mod.rs`. After every call of the broker its outputs are
//! taken from the outboxes and held against the model; what the network then does with them is only
//! between outbox and client.

use std::collections::BTreeMap;

use leveret::config::Config;
use leveret::protocol::{Hub, Machine, Now, Peer, SocketKey};
use leveret::wire::amqp::frame::{self, Frame};
use leveret::wire::amqp::{Method, exchange, queue};

use crate::client::Client;
use crate::event::{self, Event, describe};
use crate::model::{Beyond, Model, Queue, Restart, State};
use crate::order::{Order, add_worker};
use crate::random::Random;
use crate::socket::{Heard, Pace, Phase, Socket};
use crate::store::{SlowStore, Storing};
use crate::temper::{Temper, habits, limits};
use crate::{Check, ensure};

pub struct World {
    random: Random,
    hub: Hub,
    config: Config,
    seed: u64,
    store: Option<SlowStore>,
    model: Model,
    /// By number of the connection.
    sockets: Vec<Socket>,
    by_key: BTreeMap<u64, usize>,
    /// Connections whose machine is to be told that publishing goes on.
    woken: Vec<SocketKey>,
    dirty: Vec<SocketKey>,
    now_ms: u64,
    turn: usize,
    temper: Temper,
    memory_alarm: bool,
    /// Somebody outside blocks publishers.
    outside_alarm: bool,
    restarts: usize,
    /// Somebody heard that something is stored. How likely the broker ends right after that, in percent.
    crash: usize,
    /// Copies of messages that came through them.
    recovered: usize,
    /// What an administrator ordered in this turn.
    order: Option<Order>,
    /// Longest step of the clock so far.
    step_ms: u64,
    /// Of every byte that the broker said.
    hash: u64,
    transcript: Option<Vec<String>>,
}

/// What is left of a run.
pub struct Outcome {
    pub hash: u64,
    pub transcript: Vec<String>,
    pub result: Check,
    /// It ended early, where the model knows no further.
    pub beyond: Option<Beyond>,
    /// Restarts, copies of messages that came through them, and blocks that were read back.
    /// Then full disks, failed syncs and power losses.
    pub survived: [usize; 6],
}

/// Runs one seed from the first client to an empty broker.
pub fn run(seed: u64, with_transcript: bool) -> Outcome {
    let mut world = World::new(seed, with_transcript);
    let result = world.live();
    Outcome {
        hash: world.hash,
        beyond: world.model.beyond,
        survived: world.survived(),
        transcript: world.transcript.unwrap_or_default(),
        result: result.map_err(|error| format!("turn {}: {error}", world.turn)),
    }
}

impl World {
    fn new(seed: u64, with_transcript: bool) -> Self {
        let mut random = Random::new(seed);
        let temper = Temper::new(&mut random);
        let limits = limits(&mut random, temper.is_durable);
        let config = Config {
            limits: limits.clone(),
            ..Config::default()
        };
        World {
            random,
            hub: new_hub(&config, seed),
            config,
            seed,
            store: None,
            model: Model::new(limits),
            sockets: Vec::new(),
            by_key: BTreeMap::new(),
            woken: Vec::new(),
            dirty: Vec::new(),
            now_ms: 1_000_000,
            turn: 0,
            temper,
            memory_alarm: false,
            outside_alarm: false,
            restarts: 0,
            crash: 0,
            recovered: 0,
            order: None,
            step_ms: 0,
            hash: 0,
            transcript: with_transcript.then(Vec::new),
        }
    }

    fn survived(&self) -> [usize; 6] {
        let store = self.store.as_ref();
        let fetched = store.map_or(0, |store| store.fetched);
        let mishaps = store.map(|store| store.mishaps).unwrap_or_default();
        let (restarts, copies) = (self.restarts, self.recovered);
        let [full, failed_syncs, power_losses] = mishaps;
        [restarts, copies, fetched, full, failed_syncs, power_losses]
    }

    fn live(&mut self) -> Check {
        self.hub.begin_turn(self.now());
        self.model.now_ms = self.now().unix_ms;
        if self.temper.is_kept {
            let (store, recovered) = SlowStore::start(&mut self.random)?;
            self.store = Some(store);
            self.model.stored.is_kept = true;
            self.hub.recover(recovered);
        }
        add_worker(&mut self.hub);
        match self.go_through() {
            // What the model would say from there on is guesswork.
            _ if self.model.beyond.is_some() => Ok(()),
            result => result,
        }
    }

    fn go_through(&mut self) -> Check {
        for _ in 0..self.temper.clients {
            self.accept();
        }
        while self.turn < self.temper.turns {
            let open = self
                .sockets
                .iter()
                .filter(|s| s.phase == Phase::Open)
                .count();
            let may_come = self.sockets.len() < self.temper.clients_max;
            if may_come && (open < 2 || self.random.percent(2)) {
                self.accept();
            }
            for socket in &mut self.sockets {
                socket.client.act(self.now_ms);
            }
            if self.random.percent(self.temper.cuts) {
                let victim = self.random.below(self.sockets.len());
                self.sockets[victim].is_cut = true;
            }
            self.turn()?;
            let crash = std::mem::take(&mut self.crash);
            if self.temper.restarts.contains(&self.turn) {
                let ways = [
                    Restart::Crash,
                    Restart::PowerLoss,
                    Restart::IdleCrash,
                    Restart::Clean,
                ];
                let how = *self.random.pick(&ways);
                self.restart(how)?;
            } else if !self.temper.restarts.is_empty() && self.random.percent(crash) {
                let how = *self.random.pick(&[Restart::Crash, Restart::PowerLoss]);
                self.restart(how)?;
            }
        }
        self.say_goodbye()?;
        self.clear_away()
    }

    /// Everybody leaves, one way or the other.
    fn say_goodbye(&mut self) -> Check {
        self.heal();
        for _ in 0..QUIET_TURNS {
            for socket in &mut self.sockets {
                socket.client.keep_alive(self.now_ms);
            }
            self.turn()?;
        }
        for socket in &mut self.sockets {
            match self.random.percent(70) {
                true => socket.client.say_goodbye(),
                false => socket.is_cut = true,
            }
        }
        for turn in 0..GOODBYE_TURNS {
            let mut sockets = self.sockets.iter();
            if sockets.all(|socket| socket.phase == Phase::Gone) {
                return Ok(());
            }
            self.turn()?;
            if turn == GOODBYE_TURNS / 2 {
                // The goodbyes of blocked publishers are not heard.
                for (socket, connection) in self.sockets.iter_mut().zip(&self.model.connections) {
                    socket.is_cut |= connection.blocked;
                }
            }
            // Some never answer: their time runs out.
            self.now_ms += 500;
        }
        Err("a connection does not end".to_owned())
    }

    /// A last client deletes everything that is left; then nothing must be left.
    fn clear_away(&mut self) -> Check {
        self.accept();
        self.heal();
        let last = self.sockets.len() - 1;
        self.sockets[last].client.habits.mistake = None;
        self.sockets[last].client.habits.user = "guest";
        for _ in 0..GOODBYE_TURNS {
            if self.sockets[last].client.is_running() {
                break;
            }
            self.turn()?;
        }
        let client = &mut self.sockets[last].client;
        client.send(1, &leveret::wire::amqp::channel::Open::default());
        let clients = |(_, queue): &(&String, &Queue)| queue.delays_for.is_none();
        for (name, _) in self.model.queues.iter().filter(clients) {
            let queue = name.as_bytes();
            client.send(
                1,
                &queue::Delete {
                    queue,
                    ..queue::Delete::default()
                },
            );
        }
        let own = |name: &&String| !name.is_empty() && !name.starts_with("amq.");
        for name in self.model.exchanges.keys().filter(own) {
            let exchange = name.as_bytes();
            client.send(
                1,
                &exchange::Delete {
                    exchange,
                    ..exchange::Delete::default()
                },
            );
        }
        client.say_goodbye();
        for _ in 0..GOODBYE_TURNS {
            let is_over = !self.hub.has_more_work() && !self.model.has_dead_letters();
            if self.sockets[last].phase == Phase::Gone && is_over {
                break;
            }
            self.turn()?;
        }
        let inventory = self.hub.core.inventory();
        ensure!(
            inventory.queues == 0 && inventory.messages == 0 && inventory.exchanges == 7,
            "left over: {inventory:?}"
        );
        let held = self.hub.core.message_bytes();
        ensure!(held <= EMPTY_BYTES_MAX, "{held} bytes for no messages");
        Ok(())
    }

    /// From now on the network does what it can.
    fn heal(&mut self) {
        self.temper.leaps = 0;
        self.temper.outside_alarms = 0;
        self.temper.mishaps = 0;
        if let Some(store) = &mut self.store {
            store.heal();
        }
        self.block(false);
        for socket in &mut self.sockets {
            socket.stalled_until = 0;
            socket.pace = Pace {
                moves: 100,
                bytes_max: 1 << 20,
                buffer: 1 << 20,
                stalls: 0,
                stall_turns: 1,
            };
        }
    }

    fn accept(&mut self) {
        let number = self.model.accept(self.now_ms);
        let peer = Peer {
            address: format!("client {number}"),
            local: "simulation".to_owned(),
            loopback: true,
            tls: None,
        };
        let key = self.hub.outboxes.open();
        let machine = Machine::new(key, peer, &self.hub, self.now());
        let habits = habits(&mut self.random, &self.temper);
        let client = Client::new(Random::new(self.random.bits()), habits, number);
        let pace = Pace::new(&mut self.random);
        self.sockets.push(Socket::new(key, machine, client, pace));
        self.by_key.insert(key.to_bits(), number);
        self.log(|| format!("{number} connects"));
    }

    fn turn(&mut self) -> Check {
        self.turn += 1;
        let step = self.next_step();
        self.now_ms += step;
        self.step_ms = self.step_ms.max(step);
        self.log_turn();
        self.hub.begin_turn(self.now());
        self.model.now_ms = self.now().unix_ms;
        if let Some(store) = &mut self.store
            && self.random.percent(self.temper.mishaps)
        {
            store.fail(self.turn, &mut self.random);
        }
        self.hear_from_store()?;
        for number in 0..self.sockets.len() {
            let socket = &mut self.sockets[number];
            if socket.phase != Phase::Gone {
                for heard in socket.carry(&mut self.random, self.turn) {
                    let crash = match heard {
                        Heard::Purged(_) => 60,
                        Heard::Committed(_) | Heard::Declared(_) => 1,
                    };
                    self.crash = self.crash.max(crash);
                    match heard {
                        Heard::Committed(channel) => self.model.commit_heard((number, channel))?,
                        Heard::Declared(channel) => self.model.declare_heard((number, channel))?,
                        Heard::Purged(channel) => self.model.purge_heard((number, channel)),
                    }
                }
            }
        }
        if self.random.percent(self.temper.outside_alarms) {
            self.block(!self.outside_alarm);
        }
        let is_due = |at_ms| at_ms <= self.now().unix_ms;
        if self.hub.next_deadline().is_some_and(is_due) {
            self.settle()?;
        }
        for number in self.shuffled() {
            if self.sockets[number].phase == Phase::Open {
                self.read(number)?;
            }
        }
        let order = if self.random.percent(self.temper.policies) {
            Some(Order::policy(&mut self.random, self.temper.wares.focus))
        } else {
            let is_due = self.random.percent(self.temper.deeds);
            is_due.then(|| Order::deed(&mut self.random))
        };
        if let Some(order) = order {
            self.carry_out(&order)?;
            self.order = Some(order);
        }
        self.settle()?;
        self.fire_due()?;
        self.wake()?;
        if let Some(store) = &mut self.store {
            store.submit(&mut self.hub, &mut self.model, self.turn, &mut self.random);
        }
        for number in self.shuffled() {
            if self.sockets[number].phase != Phase::Gone {
                self.flush(number)?;
            }
        }
        Ok(())
    }

    /// How far the clock moves: mostly a little, now and then to when something is due, or just before
    /// or after.
    fn next_step(&mut self) -> u64 {
        let unix_ms = self.now().unix_ms;
        let due_ms = self.hub.next_deadline().unwrap_or(0);
        let is_near = (unix_ms..unix_ms + NEAR_MS).contains(&due_ms);
        if is_near && self.random.percent(self.temper.punctuality) {
            let at_ms = due_ms + *self.random.pick(&[0, 0, 1, 2]);
            return at_ms.saturating_sub(unix_ms + 1);
        }
        let step = match self.random.percent(self.temper.leaps) {
            true => self.random.between(1, self.temper.leap_ms),
            false => self.random.between(0, 20),
        };
        step as u64
    }

    fn hear_from_store(&mut self) -> Check {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        match store.store_due(&mut self.model, self.turn, &mut self.random)? {
            Storing::Stored(Some(up_to)) => self.hub.on_stored(up_to),
            Storing::Stored(None) => {}
            Storing::Failed => {
                self.log(|| "a sync failed".to_owned());
                return self.restart(Restart::PowerLoss);
            }
        }
        while let Some((block, page)) = self.store.as_mut().and_then(|it| it.take_page(self.turn)) {
            self.log(|| format!("block {block} is read back"));
            self.hub.on_page(block, &page);
            let paged = self.hub.core.paged_out_blocks();
            self.observe(None, |model| {
                model.note_paged(paged);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The broker ends in one way or another, and starts again.
    fn restart(&mut self, how: Restart) -> Check {
        self.log(|| format!("--- restart: {how:?}"));
        if let Some(store) = &mut self.store {
            store.heal();
        }
        if how == Restart::Clean {
            for number in 0..self.sockets.len() {
                if self.sockets[number].phase != Phase::Gone {
                    self.let_go(number)?;
                }
            }
        }
        if how.has_everything() {
            self.catch_up()?;
        }
        let mut store = self.store.take().expect("only with a store");
        if how == Restart::Clean {
            store.stop(&self.hub)?;
        }
        for socket in &mut self.sockets {
            if socket.phase != Phase::Gone {
                socket.machine.on_disconnect(&mut self.hub);
                socket.phase = Phase::Gone;
            }
        }
        let (store, recovered) = match how {
            Restart::PowerLoss => store.restart_after_power_loss(&mut self.random)?,
            _ => store.restart()?,
        };
        self.store = Some(store);
        self.restarts += 1;
        let copies = recovered.queues.iter();
        self.recovered += copies.map(|(_, it)| it.iter().count()).sum::<usize>();
        self.model.restart(how, &recovered)?;
        self.hub = new_hub(&self.config, self.seed ^ self.turn as u64);
        self.hub.begin_turn(self.now());
        self.hub.recover(recovered);
        self.model.note_paged(self.hub.core.paged_out_blocks());
        self.by_key.clear();
        self.woken.clear();
        self.memory_alarm = false;
        self.block(self.outside_alarm);
        Ok(())
    }

    /// An administrator orders something.
    fn carry_out(&mut self, order: &Order) -> Check {
        order.give(&mut self.hub)?;
        let core = &mut self.hub.core;
        // Whoever asked is answered when it is stored.
        if core.take_redefined() {
            core.await_journal();
        }
        self.log(|| format!("{order:?}"));
        Ok(())
    }

    /// Until everything is stored, and nothing waits for a page.
    fn catch_up(&mut self) -> Check {
        for _ in 0..CATCH_UP_TURNS {
            let store = self.store.as_mut().expect("only with a store");
            store.submit(&mut self.hub, &mut self.model, self.turn, &mut self.random);
            if store.is_idle() {
                return Ok(());
            }
            self.turn += 1;
            self.hear_from_store()?;
        }
        Err("the broker does not come to rest".to_owned())
    }

    /// Blocks publishers from outside, or no longer.
    fn block(&mut self, blocked: bool) {
        self.hub.set_blocked(blocked.then_some("maintenance"));
        self.outside_alarm = blocked;
        self.model.alarm = self.hub.alarm().is_some();
        self.log(|| format!("maintenance: {blocked}"));
    }

    fn read(&mut self, number: usize) -> Check {
        let mut bytes_left = READ_BYTES_MAX;
        while bytes_left > 0 {
            let socket = &mut self.sockets[number];
            let state = self.model.connections[number].state;
            let size = socket.next_slice(state, &mut self.random);
            let is_stopped = socket.machine.wants_close() || !socket.machine.wants_read(&self.hub);
            if size == 0 || size == socket.seen || is_stopped {
                break;
            }
            bytes_left = bytes_left.saturating_sub(size);
            self.show(number, size, state)?;
        }
        let socket = &mut self.sockets[number];
        socket.machine.on_turn_end(&mut self.hub);
        self.observe(Some(number), |_| Ok(()))
    }

    /// Shows the machine so much of the input, and tells the model what it took of it.
    fn show(&mut self, number: usize, size: usize, state: State) -> Check {
        let now = self.now();
        let socket = &mut self.sockets[number];
        let shown = socket.input[..size].to_vec();
        let taken = socket.machine.on_bytes(&shown, &mut self.hub, now);
        ensure!(taken <= size, "{taken} taken of {size}");
        socket.input.drain(..taken);
        let goes_on = socket.machine.wants_read(&self.hub) && !socket.machine.wants_close();
        // What it left because it had enough for now, it is shown again.
        socket.seen = if goes_on { size - taken } else { 0 };
        // Behind what is no frame it keeps as much as may be the beginning of a `connection.close-ok`.
        let may_be_garbage = size - taken < CLOSE_OK_SIZE;
        let keeps_a_frame =
            !may_be_garbage && matches!(Frame::decode(&shown[taken..], 0), Ok(Some(_)));
        let has_frames = state > State::Header && state < State::Garbled;
        ensure!(
            !(goes_on && has_frames && keeps_a_frame),
            "{number}: a whole frame was left lying"
        );
        let now_ms = self.now_ms;
        self.model.connections[number].heard_ms = now_ms;
        if state == State::Garbled || (has_frames && Frame::decode(&shown, 0).is_err()) {
            self.log(|| format!("{number} > {size} bytes that are no frame"));
            return self.observe(Some(number), |model| {
                model.take_garbage(number, &shown, now_ms);
                Ok(())
            });
        }
        self.note_get(number, &shown[taken..]);
        self.log_taken(number, &shown[..taken], state);
        self.observe(Some(number), |model| {
            take(model, number, &shown[..taken], state, now_ms)
        })
    }

    /// What is left lying may be a `basic.get` that waits for its message to be read back.
    fn note_get(&mut self, number: usize, left: &[u8]) {
        let is_held = !self.sockets[number].machine.wants_read(&self.hub);
        if is_held
            && let Ok(Some((frame, _))) = Frame::decode(left, 0)
            && frame.kind == frame::METHOD
            && let Ok(Method::BasicGet(get)) = Method::decode(frame.payload)
        {
            self.model.note_get((number, frame.channel), get.queue);
        }
    }

    fn settle(&mut self) -> Check {
        let half = self.model.limits.outbox_bytes_max / 2;
        let outboxes = &self.hub.outboxes;
        let relieved: Vec<bool> = self
            .sockets
            .iter()
            .map(|socket| outboxes.waiting(socket.key) <= half)
            .collect();
        self.hub.settle();
        for (number, relieved) in relieved.into_iter().enumerate() {
            self.model.connections[number].stalled &= !relieved;
        }
        let order = self.order.take();
        self.observe(None, |model| {
            if let Some(order) = order {
                order.tell(model);
            }
            model.pass_time();
            Ok(())
        })?;
        self.model.note_paged(self.hub.core.paged_out_blocks());
        self.model.check_deadline(self.hub.next_deadline())?;

        let held = self.hub.core.message_bytes();
        let max = self.model.limits.messages_bytes_max;
        self.model.alarm = self.hub.alarm().is_some();
        self.memory_alarm = held > max || (self.memory_alarm && held > max / 10 * 9);
        let expected = self.memory_alarm || self.outside_alarm;
        ensure!(
            self.model.alarm == expected,
            "{held} bytes held of {max}: {:?}",
            self.hub.alarm()
        );
        if !self.hub.has_more_work() {
            self.model.check_quiescent(&self.hub.core.inventory())?;
            self.model.check_counts(&self.hub.core.channel_totals())?;
            let bodies = self.model.body_bytes();
            let is_in_memory = self.store.is_none();
            ensure!(
                !is_in_memory || bodies <= held,
                "{bodies} bytes of bodies in {held}"
            );
        }
        Ok(())
    }

    fn fire_due(&mut self) -> Check {
        let now = self.now();
        for number in 0..self.sockets.len() {
            let socket = &mut self.sockets[number];
            if socket.phase != Phase::Open {
                continue;
            }
            if !socket.machine.wants_read(&self.hub) {
                self.model.connections[number].overdue_ms = self.now_ms;
            }
            let deadline = socket.machine.next_deadline(&self.hub);
            if deadline.is_some_and(|due| due <= now.monotonic_ms) && !socket.machine.wants_close()
            {
                let overdue = !socket.machine.wants_read(&self.hub);
                // Who is not read from may have settled everything, for all the broker knows.
                let is_held = overdue && !self.hub.outboxes.is_overdue(socket.key);
                socket.machine.on_timeout(&mut self.hub, now);
                let hung_up = socket.machine.wants_close();
                self.log(|| {
                    format!(
                        "{number} deadline{}",
                        if hung_up { ", hung up" } else { "" }
                    )
                });
                self.observe(Some(number), |model| {
                    if !is_held {
                        model.time_out_deliveries(number);
                    }
                    match hung_up {
                        true => model.timed_out(number, now.monotonic_ms, overdue),
                        false => Ok(()),
                    }
                })?;
            }
            let socket = &self.sockets[number];
            if socket.machine.wants_read(&self.hub) {
                self.model.check_held(number)?;
            }
            let socket = &self.sockets[number];
            if self.hub.outboxes.is_empty(socket.key) && !socket.is_cut {
                self.model
                    .check_still_welcome(number, self.now_ms, self.step_ms)?;
            }
        }
        Ok(())
    }

    fn wake(&mut self) -> Check {
        self.hub.take_woken(&mut self.woken);
        // Who is doomed is told at once, before it can ask for anything.
        let is_doomed = self.model.has_doomed();
        let count = match is_doomed {
            true => self.woken.len(),
            false => self.woken.len().min(self.temper.wakings_per_turn),
        };
        let now = self.now();
        for key in self.woken.drain(..count).collect::<Vec<_>>() {
            let number = self.by_key[&key.to_bits()];
            let socket = &mut self.sockets[number];
            if socket.phase == Phase::Open {
                socket.machine.on_woken(&mut self.hub, now);
                self.log(|| format!("{number} woken"));
                self.observe(Some(number), |model| {
                    model.unblocked(number, now.monotonic_ms);
                    Ok(())
                })?;
            }
        }
        let blocked = |number: &usize| self.model.connections[*number].blocked;
        let is_idle = self.store.as_ref().is_none_or(SlowStore::is_idle);
        if is_idle && self.woken.is_empty() && !self.hub.core.has_journal() {
            self.model.check_confirmed()?;
        }
        let stuck = (0..self.sockets.len()).find(blocked);
        ensure!(
            self.model.alarm || !self.woken.is_empty() || stuck.is_none(),
            "{stuck:?} is blocked without an alarm"
        );
        Ok(())
    }

    /// Writes, and lets go of those who are done.
    fn flush(&mut self, number: usize) -> Check {
        let socket = &mut self.sockets[number];
        if socket.phase == Phase::Open && socket.machine.wants_close() {
            socket.input.clear();
            socket.phase = Phase::Flushing(self.now_ms + self.model.limits.closing_timeout_ms);
        }
        if socket.write(&mut self.hub.outboxes, &mut self.random)? {
            self.model.connections[number].read_ms = self.now_ms;
        }
        // What came before the end of the stream is mostly read before the end is.
        let is_read = socket.input.is_empty() || self.random.percent(30);
        let is_over = match socket.phase {
            Phase::Open => socket.is_cut && is_read,
            Phase::Flushing(deadline) => {
                self.hub.outboxes.is_empty(socket.key) || deadline <= self.now_ms || socket.is_cut
            }
            Phase::Gone => false,
        };
        match is_over {
            true => self.let_go(number),
            false => Ok(()),
        }
    }

    fn let_go(&mut self, number: usize) -> Check {
        let socket = &mut self.sockets[number];
        socket.machine.on_disconnect(&mut self.hub);
        socket.phase = Phase::Gone;
        let key = socket.key;
        self.log(|| format!("{number} is gone"));
        self.observe(Some(number), |model| {
            model.disconnected(number);
            Ok(())
        })?;
        self.hub.outboxes.close(key);
        Ok(())
    }

    /// After a call of the broker: what did it say, and was it right?
    fn observe(&mut self, number: Option<usize>, taken: impl FnOnce(&mut Model) -> Check) -> Check {
        let outputs = self.take_outputs()?;
        for (number, socket) in self.sockets.iter().enumerate() {
            let waiting = self.hub.outboxes.waiting(socket.key);
            let is_full = waiting >= self.model.limits.outbox_bytes_max;
            self.model.connections[number].stalled |= is_full;
        }
        self.model.begin(number, outputs);
        taken(&mut self.model)?;
        let outputs = self.model.end()?;
        ensure!(self.model.beyond.is_none(), "beyond what the model knows");
        for (number, events) in outputs {
            self.sockets[number].expect(events);
        }
        for (number, socket) in self.sockets.iter().enumerate() {
            let is_finished = self.model.connections[number].state == State::Finished;
            ensure!(
                socket.machine.wants_close() == is_finished,
                "{number}: the machine {} be finished",
                if is_finished { "should" } else { "should not" }
            );
        }
        Ok(())
    }

    fn take_outputs(&mut self) -> Check<Vec<(usize, Vec<Event>)>> {
        self.hub.outboxes.take_dirty(&mut self.dirty);
        let mut outputs = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            let number = self.by_key[&key.to_bits()];
            let socket = &mut self.sockets[number];
            let bytes = socket.take_generated(&self.hub.outboxes)?;
            self.hash = hashed(self.hash ^ number as u64, &bytes);
            let waiting = self.hub.outboxes.waiting(key) - bytes.len();
            let connection = &mut self.model.connections[number];
            connection.spoke_ms = self.now_ms;
            let frame_max = connection.frame_max as usize;
            let events = event::decode(&bytes, frame_max, waiting)
                .map_err(|error| format!("connection {number}: {error}"))?;
            for event in &events {
                self.log(|| format!("{number} < {}", event.describe()));
            }
            outputs.push((number, events));
        }
        Ok(outputs)
    }

    fn now(&self) -> Now {
        Now {
            monotonic_ms: self.now_ms,
            unix_ms: 1_700_000_000_000 + self.now_ms,
        }
    }

    fn shuffled(&mut self) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..self.sockets.len()).collect();
        for at in (1..numbers.len()).rev() {
            numbers.swap(at, self.random.below(at + 1));
        }
        numbers
    }

    fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push(line());
        }
    }

    fn log_turn(&mut self) {
        let (turn, now_ms) = (self.turn, self.now_ms);
        self.log(|| format!("--- turn {turn}, {now_ms} ms"));
    }

    fn log_taken(&mut self, number: usize, mut bytes: &[u8], state: State) {
        if self.transcript.is_none() {
            return;
        }
        if state == State::Header {
            return self.log(|| format!("{number} > protocol header"));
        }
        while let Ok(Some((frame, used))) = Frame::decode(bytes, 0) {
            let what = match frame.kind {
                frame::METHOD | frame::HEARTBEAT => describe(frame.payload),
                frame::HEADER => format!("content header {}", frame.payload[2..].escape_ascii()),
                _ => {
                    let number = crate::message::number(&[], frame.payload);
                    format!("body, {} bytes, message {number:?}", frame.payload.len())
                }
            };
            let channel = frame.channel;
            self.log(|| format!("{number} > {channel:>2} {what}"));
            bytes = &bytes[used..];
        }
    }
}

/// A broker with names of its own.
fn new_hub(config: &Config, seed: u64) -> Hub {
    let mut names = Random::new(seed ^ 0x6e61_6d65);
    let entropy = move || {
        let halves = [names.bits().to_le_bytes(), names.bits().to_le_bytes()];
        std::array::from_fn(|at| halves[at / 8][at % 8])
    };
    Hub::new(config.clone(), Box::new(entropy))
}

/// Tells the model what the machine took.
fn take(model: &mut Model, number: usize, bytes: &[u8], state: State, now_ms: u64) -> Check {
    if state == State::Header && !bytes.is_empty() {
        model.take_protocol_header(number);
        return Ok(());
    }
    let mut rest = bytes;
    while let Ok(Some((frame, used))) = Frame::decode(rest, 0) {
        model.take_frame(number, &frame, now_ms)?;
        rest = &rest[used..];
    }
    // Of those who are done with anything is taken.
    let is_read_over = model.connections[number].state >= State::Refused;
    ensure!(
        rest.is_empty() || is_read_over,
        "a part of a frame was taken"
    );
    Ok(())
}

/// Any change of any byte changes it.
fn hashed(mut hash: u64, bytes: &[u8]) -> u64 {
    for part in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    hash ^ bytes.len() as u64
}

/// Of a whole frame with that method.
const CLOSE_OK_SIZE: usize = 12;

/// Bytes that a machine is shown in one turn.
const READ_BYTES_MAX: usize = 128 << 10;
/// Turns in which nobody says anything new.
const QUIET_TURNS: usize = 20;
const GOODBYE_TURNS: usize = 400;
/// Turns after which a broker that nobody uses has given everything to its store.
const CATCH_UP_TURNS: usize = 1000;
/// What is due within this time may be waited for in one step.
const NEAR_MS: u64 = 5000;
/// What the store of messages may keep for the next one.
const EMPTY_BYTES_MAX: usize = 160 << 10;
