//! Client keys: `sk-opm-<8 id>-<43 secret>-<6 checksum>`, all in base62.
//!
//! The secret holds 256 bits from the operating system, so guessing is hopeless and a fast keyed hash is enough to store it. The
//! checksum lets a mistyped key be refused without any look-up. The hash is keyed with a pepper that is kept outside the store:
//! a stolen store can neither verify keys nor plant one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::base62;
use crate::secret::Secret;

/// What every client key begins with.
pub const PREFIX: &str = "sk-opm-";
/// Digits of the id.
pub const ID_LENGTH: usize = 8;
/// Digits of the secret part: 62^43 is just above 2^256.
const SECRET_LENGTH: usize = 43;
/// Digits of the checksum: 62^6 is above 2^32.
const CHECKSUM_LENGTH: usize = 6;
/// Block of SHA-256 in bytes, the length to which HMAC pads its key.
const BLOCK: usize = 64;

/// A client key in clear: shown once, never stored.
#[derive(Clone, Debug)]
pub struct ClientKey {
    id: String,
    secret: Secret,
}

/// What a well-formed client key says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The id under which the key is stored.
    pub id: &'a str,
}

impl ClientKey {
    /// A new key with a new id. `random` comes from the operating system's generator: 32 bytes for the secret, 8 for the id.
    #[must_use]
    pub fn generate(random: &[u8; 40]) -> Self {
        let (secret, id) = random.split_at(32);
        Self::assemble(&base62::encode(id, ID_LENGTH), secret)
    }

    /// Another secret under an id that exists already, for rotation; `None` if `id` is not the id of a client key.
    #[must_use]
    pub fn renew(id: &str, random: &[u8; 32]) -> Option<Self> {
        base62::is(id, ID_LENGTH).then(|| Self::assemble(id, random))
    }

    fn assemble(id: &str, random: &[u8]) -> Self {
        let secret = Zeroizing::new(base62::encode(random, SECRET_LENGTH));
        let mut text = String::with_capacity(PREFIX.len() + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH + 2);
        for part in [PREFIX, id, "-", secret.as_str()] {
            text.push_str(part);
        }
        let sum = checksum(&text);
        text.push('-');
        text.push_str(&sum);
        ClientKey {
            id: id.to_owned(),
            secret: Secret::new(text),
        }
    }

    /// The id: not secret, the name of the key in the store and in logs.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole key.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// Reads a client key; `None` if the text has another shape or its checksum is wrong. Says nothing about whether the key exists.
#[must_use]
pub fn parse(text: &str) -> Option<Parsed<'_>> {
    let (body, sum) = text.rsplit_once('-')?;
    let (id, secret) = body.strip_prefix(PREFIX)?.split_once('-')?;
    let shaped =
        base62::is(id, ID_LENGTH) && base62::is(secret, SECRET_LENGTH) && base62::is(sum, CHECKSUM_LENGTH);
    (shaped && checksum(body) == sum).then_some(Parsed { id })
}

/// CRC-32 of the key up to its checksum, in base62: unlike a cut hash it is certain to notice one wrong character and two swapped
/// neighbours. It is no secret and protects nothing but against typing errors.
fn checksum(body: &str) -> String {
    base62::encode(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM_LENGTH)
}

/// HMAC-SHA-256 of a whole client key under the pepper: what the store keeps instead of the key.
#[must_use]
pub fn mac(pepper: &[u8; 32], text: &str) -> [u8; 32] {
    // HMAC pads a key shorter than a block with zeros; done here, the key has the one length that cannot fail.
    let mut key = Zeroizing::new([0_u8; BLOCK]);
    for (padded, byte) in key.iter_mut().zip(pepper) {
        *padded = *byte;
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*key).into());
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// True if both are the same, in a time that does not depend on where they differ.
#[must_use]
pub fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(random: [u8; 40]) -> String {
        ClientKey::generate(&random).secret().expose().to_owned()
    }

    #[test]
    fn a_key_has_the_documented_shape_and_parses_to_its_id() {
        let key = ClientKey::generate(&[7; 40]);
        let text = key.secret().expose();
        let parts: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 3, 8, 43, 6]);
        assert_eq!(parse(text), Some(Parsed { id: key.id() }));
        assert_eq!(format!("{key:?}").matches(text).count(), 0);
    }

    #[test]
    fn a_renewed_key_keeps_its_id_and_nothing_else() {
        let old = ClientKey::generate(&[7; 40]);
        let new = ClientKey::renew(old.id(), &[8; 32]).unwrap();
        assert_eq!(parse(new.secret().expose()).unwrap().id, old.id());
        assert_ne!(new.secret().expose(), old.secret().expose());
        assert!(ClientKey::renew("too short", &[8; 32]).is_none());
    }

    #[test]
    fn other_shapes_are_no_client_keys() {
        let good = key([1; 40]);
        let cut = &good[..good.len() - 1];
        let space = format!(" {good}");
        let wide = good.replacen("sk-opm-", "sk-opm-é", 1);
        for text in ["", "-", "sk-opm-", "sk-ant-0123456789", cut, &space, &wide] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    /// RFC 4231, test case 2, has a key of 4 bytes; zeros behind it do not change an HMAC.
    #[test]
    fn the_mac_is_hmac_sha_256() {
        let mut pepper = [0; 32];
        pepper[..4].copy_from_slice(b"Jefe");
        let found = mac(&pepper, "what do ya want for nothing?");
        let hex: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn macs_depend_on_the_pepper_and_on_the_key() {
        let one = mac(&[1; 32], "a");
        assert!(same(&one, &mac(&[1; 32], "a")));
        assert!(!same(&one, &mac(&[2; 32], "a")) && !same(&one, &mac(&[1; 32], "b")));
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_always_noticed(random: [u8; 40], at in 7_usize..66, digit in 0_u8..62) {
            let good = key(random);
            let mut wrong: Vec<char> = good.chars().collect();
            wrong[at] = char::from(base62::digit(digit));
            let wrong: String = wrong.into_iter().collect();
            prop_assert_eq!(parse(&wrong).is_some(), wrong == good);
        }

        #[test]
        fn two_swapped_neighbours_are_always_noticed(random: [u8; 40], at in 7_usize..65) {
            let good = key(random);
            let mut wrong: Vec<char> = good.chars().collect();
            wrong.swap(at, at + 1);
            let wrong: String = wrong.into_iter().collect();
            prop_assert_eq!(parse(&wrong).is_some(), wrong == good);
        }

        #[test]
        fn different_randomness_gives_different_keys(one: [u8; 40], other: [u8; 40]) {
            prop_assert_eq!(key(one)[16..] == key(other)[16..], one[..32] == other[..32]);
        }
    }
}
