//! RSA signatures of a forge: any size, any exponent, good keys and bad ones.
//!
//! Crates for RSA refuse on purpose what tests need here (512 bits, an exponent of 1), so this is
//! RFC 8017 by hand over a library's integers. It never meets a real secret.

use hmac::digest::Digest;
use num_bigint::BigUint;
use sha2::{Sha256, Sha384, Sha512};

use super::der;

/// How far the two primes of each key lie above where the search for them starts, in steps of two.
/// The start is a hash of size, place and letter, so the keys are neither chosen nor secret.
const KEYS: [(usize, &[(u32, u32)]); 4] = [
    (512, &[(14, 26), (206, 62)]),
    (1024, &[(624, 289), (177, 18)]),
    (2048, &KEYS_2048),
    (4096, &[(1385, 1316)]),
];

const KEYS_2048: [(u32, u32); 32] = [
    (247, 1161),
    (645, 768),
    (146, 1532),
    (18, 815),
    (624, 927),
    (309, 1149),
    (1552, 735),
    (916, 594),
    (1241, 860),
    (82, 845),
    (99, 120),
    (654, 211),
    (457, 1589),
    (225, 608),
    (933, 881),
    (187, 191),
    (473, 863),
    (208, 599),
    (572, 957),
    (438, 781),
    (1210, 143),
    (549, 1988),
    (321, 53),
    (1699, 970),
    (92, 13),
    (561, 1105),
    (172, 1344),
    (3435, 1004),
    (97, 475),
    (59, 230),
    (1120, 24),
    (843, 620),
];

/// A private key.
#[derive(Clone, Debug)]
pub(super) struct RsaKey {
    bits: usize,
    e: BigUint,
    n: BigUint,
    d: BigUint,
}

/// The hash of a signature.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    /// The last byte of the hash's object identifier below `nistAlgorithms hashAlgs`.
    fn arc(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha384 => 2,
            Self::Sha512 => 3,
        }
    }
}

impl RsaKey {
    /// The key number `place` of a size, with the public exponent `e`.
    pub(super) fn new(bits: usize, place: usize, e: u32) -> Result<Self, String> {
        let sizes = || KEYS.iter().map(|(b, _)| b.to_string()).collect::<Vec<_>>();
        let (_, list) = KEYS
            .iter()
            .find(|(b, _)| *b == bits)
            .ok_or_else(|| format!("bits must be one of {}", sizes().join(", ")))?;
        let (p_steps, q_steps) = list.get(place).ok_or_else(|| {
            format!(
                "all {} RSA keys of {bits} bits are in use; POST /__sim/reset frees them",
                list.len()
            )
        })?;
        let p = prime(bits, place, 'p', *p_steps);
        let q = prime(bits, place, 'q', *q_steps);
        let e = BigUint::from(e);
        let phi = (&p - 1_u32) * (&q - 1_u32);
        let d = e
            .modinv(&phi)
            .ok_or_else(|| format!("e = {e} has no private exponent; use 1, 3 or 65537"))?;
        Ok(Self {
            bits,
            n: p * q,
            e,
            d,
        })
    }

    /// The modulus, big-endian.
    pub(super) fn n(&self) -> Vec<u8> {
        self.n.to_bytes_be()
    }

    /// The public exponent, big-endian.
    pub(super) fn e(&self) -> Vec<u8> {
        self.e.to_bytes_be()
    }

