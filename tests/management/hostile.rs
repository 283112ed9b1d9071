//! Requests that mean no good. `scripts/soak attack` has them by the thousand, beside a bystander.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{PATIENCE, TestBroker};

/// The status of what is answered; it may be answered before all is sent.
fn status(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn heads_without_end_are_refused() {
    let broker = TestBroker::with_management();
    let address = broker.http().address();
    let many: String = (0..5000).map(|n| format!("h{n}: v\r\n")).collect();
    let long = "v".repeat(1 << 20);
    for (request, expected) in [
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "431"),
        (
            "POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n".to_owned(),
            "413",
        ),
    ] {
        let start: String = request.chars().take(40).collect();
        assert_eq!(status(address, request.as_bytes()), expected, "{start}");
    }
    broker.http().get("/whoami");
}

#[test]
fn no_path_leads_out_of_the_page() {
    let broker = TestBroker::with_management();
    let address = broker.http().address();
    for path in [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/etc/passwd%00.js",
        "/\\..\\..\\etc\\passwd",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
        assert_eq!(status(address, request.as_bytes()), "404", "{path}");
    }
}

#[test]
fn dear_patterns_are_refused_or_cost_little() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    broker.add_user("eve");
    let names = (0..200).map(|n| format!("{}{n}", "a".repeat(200)));
    for name in names {
        let declared = http.put(&format!("/queues/%2F/{name}"), &json!({}));
        assert_eq!(declared.status, 201);
    }
    let nested = "((((a{1,50}){1,50}){1,50}){1,50}){1,50}";
    let started = Instant::now();
    for bomb in [
        "(a|aa)+$".to_owned(),
        format!("{}b", "(a*)*".repeat(20)),
        ".*".repeat(300),
        "(".repeat(5000),
        nested.to_owned(),
    ] {
        let rights = json!({"configure": bomb, "write": ".*", "read": ".*"});
        let permitted = http.put("/permissions/%2F/eve", &rights).status;
        assert!([201, 204, 400].contains(&permitted), "{permitted} {bomb}");
        let policy = json!({"pattern": bomb, "definition": {"max-length": 1000}});
        let set = http.put("/policies/%2F/bomb", &policy).status;
        assert!([201, 204, 400].contains(&set), "{set} {bomb}");
        let asked: String = bomb.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/queues?page=1&page_size=100&use_regex=true&name={asked}");
        let listed = http.request("GET", &path, &[], None).status;
        assert!([200, 400, 431].contains(&listed), "{listed} {bomb}");
    }
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

/// Once, everybody had to wait until the uploads had timed out.
#[test]
fn uploads_that_stop_keep_nobody_waiting() {
    // A sixteenth of it is for requests that have not come to their end.
    let broker = TestBroker::with(|config| {
        config.http_port = Some(0);
        config.limits.memory_bytes_max = Some(64 << 20);
    });
    let http = broker.http();
    let head = "POST /api/definitions HTTP/1.1\r\ncontent-length: 3000000\r\n\r\n";
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(http.address()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let body = vec![b' '; 2_900_000];
        let mut sent = 0;
        let started = Instant::now();
        while sent < body.len() && started.elapsed() < Duration::from_millis(300) {
            sent += stream.write(&body[sent..]).unwrap_or(0);
        }
        stuck.push(stream);
    }
    let started = Instant::now();
    http.get("/whoami");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn guessing_passwords_keeps_nobody_waiting() {
    let broker = TestBroker::with_management();
    let http = broker.http();
    let mut bystander = broker.connect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..50 {
                    let guess = http.user("guest", &format!("guess {n}"));
                    assert_eq!(guess.request("GET", "/whoami", &[], None).status, 401);
                }
            });
        }
        let started = Instant::now();
        bystander.open_channel(7);
        assert!(started.elapsed() < Duration::from_secs(1));
    });
}
