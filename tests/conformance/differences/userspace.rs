//! Where userspace differs, to save work.

use Change::{Counts, Sent};
use Who::Userspace;

use super::{Change, Difference, Place};
use crate::secy::Who;

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        who: Userspace,
        what: "With strict validation userspace does not see frames without a tag, and does not \
               count them.",
        why: "It opens no socket for them, so that they cost nothing.",
        shows: &[
            Place {
                scripts: &["strict_validation_refuses_frames_without_a_tag"],
                steps: &["two without a tag"],
                changes: &[Counts("in_pkts_no_tag", -2)],
            },
            Place {
                scripts: &["strict_validation_refuses_frames_without_a_tag"],
                steps: &["without data"],
                changes: &[Counts("in_pkts_no_tag", -1)],
            },
        ],
    },
    Difference {
        who: Userspace,
        what: "Userspace does not count received EAPOL.",
        why: "Its sockets' filters leave EAPOL to the socket of the KaY.",
        shows: &[Place {
            scripts: &[
                "eapol_is_not_for_a_strict_controlled_port",
                "eapol_is_not_for_a_lenient_controlled_port",
            ],
            steps: &["eapol"],
            changes: &[Counts("in_pkts_eapol", -1)],
        }],
    },
    Difference {
        who: Userspace,
        what: "In userspace a frame to send that is refused may cost a packet number.",
        why: "Numbers are spent on a whole batch before its frames are looked at; one that is \
              not used is lost, which is harmless.",
        shows: &[Place {
            scripts: &["eapol_is_not_sent_through_the_controlled_port"],
            steps: &["eapol"],
            changes: &[Sent(2)],
        }],
    },
];
