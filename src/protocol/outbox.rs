//! Outboxes: the bytes that wait for each socket, in a table of their own.
//!
//! A publish read on one connection writes its delivery straight into the outbox of another: no queue
//! and no second pass between them. Small bodies are copied behind the frames around them; a piece of
//! a large body goes in by reference and is written from where it lies (`writev`).
//!
//! Bounds: beyond `bytes_max` waiting, a socket gets no more deliveries ([`Outlet::has_room`]), and
//! messages stay in their queues. Answers are never refused; instead a socket that owes the reading of
//! more than `bytes_max` of them is not read from ([`Outboxes::is_overdue`]).

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::holdings::{Holdings, Share};
use super::progress::{Awaited, Progress};
use crate::broker::{Body, Delivery, Got, Message, Outlet, Socket, SocketKey};
use crate::slots::Slots;
use crate::wire::amqp::frame::{self, OVERHEAD};
use crate::wire::amqp::method::{EncodeMethod, basic};

/// One outbox per open socket.
pub struct Outboxes {
    pub(super) boxes: Slots<Outbox, Socket>,
    pub(super) bytes_max: usize,
    /// What all clients together make us hold.
    pub(super) holdings: Holdings,
    /// Sockets whose outbox got bytes since last asked.
    dirty: Vec<SocketKey>,
    /// Sockets that were refused a delivery and have room again.
    pub(super) relieved: Vec<SocketKey>,
    /// Sockets with gates.
    gated: Vec<SocketKey>,
    /// Buffers of emptied outboxes, for the next to fill.
    spare: Vec<Vec<u8>>,
}

#[derive(Default)]
pub(super) struct Outbox {
    /// Encoded frames; those before `start` are written.
    bytes: Vec<u8>,
    start: usize,
    /// Pieces that go in between, in order.
    pieces: VecDeque<Piece>,
    piece_bytes: usize,
    /// Where the outbox may be written to only when something is reached, in order.
    gates: VecDeque<Gate>,
    /// Bytes of answers since the last of them was written.
    answer_bytes: usize,
    /// Where the last of them ends, counted as in `total`.
    answers_end: u64,
    /// Largest payload of a frame towards this peer.
    payload_max: usize,
    /// A delivery was refused for lack of room.
    pub(super) starved: bool,
    /// On the list of dirty outboxes.
    dirty: bool,
    /// Bytes ever put in: whether something was sent lately is seen by this moving.
    pub(super) total: u64,
    writes: u64,
    /// Bytes that came from the peer, in so many reads.
    pub(super) received: u64,
    reads: u64,
    pub(super) share: Share,
}

/// What went over a socket since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketTraffic {
    pub received_bytes: u64,
    pub reads: u64,
    pub sent_bytes: u64,
    pub writes: u64,
    /// Bytes that wait to be written.
    pub waiting_bytes: u64,
}

/// What lies behind `at` is written when that is reached.
struct Gate {
    at: usize,
    awaited: Awaited,
}

/// A part of a large body, to be written when all of `bytes` before `at` is.
struct Piece {
    at: usize,
    slice: Bytes,
}

