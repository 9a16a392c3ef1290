//! Sees whatever the keys have been used for, and panics where that must never be.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Sa, Secy};

/// What makes a nonce together with the packet number: the key, and the SCI or its short form with
/// the salt.
type Stream = (Vec<u8>, Vec<u8>);

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Of each stream the numbers used, as runs from the first to the last.
    used: BTreeMap<Stream, BTreeMap<u64, u64>>,
    /// Whether whoever asks over the sockets is held to the rules of a good daemon.
    pub(super) strict: bool,
    /// Whether it sees nothing at all.
    pub(super) off: bool,
    /// The keys of transmit associations that were ever added over the sockets.
    added: BTreeSet<Vec<u8>>,
    /// Those that were switched off again, by whomever.
    ended: BTreeSet<Vec<u8>>,
}

impl Oracle {
    /// Frames go out with these numbers.
    pub(super) fn spend(&mut self, secy: &Secy, sa: &Sa, first: u64, last: u64) {
        if self.off {
            return;
        }
        let runs = self.used.entry(stream(secy, sa)).or_default();
        let before = runs.range(..=last).next_back();
        if let Some((from, to)) = before.filter(|(_, to)| **to >= first) {
            panic!(
                "a nonce repeats: packet numbers {first} to {last} of key {:02x?}, of which {from} \
                 to {to} were sent before",
                sa.key_id
            );
        }
        runs.insert(first, last);
    }

    /// What cleans up after a panic is not to cause another.
    fn is_strict(&self) -> bool {
        self.strict && !std::thread::panicking()
    }

    /// A transmit association is added over a socket.
    pub(super) fn added(&mut self, sa: &Sa) {
        let fresh = self.added.insert(sa.key.clone());
        if self.is_strict() {
            assert!(fresh, "key {:02x?} is installed to transmit a second time", sa.key_id);
            assert!(sa.next_pn == 1, "a new key starts at {} and not at 1", sa.next_pn);
        }
    }

    /// A transmit association is switched on over a socket.
    pub(super) fn switched_on(&self, sa: &Sa) {
        if self.is_strict() {
            let ended = self.ended.contains(&sa.key);
            assert!(!ended, "key {:02x?} is switched on again to transmit", sa.key_id);
        }
    }

    /// A transmit association has come to its end, or somebody has switched it off.
    pub(super) fn switched_off(&mut self, sa: &Sa) {
        self.ended.insert(sa.key.clone());
    }

    /// The number of a transmit association is written over a socket.
    pub(super) fn tx_number_set(&self, sa: &Sa) {
        assert!(
            !self.is_strict(),
            "the packet number of key {:02x?} is set to transmit",
            sa.key_id
        );
    }

    /// The number of a receive association is written over a socket.
    pub(super) fn rx_number_set(&self, sa: &Sa, to: u64) {
        let lowered = to < sa.next_pn;
        assert!(
            !(self.is_strict() && lowered),
            "a receive number falls from {} to {to}",
            sa.next_pn
        );
    }
}

fn stream(secy: &Secy, sa: &Sa) -> Stream {
    if !secy.is_xpn() {
        return (sa.key.clone(), secy.sci.to_vec());
    }
    let mixed = sa.ssci.iter().zip(&sa.salt).map(|(a, b)| a ^ b);
    (sa.key.clone(), mixed.chain(sa.salt.iter().skip(4).copied()).collect())
}
