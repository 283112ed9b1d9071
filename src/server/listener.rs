//! Listening sockets: bound at start, asked for one peer at a time.
//!
//! When the process runs out of descriptors the peers wait in the backlog of the operating system: we
//! pause until a socket closes or a second has passed, say so once, and serve the others meanwhile.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use mio::net::{TcpListener, TcpStream, UnixListener};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::address::{Address, Bind};
use super::inherited::Inherited;
use super::tls::{self, Acceptor};
use super::token::{LISTENERS_MAX, Source};
use super::transport::Transport;
use super::unix_socket::SocketFile;
use crate::config::{Config, TLS_PORT, TcpOptions, TlsOptions};
use crate::protocol::Peer;

pub(super) struct Listeners {
    /// Those without TLS first.
    all: Vec<Listener>,
    tcp: TcpOptions,
    /// For those with TLS, if there are any.
    acceptor: Option<Acceptor>,
    /// Whom to ask first, so that a storm on one address does not starve the others.
    next: usize,
    /// No descriptors left: no accepts before this (monotonic ms), unless a socket closes.
    paused_until: Option<u64>,
    /// Said so already; until the backlogs have been emptied.
    complained: bool,
}

/// One that has come.
pub(super) struct Newcomer {
    pub transport: Transport,
    pub peer: Peer,
}

struct Listener {
    kind: Kind,
    address: Address,
    tls: bool,
    /// The edge came, and `accept` has not said `WouldBlock` since.
    pending: bool,
}

enum Kind {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        /// Removed when dropped. `None`: it is somebody else's.
        Option<SocketFile>,
    ),
}

impl Listeners {
    /// # Errors
    /// `could not bind 0.0.0.0:5672: Address already in use`, of the first address that fails, or
    /// certificates that cannot be used.
    pub fn bind(config: &Config, inherited: Inherited) -> io::Result<Listeners> {
        let mut all = taken_over(inherited)?;
        let plain = wanted(config, all.is_empty())?;
        bind_all(&plain, &config.tcp, false, &mut all)?;
        let parse = |text: &String| Bind::parse(text, TLS_PORT);
        let tls: Vec<_> = config
            .tls
            .addresses()
            .iter()
            .map(parse)
            .collect::<Result<_, _>>()?;
        bind_all(&tls, &config.tcp, true, &mut all)?;
        if all.is_empty() {
            let message = "nothing to listen on: listeners.tcp = none";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if all.len() > LISTENERS_MAX {
            let message = format!("at most {LISTENERS_MAX} addresses to listen on");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let acceptor = match tls.is_empty() {
            true => None,
            false => Some(Acceptor::new(tls::Context::load(&config.tls.options)?)),
        };
        Ok(Listeners::of(all, &config.tcp, acceptor))
    }

    fn of(all: Vec<Listener>, tcp: &TcpOptions, acceptor: Option<Acceptor>) -> Listeners {
        Listeners {
            all,
            acceptor,
            tcp: tcp.clone(),
            next: 0,
            paused_until: None,
            complained: false,
        }
    }

    /// Opens the ports, which were only taken so far.
    ///
    /// # Errors
    /// Somebody else was faster on the same port.
    pub fn listen(&mut self, registry: &Registry) -> io::Result<()> {
        let token = |index| Source::Listener(index).token();
        listen(&mut self.all, &self.tcp, registry, token)
    }

    /// Those with TLS, or those without.
    pub fn addresses(&self, tls: bool) -> Vec<Address> {
        let these = self.all.iter().filter(|listener| listener.tls == tls);
        these.map(|listener| listener.address.clone()).collect()
    }

    /// Shows who comes from now on these certificates.
    pub fn renew_tls(&mut self, context: tls::Context) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.renew(context);
        }
    }

    /// Somebody knocks.
    pub fn mark_pending(&mut self, index: usize) {
        if let Some(listener) = self.all.get_mut(index) {
            listener.pending = true;
        }
    }

    /// Stops listening: peers that were not accepted are reset, socket files removed.
    pub fn close(&mut self) {
        self.all.clear();
        self.paused_until = None;
    }

    /// The next peer, from one listener after the other. `None`: nobody waits, or no descriptors.
    pub fn accept(&mut self, now_ms: u64) -> Option<Newcomer> {
        if self.paused_until.is_some_and(|until| now_ms < until) {
            return None;
        }
        self.paused_until = None;
        for _ in 0..self.all.len() {
            self.next = (self.next + 1) % self.all.len();
            let listener = &mut self.all[self.next];
            if !listener.pending {
                continue;
            }
            match listener.accept(&self.tcp, self.acceptor.as_ref()) {
                Ok(Some(accepted)) => return Some(accepted),
                Ok(None) => {}
                Err(error) => {
                    self.pause(now_ms, &error);
                    return None;
                }
            }
        }
        self.complained = false;
        None
    }

    /// More peers wait, and nothing hinders us.
    pub fn is_pending(&self) -> bool {
        self.paused_until.is_none() && self.all.iter().any(|l| l.pending)
    }

