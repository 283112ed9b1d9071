//! Kinds of values: how one is written in a file, and how it is shown.

use std::fmt::Display;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use log::LevelFilter;

use super::section::{
    Format, LoginFrom, Mechanism, RevocationCheck, TlsVersion, Verify, Watermark,
};
use crate::wire::x509::NameKind;

/// One kind, of values of a type. What `show` gives, `parse` takes.
pub(super) struct Kind<T> {
    /// What a value has to be, behind the word "wants": `a number from 0 to 65535`.
    pub wants: fn() -> String,
    pub parse: fn(&str) -> Option<T>,
    /// `None` if there is no value.
    pub show: fn(&T) -> Option<String>,
}

/// Bounds are inclusive.
pub(super) const fn number<T, const MIN: u64, const MAX: u64>() -> Kind<T>
where
    T: TryFrom<u64> + Display,
{
    Kind {
        wants: || format!("a number from {MIN} to {MAX}"),
        parse: |text| bounded::<T, MIN, MAX>(text.parse().ok()?),
        show: |value| Some(value.to_string()),
    }
}

/// A number, or a word for "no such limit".
pub(super) const fn optional_number<T, const MIN: u64, const MAX: u64>() -> Kind<Option<T>>
where
    T: TryFrom<u64> + Display,
{
    Kind {
        wants: || format!("a number from {MIN} to {MAX}, or infinity"),
        parse: |text| match text {
            "infinity" | "undefined" | "false" => Some(None),
            text => bounded::<T, MIN, MAX>(text.parse().ok()?).map(Some),
        },
        show: |value| Some(value.as_ref().map_or("infinity".to_owned(), T::to_string)),
    }
}

/// A number that need not be there, and is not shown then.
pub(super) const fn missing_number<T, const MIN: u64, const MAX: u64>() -> Kind<Option<T>>
where
    T: TryFrom<u64> + Display,
{
    Kind {
        wants: || format!("a number from {MIN} to {MAX}"),
        parse: |text| bounded::<T, MIN, MAX>(text.parse().ok()?).map(Some),
        show: |value| value.as_ref().map(T::to_string),
    }
}

/// A port, or `none` for not listening at all; without a default nobody listens.
pub(super) const PORT_OR_NONE: Kind<Option<u16>> = Kind {
    wants: || "a number from 0 to 65535, or none".to_owned(),
    parse: |text| match text {
        "none" => Some(None),
        text => Some(Some(text.parse().ok()?)),
    },
    show: |value| Some(value.map_or("none".to_owned(), |port| port.to_string())),
};

/// Bytes, with RabbitMQ's units: powers of 1000 (`kB`, `MB`) and of 1024 (`KiB`, `MiB`, or `k`, `M`).
pub(super) const fn size<T, const MIN: u64, const MAX: u64>() -> Kind<T>
where
    T: TryFrom<u64> + TryInto<u64> + Copy,
{
    Kind {
        wants: || {
            format!(
                "a size from {} to {}, as 100MB, 64MiB or 1000000",
                show_size(MIN),
                show_size(MAX)
            )
        },
        parse: |text| bounded::<T, MIN, MAX>(parse_size(text)?),
        show: |value| Some(show_size((*value).try_into().unwrap_or(u64::MAX))),
    }
}

/// A size that need not be there, and is not shown then.
pub(super) const fn missing_size<const MIN: u64, const MAX: u64>() -> Kind<Option<u64>> {
    Kind {
        wants: size::<u64, MIN, MAX>().wants,
        parse: |text| bounded::<u64, MIN, MAX>(parse_size(text)?).map(Some),
        show: |value| value.map(show_size),
    }
}

pub(super) const FLAG: Kind<bool> = Kind {
    wants: || "true or false".to_owned(),
    parse: parse_flag,
    show: |value| Some(value.to_string()),
};

pub(super) const MISSING_FLAG: Kind<Option<bool>> = Kind {
    wants: FLAG.wants,
    parse: |text| parse_flag(text).map(Some),
    show: |value| value.as_ref().map(bool::to_string),
};

pub(super) const TEXT: Kind<String> = Kind {
    wants: || "some text".to_owned(),
    parse: |text| (!text.is_empty()).then(|| text.to_owned()),
    show: |value| Some(value.clone()),
};