impl Outboxes {
    pub fn new(bytes_max: usize) -> Self {
        Outboxes {
            boxes: Slots::new(),
            bytes_max,
            holdings: Holdings::new(),
            dirty: Vec::new(),
            relieved: Vec::new(),
            gated: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Opens an outbox; its key names the socket from now on.
    pub fn open(&mut self) -> SocketKey {
        self.boxes.insert(Outbox {
            payload_max: frame_payload_max(INITIAL_FRAME_MAX),
            ..Outbox::default()
        })
    }

    /// Drops what still waits.
    pub fn close(&mut self, key: SocketKey) {
        if let Some(outbox) = self.boxes.remove(key) {
            self.forget_holdings(&outbox);
            recycle(&mut self.spare, outbox.bytes);
        }
    }

    /// Whether the socket is not closed yet.
    pub fn is_open(&self, key: SocketKey) -> bool {
        self.boxes.contains(key)
    }

    /// The frame size that was negotiated; 0 is no limit.
    pub fn set_frame_max(&mut self, key: SocketKey, frame_max: u32) {
        self.boxes[key].payload_max = frame_payload_max(frame_max);
    }

    /// Bytes that can be written to the socket now.
    pub fn len(&self, key: SocketKey) -> usize {
        self.boxes.get(key).map_or(0, Outbox::writable_len)
    }

    /// Whether nothing waits for the socket, not even behind a gate.
    pub fn is_empty(&self, key: SocketKey) -> bool {
        self.waiting(key) == 0
    }

    /// Bytes that wait for the socket, those behind gates included.
    pub fn waiting(&self, key: SocketKey) -> usize {
        self.boxes.get(key).map_or(0, Outbox::len)
    }

    /// What is put in from here on is written only when that is reached.
    pub fn gate(&mut self, key: SocketKey, awaited: Awaited) {
        let Some(outbox) = self.boxes.get_mut(key) else {
            return;
        };
        if outbox.gates.is_empty() {
            self.gated.push(key);
        }
        let at = outbox.bytes.len();
        if let Some(gate) = outbox.gates.back_mut()
            && gate.at == at
            && let (Awaited::Batch(before), Awaited::Batch(batch)) = (&mut gate.awaited, awaited)
        {
            // A later batch is stored later, so behind the same gate one batch is enough.
            *before = batch.max(*before);
        } else {
            outbox.gates.push_back(Gate { at, awaited });
        }
    }

    /// More is reached.
    pub fn open_gates(&mut self, progress: &Progress) {
        let boxes = &mut self.boxes;
        let dirty = &mut self.dirty;
        self.gated.retain(|key| {
            let Some(outbox) = boxes.get_mut(*key) else {
                return false;
            };
            while outbox
                .gates
                .front()
                .is_some_and(|gate| progress.has(gate.awaited))
            {
                outbox.gates.pop_front();
            }
            if !outbox.dirty {
                outbox.dirty = true;
                dirty.push(*key);
            }
            !outbox.gates.is_empty()
        });
    }

    /// Bytes that ever went into the outbox.
    pub fn total(&self, key: SocketKey) -> u64 {
        self.boxes.get(key).map_or(0, |outbox| outbox.total)
    }

    /// So much came from the peer, in so many reads.
    pub fn count_received(&mut self, key: SocketKey, bytes: usize, reads: u64) {
        if let Some(outbox) = self.boxes.get_mut(key) {
            outbox.received += bytes as u64;
            outbox.reads += reads;
        }
    }

    /// What went over the socket; nothing if it is closed.
    pub fn traffic(&self, key: SocketKey) -> SocketTraffic {
        let of = |outbox: &Outbox| SocketTraffic {
            received_bytes: outbox.received,
            reads: outbox.reads,
            sent_bytes: outbox.total - outbox.len() as u64,
            writes: outbox.writes,
            waiting_bytes: outbox.len() as u64,
        };
        self.boxes.get(key).map(of).unwrap_or_default()
    }

    /// Whether the peer must read answers before more is read from it.
    pub fn is_overdue(&self, key: SocketKey) -> bool {
        self.boxes
            .get(key)
            .is_some_and(|outbox| outbox.answer_bytes > self.answer_bytes_max())
    }

    /// Less for each where all together have too much.
    #[inline]
    fn answer_bytes_max(&self) -> usize {
        match self.holdings.outgoing > self.holdings.bytes_max {
            true => self.bytes_max / 64,
            false => self.bytes_max,
        }
    }

    /// Sends a method.
    pub fn send(&mut self, key: SocketKey, channel: u16, method: &impl EncodeMethod) {
        self.answer(key, |outbox| {
            frame::encode_method(&mut outbox.bytes, channel, method);
        });
    }

    /// Sends bytes that are no frame: the protocol header.
    pub fn send_raw(&mut self, key: SocketKey, bytes: &[u8]) {
        self.answer(key, |outbox| outbox.bytes.extend_from_slice(bytes));
    }

    pub fn send_heartbeat(&mut self, key: SocketKey) {
        self.answer(key, |outbox| frame::encode_heartbeat(&mut outbox.bytes));
    }

    /// Sends a message back to its publisher.
    pub fn send_return(
        &mut self,
        key: SocketKey,
        channel: u16,
        method: &basic::Return<'_>,
        message: &Message<'_>,
    ) {
        self.answer(key, |outbox| {
            frame::encode_method(&mut outbox.bytes, channel, method);
            outbox.encode_content(channel, message);
        });
    }

    /// Answers `basic.get` with a message.
    pub fn send_got(&mut self, key: SocketKey, channel: u16, got: &Got<'_>) {
        let method = basic::GetOk {
            delivery_tag: got.delivery_tag,
            redelivered: got.redelivered,
            exchange: got.message.exchange,
            routing_key: got.message.routing_key,
            message_count: u32::try_from(got.left).unwrap_or(u32::MAX),
        };
        self.answer(key, |outbox| {
            frame::encode_method(&mut outbox.bytes, channel, &method);
            outbox.encode_content(channel, &got.message);
        });
    }

    /// Fills `slices` with what is to be written next; how many.
    pub fn io_slices<'a>(&'a self, key: SocketKey, slices: &mut [IoSlice<'a>]) -> usize {
        self.boxes
            .get(key)
            .map_or(0, |outbox| outbox.io_slices(slices))
    }

    /// All bytes that wait for the socket, those behind gates included.
    pub fn unwritten(&self, key: SocketKey) -> Vec<u8> {
        self.boxes.get(key).map_or_else(Vec::new, Outbox::unwritten)
    }

    /// Takes out what was written. An emptied outbox gives its buffer back.
    pub fn advance(&mut self, key: SocketKey, written: usize) {
        let Some(outbox) = self.boxes.get_mut(key) else {
            return;
        };
        outbox.advance(written);
        self.holdings.outgoing -= written;
        outbox.writes += 1;
        // Deliveries may wait behind them at all times, which is no reason not to read.
        if outbox.total - outbox.len() as u64 >= outbox.answers_end {
            outbox.answer_bytes = 0;
        }
        if outbox.len() == 0 {
            outbox.start = 0;
            outbox.bytes.clear();
            for gate in &mut outbox.gates {
                gate.at = 0;
            }
            recycle(&mut self.spare, std::mem::take(&mut outbox.bytes));
        }
        if outbox.starved && outbox.len() <= self.bytes_max / 2 {
            outbox.starved = false;
            self.relieved.push(key);
        }
    }

    /// Throws away what waits, also behind gates: there is nobody to write it to.
    pub fn discard(&mut self, key: SocketKey) {
        let Some(outbox) = self.boxes.get_mut(key) else {
            return;
        };
        outbox.gates.clear();
        let length = outbox.len();
        self.advance(key, length);
    }

    /// Sockets whose outbox got bytes since last asked, each once.
    pub fn take_dirty(&mut self, into: &mut Vec<SocketKey>) {
        for key in self.dirty.drain(..) {
            if let Some(outbox) = self.boxes.get_mut(key) {
                outbox.dirty = false;
                into.push(key);
            }
        }
    }

    pub fn has_relieved(&self) -> bool {
        !self.relieved.is_empty()
    }

    /// Sockets that were refused a delivery and have room now.
    pub fn take_relieved(&mut self) -> Vec<SocketKey> {
        std::mem::take(&mut self.relieved)
    }

    fn answer(&mut self, key: SocketKey, encode: impl FnOnce(&mut Outbox)) {
        let added = self.write(key, encode);
        if let Some(outbox) = self.boxes.get_mut(key) {
            outbox.answer_bytes += added;
            outbox.answers_end = outbox.total;
        }
    }

    /// Lets `encode` append to the outbox, if it is still there; how many bytes it added.
    #[inline]
    fn write(&mut self, key: SocketKey, encode: impl FnOnce(&mut Outbox)) -> usize {
        let Some(outbox) = self.boxes.get_mut(key) else {
            return 0;
        };
        if !outbox.dirty {
            outbox.dirty = true;
            self.dirty.push(key);
        }
        if outbox.bytes.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            outbox.bytes = spare;
        }
        let before = outbox.len();
        encode(outbox);
        let added = outbox.len() - before;
        outbox.total += added as u64;
        self.holdings.outgoing += added;
        added
    }
}

impl Outlet for Outboxes {
    #[inline]
    fn has_room(&mut self, socket: SocketKey) -> bool {
        let Some(outbox) = self.boxes.get_mut(socket) else {
            return false;
        };
        let waiting = outbox.len();
        if waiting < self.bytes_max && self.holdings.has_room(waiting) {
            return true;
        }
        outbox.starved = true;
        false
    }

