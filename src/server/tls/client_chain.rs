//! How long a client's chain of certificates may be (RabbitMQ: `ssl_options.depth`); all else is left to
//! the library.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::wire::x509::Certificate;

#[derive(Debug)]
pub(super) struct ClientChain {
    library: Arc<dyn ClientCertVerifier>,
    depth: u8,
}

impl ClientChain {
    pub fn new(library: Arc<dyn ClientCertVerifier>, depth: u8) -> ClientChain {
        ClientChain { library, depth }
    }
}

impl ClientCertVerifier for ClientChain {
    fn offer_client_auth(&self) -> bool {
        self.library.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.library.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.library.root_hint_subjects()
    }

    /// All that are shown count, whether the way to the authority leads over them or not. An authority
    /// that is shown along does not: it has signed itself.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let between = intermediates.iter().filter(|der| {
            Certificate::parse(der).is_ok_and(|certificate| !certificate.is_self_issued())
        });
        if between.count() > usize::from(self.depth) {
            let too_deep = OtherError(Arc::new(TooDeep(self.depth)));
            return Err(CertificateError::Other(too_deep).into());
        }
        self.library
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.library.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct TooDeep(u8);

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = self.0;
        write!(
            f,
            "the chain is longer than ssl_options.depth = {depth} allows"
        )
    }
}

impl std::error::Error for TooDeep {}
