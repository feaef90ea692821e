//! The seal: our opaque carrier of foreign reasoning state inside a client's history (conversion.md section 7).
//!
//! A client of one format must send back, at the right place, what a vendor of another format will check byte by byte. Its own
//! format has a slot for opaque state (a signature, an encrypted content, an id); the seal is what we put there. It says whose
//! state it is, so that it is restored only at its owner and dropped everywhere else.
//!
//! Bytes: `gwseal` | version 2 | flags (bit 0: signed) | origin | kind | domain (4, big endian) | body | check.
//! The body is the state's strings, each with a 4-byte length; the check is CRC-32, or HMAC-SHA-256 cut to 16 bytes when signed.
//! One seal holds one state, or, for clients that do not keep the order of a turn, a layout: everything the model said since
//! the seal before it, texts by their length and check (see [`layout`]). Streams cannot wait for the rest of the turn
//! (wire.md 4.5).

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem::Finder;
use sha2::{Digest, Sha256};

use crate::format::Format;
use crate::ir::{Opaque, State};

pub mod layout;

/// What every seal starts with, in its text form: base64 of the six magic bytes.
pub const MARK: &str = "Z3dzZWFs";

/// Largest seal that is opened, bytes of its text form (conversion.md 7.2: 256 KiB before base64).
pub const MAX_TEXT: usize = 350_000;

const MAGIC: &[u8; 6] = b"gwseal";
const VERSION: u8 = 2;
const SIGNED: u8 = 1;
const HEAD: usize = 14;
/// Kind number of a layout.
const LAYOUT: u8 = 11;
/// Kind number that no state has.
const NOTHING: u8 = 0;

/// Why a seal could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not a seal at all: the vendor's own text.
    NotASeal,
    /// Damaged, of another version, or not signed by our key.
    BadSeal,
    /// Over the size limits.
    TooLarge,
}

impl Broken {
    /// The word for `x-gateway-state`; `None` for text that never was a seal.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Broken::NotASeal => None,
            Broken::BadSeal => Some("bad_seal"),
            Broken::TooLarge => Some("too_large"),
        }
    }
}

/// Where the first seal in a body begins.
#[must_use]
pub fn first(body: &[u8]) -> Option<usize> {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
    FINDER.find(body)
}

/// The domain of the seal that begins there, unchecked: a hint where the conversation's state is at home.
#[must_use]
pub fn domain_at(body: &[u8], at: usize) -> Option<u32> {
    // 20 characters hold 15 bytes: the head of a seal and one more.
    let head = URL_SAFE_NO_PAD.decode(body.get(at..at + 20)?).ok()?;
    Some(u32::from_be_bytes(head.get(10..14)?.try_into().ok()?))
}

/// Seals one state into text (`[A-Za-z0-9_-]+`). Deterministic. The domain comes from the state (0 if it has none).
#[must_use]
pub fn seal(state: &Opaque<'_>, key: Option<&[u8; 32]>) -> String {
    let (kind, strings) = parts(&state.state);
    write(state.origin, state.domain.unwrap_or(0), kind, &strings, key)
}

fn write(origin: Format, domain: u32, kind: u8, strings: &[&str], key: Option<&[u8; 32]>) -> String {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.push(if key.is_some() { SIGNED } else { 0 });
    bytes.push(origin_code(origin));
    bytes.push(kind);
    bytes.extend_from_slice(&domain.to_be_bytes());
    for string in strings {
        // Only strings beyond 4 GiB would not fit, and no body is that large.
        bytes.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(string.as_bytes());
    }
    let check = check(&bytes, key);
    bytes.extend_from_slice(&check);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Opens a seal of one state. Accepts the standard base64 alphabet and padding too: some clients re-encode.
///
/// # Errors
/// See [`Broken`].
pub fn open(text: &str, key: Option<&[u8; 32]>) -> Result<Opaque<'static>, Broken> {
    let open = opened(text, key)?;
    Ok(Opaque {
        origin: open.origin,
        domain: Some(open.domain),
        state: state_of(open.kind, open.strings).ok_or(Broken::BadSeal)?,
    })
}

/// An opened seal: whose it is, its kind and its strings.
struct Open {
    origin: Format,
    domain: u32,
    kind: u8,
    strings: Vec<Cow<'static, str>>,
}

fn opened(text: &str, key: Option<&[u8; 32]>) -> Result<Open, Broken> {
    if !text.starts_with(MARK) {
        return Err(Broken::NotASeal);
    }
    if text.len() > MAX_TEXT {
        return Err(Broken::TooLarge);
    }
    let url_safe = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    let bytes = URL_SAFE_NO_PAD.decode(url_safe).map_err(|_| Broken::BadSeal)?;
    read(&bytes, key).ok_or(Broken::BadSeal)
}

fn read(bytes: &[u8], key: Option<&[u8; 32]>) -> Option<Open> {
    let flags = *bytes.get(7)?;
    if *bytes.get(6)? != VERSION || (flags & SIGNED != 0) != key.is_some() {
        return None;
    }
    let check_len = if key.is_some() { 16 } else { 4 };
    let (signed, found) = bytes.split_at_checked(bytes.len().checked_sub(check_len)?)?;
    if !same(&check(signed, key), found) {
        return None;
    }
    let origin = origin_of(*bytes.get(8)?)?;
    let kind = *bytes.get(9)?;
    let domain = u32::from_be_bytes(bytes.get(10..HEAD)?.try_into().ok()?);
    let mut strings = Vec::new();
    let mut rest = signed.get(HEAD..)?;
    while !rest.is_empty() {
        let (length, behind) = rest.split_at_checked(4)?;
        let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        let (string, behind) = behind.split_at_checked(length)?;
        strings.push(Cow::Owned(String::from_utf8(string.to_vec()).ok()?));
        rest = behind;
    }
    Some(Open {
        origin,
        domain,
        kind,
        strings,
    })
}

