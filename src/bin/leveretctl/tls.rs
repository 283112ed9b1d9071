//! TLS to a broker's management API: whom to believe, and what to show.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whose signature on the broker's certificate is believed. Without, those that this system believes.
    pub authorities: Option<PathBuf>,
    /// What is shown to a broker that asks, and the key to it.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Speaks TLS with the host over the stream.
///
/// # Errors
/// A file cannot be read, or the broker's certificate is not believed (`InvalidData`).
pub fn connect(host: &str, stream: TcpStream, files: &TlsFiles) -> io::Result<TlsStream> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| unusable(format!("{host}: {error}")))?;
    let connection = ClientConnection::new(Arc::new(config(files)?), name);
    let mut stream = StreamOwned::new(connection.map_err(unusable)?, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn config(files: &TlsFiles) -> io::Result<ClientConfig> {
    let authorities = match &files.authorities {
        Some(file) => certificates(file)?,
        None => system_authorities()?,
    };
    let mut roots = RootCertStore::empty();
    // Of a system's many, one that the library cannot use is no reason to believe none.
    let (believed, _) = roots.add_parsable_certificates(authorities);
    if believed == 0 {
        return Err(unusable("no authority's certificate can be used"));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &files.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?);
    let private = private.map_err(|error| unusable(format!("{}: {error}", key.display())))?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| unusable(format!("{}: {error}", certificate.display())))
}

fn system_authorities() -> io::Result<Vec<CertificateDer<'static>>> {
    let found = SYSTEM_FILES.iter().map(Path::new).find(|it| it.is_file());
    let file = found.ok_or_else(|| {
        unusable(
            "this system has no list of authorities: name the authority's certificate with --ca",
        )
    })?;
    certificates(file)
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let fault = |why: &str| unusable(format!("{}: {why}", file.display()));
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(fault("there is no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(fault(&error.to_string())),
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    fs::read(file).map_err(|error| unusable(format!("{}: {error}", file.display())))
}

fn unusable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// Debian's, Red Hat's, SUSE's and Alpine's.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
