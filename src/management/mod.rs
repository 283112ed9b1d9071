//! The management API, its page and the metrics: HTTP requests in, responses out. It holds no truth. What
//! a request asks for it finds out from the loop by short errands, and writes down on its own time.
//!
//! It knows neither sockets nor the clock; [`server`](crate::server) calls [`Management::answer`] on
//! threads of its own, any number at a time.
//!
//! ```text
//! host         what only the program around the broker can do
//! http         requests and responses as bytes
//! call         one request with who asks, and what it may see
//! refusal      what is not done, as status and JSON
//! listing      lists: filter, sort, page, columns
//! input        the JSON object in a body
//! terms        JSON and field tables
//! binding_key  what a binding is called
//! api/         RabbitMQ's resources, a file for each group of paths; ours under /api/leveret
//! sessions     who is logged in on the page
//! page/        the page itself
//! definitions/ all that was declared and set, as a file
//! ```

mod api;
mod binding_key;
mod call;
pub mod definitions;
mod erlang_hash;
pub mod host;
pub mod http;
mod input;
mod listing;
mod page;
mod rates;
mod refusal;
mod sessions;
mod sight;
mod terms;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Config;
use crate::protocol::Now;
use crate::protocol::errand::Loop;
use call::Call;
use http::{Caller, Door, Method, Request, Response};
use rates::Rates;
pub use refusal::Refusal;
use sessions::Sessions;

/// Answers requests, on any thread.
pub struct Management {
    broker: Arc<dyn Loop>,
    facts: Facts,
    sessions: Mutex<Sessions>,
    rates: Mutex<Rates>,
    entropy: Mutex<Entropy>,
}

/// What does not change while the broker runs.
pub struct Facts {
    /// As it was at the start; what may change later is the hub's.
    pub config: Config,
    pub listeners: Vec<ListenerFacts>,
    pub started: Now,
    pub pid: u32,
    /// `None`: the broker runs inside another program.
    pub host: Option<Box<dyn host::Host>>,
    /// What the process takes up at the moment. Takes a while, as it asks the operating system.
    pub vitals: Box<dyn Fn() -> Vitals + Send + Sync>,
}

/// What the operating system says of the process; 0 where it does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vitals {
    /// Resident.
    pub memory_bytes: u64,
    /// Of the machine.
    pub memory_total_bytes: u64,
    pub files: u64,
    pub files_max: u64,
    /// On the file system of the data directory.
    pub disk_free_bytes: u64,
    pub context_switches: u64,
    pub processors: u64,
}

/// A listening socket, as the API shows it.
#[derive(Clone, Debug)]
pub struct ListenerFacts {
    /// RabbitMQ's names: `amqp`, `amqp/ssl`, `http`, `https`, `http/prometheus`.
    pub protocol: &'static str,
    /// An IP address, or the path of a Unix socket.
    pub interface: String,
    /// `None` for a Unix socket.
    pub port: Option<u16>,
}

/// Where tokens come from: sixteen bytes that nobody can guess.
pub type Entropy = Box<dyn FnMut() -> [u8; 16] + Send>;

type Answer = Result<Response, Refusal>;

impl Management {
    pub fn new(broker: Arc<dyn Loop>, facts: Facts, entropy: Entropy) -> Management {
        Management {
            broker,
            facts,
            sessions: Mutex::default(),
            rates: Mutex::default(),
            entropy: Mutex::new(entropy),
        }
    }

    /// Answers one request. May wait for the loop and the disk.
    pub fn answer(&self, request: &Request, caller: &Caller, now: Now) -> Response {
        let path = request.segments();
        let answer = match (caller.door, path.as_slice()) {
            (Door::Metrics, _) => Err(Refusal::NotFound),
            (_, ["api", path @ ..]) => self.answer_api(request, path, caller, now),
            (Door::Api, path) => page::answer(request, path),
            (Door::Control, _) => Err(Refusal::NotFound),
        };
        let mut response = answer.unwrap_or_else(Refusal::into_response);
        if sessions::is_from_page(request) {
            // A browser that reads this asks for a password itself, over the page that does so.
            let asks = |name: &str| name == "www-authenticate";
            response.headers.retain(|(name, _)| !asks(name));
        }
        response
    }

    fn answer_api(&self, request: &Request, path: &[&str], caller: &Caller, now: Now) -> Answer {
        if request.method == Method::Options {
            return Ok(Response::empty(200));
        }
        if let ["session"] = path
            && request.method == Method::Post
        {
            return self.begin_session(request, caller, now);
        }
        let call = Call::admit(self, request, caller, now)?;
        api::answer(&call, path)
    }

    /// A name that nobody can guess.
    fn draw_token(&self) -> String {
        let bytes = [self.draw(), self.draw()].concat();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn draw(&self) -> [u8; 16] {
        (locked(&self.entropy))()
    }
}

/// A worker that panicked left nothing half done in here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
