//! Files that a broker starts with, and files that it does not start with.

use leveret::config::{Tls, TlsOptions, Verify};
use leveret::{Broker, Config};
use rcgen::KeyPair;

use crate::authority::{Authority, openssl, rsa_key};
use crate::client;
use crate::support::TestBroker;

/// Why a broker with these options does not start.
pub fn refusal(options: TlsOptions) -> String {
    let config = Config {
        listen_plain: false,
        tls: Tls {
            bind: vec!["127.0.0.1:0".to_owned()],
            options,
            ..Tls::default()
        },
        ..Config::default()
    };
    Broker::start(config).err().unwrap().to_string()
}

#[test]
fn keys_of_all_formats_are_read() {
    let authority = Authority::new();
    let rsa = rsa_key();
    authority.write("pkcs8.key", &rsa);
    let path = authority.path("pkcs8.key");
    let pkcs1 = openssl(&["rsa", "-traditional", "-in", path.to_str().unwrap()]);
    let ec = KeyPair::generate().unwrap().serialize_pem();
    authority.write("ec.key", &ec);
    let path = authority.path("ec.key");
    let sec1 = openssl(&["ec", "-in", path.to_str().unwrap()]);
    for (pkcs8, pem, mark) in [
        (&rsa, &rsa, "BEGIN PRIVATE KEY"),
        (&rsa, &pkcs1, "BEGIN RSA PRIVATE KEY"),
        (&ec, &ec, "BEGIN PRIVATE KEY"),
        (&ec, &sec1, "BEGIN EC PRIVATE KEY"),
    ] {
        assert!(pem.contains(mark), "{pem}");
        let identity = authority.server("localhost", KeyPair::from_pem(pkcs8).unwrap());
        authority.write("server.pem", &identity.chain_pem);
        authority.write("server.key", pem);
        let broker = TestBroker::with(|config| authority.serve(config));
        let config = client::config(&authority, None);
        client::open(broker.tls_address(), &config).close();
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let authority = Authority::new();
    let options = || authority.options();
    let other = authority.client("other");
    authority.write("other.key", &other.key_pem);
    authority.write("empty", "");
    let key = authority.path("server.key");
    let encrypt = [
        "pkcs8",
        "-topk8",
        "-passout",
        "pass:x",
        "-in",
        key.to_str().unwrap(),
    ];
    authority.write("encrypted.key", &openssl(&encrypt));
    let encrypt = [
        "ec",
        "-aes128",
        "-passout",
        "pass:x",
        "-in",
        key.to_str().unwrap(),
    ];
    authority.write("encrypted-old.key", &openssl(&encrypt));
    let path = |name| Some(authority.path(name));
    for (options, expected) in [
        (
            TlsOptions {
                certificate_file: None,
                ..options()
            },
            "ssl_options.certfile: it is needed for TLS",
        ),
        (
            TlsOptions {
                certificate_file: path("missing"),
                ..options()
            },
            "missing: No such file or directory",
        ),
        (
            TlsOptions {
                certificate_file: path("empty"),
                ..options()
            },
            "empty: there is no certificate in it",
        ),
        (
            TlsOptions {
                key_file: path("server.pem"),
                ..options()
            },
            "server.pem: there is no private key in it",
        ),
        (
            TlsOptions {
                key_file: path("other.key"),
                ..options()
            },
            "keys may not be consistent: KeyMismatch",
        ),
        (
            TlsOptions {
                key_file: path("encrypted.key"),
                key_password: Some("x".to_owned()),
                ..options()
            },
            "encrypted.key: encrypted keys are not supported",
        ),
        (
            TlsOptions {
                key_file: path("encrypted-old.key"),
                ..options()
            },
            "encrypted-old.key: encrypted keys are not supported",
        ),
        (
            TlsOptions {
                fail_if_no_peer_certificate: true,
                ..options()
            },
            "ssl_options.fail_if_no_peer_cert: it needs ssl_options.verify = verify_peer",
        ),
        (
            TlsOptions {
                verify: Verify::Peer,
                ca_file: None,
                ..options()
            },
            "ssl_options.verify = verify_peer: it needs ssl_options.cacertfile",
        ),
        (
            TlsOptions {
                verify: Verify::Peer,
                ca_file: path("empty"),
                ..options()
            },
            "empty: there is no certificate in it",
        ),
    ] {
        let refusal = refusal(options);
        assert!(refusal.contains(expected), "{refusal}");
    }
}
