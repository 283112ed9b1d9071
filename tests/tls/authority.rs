//! One who signs certificates, and a folder for them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use leveret::Config;
use leveret::config::{Tls, TlsOptions, Verify};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub folder: TempDir,
    pub pem: String,
    serial: std::cell::Cell<u64>,
}

/// A certificate with what is behind it, and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub chain_pem: String,
    pub key_pem: String,
}

impl Authority {
    /// With a certificate for `localhost` in its folder, as `server.pem` and `server.key`.
    pub fn new() -> Authority {
        Authority::named("the authority")
    }

    pub fn named(name: &str) -> Authority {
        let (issuer, pem) = authority(name, None);
        let authority = Authority {
            issuer,
            folder: tempfile::tempdir().unwrap(),
            pem,
            serial: std::cell::Cell::new(1),
        };
        authority.write("ca.pem", &authority.pem);
        authority.renew("localhost");
        authority
    }

    /// Replaces the server's certificate.
    pub fn renew(&self, name: &str) {
        self.install(&self.server(name, KeyPair::generate().unwrap()));
    }

    pub fn install(&self, identity: &Identity) {
        self.write("server.pem", &identity.chain_pem);
        self.write("server.key", &identity.key_pem);
    }

    pub fn server(&self, name: &str, key: KeyPair) -> Identity {
        self.identity(key, |parameters| {
            let name = SanType::DnsName(name.try_into().unwrap());
            parameters.subject_alt_names = vec![name];
        })
    }

    /// For a client with this common name.
    pub fn client(&self, name: &str) -> Identity {
        self.identity(KeyPair::generate().unwrap(), |parameters| {
            parameters.distinguished_name.push(DnType::CommonName, name);
        })
    }

    /// The same with the certificate's number.
    pub fn numbered_client(&self, name: &str) -> (Identity, u64) {
        let identity = self.client(name);
        (identity, self.serial.get())
    }

    /// A list of these that are revoked, good for a long time.
    pub fn revoke(&self, numbers: &[u64]) -> String {
        let revoked = numbers.iter().map(|number| RevokedCertParams {
            serial_number: (*number).into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub fn identity(
        &self,
        key: KeyPair,
        configure: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut parameters = parameters();
        // Clients of OpenSSL insist that no two certificates of an authority have the same number.
        self.serial.set(self.serial.get() + 1);
        parameters.serial_number = Some(self.serial.get().into());
        configure(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Identity::new(&[certificate.pem()], &key)
    }

    /// For a client, signed by an authority under so many others.
    pub fn deep_client(&self, name: &str, depth: usize) -> Identity {
        let (mut issuer, pem) = authority("1", Some(&self.issuer));
        let mut chain = vec![pem];
        for level in 2..=depth {
            let (next, pem) = authority(&level.to_string(), Some(&issuer));
            chain.insert(0, pem);
            issuer = next;
        }
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        chain.insert(0, certificate.pem());
        Identity::new(&chain, &key)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What the server is told.
    pub fn options(&self) -> TlsOptions {
        TlsOptions {
            ca_file: Some(self.path("ca.pem")),
            certificate_file: Some(self.path("server.pem")),
            key_file: Some(self.path("server.key")),
            ..TlsOptions::default()
        }
    }

    /// A broker with TLS.
    pub fn serve(&self, config: &mut Config) {
        config.tls = Tls {
            bind: vec!["127.0.0.1:0".to_owned()],
            options: self.options(),
            ..Tls::default()
        };
    }

    /// The same, and clients must show a certificate.
    pub fn serve_known(&self, config: &mut Config) {
        self.serve(config);
        config.tls.options.verify = Verify::Peer;
        config.tls.options.fail_if_no_peer_certificate = true;
    }
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        Identity {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            chain_pem: self.chain_pem.clone(),
            key_pem: self.key_pem.clone(),
        }
    }
}

impl Identity {
    fn new(chain: &[String], key: &KeyPair) -> Identity {
        let chain_pem = chain.concat();
        let key_pem = key.serialize_pem();
        let certificates = CertificateDer::pem_slice_iter(chain_pem.as_bytes());
        Identity {
            chain: certificates.collect::<Result<_, _>>().unwrap(),
            key: PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap(),
            chain_pem,
            key_pem,
        }
    }
}

pub fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// 2048 bits, PKCS#8.
pub fn rsa_key() -> String {
    openssl(&[
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
    ])
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters
}

fn authority(
    name: &str,
    above: Option<&Issuer<'static, KeyPair>>,
) -> (Issuer<'static, KeyPair>, String) {
    let mut parameters = parameters();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = match above {
        Some(above) => parameters.signed_by(&key, above),
        None => parameters.self_signed(&key),
    };
    let pem = certificate.unwrap().pem();
    (Issuer::new(parameters, key), pem)
}
