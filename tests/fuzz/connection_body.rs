//! Any bytes on one connection, from its first one or after a valid beginning, in any pieces.

use leveret::config::Limits;
use leveret::wire::amqp::frame::encode_method;
use leveret::wire::amqp::{basic, channel, queue};

use super::world::{World, handshake};

/// The first byte says how the talk begins, the second how it is cut; the rest is sent.
pub fn check(data: &[u8]) {
    let &[beginning, cut, ref bytes @ ..] = data else {
        return;
    };
    let whole = run(beginning, bytes, &mut std::iter::repeat(usize::MAX));
    let mut state = u32::from(cut) + 1;
    let mut sizes = std::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = (state >> 24) as usize % (usize::from(cut) + 1);
        Some(size.max(1))
    });
    let split = run(beginning, bytes, &mut sizes);
    assert_eq!(whole, split, "the end depends on how the bytes are cut");
}

/// The code that the connection was closed with, if it was. (The text may show the bytes that had come
/// by then.)
fn run(beginning: u8, bytes: &[u8], sizes: &mut dyn Iterator<Item = usize>) -> Option<[u8; 2]> {
    let mut world = World::new(Limits::default());
    let bystander = world.open(131_072);
    let client = world.connect();
    world.put(client, &preamble(beginning));
    world.turn();
    if beginning & 3 > 0 {
        world.clients[client].transcript.frame_max = 131_072;
    }
    let mut rest = bytes;
    while !rest.is_empty() && !world.clients[client].gone {
        let size = sizes.next().unwrap_or(1).min(rest.len());
        world.send(client, &rest[..size]);
        rest = &rest[size..];
    }
    world.settle();
    let close = world.clients[client].transcript.close.as_ref();
    let code = close.map(|close| [close[4], close[5]]);
    world.check_served(bystander);
    world.check_nothing_is_left(bystander);
    code
}

fn preamble(beginning: u8) -> Vec<u8> {
    let mut bytes = match beginning % 4 {
        0 => return Vec::new(),
        _ => handshake(2047, 131_072),
    };
    if beginning % 4 > 1 {
        encode_method(&mut bytes, 1, &channel::Open::default());
        let declare = queue::Declare {
            queue: b"q",
            ..queue::Declare::default()
        };
        encode_method(&mut bytes, 1, &declare);
    }
    if beginning % 4 > 2 {
        let consume = basic::Consume {
            queue: b"q",
            consumer_tag: b"c",
            ..basic::Consume::default()
        };
        encode_method(&mut bytes, 1, &consume);
    }
    bytes
}
