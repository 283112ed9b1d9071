//! What comes before a connection's first byte: a proxy's header, a TLS handshake, both, in this order.
//! At its end it is known who the peer is.

use std::io;

use super::proxy;
use super::tls::client_certificate;
use super::transport::Transport;
use crate::config::Tls;
use crate::protocol::{Peer, TlsPeer};
use crate::wire::proxy::Origin;

pub(super) struct Arrival {
    /// As far as it is known.
    pub peer: Peer,
    /// To be refused if it is not done by then (monotonic ms).
    pub deadline: u64,
    /// It has failed.
    pub is_refused: bool,
    awaits_header: bool,
}

/// What an arrival needs next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// To be called again.
    Goes,
    /// More from the peer.
    Waits,
    Done,
}

impl Arrival {
    /// `None` if nothing comes before the first byte.
    pub fn expect(
        peer: &Peer,
        transport: &Transport,
        from_proxy: bool,
        deadline: u64,
    ) -> Option<Box<Arrival>> {
        let is_tls = matches!(transport, Transport::Tls(_));
        (is_tls || from_proxy).then(|| {
            Box::new(Arrival {
                peer: peer.clone(),
                deadline,
                is_refused: false,
                awaits_header: from_proxy,
            })
        })
    }

    /// Takes what has come. A step of a handshake takes up to a millisecond or two.
    ///
    /// # Errors
    /// The peer cannot be let in; why.
    pub fn step(&mut self, transport: &mut Transport, config: &Tls) -> io::Result<Step> {
        if self.is_refused {
            return Ok(Step::Waits);
        }
        let step = match self.awaits_header {
            true => self.take_header(transport),
            false => self.shake_hands(transport, config),
        };
        match step {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Waits),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Step::Goes),
            step => step,
        }
    }

    /// Says why, and no more.
    pub fn refuse(&mut self, why: &io::Error) {
        if std::mem::replace(&mut self.is_refused, true) {
            return;
        }
        let address = &self.peer.address;
        let what = match self.awaits_header {
            true => "PROXY header",
            false => "TLS handshake",
        };
        let has_left = matches!(
            why.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
        );
        match has_left {
            true => log::debug!("{address}: the connection ended before its {what}"),
            false => log::warn!("{address}: {what} failed: {why}"),
        }
    }

    fn take_header(&mut self, transport: &mut Transport) -> io::Result<Step> {
        let Some(stream) = transport.tcp() else {
            return Ok(Step::Done);
        };
        let Some(origin) = proxy::take_header(stream)? else {
            return Ok(Step::Waits);
        };
        self.awaits_header = false;
        match origin {
            Origin::Proxy => {}
            // Somebody is behind it, and nobody says that he is on this machine.
            Origin::Unknown => self.peer.loopback = false,
            Origin::Tcp {
                source,
                destination,
            } => {
                self.peer.address = source.to_string();
                self.peer.local = destination.to_string();
                self.peer.loopback = source.ip().to_canonical().is_loopback();
            }
        }
        match transport {
            Transport::Tls(_) => Ok(Step::Goes),
            _ => Ok(Step::Done),
        }
    }

    fn shake_hands(&mut self, transport: &mut Transport, config: &Tls) -> io::Result<Step> {
        let Transport::Tls(stream) = transport else {
            return Ok(Step::Done);
        };
        if !stream.handshake()? {
            return Ok(Step::Goes);
        }
        let certificate = stream.peer_certificate();
        let certificate = certificate
            .map(|der| client_certificate(der, config))
            .transpose()
            .map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?;
        self.peer.tls = Some(Box::new(TlsPeer {
            version: stream.version().unwrap_or_default(),
            cipher_suite: stream.cipher_suite().unwrap_or_default(),
            certificate,
        }));
        Ok(Step::Done)
    }
}
