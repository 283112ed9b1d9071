//! Certificates that their authority takes back.

use std::path::PathBuf;

use leveret::config::{RevocationCheck, TlsOptions, Verify};

use crate::authority::{Authority, Identity};
use crate::client;
use crate::client_certificates::refusal;
use crate::files;
use crate::support::TestBroker;

fn broker(authority: &Authority, list: &str, check: Option<RevocationCheck>) -> TestBroker {
    let list = authority.path(list);
    TestBroker::with(|config| {
        authority.serve_known(config);
        config.tls.options.revocation_file = Some(list);
        config.tls.options.revocation_check = check;
    })
}

fn lets_in(broker: &TestBroker, authority: &Authority, identity: Identity) {
    let config = client::config(authority, Some(identity));
    client::open(broker.tls_address(), &config).close();
}

#[test]
fn a_revoked_certificate_is_refused_and_the_others_are_not() {
    let authority = Authority::new();
    let (gone, gone_number) = authority.numbered_client("gone");
    let (good, _) = authority.numbered_client("good");
    authority.write("list.pem", &authority.revoke(&[gone_number]));
    for check in [
        None,
        Some(RevocationCheck::Peer),
        Some(RevocationCheck::BestEffort),
    ] {
        let broker = broker(&authority, "list.pem", check);
        lets_in(&broker, &authority, good.clone());
        let why = refusal(&broker, &authority, Some(gone.clone()));
        assert!(why.contains("CertificateRevoked"), "{why}");
    }
    let broker = broker(&authority, "list.pem", Some(RevocationCheck::Off));
    lets_in(&broker, &authority, gone);
}

#[test]
fn where_no_list_speaks_of_a_certificate_the_setting_decides() {
    let authority = Authority::new();
    authority.write("other.pem", &Authority::named("another").revoke(&[]));
    for check in [None, Some(RevocationCheck::Peer)] {
        let broker = broker(&authority, "other.pem", check);
        let why = refusal(&broker, &authority, Some(authority.client("c")));
        assert!(
            why.contains("UnknownCA") || why.contains("CertificateUnknown"),
            "{why}"
        );
    }
    let broker = broker(&authority, "other.pem", Some(RevocationCheck::BestEffort));
    lets_in(&broker, &authority, authority.client("c"));
}

#[test]
fn lists_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    authority.write("empty", "");
    authority.write("list.pem", &authority.revoke(&[]));
    let with = |list: Option<PathBuf>, verify| TlsOptions {
        revocation_file: list,
        verify,
        ..authority.options()
    };
    let peer = Verify::Peer;
    for (options, expected) in [
        (
            with(Some(authority.path("list.pem")), Verify::None),
            "ssl_options.crlfile: it needs ssl_options.verify = verify_peer",
        ),
        (
            with(Some(authority.path("empty")), peer),
            "empty: there is no revocation list in it",
        ),
        (
            with(Some(authority.path("none")), peer),
            "none: No such file or directory",
        ),
        (
            TlsOptions {
                revocation_check: Some(RevocationCheck::Peer),
                ..with(None, peer)
            },
            "ssl_options.crl_check: it needs ssl_options.crlfile",
        ),
    ] {
        let refusal = files::refusal(options);
        assert!(refusal.contains(expected), "{refusal}");
    }
}