/// As [`TEXT`], but nothing is a value, too: a permission for nothing.
pub(super) const ANY_TEXT: Kind<String> = Kind {
    wants: || "text".to_owned(),
    parse: |text| Some(text.to_owned()),
    show: |value| Some(value.clone()),
};

pub(super) const MISSING_TEXT: Kind<Option<String>> = Kind {
    wants: TEXT.wants,
    parse: |text| (TEXT.parse)(text).map(Some),
    show: Option::clone,
};

pub(super) const PATH: Kind<Option<PathBuf>> = Kind {
    wants: || "a path".to_owned(),
    parse: |text| (!text.is_empty()).then(|| Some(text.into())),
    show: |value| value.as_ref().map(|path| path.display().to_string()),
};

/// As [`PATH`], and `false` for none.
pub(super) const LOG_FILE: Kind<Option<PathBuf>> = Kind {
    wants: || "a path, or false".to_owned(),
    parse: |text| match text {
        "false" => Some(None),
        // A destination that RabbitMQ has a default name for, and we have not.
        "true" => Some(Some(DEFAULT_LOG_FILE.into())),
        text => (PATH.parse)(text),
    },
    show: PATH.show,
};

/// RabbitMQ's levels, and ours below them.
pub(super) const LEVEL: Kind<Option<LevelFilter>> = Kind {
    wants: || "one of error, warning, info, debug, trace and none".to_owned(),
    parse: |text| {
        Some(Some(match text {
            "none" | "off" => LevelFilter::Off,
            "critical" | "alert" | "emergency" | "error" => LevelFilter::Error,
            "warning" | "warn" => LevelFilter::Warn,
            "notice" | "info" => LevelFilter::Info,
            "debug" => LevelFilter::Debug,
            "trace" => LevelFilter::Trace,
            _ => return None,
        }))
    },
    show: |value| {
        value.map(|level| {
            match level {
                LevelFilter::Off => "none",
                LevelFilter::Error => "error",
                LevelFilter::Warn => "warning",
                LevelFilter::Info => "info",
                LevelFilter::Debug => "debug",
                LevelFilter::Trace => "trace",
            }
            .to_owned()
        })
    },
};

pub(super) const FORMAT: Kind<Format> = Kind {
    wants: || "plaintext or json".to_owned(),
    parse: |text| match text {
        "plaintext" => Some(Format::Text),
        "json" => Some(Format::Json),
        _ => None,
    },
    show: |value| {
        Some(match value {
            Format::Text => "plaintext".to_owned(),
            Format::Json => "json".to_owned(),
        })
    },
};

pub(super) const VERIFY: Kind<Verify> = Kind {
    wants: || "verify_none or verify_peer".to_owned(),
    parse: |text| match text {
        "verify_none" => Some(Verify::None),
        "verify_peer" => Some(Verify::Peer),
        _ => None,
    },
    show: |value| {
        Some(match value {
            Verify::None => "verify_none".to_owned(),
            Verify::Peer => "verify_peer".to_owned(),
        })
    },
};

pub(super) const QUEUE_TYPE: Kind<Option<String>> = Kind {
    wants: || "classic, quorum or stream".to_owned(),
    parse: |text| matches!(text, "classic" | "quorum" | "stream").then(|| Some(text.to_owned())),
    show: Clone::clone,
};

/// Need not be there.
pub(super) const REVOCATION: Kind<Option<RevocationCheck>> = Kind {
    wants: || "true, false, peer or best_effort".to_owned(),
    parse: |text| match text {
        "true" => Some(Some(RevocationCheck::Chain)),
        "false" => Some(Some(RevocationCheck::Off)),
        "peer" => Some(Some(RevocationCheck::Peer)),
        "best_effort" => Some(Some(RevocationCheck::BestEffort)),
        _ => None,
    },
    show: |value| {
        let shown = match (*value)? {
            RevocationCheck::Chain => "true",
            RevocationCheck::Off => "false",
            RevocationCheck::Peer => "peer",
            RevocationCheck::BestEffort => "best_effort",
        };
        Some(shown.to_owned())
    },
};

