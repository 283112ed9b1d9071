//! Names out of an X.509 certificate (RFC 5280): whom it was given to, and until when. Nothing is verified here; who asks
//! has done that, so what a stranger made up is not read at all.
//!
//! ```text
//! Certificate -> TBSCertificate -> validity     two times
//!                               -> subject      Name: a list of sets of (attribute, value)
//!                               -> extensions   subjectAltName: a list of GeneralNames
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Malformed;

/// The parts of a certificate that hold names.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// As `subject`, of who has signed it.
    issuer: &'a [u8],
    /// What the Validity consists of.
    validity: &'a [u8],
    /// What the subject's Name consists of.
    subject: &'a [u8],
    /// What the list of extensions consists of; empty if there are none.
    extensions: &'a [u8],
}

/// Kinds of alternative names (RFC 5280 §4.2.1.6 GeneralName).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    Dns,
    Ip,
    Email,
    Uri,
    /// Of a type that the certificate brings along; its value has to be a string.
    Other,
}

type Result<T> = std::result::Result<T, Malformed>;

impl<'a> Certificate<'a> {
    /// Finds the names.
    ///
    /// # Errors
    /// It is no certificate in DER.
    pub fn parse(der: &'a [u8]) -> Result<Self> {
        let certificate = Der(der).take(SEQUENCE)?;
        let mut signed = Der(Der(certificate).take(SEQUENCE)?);
        signed.take_if(VERSION)?;
        signed.take(INTEGER)?;
        let _algorithm = signed.take(SEQUENCE)?;
        let issuer = signed.take(SEQUENCE)?;
        let validity = signed.take(SEQUENCE)?;
        let subject = signed.take(SEQUENCE)?;
        let _public_key = signed.take(SEQUENCE)?;
        signed.take_if(ISSUER_ID)?;
        signed.take_if(SUBJECT_ID)?;
        let extensions = match signed.take_if(EXTENSIONS)? {
            Some(list) => Der(list).take(SEQUENCE)?,
            None => &[],
        };
        Ok(Certificate {
            issuer,
            validity,
            subject,
            extensions,
        })
    }

    /// The last second at which it is valid, in seconds since 1970 (RFC 5280 §4.1.2.5, `notAfter`).
    ///
    /// # Errors
    /// It is no time.
    pub fn valid_until(&self) -> Result<i64> {
        let mut times = Der(self.validity);
        times.next()?;
        let (tag, text) = times.next()?;
        seconds_of(tag, text).ok_or(Malformed::BadCertificate("a certificate's time is none"))
    }

    /// Whether it was signed by the one it was given to, as the certificate of an authority.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// The subject as RFC 4514 writes it, from the last attribute to the first, with RabbitMQ's names of
    /// attributes: `CN=client,O=Example`.
    ///
    /// # Errors
    /// It is no name in DER.
    pub fn distinguished_name(&self) -> Result<String> {
        let mut parts = Vec::new();
        let mut sets = Der(self.subject);
        while !sets.is_empty() {
            let mut part = String::new();
            for attribute in attributes(sets.take(SET)?) {
                let Attribute { oid, tag, value } = attribute?;
                if !part.is_empty() {
                    part.push('+');
                }
                push_attribute(&mut part, oid, tag, value);
            }
            parts.push(part);
        }
        parts.reverse();
        Ok(parts.join(","))
    }

    /// The subject's common names, in their order.
    ///
    /// # Errors
    /// It is no name in DER, or one that is no text.
    pub fn common_names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut sets = Der(self.subject);
        while !sets.is_empty() {
            for attribute in attributes(sets.take(SET)?) {
                let Attribute { oid, tag, value } = attribute?;
                if oid == COMMON_NAME {
                    names.push(text(tag, value).ok_or(NO_TEXT)?);
                }
            }
        }
        Ok(names)
    }

    /// The alternative names of a kind, in their order.
    ///
    /// # Errors
    /// The extension is damaged, or a name of this kind is no text.
    pub fn alternative_names(&self, kind: NameKind) -> Result<Vec<String>> {
        let Some(mut names) = self.alternative_name_list()? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        while !names.is_empty() {
            let (tag, value) = names.next()?;
            if tag == tag_of(kind) {
                found.push(alternative_name(kind, value)?);
            }
        }
        Ok(found)
    }

    fn alternative_name_list(&self) -> Result<Option<Der<'a>>> {
        let mut extensions = Der(self.extensions);
        while !extensions.is_empty() {
            let mut extension = Der(extensions.take(SEQUENCE)?);
            let oid = extension.take(OID)?;
            extension.take_if(BOOLEAN)?;
            if oid == SUBJECT_ALTERNATIVE_NAME {
                let names = Der(extension.take(OCTET_STRING)?).take(SEQUENCE)?;
                return Ok(Some(Der(names)));
            }
        }
        Ok(None)
    }
}

