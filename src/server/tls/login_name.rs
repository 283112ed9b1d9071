//! The user that a client's certificate stands for (RabbitMQ: `ssl_cert_login_from`).

use crate::config::{LoginFrom, Tls};
use crate::protocol::ClientCertificate;
use crate::wire::Malformed;
use crate::wire::x509::Certificate;

/// What is to be known of a certificate that was verified.
///
/// # Errors
/// It holds a name that cannot be made sense of.
pub fn client_certificate(der: &[u8], config: &Tls) -> Result<ClientCertificate, Malformed> {
    let certificate = Certificate::parse(der)?;
    let subject = certificate.distinguished_name()?;
    let user = match config.login_from {
        LoginFrom::DistinguishedName => Some(subject.clone()),
        LoginFrom::CommonName => {
            let names = certificate.common_names()?;
            (!names.is_empty()).then(|| names.join(","))
        }
        LoginFrom::SubjectAlternativeName => {
            let mut names = certificate.alternative_names(config.login_san_kind)?;
            let index = config.login_san_index;
            (index < names.len()).then(|| names.swap_remove(index))
        }
    };
    Ok(ClientCertificate { subject, user })
}
