//! Texts and small binary formats from outside: configuration, definitions, proxies' headers,
//! certificates. Nothing panics, and what was understood is understood again.

use leveret::config::Config;
use leveret::config::sources::{Effective, Setting, Source};
use leveret::config::syntax::{self, Content};
use leveret::management::definitions::{Definitions, import};
use leveret::protocol::Hub;
use leveret::wire::proxy;
use leveret::wire::x509::{Certificate, NameKind};

/// A file as `rabbitmq.conf`; what comes of it is written down, and brings about the same again.
pub fn check_configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(effective) = configured(text) else {
        return;
    };
    let printed = effective.print();
    let again = configured(&printed).unwrap_or_else(|| panic!("not read again: {printed}"));
    let secretless = |config: &Config| Config {
        access: Default::default(),
        tls: Default::default(),
        ..config.clone()
    };
    assert_eq!(
        secretless(&again.config),
        secretless(&effective.config),
        "{printed}"
    );
}

fn configured(text: &str) -> Option<Effective> {
    let lines = syntax::parse(text).ok()?;
    let settings = lines.into_iter().filter_map(|line| match line.content {
        Content::Setting { key, value } => {
            let source = Source::CommandLine("--fuzz");
            Some(Setting::new(key, value, source))
        }
        Content::Include(_) => None,
    });
    Effective::resolve(Config::default(), settings.collect()).ok()
}

/// A file of definitions, as a whole and for one virtual host, on trial and for good, twice.
pub fn check_definitions(data: &[u8]) {
    for only in [None, Some("/")] {
        for is_trial in [true, false] {
            let mut hub = Hub::new(Config::default(), Box::new(|| [7; 16]));
            for _ in 0..2 {
                let Ok(definitions) = Definitions::read(data, only) else {
                    return;
                };
                let imported = import(&mut hub, definitions.items, is_trial);
                let _ = imported.failure();
                hub.settle();
            }
        }
    }
}

/// A proxy's header: what is complete is so with anything behind it, and not with less.
pub fn check_proxy(data: &[u8]) {
    let decoded = proxy::decode(data);
    if let Ok(Some((origin, size))) = decoded {
        assert!(size <= data.len() && size <= proxy::HEADER_BYTES_MAX);
        assert_eq!(
            proxy::decode(&data[..size]).ok(),
            Some(Some((origin, size)))
        );
        for end in 0..size {
            assert_eq!(proxy::decode(&data[..end]).ok(), Some(None), "of {end}");
        }
    }
}

/// A client's certificate, with every name in it.
pub fn check_certificate(data: &[u8]) {
    let Ok(certificate) = Certificate::parse(data) else {
        return;
    };
    let _ = certificate.is_self_issued();
    let _ = certificate.distinguished_name();
    let _ = certificate.common_names();
    for kind in [
        NameKind::Dns,
        NameKind::Ip,
        NameKind::Email,
        NameKind::Uri,
        NameKind::Other,
    ] {
        let _ = certificate.alternative_names(kind);
    }
}
