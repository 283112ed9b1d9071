//! What a client asks.

/// A request with all of its body.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// The path's segments, decoded; `/api/queues/%2F/q` has four.
    pub path: Vec<String>,
    /// In their order, decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The client reads another answer on this connection.
    pub keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    /// Nothing here knows it.
    Other,
}

/// Who asks, which the connection knows.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `127.0.0.1:54321`, or `unix`.
    pub address: String,
    /// On this machine (RabbitMQ: `loopback_users`).
    pub loopback: bool,
    /// Nobody else can read along.
    pub encrypted: bool,
    pub door: Door,
}

/// What a listening socket serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The API and the page, for users.
    Api,
    /// Metrics for Prometheus, for everybody.
    Metrics,
    /// The API for whoever may open the Unix socket in the data directory: an administrator.
    Control,
}

impl Request {
    /// The first header of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first query parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The path's segments, as patterns take them.
    pub fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

impl Method {
    pub fn named(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }

    /// Whether it only looks.
    pub fn is_safe(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options)
    }
}
