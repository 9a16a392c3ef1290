//! One `[[port.key]]`: a name, and a key from somewhere.

use std::{path::PathBuf, sync::Arc};

use zeroize::Zeroizing;

use super::rotation::StartTime;
use crate::crypto::Cak;
use crate::ident::{CipherSuite, Ckn};
use crate::keyring::Key;
use crate::profile::{CakPadding, LinkSettings};

/// A key of a port.
#[derive(Debug)]
pub struct KeyConfig {
    /// Where it came from.
    pub source: KeySource,
    /// When it is to be taken up, where the port goes by that.
    pub start: Option<StartTime>,
    /// The key itself and its name, shared with the ring that it goes into.
    pub key: Arc<Key>,
}

impl KeyConfig {
    /// Tells whether the other one has the same name, key and start, wherever they came from.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.key.ckn == other.key.ckn
            && self.start == other.start
            && self.key.cak.same_as(&other.key.cak)
    }
}

/// Where a CAK comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// `file:PATH`, a file that holds it in hexadecimal.
    File(PathBuf),
    /// `credential:NAME`, a credential that systemd gave the service.
    Credential(String),
    /// The configuration file itself.
    Inline,
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Inline => f.write_str("the configuration file"),
        }
    }
}

/// Why text does not say where a CAK comes from. It holds nothing of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SourceFault {
    /// A place that a later version will know.
    Later(&'static str),
    /// Nearly one of the known places.
    Nearly(&'static str),
    /// A place, but none that is known.
    Unknown,
    /// `file:` wants an absolute path.
    NotAbsolute,
    /// `credential:` wants a plain name.
    NotAName,
}

/// The places a CAK can come from, and those it cannot come from yet.
const SCHEMES: [&str; 2] = ["file", "credential"];
const LATER: [&str; 2] = ["exec", "azure-keyvault"];

impl KeySource {
    /// Reads the value of `cak`; hexadecimal is [`KeySource::Inline`].
    pub(crate) fn parse(text: &str) -> Result<Self, SourceFault> {
        let Some((scheme, rest)) = text.split_once(':') else { return Ok(Self::Inline) };
        if let Some(later) = LATER.into_iter().find(|later| *later == scheme) {
            return Err(SourceFault::Later(later));
        }
        match scheme {
            "file" if rest.starts_with('/') && !rest.contains('\0') => Ok(Self::File(rest.into())),
            "file" => Err(SourceFault::NotAbsolute),
            "credential" if is_credential_name(rest) => Ok(Self::Credential(rest.to_owned())),
            "credential" => Err(SourceFault::NotAName),
            _ if scheme.bytes().all(|octet| octet.is_ascii_hexdigit()) => Ok(Self::Inline),
            _ => Err(nearest_scheme(scheme).map_or(SourceFault::Unknown, SourceFault::Nearly)),
        }
    }
}

fn nearest_scheme(scheme: &str) -> Option<&'static str> {
    let scheme = scheme.get(..scheme.floor_char_boundary(32)).unwrap_or_default();
    SCHEMES.into_iter().chain(LATER).find(|known| strsim::damerau_levenshtein(scheme, known) <= 2)
}

/// What systemd takes as the name of a credential, as far as it matters here: the name of a file.
fn is_credential_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0'])
}

/// Tells whether the value of `cak` says where the key is, and so may be shown. Where nothing but
/// digits follows, it may as well be the key.
pub(crate) fn is_reference(value: &str) -> bool {
    SCHEMES.iter().chain(&LATER).any(|scheme| {
        let rest = value.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(':'));
        rest.is_some_and(|rest| {
            let rest = rest.trim_start_matches('/');
            let rest = rest.split(['"', '\'', ' ', '\n']).next().unwrap_or_default();
            !rest.bytes().all(|octet| octet.is_ascii_hexdigit() || matches!(octet, b':' | b'-'))
        })
    })
}

/// Why octets are not hexadecimal. It says where, and never what stands there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum HexFault {
    #[error("it is empty")]
    Empty,
    #[error("it starts with 0x")]
    Prefix,
    #[error("it has an odd number of digits, {0}")]
    Odd(usize),
    #[error("character {} is not a hexadecimal digit", .0 + 1)]
    NotHex(usize),
}

/// Reads hexadecimal digits, in either case and with nothing between them.
pub(crate) fn decode_hex(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, HexFault> {
    if text.is_empty() {
        return Err(HexFault::Empty);
    }
    if text.starts_with(b"0x") || text.starts_with(b"0X") {
        return Err(HexFault::Prefix);
    }
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    };
    if let Some(at) = text.iter().position(|octet| digit(*octet).is_none()) {
        return Err(HexFault::NotHex(at));
    }
    // Sized once: a vector that grows leaves copies of a key behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(text.len().div_ceil(2)));
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(HexFault::Odd(text.len()));
    }
    for [high, low] in pairs {
        octets.push(digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0));
    }
    Ok(octets)
}

/// A CAK that fits, and how it came to.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) cak: Cak,
    /// How long it was before zeros were put after it.
    pub(crate) padded_from: Option<usize>,
}

/// Why octets are no CAK for a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CakFault {
    /// Too short, and padding was not asked for; with zeros it would have `padded` octets.
    Short { octets: usize, padded: Option<usize> },
    /// Too short, and the suites do not agree on the length to pad to.
    PadToWhat { octets: usize },
    /// No key is that long.
    Length { octets: usize },
}

/// The length that zeros are to fill a CAK up to: that of the suites' keys, where they agree.
pub(crate) fn pad_length(suites: &[CipherSuite]) -> Option<usize> {
    let (first, rest) = suites.split_first()?;
    rest.iter().all(|suite| suite.sak_len() == first.sak_len()).then_some(first.sak_len())
}