    fn is_flooded(&self, socket: SocketKey) -> bool {
        let length = self.boxes.get(socket).map_or(0, Outbox::len);
        length >= FLOOD * self.bytes_max
    }

    #[inline]
    fn deliver(&mut self, delivery: &Delivery<'_>) {
        self.write(delivery.socket, |outbox| outbox.encode_delivery(delivery));
    }
}

impl Outbox {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start + self.piece_bytes
    }

    /// Up to the first gate.
    pub(super) fn writable_len(&self) -> usize {
        let Some(gate) = self.gates.front() else {
            return self.len();
        };
        let pieces = self.pieces.iter().take_while(|piece| piece.at < gate.at);
        gate.at - self.start + pieces.map(|piece| piece.slice.len()).sum::<usize>()
    }

    #[inline]
    fn encode_delivery(&mut self, delivery: &Delivery<'_>) {
        let method = basic::Deliver {
            consumer_tag: delivery.consumer_tag,
            delivery_tag: delivery.delivery_tag,
            redelivered: delivery.redelivered,
            exchange: delivery.message.exchange,
            routing_key: delivery.message.routing_key,
        };
        let message = &delivery.message;
        match message.body {
            Body::Slice(body) if body.len() <= self.payload_max => {
                let out = &mut self.bytes;
                frame::encode_delivery(out, delivery.channel, &method, message.properties, body);
            }
            _ => {
                frame::encode_method(&mut self.bytes, delivery.channel, &method);
                self.encode_content(delivery.channel, message);
            }
        }
    }

