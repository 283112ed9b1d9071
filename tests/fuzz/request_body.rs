//! Any bytes on a connection to the management API, in any pieces, and every request in them answered by
//! a broker: nothing panics, and what is answered does not depend on the pieces.

use std::cell::RefCell;
use std::sync::Arc;

use leveret::config::Config;
use leveret::management::http::{Body, Caller, Door, Reader, Request, Step};
use leveret::management::{CertificateFacts, Facts, Management, Vitals};
use leveret::protocol::errand::{Errand, Loop};
use leveret::protocol::{Hub, Now};

/// The first byte says by which door and how the rest is cut.
pub fn check(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    let door = [Door::Api, Door::Control, Door::Metrics][usize::from(first) % 3];
    let piece = usize::from(first / 3) + 1;
    let whole = requests(bytes, usize::MAX);
    assert_eq!(
        describe(&whole),
        describe(&requests(bytes, piece)),
        "the pieces show"
    );
    let management = management();
    for request in whole.0 {
        let caller = Caller {
            address: "127.0.0.1:54321".to_owned(),
            loopback: true,
            encrypted: first % 2 == 0,
            door,
        };
        let mut response = management.answer(&request, &caller, NOW);
        assert!((100..600).contains(&response.status));
        let head = response.head(request.keep_alive);
        assert!(head.ends_with(b"\r\n\r\n"));
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let parsed = httparse::Response::new(&mut headers).parse(&head);
        assert!(parsed.is_ok_and(|status| status.is_complete()), "{head:?}");
        if let Body::Stream(stream) = &mut response.body {
            let mut out = Vec::new();
            stream.add_to(&mut out, 1000, 0);
        }
        HUB.with_borrow_mut(|hub| hub.as_mut().expect("there is one").settle());
    }
    HUB.with_borrow_mut(Option::take);
}

/// Requests, and whether the last was refused.
fn requests(bytes: &[u8], piece: usize) -> (Vec<Request>, Option<u16>) {
    let mut reader = Reader::new(BODY_BYTES_MAX);
    let mut all = Vec::new();
    for piece in bytes.chunks(piece) {
        reader.on_bytes(piece);
        loop {
            match reader.step() {
                Step::More => break,
                Step::Continue => {}
                Step::Request(request) => all.push(*request),
                Step::Refused(response) => return (all, Some(response.status)),
            }
        }
        assert!(reader.held_bytes() <= bytes.len());
    }
    (all, None)
}

fn describe((requests, _): &(Vec<Request>, Option<u16>)) -> Vec<String> {
    let all = requests.iter();
    all.map(|request| format!("{request:?}")).collect()
}

fn management() -> Management {
    let hub = Hub::new(Config::default(), Box::new(|| [7; 16]));
    HUB.with_borrow_mut(|here| *here = Some(hub));
    let facts = Facts {
        config: Config::default(),
        listeners: Vec::new(),
        started: NOW,
        pid: 1,
        certificates: Box::new(|_| CertificateFacts::default()),
        vitals: Box::new(Vitals::default),
        host: None,
        log: None,
    };
    Management::new(Arc::new(Here), facts, Box::new(|| [9; 16]))
}

/// The broker on this thread.
struct Here;

impl Loop for Here {
    fn submit(&self, errand: Errand) -> bool {
        let (tell, _) = HUB.with_borrow_mut(|hub| hub.as_mut().expect("there is one").run(errand));
        tell();
        true
    }
}

thread_local! {
    static HUB: RefCell<Option<Hub>> = const { RefCell::new(None) };
}

const BODY_BYTES_MAX: usize = 4096;
const NOW: Now = Now {
    monotonic_ms: 1_000,
    unix_ms: 1_700_000_000_000,
};