/// Makes a CAK of octets, by the rule of the link.
pub(crate) fn fit_cak(
    mut octets: Zeroizing<Vec<u8>>,
    link: &LinkSettings,
) -> Result<Fitted, CakFault> {
    let len = octets.len();
    let is_key = matches!(len, 16 | 32);
    let target = pad_length(&link.cipher_suites);
    let mut padded_from = None;
    match (link.cak_padding, target) {
        (CakPadding::ZerosRight, Some(target)) if len < target => {
            let mut longer = Zeroizing::new(Vec::with_capacity(target));
            longer.extend_from_slice(&octets);
            longer.resize(target, 0);
            (octets, padded_from) = (longer, Some(len));
        }
        _ if is_key => {}
        (CakPadding::ZerosRight, None) if len < 32 => {
            return Err(CakFault::PadToWhat { octets: len });
        }
        (CakPadding::Refuse, _) if len < 32 => {
            let padded = target.filter(|target| len < *target);
            return Err(CakFault::Short { octets: len, padded });
        }
        (CakPadding::Refuse | CakPadding::ZerosRight, _) => {
            return Err(CakFault::Length { octets: len });
        }
    }
    let cak = Cak::new(octets).map_err(|_| CakFault::Length { octets: len })?;
    Ok(Fitted { cak, padded_from })
}

/// The part of a name that enters the keys made from a CAK: its first 16 octets, zeros after a
/// shorter one (802.1X-2020 9.3.3).
pub(crate) fn key_id(ckn: &Ckn) -> [u8; 16] {
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(ckn.octets()) {
        *to = *from;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_has_an_even_number_of_digits_and_nothing_else() {
        assert_eq!(**decode_hex(b"00fFa9").unwrap(), [0x00, 0xff, 0xa9]);
        assert_eq!(decode_hex(b""), Err(HexFault::Empty));
        assert_eq!(decode_hex(b"0x00"), Err(HexFault::Prefix));
        assert_eq!(decode_hex(b"000"), Err(HexFault::Odd(3)));
        // Where both are wrong, the digit is the likelier slip.
        assert_eq!(decode_hex(b"00 "), Err(HexFault::NotHex(2)));
        assert_eq!(decode_hex(b"+000"), Err(HexFault::NotHex(0)));
    }

    #[test]
    fn a_cak_comes_from_a_file_a_credential_or_the_text_itself() {
        assert_eq!(KeySource::parse("file:/a"), Ok(KeySource::File("/a".into())));
        assert_eq!(KeySource::parse("credential:a.b"), Ok(KeySource::Credential("a.b".to_owned())));
        assert_eq!(KeySource::parse("00ff"), Ok(KeySource::Inline));
        assert_eq!(KeySource::parse("00:ff"), Ok(KeySource::Inline));
        assert_eq!(KeySource::parse("file:a"), Err(SourceFault::NotAbsolute));
        for name in ["", "..", "a/b", "/a"] {
            assert_eq!(KeySource::parse(&format!("credential:{name}")), Err(SourceFault::NotAName));
        }
        assert_eq!(KeySource::parse("exec:/a"), Err(SourceFault::Later("exec")));
        assert_eq!(KeySource::parse("File:/a"), Err(SourceFault::Nearly("file")));
        assert_eq!(KeySource::parse("vault:a"), Err(SourceFault::Unknown));
    }

    #[test]
    fn the_part_of_a_name_that_enters_the_keys_is_16_octets() {
        let long = Ckn::new(&[7; 20]).unwrap();
        assert_eq!(key_id(&long), [7; 16]);
        let short = Ckn::new(&[7, 8]).unwrap();
        assert_eq!(key_id(&short), [7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    fn fit(len: usize, padding: CakPadding, suites: &[CipherSuite]) -> Result<usize, CakFault> {
        let mut link = LinkSettings::with_profile(None);
        link.cak_padding = padding;
        link.cipher_suites = suites.to_vec();
        fit_cak(Zeroizing::new(vec![7; len]), &link).map(|fitted| fitted.cak.len())
    }

    /// The length of a CAK and that of the suite's key are independent of each other.
    #[test]
    fn a_full_cak_is_taken_with_every_suite() {
        for suite in CipherSuite::ALL {
            assert_eq!(fit(16, CakPadding::Refuse, &[suite]), Ok(16));
            assert_eq!(fit(32, CakPadding::Refuse, &[suite]), Ok(32));
            assert_eq!(fit(32, CakPadding::ZerosRight, &[suite]), Ok(32));
            assert_eq!(fit(16, CakPadding::ZerosRight, &[suite]), Ok(suite.sak_len()));
        }
    }

    #[test]
    fn a_short_cak_is_padded_only_where_asked_for_and_only_to_a_known_length() {
        let (one, both) = ([CipherSuite::GcmAes256], CipherSuite::ALL);
        assert_eq!(fit(3, CakPadding::ZerosRight, &one), Ok(32));
        assert_eq!(
            fit(3, CakPadding::Refuse, &one),
            Err(CakFault::Short { octets: 3, padded: Some(32) })
        );
        assert_eq!(
            fit(3, CakPadding::Refuse, &both),
            Err(CakFault::Short { octets: 3, padded: None })
        );
        assert_eq!(fit(3, CakPadding::ZerosRight, &both), Err(CakFault::PadToWhat { octets: 3 }));
        assert_eq!(fit(33, CakPadding::ZerosRight, &one), Err(CakFault::Length { octets: 33 }));
        assert_eq!(
            fit(20, CakPadding::ZerosRight, &[CipherSuite::GcmAes128]),
            Err(CakFault::Length { octets: 20 })
        );
    }
}
