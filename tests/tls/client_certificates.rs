//! Clients that show who they are.

use leveret::Config;
use leveret::config::{LoginFrom, Mechanism, Verify};
use leveret::wire::amqp::{Method, PROTOCOL_HEADER};
use leveret::wire::x509::NameKind;
use rcgen::{DnType, KeyPair, SanType};
use rustls::pki_types::CertificateDer;

use crate::authority::{Authority, Identity};
use crate::client::{self, TlsClient};
use crate::support::{Login, TestBroker};

const EXTERNAL: Login<'_> = Login {
    mechanism: b"EXTERNAL",
    response: b"",
    locale: b"en_US",
    capabilities: &["authentication_failure_close"],
    channel_max: 2047,
    frame_max: 131_072,
    heartbeat: 0,
    virtual_host: b"/",
};

fn external(config: &mut Config) {
    config.access.mechanisms = vec![Mechanism::Plain, Mechanism::External];
}

fn connect(broker: &TestBroker, authority: &Authority, identity: Option<Identity>) -> TlsClient {
    let config = client::config(authority, identity);
    client::connect(broker.tls_address(), &config)
}

/// Why the broker does not let this client in.
pub fn refusal(broker: &TestBroker, authority: &Authority, identity: Option<Identity>) -> String {
    let mut client = connect(broker, authority, identity);
    client.stream.conn.complete_io(&mut client.stream.sock).ok();
    let mut byte = [0];
    let error = std::io::Read::read(&mut client.stream, &mut byte).unwrap_err();
    error.to_string()
}

fn mechanisms(client: &mut TlsClient) -> String {
    client.send_bytes(&PROTOCOL_HEADER);
    let received = client.receive();
    match received.method() {
        Method::ConnectionStart(start) => String::from_utf8_lossy(start.mechanisms).into_owned(),
        other => panic!("{other:?}"),
    }
}

/// One with all kinds of names.
fn named(authority: &Authority) -> Identity {
    authority.identity(KeyPair::generate().unwrap(), |parameters| {
        let name = &mut parameters.distinguished_name;
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "Example, Inc.");
        name.push(DnType::CommonName, "client");
        let text = |text: &str| text.try_into().unwrap();
        parameters.subject_alt_names = vec![
            SanType::DnsName(text("first.example")),
            SanType::DnsName(text("second.example")),
            SanType::Rfc822Name(text("me@example")),
        ];
    })
}

#[test]
fn a_known_client_is_let_in_and_a_stranger_is_told_why_not() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| authority.serve_known(config));
    let config = client::config(&authority, Some(authority.client("client")));
    client::open(broker.tls_address(), &config).close();
    let stranger = Authority::named("another").client("client");
    assert!(refusal(&broker, &authority, Some(stranger)).contains("UnknownCA"));
    assert!(refusal(&broker, &authority, None).contains("CertificateRequired"));
}

#[test]
fn a_certificate_may_be_optional_but_a_bad_one_is_none() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| {
        authority.serve(config);
        config.tls.options.verify = Verify::Peer;
    });
    let config = client::config(&authority, None);
    client::open(broker.tls_address(), &config).close();
    let stranger = Authority::named("another").client("client");
    assert!(refusal(&broker, &authority, Some(stranger)).contains("UnknownCA"));
}

#[test]
fn without_verification_no_certificate_is_asked_for() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| {
        authority.serve(config);
        external(config);
    });
    let stranger = Authority::new().client("guest");
    let mut client = connect(&broker, &authority, Some(stranger));
    assert_eq!(mechanisms(&mut client), "PLAIN");
}

#[test]
fn chains_are_as_long_as_the_depth_allows() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| {
        authority.serve_known(config);
        config.tls.options.depth = 2;
    });
    for depth in [1, 2] {
        let mut identity = authority.deep_client("client", depth);
        // Showing the authority itself changes nothing.
        let pem = authority.pem.as_bytes();
        let root: CertificateDer<'_> =
            rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap();
        identity.chain.push(root);
        let config = client::config(&authority, Some(identity));
        client::open(broker.tls_address(), &config).close();
    }
    let identity = authority.deep_client("client", 3);
    assert!(refusal(&broker, &authority, Some(identity)).contains("CertificateUnknown"));
}

#[test]
fn the_user_is_the_distinguished_name_the_common_name_or_an_alternative_one() {
    let authority = Authority::new();
    for (from, kind, index, user) in [
        (
            LoginFrom::DistinguishedName,
            NameKind::Dns,
            0,
            "CN=client,O=Example\\, Inc.,C=DE",
        ),
        (LoginFrom::CommonName, NameKind::Dns, 0, "client"),
        (
            LoginFrom::SubjectAlternativeName,
            NameKind::Dns,
            0,
            "first.example",
        ),
        (
            LoginFrom::SubjectAlternativeName,
            NameKind::Dns,
            1,
            "second.example",
        ),
        (
            LoginFrom::SubjectAlternativeName,
            NameKind::Email,
            0,
            "me@example",
        ),
    ] {
        let broker = TestBroker::with(|config| {
            authority.serve_known(config);
            external(config);
            config.tls.login_from = from;
            config.tls.login_san_kind = kind;
            config.tls.login_san_index = index;
        });
        // Before there is such a user.
        let mut client = connect(&broker, &authority, Some(named(&authority)));
        expect_refused(&mut client);
        broker.add_user(user);
        broker.permit(user, "/", [".*"; 3]);
        let mut client = connect(&broker, &authority, Some(named(&authority)));
        client.open_connection(&EXTERNAL);
        client.open_channel(1);
        client.declare_queue("q");
        // Messages may be sent in this user's name alone.
        let properties = leveret::wire::amqp::Properties {
            user_id: Some(user.as_bytes()),
            ..Default::default()
        };
        client.publish_with("", "q", &properties, "mine");
        assert_eq!(client.drain("q"), ["mine"]);
        client.close();
    }
}

#[track_caller]
fn expect_refused(client: &mut TlsClient) {
    client.begin_login(&EXTERNAL);
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For \
                details see the broker logfile.";
    client.expect_connection_close(403, text);
}

#[test]
fn a_certificate_without_the_name_is_nobodys() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| {
        authority.serve_known(config);
        external(config);
        config.tls.login_from = LoginFrom::SubjectAlternativeName;
    });
    let mut client = connect(&broker, &authority, Some(authority.client("guest")));
    expect_refused(&mut client);
}

#[test]
fn external_is_offered_to_whom_it_helps() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| {
        authority.serve(config);
        config.tls.options.verify = Verify::Peer;
        external(config);
    });
    let mut known = connect(&broker, &authority, Some(authority.client("guest")));
    assert_eq!(mechanisms(&mut known), "PLAIN EXTERNAL");
    let mut unknown = connect(&broker, &authority, None);
    assert_eq!(mechanisms(&mut unknown), "PLAIN");
    // One who asks for it all the same.
    let mut unknown = connect(&broker, &authority, None);
    expect_refused(&mut unknown);
    let broker = TestBroker::with(|config| authority.serve_known(config));
    let mut client = connect(&broker, &authority, Some(authority.client("guest")));
    assert_eq!(mechanisms(&mut client), "PLAIN AMQPLAIN");
}

#[test]
fn a_loopback_user_may_come_by_certificate_from_loopback() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| {
        authority.serve_known(config);
        external(config);
        config.tls.login_from = LoginFrom::CommonName;
    });
    let mut client = connect(&broker, &authority, Some(authority.client("guest")));
    client.open_connection(&EXTERNAL);
    client.close();
}
