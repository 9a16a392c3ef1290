//! Which key identifiers have been used.

use std::collections::{BTreeMap, VecDeque};

use crate::ident::{KeyId, KeyNumber, MemberId};

/// How many key servers are remembered. A peer takes a new MI with every start, so this is that
/// many restarts of it; 32 octets each.
pub const KEY_SERVERS_MAX: usize = 16_384;

/// The highest key number used of each key server. Lower ones count as used too: a server numbers
/// its keys upwards (802.1X-2020 9.8).
///
/// Past [`KEY_SERVERS_MAX`] the server met longest ago is forgotten. Its SAKs cannot come back all
/// the same, because MKA takes one only from a peer that has just proved to hear what we say now.
#[derive(Clone, Debug, Default)]
pub struct UsedKeys {
    highest: BTreeMap<MemberId, KeyNumber>,
    /// In the order in which they were met.
    servers: VecDeque<MemberId>,
}

impl UsedKeys {
    /// Tells whether the key was never used.
    #[must_use]
    pub fn is_fresh(&self, ki: KeyId) -> bool {
        self.highest.get(&ki.server).is_none_or(|&used| ki.number > used)
    }

    /// The key used last of each key server, of those met last, this many at most.
    #[must_use]
    pub fn latest(&self, most: usize) -> Vec<KeyId> {
        let met = self.servers.iter().skip(self.servers.len().saturating_sub(most));
        let key = |server: &MemberId| {
            self.highest.get(server).map(|&number| KeyId { server: *server, number })
        };
        met.filter_map(key).collect()
    }

    /// Writes the key down as used.
    pub fn spend(&mut self, ki: KeyId) {
        let highest = self.highest.entry(ki.server).or_insert_with(|| {
            self.servers.push_back(ki.server);
            ki.number
        });
        *highest = ki.number.max(*highest);
        if self.servers.len() > KEY_SERVERS_MAX
            && let Some(oldest) = self.servers.pop_front()
        {
            self.highest.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ki(server: u32, number: u32) -> KeyId {
        let mut octets = [0; 12];
        octets[..4].copy_from_slice(&server.to_be_bytes());
        KeyId { server: MemberId::from_octets(octets), number: KeyNumber(number) }
    }

    #[test]
    fn a_key_number_is_used_once_and_lower_ones_never_after_it() {
        let mut used = UsedKeys::default();
        used.spend(ki(1, 5));
        assert!(!used.is_fresh(ki(1, 5)));
        assert!(!used.is_fresh(ki(1, 4)));
        assert!(used.is_fresh(ki(1, 6)));
        assert!(used.is_fresh(ki(2, 1)));
        used.spend(ki(1, 2));
        assert!(!used.is_fresh(ki(1, 5)), "the highest number stays");
    }

    #[test]
    fn the_server_met_longest_ago_is_forgotten_past_the_limit() {
        let mut used = UsedKeys::default();
        let last = u32::try_from(KEY_SERVERS_MAX).unwrap();
        (0..=last).for_each(|server| used.spend(ki(server, 1)));
        assert!(used.is_fresh(ki(0, 1)));
        assert!(!used.is_fresh(ki(1, 1)));
        assert!(!used.is_fresh(ki(last, 1)));
        assert_eq!(used.highest.len(), KEY_SERVERS_MAX);
    }
}
