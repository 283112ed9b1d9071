//! Certificates, keys and options, read and checked. It takes milliseconds and reads files, so it happens
//! before the loop starts, or on another thread.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::client_chain::ClientChain;
use crate::config::{RevocationCheck, TlsOptions, TlsVersion, Verify};

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

/// The certificates that clients are shown, by the name of the host that they ask for (TLS: SNI).
#[derive(Debug)]
struct Identity {
    /// For all other names, and for none.
    ordinary: Arc<CertifiedKey>,
    /// By a host's name in small letters, or `*.` and what all of them end with.
    hosts: BTreeMap<String, Arc<CertifiedKey>>,
}

impl Identity {
    fn load(options: &TlsOptions, provider: &CryptoProvider) -> io::Result<Identity> {
        let files = [
            (options.certificate_file.as_deref(), CERTIFICATE),
            (options.key_file.as_deref(), KEY),
        ];
        let has_password = options.key_password.is_some();
        let ordinary = certified(files, has_password, provider)?;
        let mut hosts = BTreeMap::new();
        let names = options.sni_certificate_files.keys();
        for name in names.chain(options.sni_key_files.keys()) {
            let certificate = options.sni_certificate_files.get(name);
            let key = options.sni_key_files.get(name);
            let [certificate_key, key_key] =
                [CERTIFICATE_OF_HOST, KEY_OF_HOST].map(|key| format!("{key}.{name}"));
            let files = [
                (certificate.map(PathBuf::as_path), &*certificate_key),
                (key.map(PathBuf::as_path), &*key_key),
            ];
            if !hosts.contains_key(name) {
                hosts.insert(name.clone(), certified(files, false, provider)?);
            }
        }
        Ok(Identity { ordinary, hosts })
    }

    fn of_host(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let above = name.split_once('.').map(|(_, above)| format!("*.{above}"));
        let exact = self.hosts.get(&name);
        exact
            .or_else(|| self.hosts.get(&above?))
            .unwrap_or(&self.ordinary)
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else {
            return Some(Arc::clone(&self.ordinary));
        };
        log::debug!("a TLS client asks for {name}");
        Some(Arc::clone(self.of_host(name)))
    }
}

/// A certificate and its key; the files with the keys that name them.
fn certified(
    [certificate, key]: [(Option<&Path>, &str); 2],
    has_password: bool,
    provider: &CryptoProvider,
) -> io::Result<Arc<CertifiedKey>> {
    let (certificate_name, key_name) = (certificate.1, key.1);
    let certificate_file = required(certificate.0, certificate_name)?;
    let key_file = required(key.0, key_name)?;
    let chain = read_certificates(certificate_file, certificate_name)?;
    let key = read_key(key_file, key_name, has_password)?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let files = format!("{} and {}", certificate_file.display(), key_file.display());
        fault(
            &format!("{certificate_name} and {key_name}: {files}"),
            &error,
        )
    })?;
    Ok(Arc::new(certified))
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
    let revoked = revocation_lists(options)?;
    if options.verify == Verify::None {
        if revoked.is_some() {
            let why = "it needs ssl_options.verify = verify_peer";
            return Err(fault(REVOKED, &why));
        }
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
    let builder = match revoked {
        None => builder,
        Some((lists, check)) => {
            let builder = builder.with_crls(lists);
            match check {
                RevocationCheck::Peer => builder
                    .only_check_end_entity_revocation()
                    .enforce_revocation_expiration(),
                RevocationCheck::BestEffort => builder.allow_unknown_revocation_status(),
                RevocationCheck::Chain | RevocationCheck::Off => {
                    builder.enforce_revocation_expiration()
                }
            }
        }
    };
    let verifier = builder
        .build()
        .map_err(|error| file_fault(AUTHORITIES, file, &error))?;
    let verifier = ClientChain::new(verifier, options.depth);
    Ok(Some(Arc::new(verifier)))
}

/// The lists, and how far they are believed; `None` if they are not.
fn revocation_lists(
    options: &TlsOptions,
) -> io::Result<Option<(Vec<CertificateRevocationListDer<'static>>, RevocationCheck)>> {
    let check = options.revocation_check;
    let Some(file) = options.revocation_file.as_deref() else {
        return match check {
            None | Some(RevocationCheck::Off) => Ok(None),
            Some(_) => Err(fault(
                "ssl_options.crl_check",
                &"it needs ssl_options.crlfile",
            )),
        };
    };
    let pem = fs::read(file).map_err(|error| file_fault(REVOKED, file, &error))?;
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| file_fault(REVOKED, file, &error))?;
    if lists.is_empty() {
        return Err(file_fault(
            REVOKED,
            file,
            &"there is no revocation list in it",
        ));
    }
    match check.unwrap_or(RevocationCheck::Chain) {
        RevocationCheck::Off => Ok(None),
        check => Ok(Some((lists, check))),
    }
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

fn read_key(file: &Path, name: &str, has_password: bool) -> io::Result<PrivateKeyDer<'static>> {
    let pem = fs::read(file).map_err(|error| file_fault(name, file, &error))?;
    // PKCS#8 says so in its first line, the older formats in a header.
    if ENCRYPTED.iter().any(|mark| contains(&pem, mark)) {
        let why = "encrypted keys are not supported; `openssl pkey` writes it without a password";
        return Err(file_fault(name, file, &why));
    }
    if has_password {
        log::warn!("ssl_options.password has no effect: the key is not encrypted");
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => {
            file_fault(name, file, &"there is no private key in it")
        }
        error => file_fault(name, file, &error),
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
const CERTIFICATE_OF_HOST: &str = "ssl_options.sni.certfile";
const KEY_OF_HOST: &str = "ssl_options.sni.keyfile";
const REVOKED: &str = "ssl_options.crlfile";
const AUTHORITIES: &str = "ssl_options.cacertfile";
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED", b"Proc-Type: 4,ENCRYPTED"];
