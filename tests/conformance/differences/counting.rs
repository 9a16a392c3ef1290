//! What the kernel counts otherwise.

use Change::Counts;
use Who::Kernel;

use super::{Change, Difference, Place};
use crate::secy::Who;

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        who: Kernel,
        what: "The kernel counts the octets of frames that fail the check as decrypted or \
               validated.",
        why: "It counts them before it looks at the outcome.",
        shows: &[
            Place {
                scripts: &[
                    "strict_validation_delivers_nothing_wrong",
                    "checking_delivers_nothing_wrong_that_is_encrypted",
                ],
                steps: &[
                    "damaged in the address",
                    "damaged in the data",
                    "damaged in the ICV",
                    "damaged in the packet number",
                    "another key",
                ],
                changes: &[Counts("in_octets_decrypted", 88)],
            },
            Place {
                scripts: &[
                    "strict_validation_delivers_nothing_wrong_in_clear",
                    "checking_delivers_what_is_wrong_and_in_clear",
                ],
                steps: &[
                    "damaged in the address",
                    "damaged in the data",
                    "damaged in the ICV",
                    "damaged in the packet number",
                ],
                changes: &[Counts("in_octets_validated", 88)],
            },
            Place {
                scripts: &[
                    "strict_validation_delivers_nothing_wrong_in_clear",
                    "checking_delivers_what_is_wrong_and_in_clear",
                ],
                steps: &["another key"],
                changes: &[Counts("in_octets_decrypted", 88)],
            },
            Place {
                scripts: &["changed_yet_unencrypted_is_not_valid_under_any_of_our_suites"],
                steps: &["changed"],
                changes: &[Counts("in_octets_validated", 88)],
            },
            Place {
                scripts: &["a_gap_across_2_to_the_32_is_no_hindrance"],
                steps: &["far on, which cannot be told"],
                changes: &[Counts("in_octets_decrypted", 88)],
            },
            Place {
                scripts: &["an_xpn_frame_whose_low_half_is_all_ones_is_received_once"],
                steps: &["twice", "three times", "and once more"],
                changes: &[Counts("in_octets_decrypted", 88)],
            },
            Place {
                scripts: &["an_xpn_frame_whose_low_half_is_all_ones_is_received_once_in_clear"],
                steps: &["and again"],
                changes: &[Counts("in_octets_validated", 88)],
            },
            Place {
                scripts: &["frames_from_before_2_to_the_32_are_not_valid_after_it"],
                steps: &["those from before it again"],
                changes: &[Counts("in_octets_decrypted", 440)],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "With validation disabled the kernel counts no octets, not even those that it \
               decrypts.",
        why: "It asks for the setting and not for what was done.",
        shows: &[
            Place {
                scripts: &["without_validation_encrypted_frames_are_checked_all_the_same"],
                steps: &["good"],
                changes: &[Counts("in_octets_decrypted", -88)],
            },
            Place {
                scripts: &["without_validation_encrypted_frames_are_checked_all_the_same"],
                steps: &["good again"],
                changes: &[Counts("in_octets_decrypted", -96)],
            },
        ],
    },
];
