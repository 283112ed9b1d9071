//! Passwords as RabbitMQ keeps them: four random bytes (the salt), and the hash of these and the
//! password, one pass of it. So users move both ways in definition files.
//!
//! One pass over a short text takes a microsecond or two, so it is done on the loop. A hash that is slow
//! on purpose would have to go to a worker.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::Refused;

/// How a password was hashed (RabbitMQ: `hashing_algorithm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hashing {
    #[default]
    Sha256,
    Sha512,
    /// From before RabbitMQ 3.6: compared with, but never made.
    Md5,
}

/// A hashed password; none at all lets nobody in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PasswordHash {
    hashing: Hashing,
    /// Salt and hash; empty for no password.
    bytes: Box<[u8]>,
}

impl Hashing {
    /// RabbitMQ's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Hashing::Sha256 => "rabbit_password_hashing_sha256",
            Hashing::Sha512 => "rabbit_password_hashing_sha512",
            Hashing::Md5 => "rabbit_password_hashing_md5",
        }
    }

    /// The kind that a hash in base64 is as long as; RabbitMQ's default if it is none.
    pub fn of_length(base64: &str) -> Hashing {
        let kinds = [Hashing::Sha256, Hashing::Sha512, Hashing::Md5];
        let fits = |kind: &Hashing| PasswordHash::from_base64(base64, *kind).is_ok();
        kinds.into_iter().find(fits).unwrap_or_default()
    }

    /// The one with that name.
    pub fn named(name: &str) -> Option<Hashing> {
        let all = [Hashing::Sha256, Hashing::Sha512, Hashing::Md5];
        all.into_iter().find(|hashing| hashing.name() == name)
    }

    fn hash(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        fn digest<D: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
            D::new()
                .chain_update(salt)
                .chain_update(password)
                .finalize()
                .to_vec()
        }
        match self {
            Hashing::Sha256 => digest::<Sha256>(salt, password),
            Hashing::Sha512 => digest::<Sha512>(salt, password),
            Hashing::Md5 => digest::<Md5>(salt, password),
        }
    }

    fn size(self) -> usize {
        match self {
            Hashing::Sha256 => 32,
            Hashing::Sha512 => 64,
            Hashing::Md5 => 16,
        }
    }
}

impl PasswordHash {
    /// Hashes a password with a salt that nobody can foresee.
    pub fn of(password: &[u8], salt: [u8; SALT_SIZE]) -> PasswordHash {
        let hashing = Hashing::default();
        let mut bytes = salt.to_vec();
        bytes.extend(hashing.hash(&salt, password));
        PasswordHash {
            hashing,
            bytes: bytes.into(),
        }
    }

    /// A hash as definitions have it, in base64; empty for no password.
    ///
    /// # Errors
    /// It is not base64, or not as long as such hashes are.
    pub fn from_base64(text: &str, hashing: Hashing) -> Result<PasswordHash, Refused> {
        let bytes = BASE64.decode(text).map_err(|_| Refused::BadPasswordHash)?;
        PasswordHash::from_bytes(&bytes, hashing)
    }

    /// The same from its bytes.
    pub fn from_bytes(bytes: &[u8], hashing: Hashing) -> Result<PasswordHash, Refused> {
        if !bytes.is_empty() && bytes.len() != SALT_SIZE + hashing.size() {
            return Err(Refused::BadPasswordHash);
        }
        Ok(PasswordHash {
            hashing,
            bytes: bytes.into(),
        })
    }

    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.bytes)
    }

    pub fn hashing(&self) -> Hashing {
        self.hashing
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_none(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether it is that password's; the time tells nothing of where they differ. An empty password
    /// fits nothing (RabbitMQ).
    pub fn fits(&self, password: &[u8]) -> bool {
        let (salt, hash) = self.bytes.split_at(SALT_SIZE.min(self.bytes.len()));
        let given = self.hashing.hash(salt, password);
        let is_same: bool = given.ct_eq(hash).into();
        is_same && !password.is_empty()
    }
}

/// Hashes are as good as passwords to those who can try many, so logs do not have them.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.hashing.name())
    }
}

/// Bytes of randomness before the hash.
pub const SALT_SIZE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rabbitmqs_hashes_are_understood() {
        let of_lim = "4tquDwlX1IynbIiprfUlpKY7xWSX/BXZ4OiuYyaquYOxdxpS";
        let hash = PasswordHash::from_base64(of_lim, Hashing::Sha256).unwrap();
        assert!(hash.fits(b"lim"));
        for other in [&b""[..], b"li", b"Lim", b"lim\0"] {
            assert!(!hash.fits(other));
        }
        assert_eq!(hash.to_base64(), of_lim);
    }

    #[test]
    fn every_way_of_hashing_is_compared_with() {
        for hashing in [Hashing::Sha256, Hashing::Sha512, Hashing::Md5] {
            let mut bytes = vec![1, 2, 3, 4];
            bytes.extend(hashing.hash(&[1, 2, 3, 4], b"secret"));
            let hash = PasswordHash::from_bytes(&bytes, hashing).unwrap();
            assert!(hash.fits(b"secret") && !hash.fits(b"Secret"));
            assert_eq!(Hashing::named(hashing.name()), Some(hashing));
            let short = PasswordHash::from_bytes(&bytes[1..], hashing);
            assert_eq!(short, Err(Refused::BadPasswordHash));
        }
        assert_eq!(Hashing::named("rabbit_password_hashing"), None);
    }

    #[test]
    fn no_password_lets_nobody_in() {
        for password in [&b""[..], b"secret"] {
            assert!(!PasswordHash::default().fits(password));
        }
        let of_nothing = PasswordHash::of(b"", [1; SALT_SIZE]);
        assert!(!of_nothing.fits(b""), "RabbitMQ lets no empty password in");
        assert!(PasswordHash::of(b"x", [1; SALT_SIZE]).fits(b"x"));
    }
}