    /// The `SubjectPublicKeyInfo`.
    pub(super) fn spki(&self) -> Vec<u8> {
        let key = der::sequence(&[&der::integer(&self.n()), &der::integer(&self.e())]);
        let algorithm = der::sequence(&[&der::oid(&der::RSA_ENCRYPTION), &der::NULL]);
        der::sequence(&[&algorithm, &der::bit_string(&key)])
    }

    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2); `Err` when the modulus is too short for the hash.
    pub(super) fn sign_pkcs1(&self, hash: Hash, message: &[u8]) -> Result<Vec<u8>, String> {
        let oid = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash.arc()];
        let algorithm = der::sequence(&[&der::oid(&oid), &der::NULL]);
        let info = der::sequence(&[&algorithm, &der::octet_string(&hash.digest(message))]);
        let padding = (self.bits / 8)
            .checked_sub(info.len() + 3)
            .filter(|length| *length >= 8)
            .ok_or_else(|| format!("{} bits are too few for this alg", self.bits))?;
        Ok(self.power(&[&[0, 1], vec![0xff; padding].as_slice(), &[0], &info].concat()))
    }

    /// RSASSA-PSS with SHA-256 and a salt of zeros (RFC 8017 §8.1, §9.1.1): a signature that every
    /// verifier accepts and that is the same each time.
    pub(super) fn sign_pss(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let salt = [0; 32];
        let hashed = Sha256::digest([&[0; 8], &Hash::Sha256.digest(message)[..], &salt].concat());
        // The modulus has a multiple of eight bits, so the encoded message has one bit less.
        let length = (self.bits / 8)
            .checked_sub(hashed.len() + 1)
            .filter(|length| *length > salt.len())
            .ok_or_else(|| format!("{} bits are too few for this alg", self.bits))?;
        let mut block = vec![0; length - salt.len() - 1];
        block.push(1);
        block.extend(salt);
        let mask = (0_u32..).flat_map(|counter| {
            Sha256::digest([&hashed[..], &counter.to_be_bytes()].concat()).to_vec()
        });
        let mut encoded: Vec<u8> = block.iter().zip(mask).map(|(b, m)| b ^ m).collect();
        if let Some(first) = encoded.first_mut() {
            *first &= 0x7f;
        }
        encoded.extend(hashed);
        encoded.push(0xbc);
        Ok(self.power(&encoded))
    }

    fn power(&self, message: &[u8]) -> Vec<u8> {
        let signature = BigUint::from_bytes_be(message).modpow(&self.d, &self.n);
        left_padded(&signature.to_bytes_be(), self.bits / 8)
    }

    /// A self-signed certificate in PEM, as `cdn-cgi/access/certs` publishes them.
    pub(super) fn certificate(&self, serial: u32) -> Result<String, String> {
        let algorithm = der::sequence(&[&der::oid(&der::SHA256_WITH_RSA), &der::NULL]);
        let name = der::common_name("Zonekeeper simulator");
        let validity = der::sequence(&[
            &der::generalized_time("20260101000000Z"),
            &der::generalized_time("20760101000000Z"),
        ]);
        let body = der::sequence(&[
            &der::version_3(),
            &der::integer(&serial.to_be_bytes()),
            &algorithm,
            &name,
            &validity,
            &name,
            &self.spki(),
        ]);
        let signature = self.sign_pkcs1(Hash::Sha256, &body)?;
        let whole = der::sequence(&[&body, &algorithm, &der::bit_string(&signature)]);
        Ok(der::pem("CERTIFICATE", &whole))
    }
}

/// `bytes` with zeros in front, up to `length`.
pub(super) fn left_padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut out = vec![0; length.saturating_sub(bytes.len())];
    out.extend_from_slice(bytes);
    out
}

/// The prime that lies `steps` odd numbers above the start of its search.
fn prime(bits: usize, place: usize, letter: char, steps: u32) -> BigUint {
    let label = format!("zonekeeper simulator rsa {bits} {place} {letter}");
    let half = bits / 2;
    let bytes: Vec<u8> = (0_u32..)
        .flat_map(|block| Sha256::digest(format!("{label}/{block}")).to_vec())
        .take(half / 8)
        .collect();
    let mut start = BigUint::from_bytes_be(&bytes);
    // The two top bits make the product as long as it should be.
    for bit in [0, half - 2, half - 1] {
        start.set_bit(bit as u64, true);
    }
    start + 2 * steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_probably_prime(n: &BigUint) -> bool {
        [2_u32, 3, 5, 7]
            .iter()
            .all(|base| BigUint::from(*base).modpow(&(n - 1_u32), n) == BigUint::from(1_u32))
    }

    #[test]
    fn every_prepared_number_is_prime_and_every_modulus_as_long_as_it_says() {
        for (bits, list) in KEYS.into_iter().filter(|(bits, _)| *bits < 4096) {
            for (place, (p, q)) in list.iter().enumerate() {
                assert!(is_probably_prime(&prime(bits, place, 'p', *p)));
                assert!(is_probably_prime(&prime(bits, place, 'q', *q)));
                let key = RsaKey::new(bits, place, 65537).unwrap();
                assert_eq!(key.n.bits(), bits as u64);
            }
        }
    }

    #[test]
    fn a_signature_opens_with_the_public_exponent() {
        for e in [1, 3, 65537] {
            let key = RsaKey::new(1024, 1, e).unwrap();
            for signature in [
                key.sign_pkcs1(Hash::Sha256, b"message").unwrap(),
                key.sign_pss(b"message").unwrap(),
            ] {
                assert_eq!(signature.len(), 128);
                let opened = BigUint::from_bytes_be(&signature).modpow(&key.e, &key.n);
                assert!(opened < key.n && opened > BigUint::from(1_u32));
            }
        }
        let key = RsaKey::new(512, 0, 65537).unwrap();
        assert!(key.sign_pkcs1(Hash::Sha256, b"m").is_ok());
        assert!(key.sign_pkcs1(Hash::Sha512, b"m").is_err());
        assert!(RsaKey::new(2048, 99, 65537).is_err());
        assert!(RsaKey::new(768, 0, 65537).is_err());
    }
}