    /// Content header and body frames (AMQP 0-9-1 §4.2.6), split for the peer's frame size.
    #[inline]
    fn encode_content(&mut self, channel: u16, message: &Message<'_>) {
        let body = message.body.as_slice();
        frame::encode_content_header(
            &mut self.bytes,
            channel,
            body.len() as u64,
            message.properties,
        );
        match message.body {
            Body::Slice(_) if body.is_empty() => {}
            Body::Slice(slice) => {
                for part in slice.chunks(self.payload_max) {
                    frame::encode_body(&mut self.bytes, channel, part);
                }
            }
            Body::Shared(shared) => self.encode_shared_body(channel, shared),
        }
    }

    fn encode_shared_body(&mut self, channel: u16, body: &Bytes) {
        for start in (0..body.len()).step_by(self.payload_max) {
            let part = start..body.len().min(start + self.payload_max);
            if part.len() < PIECE_MIN {
                frame::encode_body(&mut self.bytes, channel, &body[part]);
                continue;
            }
            frame::encode_body_start(&mut self.bytes, channel, part.len() as u32);
            self.piece_bytes += part.len();
            self.pieces.push_back(Piece {
                at: self.bytes.len(),
                slice: body.slice(part),
            });
            self.bytes.push(frame::END);
        }
    }

    fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut from = self.start;
        let end = self.gates.front().map_or(self.bytes.len(), |gate| gate.at);
        let pieces = self.pieces.iter().take_while(|piece| piece.at < end);
        let mut put = |slice: &'a [u8]| {
            if !slice.is_empty() && count < slices.len() {
                slices[count] = IoSlice::new(slice);
                count += 1;
            }
        };
        for piece in pieces {
            put(&self.bytes[from..piece.at]);
            put(&piece.slice);
            from = piece.at;
        }
        put(&self.bytes[from..end]);
        count
    }

    fn unwritten(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        let mut from = self.start;
        for piece in &self.pieces {
            all.extend_from_slice(&self.bytes[from..piece.at]);
            all.extend_from_slice(&piece.slice);
            from = piece.at;
        }
        all.extend_from_slice(&self.bytes[from..]);
        all
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let before = piece.at - self.start;
            if written < before {
                break;
            }
            written -= before;
            self.start = piece.at;
            let taken = written.min(piece.slice.len());
            self.piece_bytes -= taken;
            written -= taken;
            if taken < piece.slice.len() {
                piece.slice = piece.slice.slice(taken..);
                return;
            }
            self.pieces.pop_front();
        }
        self.start += written;
        debug_assert!(self.start <= self.bytes.len());
        self.compact();
    }

    /// Takes written bytes out once they are most of the buffer, so that it does not grow for ever
    /// under a peer that is always a little behind.
    fn compact(&mut self) {
        if self.start > COMPACT_MIN && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            for piece in &mut self.pieces {
                piece.at -= self.start;
            }
            for gate in &mut self.gates {
                gate.at -= self.start;
            }
            self.start = 0;
        }
    }
}

fn frame_payload_max(frame_max: u32) -> usize {
    match frame_max {
        0 => UNLIMITED_PAYLOAD,
        limit => limit as usize - OVERHEAD,
    }
}

fn recycle(spare: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if spare.len() < SPARE_BUFFERS && (1..=SPARE_CAPACITY_MAX).contains(&buffer.capacity()) {
        buffer.clear();
        spare.push(buffer);
    }
}

