//! One command and the broker it speaks with: the connection, which is opened when it is needed, and
//! what goes out beside the answer.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use serde_json::Value;

use crate::arguments::Arguments;
use crate::failure::{EX_TEMPFAIL, EX_UNAVAILABLE, Failure};
use crate::help::Tool;
use crate::http::{Connection, Request, Response, segment};
use crate::output::Form;
use crate::target::Target;

pub struct Session {
    pub arguments: Arguments,
    pub form: Form,
    /// The name it was called by.
    pub tool: Tool,
    target: Target,
    connection: Option<Connection>,
    node: Option<String>,
}

impl Session {
    pub fn new(arguments: Arguments, form: Form, tool: Tool, target: Target) -> Session {
        Session {
            arguments,
            form,
            tool,
            target,
            connection: None,
            node: None,
        }
    }

    /// The command's argument with this index; empty if it was left out.
    pub fn argument(&self, index: usize) -> String {
        self.optional(index).unwrap_or_default()
    }

    pub fn optional(&self, index: usize) -> Option<String> {
        self.arguments.words.get(index + 1).cloned()
    }

    pub fn vhost(&self) -> String {
        self.arguments.text("vhost").unwrap_or("/").to_owned()
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How long to wait, in seconds; `None` means for ever.
    pub fn timeout_seconds(&self, default: u64) -> Option<u64> {
        match self.arguments.integer("timeout") {
            Some(seconds) => u64::try_from(seconds).ok().filter(|seconds| *seconds > 0),
            None => Some(default),
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.arguments.has("quiet") || self.arguments.has("silent")
    }

    /// Says what is about to happen, once the broker is known to be there.
    pub fn banner(&mut self, text: &str) -> Result<(), Failure> {
        self.connect()?;
        self.say(text);
        Ok(())
    }

    /// The same for what needs no broker.
    pub fn say(&self, text: &str) {
        if !self.is_quiet() && !self.form.is_for_programs() {
            print(&format!("{text}\n"));
        }
    }

    /// The broker's name of itself.
    pub fn node(&mut self) -> Result<String, Failure> {
        if let Some(node) = &self.node {
            return Ok(node.clone());
        }
        let value = match self.find("/api/leveret/status")? {
            Some(status) => status,
            None => self.get("/api/overview")?,
        };
        let node = value["node"].as_str().unwrap_or_default().to_owned();
        self.node = Some(node.clone());
        Ok(node)
    }

    /// Everything that the broker says of itself.
    pub fn status(&mut self) -> Result<Value, Failure> {
        let status = self.get("/api/leveret/status")?;
        self.node = status["node"].as_str().map(str::to_owned);
        Ok(status)
    }

    /// What is there.
    ///
    /// # Errors
    /// It is not there, or the broker refuses.
    pub fn get(&mut self, path: &str) -> Result<Value, Failure> {
        let response = self.request("GET", path, None)?;
        self.must_be_known(path, &response)?;
        response.accepted()?.json()
    }

    /// What is there, if there is something.
    pub fn find(&mut self, path: &str) -> Result<Option<Value>, Failure> {
        let response = self.request("GET", path, None)?;
        match response.status {
            404 => Ok(None),
            _ => response.accepted()?.json().map(Some),
        }
    }

    pub fn put(&mut self, path: &str, body: &Value) -> Result<(), Failure> {
        self.request("PUT", path, Some(body))?.accepted()?;
        Ok(())
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let response = self.request("POST", path, Some(body))?;
        self.must_be_known(path, &response)?;
        let response = response.accepted()?;
        match response.body.is_empty() {
            true => Ok(Value::Null),
            false => response.json(),
        }
    }

    /// Whether there was something to delete.
    pub fn delete(&mut self, path: &str) -> Result<bool, Failure> {
        let response = self.request("DELETE", path, None)?;
        match response.status {
            404 => Ok(false),
            _ => response.accepted().map(|_| true),
        }
    }

    /// RabbitMQ has our words under the same API, but not what is only ours.
    fn must_be_known(&self, path: &str, response: &Response) -> Result<(), Failure> {
        if !path.starts_with("/api/leveret/") || !matches!(response.status, 404 | 405) {
            return Ok(());
        }
        let path = path.split('?').next().unwrap_or(path);
        Err(Failure::unavailable(format!(
            "{} does not have {path}: it is not leveret, or of another version",
            self.target
        )))
    }

    /// Whether there is such a virtual host.
    pub fn has_vhost(&mut self, name: &str) -> Result<bool, Failure> {
        let path = format!("/api/vhosts/{}", segment(name));
        Ok(self.find(&path)?.is_some())
    }

    /// Asks, whatever the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, Failure> {
        self.request_with(method, path, &[], body)
    }

    pub fn request_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Response, Failure> {
        let request = Request {
            method,
            path,
            headers,
            body,
        };
        match self.connect()?.request(&request) {
            Ok(response) => Ok(response),
            Err(error) => {
                self.connection = None;
                Err(self.broken(&error))
            }
        }
    }

    /// Asks for an answer without end; see [`Connection::stream`].
    pub fn stream(
        &mut self,
        path: &str,
        patience: Duration,
        on_piece: impl FnMut(io::Result<&[u8]>) -> bool,
    ) -> Result<(), Failure> {
        let request = Request {
            method: "GET",
            path,
            headers: &[],
            body: None,
        };
        let connection = self.connect()?;
        let streamed = connection
            .set_timeout(Some(patience))
            .and_then(|()| connection.stream(&request, on_piece));
        match streamed {
            Ok(200) => Ok(()),
            Ok(status) => Err(Failure::unavailable(format!(
                "the broker answered {status} to {path}"
            ))),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// The connection, opened if there is none.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub fn connect(&mut self) -> Result<&mut Connection, Failure> {
        if self.connection.as_ref().is_some_and(|it| !it.is_usable()) {
            self.connection = None;
        }
        let timeout = self.timeout_seconds(REQUEST_SECONDS);
        match &mut self.connection {
            Some(connection) => Ok(connection),
            empty => {
                let opened = Connection::open(&self.target, timeout.map(Duration::from_secs));
                let connection = opened.map_err(|error| {
                    Failure::bare(EX_UNAVAILABLE, self.target.unreachable(&error))
                })?;
                Ok(empty.insert(connection))
            }
        }
    }

    /// It took too long.
    pub fn timed_out(&self, seconds: u64) -> Failure {
        let text = format!(
            "Error: operation {} on node {} timed out. Timeout value used: {}",
            self.arguments.command().unwrap_or_default(),
            self.target,
            seconds * 1000
        );
        Failure::bare(EX_TEMPFAIL, text)
    }

    fn broken(&self, error: &io::Error) -> Failure {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                self.timed_out(self.timeout_seconds(REQUEST_SECONDS).unwrap_or_default())
            }
            _ => Failure::unavailable(format!("the connection to {} broke: {error}", self.target)),
        }
    }
}

impl Response {
    /// Itself, if the broker did what it was asked.
    pub fn accepted(self) -> Result<Response, Failure> {
        match self.status {
            200..=299 => Ok(self),
            _ => Err(self.refusal()),
        }
    }

    /// What the broker has against it.
    pub fn refusal(&self) -> Failure {
        Failure::unavailable(self.reason())
    }

    /// The reason as text: RabbitMQ's HTTP API writes some of them for HTML, and some as terms.
    pub fn reason(&self) -> String {
        let value: Option<Value> = serde_json::from_slice(&self.body).ok();
        let reason = value.as_ref().map(|value| &value["reason"]);
        match reason {
            Some(Value::String(text)) => text
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&amp;", "&"),
            Some(Value::Null) | None => format!("the broker answered {}", self.status),
            Some(term) => term.to_string(),
        }
    }

    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::unavailable(format!("the answer is not JSON: {error}")))
    }
}

/// Writes to standard output. Who does not want to read it any more need not.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// The whole of an answer may take longer, each piece of it not.
pub const REQUEST_SECONDS: u64 = 60;
