//! Several certificates on one port: which one a client gets that asks for a host (SNI).

use std::path::PathBuf;

use leveret::config::TlsOptions;
use rcgen::KeyPair;

use crate::authority::{Authority, Identity};
use crate::client;
use crate::files;
use crate::support::{TestBroker, connect_to};

/// A certificate with its key, in files of this name.
fn installed(authority: &Authority, file: &str, host: &str) -> (Identity, PathBuf, PathBuf) {
    let identity = authority.server(host, KeyPair::generate().unwrap());
    let [certificate, key] = ["pem", "key"].map(|end| format!("{file}.{end}"));
    authority.write(&certificate, &identity.chain_pem);
    authority.write(&key, &identity.key_pem);
    (identity, authority.path(&certificate), authority.path(&key))
}

fn add(options: &mut TlsOptions, host: &str, certificate: PathBuf, key: PathBuf) {
    let host = host.to_owned();
    options
        .sni_certificate_files
        .insert(host.clone(), certificate);
    options.sni_key_files.insert(host, key);
}

#[test]
fn a_client_gets_the_certificate_of_the_host_it_asks_for() {
    let authority = Authority::new();
    let (one, one_pem, one_key) = installed(&authority, "one", "one.example");
    let (below, below_pem, below_key) = installed(&authority, "below", "*.below.example");
    let broker = TestBroker::with(|config| {
        authority.serve(config);
        let options = &mut config.tls.options;
        add(options, "one.example", one_pem, one_key);
        add(options, "*.below.example", below_pem, below_key);
    });
    let shown = |host: &'static str| {
        let stream = connect_to(broker.tls_address());
        let config = client::config(&authority, None);
        let mut stream = client::stream_to(stream, &config, host);
        let result = stream.conn.complete_io(&mut stream.sock);
        let certificates = stream.conn.peer_certificates().map(|all| all[0].to_vec());
        result.map(|_| certificates.unwrap())
    };
    assert_eq!(shown("one.example").unwrap(), one.chain[0].to_vec());
    assert_eq!(shown("ONE.example").unwrap(), one.chain[0].to_vec());
    assert_eq!(shown("a.below.example").unwrap(), below.chain[0].to_vec());
    assert_ne!(shown("localhost").unwrap(), one.chain[0].to_vec());
    // These get the ordinary one, which is not theirs.
    for host in ["a.b.below.example", "below.example", "other.example"] {
        assert!(shown(host).is_err(), "{host}");
    }
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    let authority = Authority::new();
    let (_, certificate, _) = installed(&authority, "one", "one.example");
    let mut options = authority.options();
    options
        .sni_certificate_files
        .insert("one.example".to_owned(), certificate.clone());
    let refusal = files::refusal(options.clone());
    assert!(
        refusal.contains("ssl_options.sni.keyfile.one.example: it is needed"),
        "{refusal}"
    );
    add(
        &mut options,
        "one.example",
        certificate,
        authority.path("server.key"),
    );
    let refusal = files::refusal(options);
    assert!(refusal.contains("may not be consistent"), "{refusal}");
}