/// Kind number and strings of a state.
fn parts<'s>(state: &'s State<'_>) -> (u8, Vec<&'s str>) {
    match state {
        State::Signature(signature) => (1, vec![signature]),
        State::Redacted(data) => (2, vec![data]),
        State::Reasoning { id: None, encrypted } => (3, vec![encrypted]),
        State::Reasoning {
            id: Some(id),
            encrypted,
        } => (4, vec![encrypted, id]),
        State::CallSignature(signature) => (5, vec![signature]),
        State::PartSignature(signature) => (6, vec![signature]),
        State::Plain => (7, vec![]),
        State::TextSignature(signature) => (8, vec![signature]),
        State::TailSignature(signature) => (9, vec![signature]),
        State::Native(json) => (10, vec![json]),
        // A seal that was not opened is not sealed again: nothing in it was understood.
        State::Sealed(_) => (NOTHING, vec![]),
    }
}

fn state_of(kind: u8, strings: Vec<Cow<'static, str>>) -> Option<State<'static>> {
    let mut strings = strings.into_iter();
    let state = match kind {
        1 => State::Signature(strings.next()?),
        2 => State::Redacted(strings.next()?),
        3 => State::Reasoning {
            encrypted: strings.next()?,
            id: None,
        },
        4 => State::Reasoning {
            encrypted: strings.next()?,
            id: Some(strings.next()?),
        },
        5 => State::CallSignature(strings.next()?),
        6 => State::PartSignature(strings.next()?),
        7 => State::Plain,
        8 => State::TextSignature(strings.next()?),
        9 => State::TailSignature(strings.next()?),
        10 => State::Native(strings.next()?),
        _ => return None,
    };
    strings.next().is_none().then_some(state)
}

fn origin_code(format: Format) -> u8 {
    match format {
        Format::Chat => 1,
        Format::Responses => 2,
        Format::Messages => 3,
        Format::Gemini => 4,
    }
}

fn origin_of(code: u8) -> Option<Format> {
    Format::ALL
        .into_iter()
        .find(|format| origin_code(*format) == code)
}

fn check(bytes: &[u8], key: Option<&[u8; 32]>) -> Vec<u8> {
    match key {
        None => crc32fast::hash(bytes).to_be_bytes().to_vec(),
        Some(key) => hmac(key, bytes).get(..16).unwrap_or_default().to_vec(),
    }
}

/// HMAC-SHA-256 (RFC 2104) with a 32-byte key.
fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// Compares in constant time.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Opaque<'static>> {
        let states = [
            State::Signature("sig+/=".into()),
            State::Redacted("data".into()),
            State::Reasoning {
                id: Some("rs_1".into()),
                encrypted: "enc".into(),
            },
            State::Reasoning {
                id: None,
                encrypted: String::new().into(),
            },
            State::CallSignature("Zm9v".into()),
            State::PartSignature("Zm9v".into()),
            State::Plain,
            State::TextSignature("Zm9v".into()),
            State::TailSignature("Zm9v".into()),
            State::Native(r#"{"type":"server_tool_use"}"#.into()),
        ];
        let seals = states.into_iter().zip(Format::ALL.into_iter().cycle());
        seals
            .map(|(state, origin)| Opaque {
                origin,
                domain: Some(0xdead_beef),
                state,
            })
            .collect()
    }

    #[test]
    fn every_state_comes_back_with_and_without_a_key() {
        for state in samples() {
            for key in [None, Some(&[7; 32])] {
                let text = seal(&state, key);
                assert!(text.starts_with(MARK), "{text}");
                assert!(
                    text.bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                );
                assert_eq!(open(&text, key), Ok(state.clone()));
                let standard = text.replace('-', "+").replace('_', "/") + "==";
                assert_eq!(open(&standard, key), Ok(state.clone()));
            }
        }
    }

    #[test]
    fn every_single_bit_change_is_detected() {
        for key in [None, Some(&[7; 32])] {
            let bytes = URL_SAFE_NO_PAD.decode(seal(&samples()[0], key)).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&URL_SAFE_NO_PAD.encode(damaged), key).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn unsigned_seals_are_refused_when_a_key_is_set_and_the_reverse() {
        let state = &samples()[0];
        assert_eq!(open(&seal(state, None), Some(&[1; 32])), Err(Broken::BadSeal));
        assert_eq!(open(&seal(state, Some(&[1; 32])), None), Err(Broken::BadSeal));
        assert_eq!(
            open(&seal(state, Some(&[1; 32])), Some(&[2; 32])),
            Err(Broken::BadSeal)
        );
    }

    #[test]
    fn prose_is_no_seal_and_long_text_is_too_large() {
        assert_eq!(open("EqQBCgIYAhIM", None), Err(Broken::NotASeal));
        assert_eq!(open("Z3dzZWFs in prose", None), Err(Broken::BadSeal));
        assert_eq!(
            open(&(MARK.to_owned() + &"A".repeat(MAX_TEXT)), None),
            Err(Broken::TooLarge)
        );
    }

    #[test]
    fn hmac_matches_the_published_vector() {
        // RFC 4231 test case 2 has a 4-byte key; padding it with zeros to 32 bytes is the same key.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = hmac(&key, b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}
