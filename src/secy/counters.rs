//! What a SecY counts.

use serde::{Deserialize, Serialize};

use super::command::Octets;

/// The counters of a SecY, by the names of 802.1AE-2018 10.7.9 and 10.7.18 and of its 2006 edition.
///
/// Each thread counts in its own; a snapshot is their sum, by [`Counters::add`]. The 2018 edition
/// folds `in_pkts_unknown_sci` and `in_pkts_unused_sa` into InPktsNoSA, and `in_pkts_no_sci` and
/// `in_pkts_not_using_sa` into InPktsNoSAError. Octets are those of the user data.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the standard's, and a table in it explains them")]
pub struct Counters {
    pub in_pkts_ok: u64,
    pub in_pkts_unchecked: u64,
    pub in_pkts_delayed: u64,
    pub in_pkts_late: u64,
    pub in_pkts_invalid: u64,
    pub in_pkts_not_valid: u64,
    pub in_pkts_untagged: u64,
    pub in_pkts_no_tag: u64,
    pub in_pkts_bad_tag: u64,
    pub in_pkts_unknown_sci: u64,
    pub in_pkts_no_sci: u64,
    pub in_pkts_unused_sa: u64,
    pub in_pkts_not_using_sa: u64,
    pub in_pkts_overrun: u64,
    pub in_octets_validated: u64,
    pub in_octets_decrypted: u64,
    pub out_pkts_untagged: u64,
    pub out_pkts_too_long: u64,
    pub out_pkts_protected: u64,
    pub out_pkts_encrypted: u64,
    pub out_octets_protected: u64,
    pub out_octets_encrypted: u64,
    /// Not the standard's: received frames too short for an EtherType.
    pub in_pkts_runt: u64,
    /// Not the standard's: received EAPOL, which is the Uncontrolled Port's.
    pub in_pkts_eapol: u64,
    /// Not the standard's: received frames whose tag marks them as the KaY's.
    pub in_pkts_for_kay: u64,
    /// Not the standard's: frames to send too short for an EtherType.
    pub out_pkts_runt: u64,
    /// Not the standard's: EAPOL to send, which is the Uncontrolled Port's.
    pub out_pkts_eapol: u64,
    /// Not the standard's: frames to send while no SA transmits.
    pub out_pkts_no_sa: u64,
    /// Not the standard's: frames to send after the last packet number.
    pub out_pkts_exhausted: u64,
}

impl Counters {
    /// The octets of user data that went protected, either way.
    #[must_use]
    pub const fn octets(&self) -> Octets {
        Octets {
            sent: self.out_octets_protected.wrapping_add(self.out_octets_encrypted),
            received: self.in_octets_validated.wrapping_add(self.in_octets_decrypted),
        }
    }
}

/// Writes a method that visits every counter, so that none can be forgotten in one place.
macro_rules! all_counters {
    ($($name:ident)*) => {
        impl Counters {
            /// Adds another thread's counts to these.
            pub const fn add(&mut self, other: &Self) {
                let Self { $($name),* } = *other;
                $(self.$name = self.$name.wrapping_add($name);)*
            }

            /// Gives each counter with its name, in the order of declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

all_counters! {
    in_pkts_ok in_pkts_unchecked in_pkts_delayed in_pkts_late in_pkts_invalid in_pkts_not_valid
    in_pkts_untagged in_pkts_no_tag in_pkts_bad_tag in_pkts_unknown_sci in_pkts_no_sci
    in_pkts_unused_sa in_pkts_not_using_sa in_pkts_overrun in_octets_validated in_octets_decrypted
    out_pkts_untagged out_pkts_too_long out_pkts_protected out_pkts_encrypted out_octets_protected
    out_octets_encrypted in_pkts_runt in_pkts_eapol in_pkts_for_kay out_pkts_runt out_pkts_eapol
    out_pkts_no_sa out_pkts_exhausted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_two_threads_counts_is_the_secys() {
        let mut sum = Counters { in_pkts_ok: 2, out_octets_encrypted: 1, ..Counters::default() };
        sum.add(&Counters { in_pkts_ok: 40, in_pkts_late: 7, ..Counters::default() });
        let expected = Counters {
            in_pkts_ok: 42,
            in_pkts_late: 7,
            out_octets_encrypted: 1,
            ..Counters::default()
        };
        assert_eq!(sum, expected);
    }

    #[test]
    fn octets_are_those_of_both_ways_of_protection() {
        let counters = Counters {
            out_octets_protected: 1,
            out_octets_encrypted: 20,
            in_octets_validated: 300,
            in_octets_decrypted: 4000,
            ..Counters::default()
        };
        assert_eq!(counters.octets(), Octets { sent: 21, received: 4300 });
    }

    #[test]
    fn each_counter_goes_by_its_name() {
        let counters = Counters { in_pkts_no_sci: 3, out_pkts_exhausted: 4, ..Counters::default() };
        let set: Vec<_> = counters.iter().filter(|(_, count)| *count != 0).collect();
        assert_eq!(set, [("in_pkts_no_sci", 3), ("out_pkts_exhausted", 4)]);
    }
}