/// `YYMMDDHHMMSSZ`, of the years 1950 to 2049, or with four digits for the year; in seconds since 1970.
fn seconds_of(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year: i64 = digits[..2].parse().ok()?;
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                &digits[2..],
            )
        }
        (GENERALIZED_TIME, 14) => (digits[..4].parse().ok()?, &digits[4..]),
        _ => return None,
    };
    let pair = |at: usize| rest[2 * at..2 * at + 2].parse::<i64>().ok();
    let (month, day) = (pair(0)?, pair(1)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (hour, minute, second) = (pair(2)?, pair(3)?, pair(4)?);
    Some(days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that a leap day is the
/// last of its year; 400 of them have 146,097 days.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// One attribute of a name, and its value as encoded.
struct Attribute<'a> {
    oid: &'a [u8],
    tag: u8,
    value: &'a [u8],
}

fn attributes(set: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>>> {
    let mut rest = Der(set);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let attribute = attribute(&mut rest);
        if attribute.is_err() {
            rest = Der(&[]);
        }
        Some(attribute)
    })
}

fn attribute<'a>(rest: &mut Der<'a>) -> Result<Attribute<'a>> {
    let mut attribute = Der(rest.take(SEQUENCE)?);
    let oid = attribute.take(OID)?;
    let (tag, value) = attribute.next()?;
    Ok(Attribute { oid, tag, value })
}

fn push_attribute(to: &mut String, oid: &[u8], tag: u8, value: &[u8]) {
    match ATTRIBUTES.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => to.push_str(name),
        None => to.push_str(&dotted(oid)),
    }
    to.push('=');
    match text(tag, value) {
        Some(value) => push_escaped(to, &value),
        None => {
            // RFC 4514 §2.4: what is no string is shown as it is encoded.
            to.push('#');
            for byte in value {
                to.push_str(&format!("{byte:02X}"));
            }
        }
    }
}

/// RFC 4514 §2.4, and as RabbitMQ does also every byte that is not printable ASCII, with `~` among them.
fn push_escaped(to: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        let escaped = match byte {
            b' ' => index == 0 || index == last,
            b'#' => index == 0,
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => true,
            _ => false,
        };
        if escaped {
            to.push('\\');
        }
        match byte {
            b' '..b'~' => to.push(char::from(byte)),
            _ => to.push_str(&format!("\\{byte:02X}")),
        }
    }
}

/// The text of a string, whatever its type.
fn text(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING => Some(std::str::from_utf8(value).ok()?.to_owned()),
        PRINTABLE_STRING | IA5_STRING => {
            let ascii = value.is_ascii().then_some(value)?;
            Some(ascii.iter().copied().map(char::from).collect())
        }
        // In practice it is ISO 8859-1 (RabbitMQ).
        TELETEX_STRING => Some(value.iter().copied().map(char::from).collect()),
        BMP_STRING => {
            let (units, []) = value.as_chunks::<2>() else {
                return None;
            };
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units)
                .collect::<std::result::Result<_, _>>()
                .ok()
        }
        UNIVERSAL_STRING => {
            let (units, []) = value.as_chunks::<4>() else {
                return None;
            };
            let units = units.iter().map(|unit| u32::from_be_bytes(*unit));
            units.map(char::from_u32).collect()
        }
        _ => None,
    }
}

fn tag_of(kind: NameKind) -> u8 {
    match kind {
        NameKind::Other => 0xa0,
        NameKind::Email => 0x81,
        NameKind::Dns => 0x82,
        NameKind::Uri => 0x86,
        NameKind::Ip => 0x87,
    }
}

