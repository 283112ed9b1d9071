//! The PROXY protocol, versions 1 and 2: what a load balancer says before the first byte of a connection
//! about where it came from (haproxy.org, proxy-protocol.txt).
//!
//! ```text
//! 1   PROXY TCP4 192.0.2.7 192.0.2.1 52000 5672\r\n          at most 107 bytes
//! 2   12 bytes of signature, version and command, family, size; addresses, then TLVs, which are skipped
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Malformed;
use super::reader::Reader;

/// Where a connection comes from, as its proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the proxy itself, which looks whether we are well.
    Proxy,
    /// From somewhere that the proxy cannot name.
    Unknown,
    Tcp {
        source: SocketAddr,
        destination: SocketAddr,
    },
}

/// Longer headers are refused. TLVs are what makes a header long, and none that are in use need this.
pub const HEADER_BYTES_MAX: usize = 4096;

type Result<T> = std::result::Result<T, Malformed>;

/// Reads the header at the front of `input`, and how many bytes it has. `None`: it is not all there.
///
/// # Errors
/// No such header begins like this; known as soon as can be.
pub fn decode(input: &[u8]) -> Result<Option<(Origin, usize)>> {
    if starts_alike(input, SIGNATURE) {
        return decode_binary(input);
    }
    if starts_alike(input, b"PROXY ") {
        return decode_text(input);
    }
    Err(Malformed::BadProxyHeader(
        "it begins with neither of the two signatures",
    ))
}

fn starts_alike(input: &[u8], signature: &[u8]) -> bool {
    let count = input.len().min(signature.len());
    input[..count] == signature[..count]
}

fn decode_text(input: &[u8]) -> Result<Option<(Origin, usize)>> {
    let seen = &input[..input.len().min(TEXT_BYTES_MAX)];
    let Some(end) = seen.windows(2).position(|bytes| bytes == b"\r\n") else {
        if seen.len() == TEXT_BYTES_MAX {
            return Err(Malformed::BadProxyHeader("its line does not end"));
        }
        return Ok(None);
    };
    let origin = text_origin(&seen[..end]);
    let origin = origin.ok_or(Malformed::BadProxyHeader("its line makes no sense"))?;
    Ok(Some((origin, end + 2)))
}

fn text_origin(line: &[u8]) -> Option<Origin> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Origin::Unknown);
    }
    let words: Vec<_> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return None;
    };
    let ip = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        }
    };
    Some(Origin::Tcp {
        source: SocketAddr::new(ip(source)?, port(source_port)?),
        destination: SocketAddr::new(ip(destination)?, port(destination_port)?),
    })
}

/// Digits alone: `parse` would take a sign, too.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn decode_binary(input: &[u8]) -> Result<Option<(Origin, usize)>> {
    let Some(([version_and_command, family, high, low], behind)) = input
        .get(SIGNATURE.len()..)
        .and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    let size = usize::from(u16::from_be_bytes([*high, *low]));
    let header = SIGNATURE.len() + 4 + size;
    if header > HEADER_BYTES_MAX {
        return Err(Malformed::BadProxyHeader("it is too long"));
    }
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::BadProxyHeader("no such version or command")),
    };
    let Some(addresses) = behind.get(..size) else {
        return Ok(None);
    };
    let origin = match (is_local, family) {
        (true, _) => Origin::Proxy,
        (false, 0x11) => read_addresses::<4>(addresses)?,
        (false, 0x21) => read_addresses::<16>(addresses)?,
        // Unspecified, and a Unix socket.
        (false, 0x00 | 0x31) => Origin::Unknown,
        (false, _) => return Err(Malformed::BadProxyHeader("no such family of addresses")),
    };
    Ok(Some((origin, header)))
}

/// Two addresses of N bytes, two ports; what is behind them is for others.
fn read_addresses<const N: usize>(bytes: &[u8]) -> Result<Origin>
where
    [u8; N]: Into<IpAddr>,
{
    let mut reader = Reader::new(bytes);
    let [source, destination] = [reader.array::<N>()?, reader.array::<N>()?];
    Ok(Origin::Tcp {
        source: SocketAddr::new(source.into(), reader.short()?),
        destination: SocketAddr::new(destination.into(), reader.short()?),
    })
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const TEXT_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        header.extend(content);
        header
    }

    fn tcp(source: &str, destination: &str) -> Origin {
        Origin::Tcp {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    /// Every beginning must be asked to go on, and what is behind must be left alone.
    fn expect(header: &[u8], origin: Origin) {
        for end in 0..header.len() {
            assert_eq!(decode(&header[..end]), Ok(None), "{end}");
        }
        let longer = [header, b"AMQP"].concat();
        assert_eq!(decode(&longer), Ok(Some((origin, header.len()))));
    }

    #[test]
    fn lines_are_read() {
        expect(
            b"PROXY TCP4 192.0.2.7 192.0.2.1 52000 5672\r\n",
            tcp("192.0.2.7:52000", "192.0.2.1:5672"),
        );
        expect(
            b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n",
            tcp("[2001:db8::7]:1", "[::1]:65535"),
        );
        expect(b"PROXY UNKNOWN\r\n", Origin::Unknown);
        expect(b"PROXY UNKNOWN ffff::1 x 1 2\r\n", Origin::Unknown);
    }

    #[test]
    fn binary_headers_are_read_and_their_tlvs_skipped() {
        let four = [192, 0, 2, 7, 192, 0, 2, 1, 0xcb, 0x20, 0x16, 0x28];
        let origin = tcp("192.0.2.7:52000", "192.0.2.1:5672");
        expect(&binary(0x21, 0x11, &four), origin);
        let with_tlvs = [&four[..], &[4, 0, 1, 9]].concat();
        expect(&binary(0x21, 0x11, &with_tlvs), origin);
        let six = [[0; 15].as_slice(), &[1], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
        expect(&binary(0x21, 0x21, &six), tcp("[::1]:1", "[::2]:2"));
        expect(&binary(0x20, 0x11, &four), Origin::Proxy);
        expect(&binary(0x20, 0, &[]), Origin::Proxy);
        expect(&binary(0x21, 0, &[]), Origin::Unknown);
        expect(&binary(0x21, 0x31, &[0; 216]), Origin::Unknown);
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_it_shows() {
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        for bad in [
            &b"AMQP\0\0\x09\x01"[..],
            b"X",
            b"PROXX",
            b"\r\n\r\n\0\r\nQUIX",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 +5\r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY \xff\r\n",
            &endless,
            &binary(0x31, 0x11, &[0; 12]),
            &binary(0x22, 0x11, &[0; 12]),
            &binary(0x21, 0x12, &[0; 12]),
            &binary(0x21, 0x11, &[0; 11]),
            &binary(0x21, 0x21, &[0; 12]),
            &binary(0x21, 0x11, &[0; HEADER_BYTES_MAX])[..16],
        ] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
            match kind {
                0 => bytes.splice(0..0, *SIGNATURE).for_each(drop),
                1 => bytes.splice(0..0, *b"PROXY TCP4 ").for_each(drop),
                _ => {}
            }
            if let Ok(Some((_, used))) = decode(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }
    }
}
