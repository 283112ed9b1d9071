//! Until when certificates are valid that a listener shows, or goes by. Read from their files by whoever asks, never
//! on the loop.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::TlsOptions;
use crate::management::{CertificateFacts, Validity};
use crate::wire::x509::Certificate;

/// The server's own certificates and those of its authorities. What cannot be read is none, and is logged.
pub(in crate::server) fn of(options: &TlsOptions) -> CertificateFacts {
    CertificateFacts {
        own: options.certificate_file.as_deref().map(validity),
        authorities: options.ca_file.as_deref().map(validity),
    }
}

fn validity(file: &Path) -> Validity {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates: Vec<CertificateDer> = read.unwrap_or_else(|error| {
        log::error!("certificates of {}: {error}", file.display());
        Vec::new()
    });
    let ends = certificates.iter().filter_map(|der| {
        let end = Certificate::parse(der).and_then(|it| it.valid_until());
        end.inspect_err(|error| log::error!("certificates of {}: {error}", file.display()))
            .ok()
    });
    Validity {
        file: file.display().to_string(),
        ends: ends.collect(),
    }
}
