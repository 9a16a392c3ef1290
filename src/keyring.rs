//! The keys of a port, and which is preferred.
//!
//! A port may hold several CAKs at once, each a participant of its own in MKA, so that a key can be
//! changed while traffic flows. The ring is immutable: a reload makes a new one, and the keys in it
//! are shared with the participants that use them, never copied.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::crypto::Cak;
use crate::ident::Ckn;

/// The most keys a port holds: providers keep up to five, and each costs one MKPDU a hello.
pub const KEYS_MAX: usize = 8;

/// A CAK and its name.
#[derive(Debug)]
pub struct Key {
    /// The name, in clear on the wire.
    pub ckn: Ckn,
    /// The key.
    pub cak: Cak,
}

/// The keys of one port in the order of preference, mostly newest first.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: Vec<Arc<Key>>,
    preference: Preference,
}

/// Which key is taken where peers speak several, as far as it is ours to say: a key server that is
/// not us says it itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Preference {
    /// The first one in the ring of those that most peers speak.
    #[default]
    InOrder,
    /// Of those that most peers speak, the one that began to be spoken last, wherever it stands.
    LastSpoken,
}

/// Why keys cannot stand in one ring.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyRingError {
    /// No participant can exist without a key.
    #[error("a port needs at least one key")]
    Empty,
    /// More than [`KEYS_MAX`].
    #[error("a port holds at most {KEYS_MAX} keys, these are {0}")]
    TooMany(usize),
    /// The CKN alone selects the key of an MKPDU.
    #[error("two keys are called {0}")]
    SameName(Ckn),
    /// Only the first 16 octets of a CKN enter the KDF (802.1X-2020 9.3.3).
    #[error(
        "{0} and {1} share the CAK and their first 16 octets, so that their ICKs would be equal"
    )]
    SameIck(Ckn, Ckn),
}

impl KeyRing {
    /// Makes a ring, the key first that is preferred.
    ///
    /// # Errors
    ///
    /// The first rule of [`KeyRingError`] that the keys break.
    pub fn new(keys: Vec<Arc<Key>>) -> Result<Self, KeyRingError> {
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        if keys.len() > KEYS_MAX {
            return Err(KeyRingError::TooMany(keys.len()));
        }
        for (index, key) in keys.iter().enumerate() {
            for other in keys.iter().skip(index + 1) {
                if key.ckn == other.ckn {
                    return Err(KeyRingError::SameName(key.ckn.clone()));
                }
                if derives_alike(&key.ckn, &other.ckn) && key.cak.same_as(&other.cak) {
                    return Err(KeyRingError::SameIck(key.ckn.clone(), other.ckn.clone()));
                }
            }
        }
        Ok(Self { keys, preference: Preference::default() })
    }

    /// The same keys with another preference.
    #[must_use]
    pub fn preferring(self, preference: Preference) -> Self {
        Self { preference, ..self }
    }

    /// Which of the keys is taken where peers speak several.
    #[must_use]
    pub fn preference(&self) -> Preference {
        self.preference
    }

    /// The keys, the preferred one first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.iter()
    }
}

/// Tells whether two names give the KDF the same context: their first 16 octets, zero padded.
fn derives_alike(a: &Ckn, b: &Ckn) -> bool {
    let context = |ckn: &Ckn| {
        let mut octets = [0; 16];
        for (to, from) in octets.iter_mut().zip(ckn.octets()) {
            *to = *from;
        }
        octets
    };
    context(a) == context(b)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn key(ckn: &[u8], cak: u8) -> Arc<Key> {
        let cak = Cak::new(Zeroizing::new(vec![cak; 16])).unwrap();
        Arc::new(Key { ckn: Ckn::new(ckn).unwrap(), cak })
    }

    #[test]
    fn a_ring_is_neither_empty_nor_larger_than_its_limit() {
        assert_eq!(KeyRing::new(vec![]).unwrap_err(), KeyRingError::Empty);
        let nine = (0..9).map(|n| key(&[n], n)).collect();
        assert_eq!(KeyRing::new(nine).unwrap_err(), KeyRingError::TooMany(9));
    }

    #[test]
    fn two_keys_of_one_name_are_refused_even_if_they_differ() {
        let refused = KeyRing::new(vec![key(b"a", 1), key(b"a", 2)]).unwrap_err();
        assert_eq!(refused, KeyRingError::SameName(Ckn::new(b"a").unwrap()));
    }

    #[test]
    fn names_that_differ_late_may_not_share_a_cak() {
        let (long, longer) = (key(&[7; 17], 1), key(&[7; 18], 1));
        assert!(matches!(
            KeyRing::new(vec![long.clone(), longer]).unwrap_err(),
            KeyRingError::SameIck(..)
        ));
        assert!(matches!(
            KeyRing::new(vec![key(b"a", 1), key(b"a\0", 1)]).unwrap_err(),
            KeyRingError::SameIck(..)
        ));
        assert!(KeyRing::new(vec![long, key(&[7; 18], 2)]).is_ok());
        assert!(KeyRing::new(vec![key(b"a", 1), key(b"b", 1)]).is_ok(), "names that differ early");
    }
}