    /// When to try again after running out of descriptors.
    pub fn next_deadline(&self) -> Option<u64> {
        self.paused_until
    }

    /// A socket was closed, so there is a descriptor again.
    pub fn on_descriptor_freed(&mut self) {
        self.paused_until = None;
    }

    fn pause(&mut self, now_ms: u64, error: &io::Error) {
        self.paused_until = Some(now_ms + PAUSE_MS);
        if !std::mem::replace(&mut self.complained, true) {
            log::error!("new connections wait, accepting failed: {error}");
        }
    }
}

/// Sockets that are bound and not served yet, on whichever thread that will be.
pub(super) struct Bound {
    all: Vec<Listener>,
    tcp: TcpOptions,
    tls: Option<tls::Context>,
}

impl Bound {
    /// One address, or all of this machine's; with TLS if there are options for it.
    ///
    /// # Errors
    /// As [`Listeners::bind`].
    pub fn on(
        ip: Option<&str>,
        port: u16,
        tcp: &TcpOptions,
        tls: Option<&TlsOptions>,
    ) -> io::Result<Bound> {
        let bind = match ip {
            Some(ip) => Bind::parse(ip, port)?,
            None => Bind::Everywhere(port),
        };
        let mut all = Vec::new();
        bind_all(&[bind], tcp, tls.is_some(), &mut all)?;
        Ok(Bound {
            all,
            tcp: tcp.clone(),
            tls: tls.map(tls::Context::load).transpose()?,
        })
    }

    /// A Unix socket that only its owner may open.
    ///
    /// # Errors
    /// As [`Listeners::bind`].
    pub fn on_private_file(path: PathBuf, tcp: &TcpOptions) -> io::Result<Bound> {
        let bind = Bind::Unix(path.clone());
        let listener = listen_unix(path, backlog(tcp)).and_then(|listener| {
            if let Kind::Unix(_, Some(file)) = &listener.kind {
                file.make_private()?;
            }
            Ok(listener)
        });
        Ok(Bound {
            all: vec![listener.map_err(|error| could_not_bind(&bind, &error))?],
            tcp: tcp.clone(),
            tls: None,
        })
    }

    pub fn addresses(&self) -> Vec<Address> {
        let addresses = self.all.iter().map(|listener| listener.address.clone());
        addresses.collect()
    }

    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// As [`Listeners::listen`], in a poll where listeners have other tokens.
    ///
    /// # Errors
    /// Those of [`Listeners::listen`].
    pub fn listen(
        &mut self,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<()> {
        listen(&mut self.all, &self.tcp, registry, token)
    }

    /// To be served on this thread.
    pub fn into_listeners(self) -> Listeners {
        let acceptor = self.tls.map(Acceptor::new);
        Listeners::of(self.all, &self.tcp, acceptor)
    }
}

fn listen(
    all: &mut [Listener],
    tcp: &TcpOptions,
    registry: &Registry,
    token: impl Fn(usize) -> Token,
) -> io::Result<()> {
    for (index, listener) in all.iter_mut().enumerate() {
        let token = token(index);
        match &mut listener.kind {
            Kind::Tcp(l) => {
                SockRef::from(&*l)
                    .listen(backlog(tcp))
                    .map_err(|error| could_not_bind(&listener.address, &error))?;
                registry.register(l, token, Interest::READABLE)?;
            }
            Kind::Unix(l, _) => registry.register(l, token, Interest::READABLE)?,
        }
        let over = if listener.tls { " (TLS)" } else { "" };
        log::info!("listening on {}{over}", listener.address);
    }
    Ok(())
}

impl Listener {
    /// `Ok(None)`: the backlog is empty. An error: accepting again now would fail again.
    fn accept(
        &mut self,
        options: &TcpOptions,
        acceptor: Option<&Acceptor>,
    ) -> io::Result<Option<Newcomer>> {
        loop {
            let error = match self.accept_once(options, acceptor) {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => {
                    self.pending = false;
                    return Ok(None);
                }
                io::ErrorKind::Interrupted => {}
                _ if is_of_the_peer(&error) => {
                    log::debug!(
                        "a peer left {} before it was accepted: {error}",
                        self.address
                    );
                }
                _ => return Err(error),
            }
        }
    }

    fn accept_once(
        &mut self,
        options: &TcpOptions,
        acceptor: Option<&Acceptor>,
    ) -> io::Result<Newcomer> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, remote) = listener.accept()?;
                // Not worth a connection: it fails when the peer is gone already.
                if let Err(error) = set_options(&stream, options) {
                    log::debug!("socket options for {remote}: {error}");
                }
                let local = stream.local_addr().map(plain);
                let remote = plain(remote);
                let peer = Peer {
                    address: remote.to_string(),
                    local: local.map_or_else(|_| self.address.to_string(), |a| a.to_string()),
                    loopback: remote.ip().is_loopback(),
                    tls: None,
                };
                let transport = match acceptor.filter(|_| self.tls) {
                    Some(acceptor) => Transport::Tls(Box::new(acceptor.accept(stream)?)),
                    None => Transport::Tcp(stream),
                };
                Ok(Newcomer { transport, peer })
            }
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                let peer = Peer {
                    address: "unix".to_owned(),
                    local: self.address.to_string(),
                    loopback: true,
                    tls: None,
                };
                let transport = Transport::Unix(stream);
                Ok(Newcomer { transport, peer })
            }
        }
    }
}