fn alternative_name(kind: NameKind, value: &[u8]) -> Result<String> {
    match kind {
        NameKind::Dns | NameKind::Email | NameKind::Uri => text(IA5_STRING, value).ok_or(NO_TEXT),
        NameKind::Ip => {
            if let Ok(ip) = <[u8; 4]>::try_from(value) {
                return Ok(Ipv4Addr::from(ip).to_string());
            }
            let ip = <[u8; 16]>::try_from(value);
            ip.map(|ip| Ipv6Addr::from(ip).to_string()).map_err(|_| {
                Malformed::BadCertificate("an IP address of a certificate has no such size")
            })
        }
        NameKind::Other => {
            let mut other = Der(value);
            other.take(OID)?;
            let (tag, value) = Der(other.take(0xa0)?).next()?;
            text(tag, value).ok_or(NO_TEXT)
        }
    }
}

/// `2.5.4.3`. What does not fit into 64 bits is cut off: nobody has registered such a number.
fn dotted(oid: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first);
                number -= 40 * first;
            }
            numbers.push(std::mem::take(&mut number));
        }
    }
    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
    numbers.join(".")
}

/// What is left of a sequence of tagged values (ITU-T X.690, DER).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value must have this tag; what is in it.
    fn take(&mut self, tag: u8) -> Result<&'a [u8]> {
        let (found, value) = self.next()?;
        if found == tag {
            Ok(value)
        } else {
            Err(Malformed::BadCertificate(
                "a certificate has something else where a value is due",
            ))
        }
    }

    fn take_if(&mut self, tag: u8) -> Result<Option<&'a [u8]>> {
        if self.0.first() == Some(&tag) {
            return self.take(tag).map(Some);
        }
        Ok(None)
    }

    fn next(&mut self) -> Result<(u8, &'a [u8])> {
        let short = || Malformed::BadCertificate("a certificate ends in the middle of a value");
        let [tag, size, rest @ ..] = self.0 else {
            return Err(short());
        };
        let (size, rest) = match size {
            size if size & 0x80 == 0 => (usize::from(*size), rest),
            // Sizes of more than three bytes are larger than any certificate.
            size => {
                let count = usize::from(size & 0x7f);
                let bytes = rest.get(..count).filter(|_| (1..=3).contains(&count));
                let bytes = bytes.ok_or_else(short)?;
                let size = bytes
                    .iter()
                    .fold(0, |size, byte| size << 8 | usize::from(*byte));
                (size, &rest[count..])
            }
        };
        let (value, rest) = rest.split_at_checked(size).ok_or_else(short)?;
        self.0 = rest;
        Ok((*tag, value))
    }
}

const NO_TEXT: Malformed = Malformed::BadCertificate("a name in a certificate is no text");

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// 2.5.29.17.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 29, 17];

