//! Server-sent events, as a page gets them.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;

use serde_json::Value;

use super::HttpClient;

/// An answer that goes on.
pub struct EventStream {
    stream: BufReader<TcpStream>,
    /// Chunks that were not taken apart yet.
    text: String,
}

/// What a stream tells.
#[derive(Debug, PartialEq)]
pub enum Told {
    Comment(String),
    Log(Value),
    Event(Value),
}

impl EventStream {
    /// When this returns, what happens is told.
    #[track_caller]
    pub fn open(http: &HttpClient, path: &str) -> EventStream {
        let mut stream = EventStream {
            stream: BufReader::new(http.begin(path)),
            text: String::new(),
        };
        let head = stream.lines();
        assert_eq!(head[0], "HTTP/1.1 200 OK", "{head:?}");
        assert!(head.contains(&"content-type: text/event-stream".to_owned()));
        assert_eq!(stream.next(), Told::Comment("heartbeat".to_owned()));
        stream
    }

    /// Waits for the next.
    #[track_caller]
    pub fn next(&mut self) -> Told {
        while !self.text.contains("\n\n") {
            self.read_chunk();
        }
        let end = self.text.find("\n\n").expect("there is one");
        let told: String = self.text.drain(..end + 2).collect();
        let told = told.trim_end();
        if let Some(comment) = told.strip_prefix(": ") {
            return Told::Comment(comment.to_owned());
        }
        let (kind, data) = told.split_once("\ndata: ").expect("a name and data");
        let data = serde_json::from_str(data).unwrap();
        match kind {
            "event: log" => Told::Log(data),
            "event: event" => Told::Event(data),
            other => panic!("{other}"),
        }
    }

    /// Waits for the next event.
    #[track_caller]
    pub fn next_event(&mut self) -> Value {
        loop {
            match self.next() {
                Told::Event(event) => return event,
                Told::Comment(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The names of the events up to this one.
    #[track_caller]
    pub fn names_up_to(&mut self, last: &str) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let name = self.next_event()["name"].as_str().unwrap().to_owned();
            names.push(name);
            if names.last().is_some_and(|name| name == last) {
                return names;
            }
        }
    }

    fn read_chunk(&mut self) {
        let mut size = String::new();
        self.stream.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).expect("the size of a chunk");
        assert_ne!(size, 0, "the stream ended");
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        assert_eq!(&chunk[size..], b"\r\n");
        self.text += std::str::from_utf8(&chunk[..size]).unwrap();
    }

    fn lines(&mut self) -> Vec<String> {
        let lines = (&mut self.stream).lines().map(Result::unwrap);
        lines.take_while(|line| !line.is_empty()).collect()
    }
}
