//! Where streams become TLS streams.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use rustls::server::UnbufferedServerConnection;

use super::context::Context;
use super::stream::{Scratch, TlsStream};

/// Makes TLS streams, all of one thread, with one set of buffers for all.
pub struct Acceptor {
    context: Context,
    scratch: Rc<RefCell<Scratch>>,
}

impl Acceptor {
    pub fn new(context: Context) -> Acceptor {
        Acceptor {
            context,
            scratch: Rc::default(),
        }
    }

    /// From now on with these certificates; streams that exist stay as they are.
    pub fn renew(&mut self, context: Context) {
        self.context = context;
    }

    /// The server's side of TLS over `stream`, from its first byte on.
    ///
    /// # Errors
    /// The library refuses the options. It does not: they were checked when they were read.
    pub fn accept<S: Read + Write>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let connection = UnbufferedServerConnection::new(self.context.config().clone());
        let connection = connection.map_err(io::Error::other)?;
        Ok(TlsStream::new(stream, connection, Rc::clone(&self.scratch)))
    }
}
