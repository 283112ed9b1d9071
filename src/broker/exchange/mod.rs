//! Routing tables of the exchange types (AMQP 0-9-1 §3.1.3): which bindings match a message.
//!
//! A table maps keys and arguments to destinations and knows nothing else: neither what a destination
//! is nor what exchanges, queues and durability are. A new type is a file here, and a variant and its
//! arms in [`Router`].
//!
//! Given the same calls, a table gives the same destinations in the same order; hashes decide nothing
//! that can be seen.

mod destinations;
mod direct;
pub(super) mod erlang_term;
mod fanout;
mod headers;
mod topic;

use crate::wire::amqp::Table;
pub use direct::Direct;
pub use fanout::Fanout;
pub use headers::Headers;
pub use topic::Topic;

/// The routing table of one exchange, by its type.
#[derive(Debug)]
pub enum Router<D> {
    Direct(Direct<D>),
    Fanout(Fanout<D>),
    Topic(Topic<D>),
    Headers(Headers<D>),
}

impl<D: Copy + Ord> Router<D> {
    /// An empty table of the type with this name, as `exchange.declare` gives it; none if there is no
    /// such type.
    pub fn by_type_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"direct" => Router::Direct(Direct::new()),
            b"fanout" => Router::Fanout(Fanout::new()),
            b"topic" => Router::Topic(Topic::new()),
            b"headers" => Router::Headers(Headers::new()),
            _ => return None,
        })
    }

    /// The name of the type, as `exchange.declare` gives it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Router::Direct(_) => "direct",
            Router::Fanout(_) => "fanout",
            Router::Topic(_) => "topic",
            Router::Headers(_) => "headers",
        }
    }

    /// Whether a binding may have these arguments; if not, RabbitMQ's text for
    /// 406 PRECONDITION_FAILED. Types that do not look at arguments take any.
    pub fn check_arguments(&self, arguments: Table<'_>) -> Result<(), String> {
        match self {
            Router::Direct(_) | Router::Fanout(_) | Router::Topic(_) => Ok(()),
            Router::Headers(_) => headers::check_arguments(arguments),
        }
    }

    /// Adds a binding. The caller makes sure that it is new: there is no other with the same key,
    /// arguments and destination.
    pub fn bind(&mut self, key: &[u8], arguments: Table<'_>, destination: D) {
        match self {
            Router::Direct(direct) => direct.bind(key, destination),
            Router::Fanout(fanout) => fanout.bind(destination),
            Router::Topic(topic) => topic.bind(key, destination),
            Router::Headers(headers) => headers.bind(arguments, destination),
        }
    }

    /// Takes away a binding that [`bind`](Router::bind) added, with the same key, arguments and
    /// destination.
    pub fn unbind(&mut self, key: &[u8], arguments: Table<'_>, destination: D) {
        match self {
            Router::Direct(direct) => direct.unbind(key, destination),
            Router::Fanout(fanout) => fanout.unbind(destination),
            Router::Topic(topic) => topic.unbind(key, destination),
            Router::Headers(headers) => headers.unbind(arguments, destination),
        }
    }

    /// Appends the destinations of the bindings that match. One that several bindings lead to may come
    /// several times: a queue gets one copy, so the caller removes repeats (also of several keys).
    ///
    /// Mutable only for the memory that routes use again.
    #[inline]
    pub fn route(&mut self, key: &[u8], headers: Option<Table<'_>>, out: &mut Vec<D>) {
        match self {
            Router::Direct(direct) => direct.route(key, out),
            Router::Fanout(fanout) => fanout.route(out),
            Router::Topic(topic) => topic.route(key, out),
            Router::Headers(table) => table.route(headers, out),
        }
    }

    /// Whether [`route`](Router::route) looks at the routing key: if not, a message's further keys (CC
    /// and BCC) lead nowhere else than its first.
    pub fn depends_on_key(&self) -> bool {
        matches!(self, Router::Direct(_) | Router::Topic(_))
    }

    /// Whether [`route`](Router::route) looks at the headers: if not, they need not be decoded, and the
    /// destinations of a key hold until the next change of the bindings.
    pub fn depends_on_headers(&self) -> bool {
        matches!(self, Router::Headers(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::amqp::TableBuilder;

    #[test]
    fn each_type_is_found_by_its_name() {
        for name in ["direct", "fanout", "topic", "headers"] {
            let router = Router::<u32>::by_type_name(name.as_bytes()).expect("a known type");
            assert_eq!(router.type_name(), name);
            assert_eq!(router.depends_on_headers(), name == "headers");
            assert_eq!(router.depends_on_key(), ["direct", "topic"].contains(&name));
        }
        for name in ["", "Direct", "x-unknown"] {
            assert!(Router::<u32>::by_type_name(name.as_bytes()).is_none());
        }
    }

    #[test]
    fn each_type_matches_in_its_way_and_forgets_what_is_unbound() {
        let mut arguments = TableBuilder::new();
        arguments.put("format", "pdf");
        let expected = [
            ("direct", vec![1]),
            ("fanout", vec![1, 2, 3]),
            ("topic", vec![1, 2]),
            ("headers", vec![1, 2, 3]),
        ];
        for (name, expected) in expected {
            let mut router = Router::by_type_name(name.as_bytes()).expect("a known type");
            let bindings = [("a.b", 1), ("a.*", 2), ("c", 3)];
            for (key, destination) in bindings {
                router.bind(key.as_bytes(), arguments.view(), destination);
            }
            let mut out = Vec::new();
            router.route(b"a.b", Some(arguments.view()), &mut out);
            assert_eq!(out, expected, "{name}");
            for (key, destination) in bindings {
                router.unbind(key.as_bytes(), arguments.view(), destination);
            }
            out.clear();
            router.route(b"a.b", Some(arguments.view()), &mut out);
            assert!(out.is_empty(), "{name}");
        }
    }

    #[test]
    fn only_the_headers_exchange_refuses_arguments() {
        let mut arguments = TableBuilder::new();
        arguments.put("x-match", "some");
        for name in ["direct", "fanout", "topic", "headers"] {
            let router = Router::<u32>::by_type_name(name.as_bytes()).expect("a known type");
            let refused = router.check_arguments(arguments.view()).is_err();
            assert_eq!(refused, name == "headers");
        }
    }
}