/// Each error here belongs to the connection that was to be accepted, and is gone with it
/// (accept(2), "Error handling").
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
                | Errno::PERM
        )
    )
}

/// An IPv4 peer on a dual-stack socket under its own address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn wanted(config: &Config, by_default: bool) -> io::Result<Vec<Bind>> {
    if !config.listen_plain {
        return Ok(Vec::new());
    }
    if config.bind.is_empty() {
        let everywhere = Bind::Everywhere(config.port);
        return Ok(if by_default {
            vec![everywhere]
        } else {
            Vec::new()
        });
    }
    let parse = |text: &String| Bind::parse(text, config.port);
    config.bind.iter().map(parse).collect()
}

fn taken_over(inherited: Inherited) -> io::Result<Vec<Listener>> {
    let mut all = Vec::new();
    for listener in inherited.tcp {
        listener.set_nonblocking(true)?;
        all.push(Listener {
            address: Address::Tcp(listener.local_addr()?),
            kind: Kind::Tcp(TcpListener::from_std(listener)),
            tls: false,
            pending: false,
        });
    }
    for listener in inherited.unix {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(PathBuf::from);
        all.push(Listener {
            address: Address::Unix(path.unwrap_or_default()),
            kind: Kind::Unix(UnixListener::from_std(listener), None),
            tls: false,
            pending: false,
        });
    }
    Ok(all)
}

fn set_options(stream: &TcpStream, options: &TcpOptions) -> io::Result<()> {
    let socket = SockRef::from(stream);
    if options.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if options.keepalive {
        socket.set_keepalive(true)?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    Ok(())
}

fn backlog(options: &TcpOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

fn bind_all(
    binds: &[Bind],
    options: &TcpOptions,
    tls: bool,
    all: &mut Vec<Listener>,
) -> io::Result<()> {
    // `::` takes IPv4 along, unless IPv4 has addresses of its own: the two would collide.
    let has_ipv4 = binds
        .iter()
        .any(|bind| matches!(bind, Bind::Ip(SocketAddr::V4(_)) | Bind::Host(..)));
    let first = all.len();
    for bind in binds {
        if tls && matches!(bind, Bind::Unix(_)) {
            let message = format!("listeners.ssl: {bind}: TLS is for TCP only");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let only_ipv6 = has_ipv4 && matches!(bind, Bind::Ip(_) | Bind::Host(..));
        bind_one(bind, only_ipv6, backlog(options), all)
            .map_err(|error| could_not_bind(bind, &error))?;
    }
    for listener in &mut all[first..] {
        listener.tls = tls;
    }
    Ok(())
}

/// A name may have an IPv6 address on a machine without IPv6, so one of several addresses is enough,
/// unless the others failed for a better reason. [`Bind::Everywhere`] stops at the first success.
fn bind_one(bind: &Bind, only_ipv6: bool, backlog: i32, all: &mut Vec<Listener>) -> io::Result<()> {
    if let Bind::Unix(path) = bind {
        all.push(listen_unix(path.clone(), backlog)?);
        return Ok(());
    }
    let count_before = all.len();
    let mut not_here = None;
    for address in bind.resolve()? {
        match listen_tcp(address, only_ipv6) {
            Ok(listener) => all.push(listener),
            Err(error) if is_not_here(&error) => not_here = Some(error),
            Err(error) => return Err(error),
        }
        if matches!(bind, Bind::Everywhere(_)) && all.len() > count_before {
            break;
        }
    }
    match not_here {
        Some(error) if all.len() == count_before => Err(error),
        _ => Ok(()),
    }
}

fn listen_tcp(address: SocketAddr, only_ipv6: bool) -> io::Result<Listener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A restarted broker need not wait for its old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(only_ipv6)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into());
    Ok(Listener {
        address: Address::Tcp(listener.local_addr()?),
        kind: Kind::Tcp(listener),
        tls: false,
        pending: false,
    })
}

fn listen_unix(path: PathBuf, backlog: i32) -> io::Result<Listener> {
    let (listener, file) = SocketFile::bind(&path, backlog)?;
    Ok(Listener {
        kind: Kind::Unix(UnixListener::from_std(listener), Some(file)),
        address: Address::Unix(path),
        tls: false,
        pending: false,
    })
}

/// The machine does not have this address, or not its family.
fn is_not_here(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT)
    )
}

fn could_not_bind(bind: &impl Display, error: &io::Error) -> io::Error {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    io::Error::new(error.kind(), format!("could not bind {bind}: {text}"))
}

const PAUSE_MS: u64 = 1000;