/// Frame size before tuning (RabbitMQ: `initial_frame_max`).
const INITIAL_FRAME_MAX: u32 = 8192;
/// Payload of a frame when the peer set no limit.
const UNLIMITED_PAYLOAD: usize = 1 << 20;
/// Smaller pieces of a shared body are cheaper to copy than to write apart.
const PIECE_MIN: usize = 16 << 10;
/// Slices worth offering to [`Outboxes::io_slices`]: a write of more gains nothing.
pub const IO_SLICES_MAX: usize = 64;
/// How many times its bound an outbox must hold before what cannot wait is dropped.
const FLOOD: usize = 64;
const COMPACT_MIN: usize = 64 << 10;
/// Buffers kept for the next outbox, and the largest worth keeping.
const SPARE_BUFFERS: usize = 8;
const SPARE_CAPACITY_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(outboxes: &mut Outboxes, key: SocketKey, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while outboxes.len(key) > 0 {
            let mut slices = [IoSlice::new(&[]); IO_SLICES_MAX];
            let count = outboxes.io_slices(key, &mut slices);
            let flat: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|s| s.iter().copied())
                .collect();
            let taken = flat.len().min(step);
            all.extend_from_slice(&flat[..taken]);
            outboxes.advance(key, taken);
        }
        all
    }

    fn delivery(socket: SocketKey, body: Body<'_>) -> Delivery<'_> {
        Delivery {
            socket,
            channel: 3,
            consumer_tag: b"tag",
            delivery_tag: 9,
            redelivered: true,
            message: Message {
                exchange: b"x",
                routing_key: b"key",
                properties: &[0, 0],
                body,
                arrived_ms: 0,
            },
        }
    }

    #[test]
    fn shared_and_copied_bodies_make_the_same_bytes_however_they_are_written() {
        let body: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let shared = Bytes::from(body.clone());
        let mut expected = None;
        for step in [1 << 20, 70_001, 4096, 977] {
            let mut outboxes = Outboxes::new(1 << 20);
            for body in [Body::Slice(&body), Body::Shared(&shared)] {
                let key = outboxes.open();
                outboxes.set_frame_max(key, 131_072);
                outboxes.deliver(&delivery(key, body));
                outboxes.send_heartbeat(key);
                let bytes = written(&mut outboxes, key, step);
                assert_eq!(*expected.get_or_insert(bytes.clone()), bytes);
                outboxes.close(key);
            }
        }
    }

    #[test]
    fn a_full_outbox_refuses_until_half_of_it_is_written() {
        let mut outboxes = Outboxes::new(1000);
        let key = outboxes.open();
        while outboxes.has_room(key) {
            outboxes.deliver(&delivery(key, Body::Slice(&[1; 100])));
        }
        assert!(
            !outboxes.is_overdue(key),
            "deliveries do not keep it from being read"
        );
        outboxes.advance(key, 300);
        assert!(outboxes.take_relieved().is_empty());
        outboxes.advance(key, 400);
        assert_eq!(outboxes.take_relieved(), [key]);
        assert!(outboxes.has_room(key));
    }

    #[test]
    fn what_lies_behind_a_gate_waits_for_the_store() {
        let mut outboxes = Outboxes::new(1 << 20);
        let key = outboxes.open();
        outboxes.send_heartbeat(key);
        let mut progress = Progress::default();
        let mut open_gates = |outboxes: &mut Outboxes, stored_up_to| {
            progress.on_stored(stored_up_to);
            outboxes.open_gates(&progress);
        };
        outboxes.gate(key, Awaited::Batch(7));
        outboxes.send(key, 1, &basic::QosOk {});
        let shared = Bytes::from(vec![5; 100_000]);
        outboxes.set_frame_max(key, 131_072);
        outboxes.deliver(&delivery(key, Body::Shared(&shared)));
        outboxes.gate(key, Awaited::Batch(9));
        outboxes.send_heartbeat(key);
        assert_eq!(written(&mut outboxes, key, 5).len(), 8);
        assert!(!outboxes.is_empty(key));
        open_gates(&mut outboxes, 6);
        assert_eq!(outboxes.len(key), 0);
        open_gates(&mut outboxes, 8);
        assert!(written(&mut outboxes, key, 4096).len() > 100_000);
        assert_eq!(outboxes.len(key), 0);
        open_gates(&mut outboxes, 9);
        assert_eq!(written(&mut outboxes, key, 100).len(), 8);
        assert!(outboxes.is_empty(key));
        outboxes.gate(key, Awaited::Batch(11));
        outboxes.advance(key, 0);
        outboxes.send_heartbeat(key);
        assert_eq!(outboxes.len(key), 0);
        open_gates(&mut outboxes, 11);
        assert_eq!(written(&mut outboxes, key, 100).len(), 8);
    }

    #[test]
    fn deliveries_behind_answers_do_not_stop_the_reading() {
        let mut outboxes = Outboxes::new(1000);
        let key = outboxes.open();
        for _ in 0..1000 {
            outboxes.send(key, 1, &basic::QosOk {});
            let answered = outboxes.len(key);
            outboxes.deliver(&delivery(key, Body::Slice(b"there is always another")));
            outboxes.advance(key, answered);
            assert!(!outboxes.is_overdue(key));
        }
    }

    #[test]
    fn unread_answers_stop_the_reading() {
        let mut outboxes = Outboxes::new(1000);
        let key = outboxes.open();
        while !outboxes.is_overdue(key) {
            outboxes.send(key, 1, &basic::QosOk {});
        }
        assert!(outboxes.len(key) < 1100);
        let length = outboxes.len(key);
        outboxes.advance(key, length);
        assert!(!outboxes.is_overdue(key));
    }
}