pub(super) const TLS_VERSION: Kind<TlsVersion> = Kind {
    wants: || "tlsv1.2 or tlsv1.3".to_owned(),
    parse: |text| match text {
        "tlsv1.2" => Some(TlsVersion::Tls12),
        "tlsv1.3" => Some(TlsVersion::Tls13),
        _ => None,
    },
    show: |value| {
        Some(match value {
            TlsVersion::Tls12 => "tlsv1.2".to_owned(),
            TlsVersion::Tls13 => "tlsv1.3".to_owned(),
        })
    },
};

pub(super) const LOGIN_FROM: Kind<LoginFrom> = Kind {
    wants: || "distinguished_name, common_name or subject_alternative_name".to_owned(),
    parse: |text| match text {
        "distinguished_name" => Some(LoginFrom::DistinguishedName),
        "common_name" => Some(LoginFrom::CommonName),
        "subject_alternative_name" | "subject_alt_name" => Some(LoginFrom::SubjectAlternativeName),
        _ => None,
    },
    show: |value| {
        Some(match value {
            LoginFrom::DistinguishedName => "distinguished_name".to_owned(),
            LoginFrom::CommonName => "common_name".to_owned(),
            LoginFrom::SubjectAlternativeName => "subject_alternative_name".to_owned(),
        })
    },
};

pub(super) const SAN_KIND: Kind<NameKind> = Kind {
    wants: || "dns, ip, email, uri or other_name".to_owned(),
    parse: |text| {
        let kind = SAN_KINDS.iter().find(|(name, _)| *name == text);
        kind.map(|(_, kind)| *kind)
    },
    show: |value| {
        let kind = SAN_KINDS.iter().find(|(_, kind)| kind == value);
        kind.map(|(name, _)| (*name).to_owned())
    },
};

const SAN_KINDS: [(&str, NameKind); 5] = [
    ("dns", NameKind::Dns),
    ("ip", NameKind::Ip),
    ("email", NameKind::Email),
    ("uri", NameKind::Uri),
    ("other_name", NameKind::Other),
];

pub(super) const MECHANISM: Kind<Mechanism> = Kind {
    wants: || "PLAIN, AMQPLAIN or EXTERNAL".to_owned(),
    parse: |text| {
        let mut all = Mechanism::ALL.into_iter();
        all.find(|mechanism| mechanism.name() == text)
    },
    show: |value| Some(value.name().to_owned()),
};

/// An amount of memory or disk, in bytes.
pub(super) const ABSOLUTE: Kind<Watermark> = Kind {
    wants: || "a size, as 100MB, 64MiB or 1000000".to_owned(),
    parse: |text| parse_size(text).map(Watermark::Absolute),
    show: |value| match value {
        Watermark::Absolute(bytes) => Some(show_size(*bytes)),
        Watermark::Relative(_) => None,
    },
};

/// An amount of memory or disk, as a share of something.
pub(super) const RELATIVE: Kind<Watermark> = Kind {
    wants: || "a number above 0, as 0.6".to_owned(),
    parse: |text| {
        let share: f64 = text.parse().ok()?;
        (share.is_finite() && share > 0.0).then_some(Watermark::Relative(share))
    },
    show: |value| match value {
        Watermark::Absolute(_) => None,
        Watermark::Relative(share) => Some(share.to_string()),
    },
};

/// What to listen on: a port, or an address with or without one. RabbitMQ writes IPv6 addresses without
/// brackets (`::1:5672`); the port is behind the last colon.
pub(super) const LISTENER: Kind<String> = Kind {
    wants: || {
        "a port from 0 to 65535, an address as 127.0.0.1:5672 or [::1]:5672, or unix:PATH"
            .to_owned()
    },
    parse: parse_listener,
    show: |value| Some(value.clone()),
};

/// RabbitMQ has a name of its own for it, ours is this.
pub const DEFAULT_LOG_FILE: &str = "leveret.log";

