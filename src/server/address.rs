//! Addresses to listen on: as written by the operator, and as bound.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Where a broker listens. Displayed as `127.0.0.1:5672`, `[::]:5672` or `unix:/run/leveret.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One `--bind`, parsed but not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    /// No address given: IPv6 and IPv4 through one socket, or IPv4 alone where there is no IPv6.
    Everywhere(u16),
    Ip(SocketAddr),
    /// Looked up once, before the loop starts.
    Host(String, u16),
    Unix(PathBuf),
}

impl Bind {
    /// `127.0.0.1`, `[::1]:5673`, `localhost`, `5673` for all addresses, `unix:/path` or a path with a
    /// slash. `port` is for those that name none.
    pub fn parse(text: &str, port: u16) -> io::Result<Bind> {
        if let Ok(port) = text.parse() {
            return Ok(Bind::Everywhere(port));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(invalid(text)),
                path => Ok(Bind::Unix(path.into())),
            };
        }
        if text.contains('/') {
            return Ok(Bind::Unix(text.into()));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Bind::Ip(address));
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Bind::Ip(SocketAddr::new(ip, port)));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| invalid(text))?),
            None => (text, port),
        };
        if host.is_empty() || host.contains([':', '[', ']']) {
            return Err(invalid(text));
        }
        Ok(Bind::Host(host.to_owned(), port))
    }

    /// The IP addresses to try. Empty for a Unix socket.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Bind::Everywhere(port) => Ok(vec![
                (Ipv6Addr::UNSPECIFIED, *port).into(),
                (Ipv4Addr::UNSPECIFIED, *port).into(),
            ]),
            Bind::Ip(address) => Ok(vec![*address]),
            Bind::Host(host, port) => Ok((host.as_str(), *port).to_socket_addrs()?.collect()),
            Bind::Unix(_) => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Everywhere(port) => write!(f, "[::]:{port}"),
            Bind::Ip(address) => address.fmt(f),
            Bind::Host(host, port) => write!(f, "{host}:{port}"),
            Bind::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn invalid(text: &str) -> io::Error {
    let message = format!("{text:?} is no address to listen on");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1:5672"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("::1", "[::1]:5672"),
            ("[::1]", "[::1]:5672"),
            ("[::]:7", "[::]:7"),
            ("localhost", "localhost:5672"),
            ("localhost:0", "localhost:0"),
            ("unix:relative", "unix:relative"),
            ("/run/leveret", "unix:/run/leveret"),
            ("5673", "[::]:5673"),
        ] {
            assert_eq!(Bind::parse(text, 5672).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_text() {
        for text in [
            "",
            ":1",
            "host:port",
            "host:70000",
            "[::1",
            "1:2:3",
            "unix:",
        ] {
            let error = Bind::parse(text, 5672).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
