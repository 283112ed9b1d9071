//! A client over TLS.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::authority::{Authority, Identity};
use crate::support::{Login, RawClient, connect_to};

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;
pub type TlsClient = RawClient<TlsStream>;

/// A client that believes the authority, and shows what it has.
pub fn config(authority: &Authority, identity: Option<Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        Some(Identity { chain, key, .. }) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

/// Nothing was said yet, not even about TLS.
pub fn stream_over(stream: TcpStream, config: &Arc<ClientConfig>) -> TlsStream {
    stream_to(stream, config, "localhost")
}

/// The same for a host of this name.
pub fn stream_to(stream: TcpStream, config: &Arc<ClientConfig>, host: &'static str) -> TlsStream {
    let name = ServerName::try_from(host).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(connection, stream)
}

pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    RawClient::over(stream_over(connect_to(address), config))
}

/// Logged in as guest, with channel 1.
pub fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    let mut client = connect(address, config);
    client.open_connection(&Login::default());
    client.open_channel(1);
    client
}