fn parse_listener(text: &str) -> Option<String> {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if text.is_empty() || text.contains(char::is_whitespace) {
        return None;
    }
    if text.contains('/') {
        return Some(text.to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u16>().ok().map(|port| port.to_string());
    }
    if let Some(inside) = text.strip_prefix('[') {
        let (ip, behind) = inside.split_once(']')?;
        let is_end = behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port);
        return (is_end && ip.parse::<Ipv6Addr>().is_ok()).then(|| text.to_owned());
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Some(text.to_owned());
    };
    match host.parse::<Ipv6Addr>() {
        Ok(ip) if is_port(port) => Some(format!("[{ip}]:{port}")),
        // Without a port, all of it is the address.
        _ if host.contains(':') => {
            let ip = text.parse::<Ipv6Addr>().ok();
            ip.map(|ip| format!("[{ip}]"))
        }
        _ => (!host.is_empty() && is_port(port)).then(|| text.to_owned()),
    }
}

fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "true" | "on" => Some(true),
        "false" | "off" => Some(false),
        _ => None,
    }
}

fn bounded<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(value: u64) -> Option<T> {
    let is_within = (MIN..=MAX).contains(&value);
    is_within.then(|| T::try_from(value).ok()).flatten()
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS
        .into_iter()
        .find(|(names, _)| names.contains(&unit.trim_start().to_ascii_lowercase().as_str()))?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// In the largest unit that leaves no remainder.
fn show_size(bytes: u64) -> String {
    for (unit, factor) in [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1000),
    ] {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// Lower case; RabbitMQ takes them in any.
const UNITS: [(&[&str], u64); 11] = [
    (&["", "b"], 1),
    (&["k", "ki", "kib"], 1 << 10),
    (&["m", "mi", "mib"], 1 << 20),
    (&["g", "gi", "gib"], 1 << 30),
    (&["t", "ti", "tib"], 1 << 40),
    (&["kb"], 1000),
    (&["mb"], 1_000_000),
    (&["gb"], 1_000_000_000),
    (&["tb"], 1_000_000_000_000),
    (&["p", "pi", "pib"], 1 << 50),
    (&["pb"], 1_000_000_000_000_000),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_rabbitmqs_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("2k", 2048),
            ("2KB", 2000),
            ("2kiB", 2048),
            ("100MB", 100_000_000),
            ("64 MiB", 64 << 20),
            ("1g", 1 << 30),
            ("1TB", 1_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MB", "1.5GB", "-1", "1XB", "99999999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn listeners_are_ports_or_addresses() {
        for (text, shown) in [
            ("5672", "5672"),
            ("0", "0"),
            ("127.0.0.1:5672", "127.0.0.1:5672"),
            ("::1:5672", "[::1]:5672"),
            (":::5672", "[::]:5672"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("[::1]:5672", "[::1]:5672"),
            ("localhost", "localhost"),
            ("localhost:1", "localhost:1"),
            ("unix:/run/leveret.sock", "unix:/run/leveret.sock"),
        ] {
            assert_eq!((LISTENER.parse)(text).as_deref(), Some(shown), "{text}");
        }
        for text in ["", "65536", "host:", ":1", "host:x", "1:2:3", "a b", "[::1"] {
            assert_eq!((LISTENER.parse)(text), None, "{text}");
        }
    }

    #[test]
    fn bounds_are_kept_and_named() {
        let kind = number::<u16, 10, 20>();
        assert_eq!((kind.parse)("10"), Some(10));
        assert_eq!((kind.parse)("20"), Some(20));
        for text in ["9", "21", "-1", "x", "", "65546"] {
            assert_eq!((kind.parse)(text), None, "{text}");
        }
        assert_eq!((kind.wants)(), "a number from 10 to 20");
        assert_eq!(
            (optional_number::<u32, 1, 9>().parse)("infinity"),
            Some(None)
        );
    }

    proptest! {
        #[test]
        fn sizes_come_back(bytes in any::<u64>(), few in 0..1_000_000_000_000u64) {
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
            prop_assert_eq!(parse_size(&show_size(few * 1000)), Some(few * 1000));
        }

        #[test]
        fn listeners_never_panic_and_what_is_taken_stays(text in "[0-9a-z:.\\[\\]/]{0,12}") {
            if let Some(shown) = (LISTENER.parse)(&text) {
                prop_assert_eq!((LISTENER.parse)(&shown), Some(shown));
            }
        }
    }
}
