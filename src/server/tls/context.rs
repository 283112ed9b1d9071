//! Certificates, keys and options, read and checked. It takes milliseconds and reads files, so it happens
//! before the loop starts, or on another thread.

use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::client_chain::ClientChain;
use crate::config::{TlsOptions, TlsVersion, Verify};

/// All that handshakes need. Cloning is cheap, and it may be made on any thread.
#[derive(Clone)]
pub struct Context(Arc<ServerConfig>);

impl Context {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// One line that names the key and the file at fault: files that cannot be read, a key that is
    /// encrypted or belongs to another certificate, options that contradict each other.
    pub fn load(options: &TlsOptions) -> io::Result<Context> {
        let provider = Arc::new(ring::default_provider());
        let identity = Identity::load(options, &provider)?;
        let verifier = client_verifier(options, &provider)?;
        let asks_clients = verifier.is_some();
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(options))
            .map_err(|error| fault("ssl_options.versions", &error))?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(identity));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if !asks_clients {
            // A client that comes back saves us the signature; what it takes is held by the client. Not
            // where certificates are asked for: a ticket would outlive the certificate behind it.
            let ticketer = ring::Ticketer::new();
            config.ticketer = ticketer.map_err(|error| fault("TLS tickets", &error))?;
            config.send_tls13_tickets = 1;
        }
        Ok(Context(Arc::new(config)))
    }

    pub(super) fn config(&self) -> &Arc<ServerConfig> {
        &self.0
    }
}

impl fmt::Debug for Context {
    /// Secrets are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl PartialEq for Context {
    /// Whether they were read at the same time.
    fn eq(&self, other: &Context) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The one certificate that everybody is shown, whatever name was asked for.
#[derive(Debug)]
struct Identity(Arc<CertifiedKey>);

impl Identity {
    fn load(options: &TlsOptions, provider: &CryptoProvider) -> io::Result<Identity> {
        let certificate_file = required(options.certificate_file.as_deref(), CERTIFICATE)?;
        let key_file = required(options.key_file.as_deref(), KEY)?;
        let chain = read_certificates(certificate_file, CERTIFICATE)?;
        let key = read_key(key_file, options.key_password.is_some())?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let files = format!("{} and {}", certificate_file.display(), key_file.display());
            fault(&format!("{CERTIFICATE} and {KEY}: {files}"), &error)
        })?;
        Ok(Identity(Arc::new(certified)))
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            log::debug!("a TLS client asks for {name}");
        }
        Some(Arc::clone(&self.0))
    }
}

fn versions(options: &TlsOptions) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = &options.versions;
    let has = |version| wanted.is_empty() || wanted.contains(&version);
    let mut versions = Vec::new();
    if has(TlsVersion::Tls13) {
        versions.push(&version::TLS13);
    }
    if has(TlsVersion::Tls12) {
        versions.push(&version::TLS12);
    }
    versions
}

fn client_verifier(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> io::Result<Option<Arc<dyn ClientCertVerifier>>> {
    if options.verify == Verify::None {
        if options.fail_if_no_peer_certificate {
            let why = "it needs ssl_options.verify = verify_peer";
            return Err(fault("ssl_options.fail_if_no_peer_cert", &why));
        }
        return Ok(None);
    }
    let file = options.ca_file.as_deref().ok_or_else(|| {
        let why = "it needs ssl_options.cacertfile, whose signatures are believed";
        fault("ssl_options.verify = verify_peer", &why)
    })?;
    let mut authorities = RootCertStore::empty();
    for certificate in read_certificates(file, AUTHORITIES)? {
        let added = authorities.add(certificate);
        added.map_err(|error| file_fault(AUTHORITIES, file, &error))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    let builder = match options.fail_if_no_peer_certificate {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    let verifier = builder
        .build()
        .map_err(|error| file_fault(AUTHORITIES, file, &error))?;
    let verifier = ClientChain::new(verifier, options.depth);
    Ok(Some(Arc::new(verifier)))
}

fn required<'a>(file: Option<&'a Path>, key: &str) -> io::Result<&'a Path> {
    file.ok_or_else(|| fault(key, &"it is needed for TLS"))
}

fn read_certificates(file: &Path, key: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(file).map_err(|error| file_fault(key, file, &error))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| file_fault(key, file, &error))?;
    if certificates.is_empty() {
        return Err(file_fault(key, file, &"there is no certificate in it"));
    }
    Ok(certificates)
}

fn read_key(file: &Path, has_password: bool) -> io::Result<PrivateKeyDer<'static>> {
    let pem = fs::read(file).map_err(|error| file_fault(KEY, file, &error))?;
    // PKCS#8 says so in its first line, the older formats in a header.
    if ENCRYPTED.iter().any(|mark| contains(&pem, mark)) {
        let why = "encrypted keys are not supported; `openssl pkey` writes it without a password";
        return Err(file_fault(KEY, file, &why));
    }
    if has_password {
        log::warn!("ssl_options.password has no effect: the key is not encrypted");
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => {
            file_fault(KEY, file, &"there is no private key in it")
        }
        error => file_fault(KEY, file, &error),
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn file_fault(key: &str, file: &Path, why: &dyn Display) -> io::Error {
    fault(&format!("{key}: {}", file.display()), why)
}

fn fault(what: &str, why: &dyn Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {why}"))
}

const CERTIFICATE: &str = "ssl_options.certfile";
const KEY: &str = "ssl_options.keyfile";
const AUTHORITIES: &str = "ssl_options.cacertfile";
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED", b"Proc-Type: 4,ENCRYPTED"];