/// Those that RabbitMQ has names for; others are numbers, streetAddress among them.
const ATTRIBUTES: [(&[u8], &str); 16] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "SERIALNUMBER"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "TITLE"),
    (&[0x55, 4, 42], "GIVENNAME"),
    (&[0x55, 4, 43], "INITIALS"),
    (&[0x55, 4, 44], "GENERATIONQUALIFIER"),
    (&[0x55, 4, 65], "PSEUDONYM"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
        "UID",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
        "EMAILADDRESS",
    ),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType,
        string::{BmpString, PrintableString, TeletexString},
    };

    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    fn certificate(configure: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        configure(&mut parameters);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    fn name_of(values: Vec<(DnType, DnValue)>) -> String {
        let der = certificate(|parameters| {
            for (kind, value) in values {
                parameters.distinguished_name.push(kind, value);
            }
        });
        Certificate::parse(&der)
            .unwrap()
            .distinguished_name()
            .unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn names_are_written_from_the_last_to_the_first() {
        let printable = DnValue::PrintableString(PrintableString::try_from("Example").unwrap());
        assert_eq!(
            name_of(vec![
                (DnType::CountryName, utf8("DE")),
                (DnType::OrganizationName, printable),
                (DnType::CommonName, utf8("client")),
            ]),
            "CN=client,O=Example,C=DE"
        );
        let street = DnType::CustomDnType(vec![2, 5, 4, 9]);
        assert_eq!(name_of(vec![(street, utf8("Road 1"))]), "2.5.4.9=Road 1");
        let far = DnType::CustomDnType(vec![2, 999, 840, 113_549]);
        assert_eq!(name_of(vec![(far, utf8("x"))]), "2.999.840.113549=x");
        assert_eq!(name_of(Vec::new()), "");
    }

    #[test]
    fn special_characters_are_escaped_as_rabbitmq_does() {
        for (value, shown) in [
            ("a,b+c", "a\\,b\\+c"),
            (" x ", "\\ x\\ "),
            ("#1#", "\\#1#"),
            ("\"\\;<>=", "\\\"\\\\\\;\\<\\>="),
            ("é~\n", "\\C3\\A9\\7E\\0A"),
            (" ", "\\ "),
        ] {
            let name = name_of(vec![(DnType::CommonName, utf8(value))]);
            assert_eq!(name, format!("CN={shown}"));
        }
    }

    #[test]
    fn strings_of_all_types_are_read() {
        let der = certificate(|parameters| {
            let bmp = DnValue::BmpString(BmpString::try_from("böse").unwrap());
            let teletex = DnValue::TeletexString(TeletexString::try_from("tele").unwrap());
            let name = &mut parameters.distinguished_name;
            name.push(DnType::CommonName, bmp);
            name.push(DnType::OrganizationName, teletex);
        });
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(certificate.common_names().unwrap(), ["böse"]);
        assert_eq!(
            certificate.distinguished_name().unwrap(),
            "O=tele,CN=b\\C3\\B6se"
        );
        assert_eq!(
            text(UNIVERSAL_STRING, &[0, 1, 0xf6, 0]).as_deref(),
            Some("😀")
        );
        assert_eq!(text(UNIVERSAL_STRING, &[0, 1, 0xf6]), None);
        assert_eq!(text(UTF8_STRING, b"\xff"), None);
        assert_eq!(text(INTEGER, b"1"), None);
    }

    #[test]
    fn alternative_names_are_found_by_their_kind() {
        let der = certificate(|parameters| {
            let text = |text: &str| text.try_into().unwrap();
            parameters.subject_alt_names = vec![
                SanType::DnsName(text("a.example")),
                SanType::IpAddress("192.0.2.1".parse().unwrap()),
                SanType::Rfc822Name(text("me@example")),
                SanType::DnsName(text("b.example")),
                SanType::URI(text("urn:x")),
                SanType::IpAddress("::1".parse().unwrap()),
                SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "upn".into())),
            ];
            let before = CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
            parameters.custom_extensions.push(before);
        });
        let certificate = Certificate::parse(&der).unwrap();
        let names = |kind| certificate.alternative_names(kind).unwrap();
        assert_eq!(names(NameKind::Dns), ["a.example", "b.example"]);
        assert_eq!(names(NameKind::Ip), ["192.0.2.1", "::1"]);
        assert_eq!(names(NameKind::Email), ["me@example"]);
        assert_eq!(names(NameKind::Uri), ["urn:x"]);
        assert_eq!(names(NameKind::Other), ["upn"]);
        let plain = certificate_without_extensions();
        let plain = Certificate::parse(&plain).unwrap();
        assert!(plain.alternative_names(NameKind::Dns).unwrap().is_empty());
    }

    /// From `openssl req -x509`; the names are what RabbitMQ 3.10 makes of it.
    #[test]
    fn a_name_with_everything_in_it_is_written_as_rabbitmq_does() {
        let der = CertificateDer::from_pem_slice(OF_OPENSSL).unwrap();
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(
            certificate.distinguished_name().unwrap(),
            "TITLE=Dr,UID=u1,DC=corp,EMAILADDRESS=me@example,CN=a\\7Eb,SERIALNUMBER=77,\
             2.5.4.9=Road 1,OU=\\#1 team\\+x,O=Example\\, Inc.,L=M\\C3\\BCnchen,ST=Bavaria,C=DE"
        );
        assert_eq!(certificate.common_names().unwrap(), ["a~b"]);
        assert!(certificate.is_self_issued());
        // 2026-11-23 13:39:20 UTC
        assert_eq!(certificate.valid_until(), Ok(1_795_441_160));
        for (kind, name) in [
            (NameKind::Dns, "a.example"),
            (NameKind::Email, "me@x"),
            (NameKind::Uri, "urn:x"),
            (NameKind::Ip, "127.0.0.1"),
        ] {
            assert_eq!(certificate.alternative_names(kind).unwrap(), [name]);
        }
    }

    const OF_OPENSSL: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIDBjCCAqygAwIBAgIUM3k+DMdDMMnjBe46l3y6Pk8ijBgwCgYIKoZIzj0EAwIw
