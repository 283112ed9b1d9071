//! Metrics for Prometheus, by the names and labels of RabbitMQ's plugin, so that its dashboards and alerts
//! work; and ours, which begin with `leveret_`.
//!
//! ```text
//! /metrics                 everything of one kind summed up     whole
//! /metrics/per-object      queues, connections, channels each   objects
//! /metrics/detailed        the families that are asked for      objects, another prefix
//! text                     the exposition format
//! ```

mod objects;
mod text;
mod whole;

use super::http::{Request, Response};
use super::{Answer, Management, Refusal};
use crate::protocol::Now;
use objects::Families;
use text::Text;

/// `/metrics` and what is behind it; `path` without that.
pub fn answer(management: &Management, request: &Request, path: &[&str], now: Now) -> Answer {
    if !request.method.is_safe() {
        return Err(Refusal::MethodNotAllowed("GET, HEAD, OPTIONS"));
    }
    let mut text = Text::default();
    match path {
        [] => {
            whole::write(management, now, &mut text)?;
            whole::write_sums(management, &mut text)?;
        }
        ["per-object"] => {
            whole::write(management, now, &mut text)?;
            let families = Families::all("rabbitmq_");
            objects::write(management, &families, &mut text)?;
        }
        ["detailed"] => {
            let families = Families::asked_for(request);
            objects::write(management, &families, &mut text)?;
        }
        ["memory-breakdown"] => whole::write_memory(management, &mut text)?,
        _ => return Err(Refusal::NotFound),
    }
    Ok(Response::new(200, CONTENT_TYPE, text.into_bytes()))
}

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
