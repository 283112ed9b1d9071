//! What another implementation thinks of us.

use std::io::Write;
use std::process::{Command, Stdio};

use leveret::config::TlsVersion;

use crate::authority::Authority;
use crate::support::TestBroker;

/// `openssl s_client`, which says the AMQP header and prints what comes: standard output, then error.
fn s_client(broker: &TestBroker, authority: &Authority, arguments: &[&str]) -> (String, String) {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &broker.tls_address().to_string()])
        .args(["-CAfile", authority.path("ca.pem").to_str().unwrap()])
        .args([
            "-servername",
            "localhost",
            "-verify_return_error",
            "-ign_eof",
        ])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let _ = input.write_all(b"AMQP\x00\x00\x09\x00");
    drop(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn both_versions_are_spoken_and_no_older_one() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| authority.serve(config));
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (out, error) = s_client(&broker, &authority, &[option]);
        assert!(
            out.contains(&format!("New, {version}, Cipher is")),
            "{out}{error}"
        );
        assert!(out.contains("Verify return code: 0 (ok)"), "{out}{error}");
        // An unknown protocol version is answered with ours.
        assert!(out.contains("AMQP\0\0\x09\x01"), "{out}{error}");
    }
    for option in ["-tls1_1", "-tls1"] {
        // OpenSSL itself wants to be asked for these.
        let old = ["-cipher", "DEFAULT:@SECLEVEL=0", option];
        let (out, error) = s_client(&broker, &authority, &old);
        assert!(error.contains("alert"), "{error}");
        assert!(out.contains("New, (NONE), Cipher is (NONE)"), "{out}");
    }
}

#[test]
fn versions_can_be_chosen() {
    let authority = Authority::new();
    for (version, refused, spoken) in [
        (TlsVersion::Tls13, "-tls1_2", "-tls1_3"),
        (TlsVersion::Tls12, "-tls1_3", "-tls1_2"),
    ] {
        let broker = TestBroker::with(|config| {
            authority.serve(config);
            config.tls.options.versions = vec![version];
        });
        let (_, error) = s_client(&broker, &authority, &[refused]);
        assert!(error.contains("alert protocol version"), "{error}");
        let (out, error) = s_client(&broker, &authority, &[spoken]);
        assert!(out.contains("Verify return code: 0 (ok)"), "{out}{error}");
    }
}

#[test]
fn weak_suites_are_not_spoken() {
    let authority = Authority::new();
    let broker = TestBroker::with(|config| authority.serve(config));
    for suites in [
        "AES128-SHA",
        "ECDHE-ECDSA-AES128-SHA",
        "NULL",
        "RC4",
        "3DES",
        "aNULL",
    ] {
        let suites = format!("{suites}:@SECLEVEL=0");
        let (out, _) = s_client(&broker, &authority, &["-tls1_2", "-cipher", &suites]);
        assert!(
            !out.contains("Verify return code: 0 (ok)") || out.contains("(NONE)"),
            "{out}"
        );
    }
}
