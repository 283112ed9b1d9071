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
//! metrics/     the same figures for Prometheus
//! input        the JSON object in a body
//! terms        JSON and field tables
//! time         times as text
//! binding_key  what a binding is called
//! api/         RabbitMQ's resources, a file for each group of paths; ours under /api/leveret
//! rates        how fast counts grow, and what they were
//! sampler      looks now and then, though nobody asked
//! series       what counts were, packed
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
mod metrics;
mod page;
mod rates;
mod refusal;
mod sampler;
mod series;
mod sessions;
mod sight;
mod terms;
mod time;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{Config, TlsOptions};
use crate::log_tap::LogTap;
use crate::protocol::Now;
use crate::protocol::errand::Loop;
use call::{Call, Right};
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
    /// Of who moves messages at a pace: one at a time.
    pacing: Mutex<()>,
    /// A clone for each stream that is open.
    streams: Arc<()>,
    entropy: Mutex<Entropy>,
}

/// What does not change while the broker runs.
pub struct Facts {
    /// As it was at the start; what may change later is the hub's.
    pub config: Config,
    pub listeners: Vec<ListenerFacts>,
    pub started: Now,
    pub pid: u32,
    /// What the process takes up at the moment beside memory and disk, which are the hub's
    /// ([`Hub::resources`](crate::protocol::Hub::resources)). Takes a while, as it asks the operating system.
    pub vitals: Box<dyn Fn() -> Vitals + Send + Sync>,
    /// Until when the certificates are valid that the files of these options have now. Takes a while, as it reads
    /// them.
    pub certificates: Box<dyn Fn(&TlsOptions) -> CertificateFacts + Send + Sync>,
    /// `None`: the broker runs inside another program.
    pub host: Option<Box<dyn host::Host>>,
    /// The program's log. `None` if it keeps that to itself.
    pub log: Option<LogTap>,
}

/// What the operating system says of the process; 0 where it does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vitals {
    pub files: u64,
    pub files_max: u64,
    pub context_switches: u64,
    pub processors: u64,
}

/// The certificates of a listener.
#[derive(Clone, Debug, Default)]
pub struct CertificateFacts {
    /// RabbitMQ: `certfile`.
    pub own: Option<Validity>,
    /// RabbitMQ: `cacertfile`.
    pub authorities: Option<Validity>,
}

/// What a file of certificates says.
#[derive(Clone, Debug)]
pub struct Validity {
    pub file: String,
    /// The last second of each, since 1970.
    pub ends: Vec<i64>,
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
            pacing: Mutex::default(),
            streams: Arc::default(),
            entropy: Mutex::new(entropy),
        }
    }

    /// Answers one request. May wait for the loop and the disk.
    pub fn answer(&self, request: &Request, caller: &Caller, now: Now) -> Response {
        let path = request.segments();
        let answer = match (caller.door, path.as_slice()) {
            (Door::Metrics, ["metrics", path @ ..]) => metrics::answer(self, request, path, now),
            (Door::Metrics, _) => Err(Refusal::NotFound),
            (_, ["metrics", path @ ..]) => self.answer_metrics(request, path, caller, now),
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

    /// On the port of the API they are for who may look at everything.
    fn answer_metrics(
        &self,
        request: &Request,
        path: &[&str],
        caller: &Caller,
        now: Now,
    ) -> Answer {
        Call::admit(self, request, caller, now)?.require(Right::Monitoring)?;
        metrics::answer(self, request, path, now)
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
