//! Moves messages from one queue to another, one a transaction.

use leveret::wire::amqp::{basic, tx};

use crate::ledger::{Acked, Ledger, Move};
use crate::peer::{Outcome, Peer};
use crate::stamp::Stamp;

/// Moves until the broker is gone.
pub fn run(mut peer: Peer, from: &str, to: &str) -> Ledger {
    let mut ledger = Ledger::default();
    let outcome = move_all(&mut peer, from, to, &mut ledger);
    assert!(outcome.is_err(), "only the broker's end ends it");
    ledger
}

fn move_all(peer: &mut Peer, from: &str, to: &str, ledger: &mut Ledger) -> Outcome<()> {
    peer.send(&tx::Select {})?;
    peer.expect("tx.select-ok")?;
    loop {
        peer.send(&basic::Get {
            queue: from.as_bytes(),
            ..Default::default()
        })?;
        let received = peer.receive()?;
        if received.is(1, "basic.get-empty") {
            std::thread::sleep(std::time::Duration::from_millis(1));
            continue;
        }
        let came = peer.content(&received)?;
        let stamp = Stamp::read(&came.body, &came.properties).unwrap();
        ledger.copy(from, stamp).delivered = true;
        let mut bytes = Vec::new();
        stamp.encode(&mut bytes, "", to);
        peer.send_bytes(&bytes)?;
        peer.send(&basic::Ack {
            delivery_tag: came.delivery_tag,
            multiple: false,
        })?;
        ledger.copy(from, stamp).acked = Acked::Perhaps;
        ledger.copy(to, stamp);
        ledger.begin_move(Move {
            stamp,
            from: from.to_owned(),
            to: to.to_owned(),
        });
        peer.send(&tx::Commit {})?;
        peer.expect("tx.commit-ok")?;
        ledger.copy(from, stamp).acked = Acked::Firmly;
        ledger.copy(to, stamp).confirmed = true;
        ledger.end_move();
    }
}