gdwxCzAJBgNVBAYTAkRFMRAwDgYDVQQIDAdCYXZhcmlhMREwDwYDVQQHDAhNw7xu
Y2hlbjEWMBQGA1UECgwNRXhhbXBsZSwgSW5jLjESMBAGA1UECwwJIzEgdGVhbSt4
MQ8wDQYDVQQJDAZSb2FkIDExCzAJBgNVBAUTAjc3MQwwCgYDVQQDDANhfmIxGTAX
BgkqhkiG9w0BCQEWCm1lQGV4YW1wbGUxFDASBgoJkiaJk/IsZAEZFgRjb3JwMRIw
EAYKCZImiZPyLGQBAQwCdTExCzAJBgNVBAwMAkRyMB4XDTI2MTEyMDEzMzkyMFoX
DTI2MTEyMzEzMzkyMFowgdwxCzAJBgNVBAYTAkRFMRAwDgYDVQQIDAdCYXZhcmlh
MREwDwYDVQQHDAhNw7xuY2hlbjEWMBQGA1UECgwNRXhhbXBsZSwgSW5jLjESMBAG
A1UECwwJIzEgdGVhbSt4MQ8wDQYDVQQJDAZSb2FkIDExCzAJBgNVBAUTAjc3MQww
CgYDVQQDDANhfmIxGTAXBgkqhkiG9w0BCQEWCm1lQGV4YW1wbGUxFDASBgoJkiaJ
k/IsZAEZFgRjb3JwMRIwEAYKCZImiZPyLGQBAQwCdTExCzAJBgNVBAwMAkRyMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEEwSzGIQkyHbOK30LC1vcmcchWh3si71
Owlh4NfZPmR3fK6lkIXufd9A4wQtPy89Q/lm5aZPGl4sdGMkOwIAmaNKMEgwJwYD
VR0RBCAwHoIJYS5leGFtcGxlgQRtZUB4hgV1cm46eIcEfwAAATAdBgNVHQ4EFgQU
hYp/OlphlZhovV7W6fMp0AxXd8wwCgYIKoZIzj0EAwIDSAAwRQIgU+Jq1gErSDET
YVrzz1WOL4Eh9YRtcRHOcg7ZCuCI3NICIQCOdIkGO4EDhylA3s/evFo3+nuavuDk
1bZgp7X0p+Hj1w==
-----END CERTIFICATE-----
";

    #[test]
    fn times_are_seconds_since_1970() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (GENERALIZED_TIME, "20000229120000Z", Some(951_825_600)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "20000229120000Z", None),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "7001010000+0Z", None),
            (UTC_TIME, "700101000000", None),
        ] {
            assert_eq!(seconds_of(tag, text.as_bytes()), seconds, "{text}");
        }
    }

    fn certificate_without_extensions() -> Vec<u8> {
        certificate(|_| {})
    }

    proptest! {
        #[test]
        fn damaged_certificates_never_panic(at in 0..600usize, with in any::<u8>(), cut in 0..600usize) {
            let mut der = certificate(|parameters| {
                parameters.distinguished_name.push(DnType::CommonName, "x");
                parameters.subject_alt_names = vec![SanType::IpAddress("::1".parse().unwrap())];
            });
            let at = at.min(der.len() - 1);
            der[at] = with;
            der.truncate(cut.max(1));
            if let Ok(certificate) = Certificate::parse(&der) {
                let _ = certificate.distinguished_name();
                let _ = certificate.common_names();
                let _ = certificate.valid_until();
                for kind in [NameKind::Ip, NameKind::Other, NameKind::Dns] {
                    let _ = certificate.alternative_names(kind);
                }
            }
        }
    }
}
