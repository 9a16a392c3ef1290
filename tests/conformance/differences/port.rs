//! What the kernel sends and delivers otherwise, at the Controlled Port and with its keys.

use Change::{
    Counts, Delivers, Forgets, HasNoKey, Keeps, Loses, Lowest, Next, Refuses, Sends, Sent, Silent,
    Withholds,
};
use Who::Kernel;

use super::{Change, Difference, Place};
use crate::secy::{IN_PORT_CLOSED, Who};

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        who: Kernel,
        what: "With the Controlled Port closed the kernel still delivers what arrives under a \
               good SA.",
        why: "Its receiver knows nothing of the Controlled Port, and the SAs must stay, as the \
              others are told that we receive.",
        shows: &[Place {
            scripts: &["a_good_frame_is_not_delivered_by_a_closed_port"],
            steps: &["closed"],
            changes: &[
                Delivers(0, 0),
                Delivers(1, 0),
                Counts(IN_PORT_CLOSED, -2),
                Counts("in_pkts_ok", 2),
                Counts("in_octets_decrypted", 176),
                Next(0, 3),
                Lowest(0, 3),
            ],
        }],
    },
    Difference {
        who: Kernel,
        what: "While the Controlled Port is closed the kernel counts frames to send as without \
               an SA, and frames without a tag as if validation were strict.",
        why: "A closed port is made by sending with an association that has no SA, and by \
              validating strictly.",
        shows: &[
            Place {
                scripts: &["nothing_leaves_a_closed_port_and_what_comes_is_dropped"],
                steps: &["closed at first", "closed"],
                changes: &[Counts("out_pkts_no_sa", 1)],
            },
            Place {
                scripts: &["nothing_passes_a_closed_port_in_clear"],
                steps: &["closed", "closed again"],
                changes: &[Counts("out_pkts_no_sa", 1)],
            },
            Place {
                scripts: &["nothing_passes_a_closed_port_in_clear"],
                steps: &["closed, received", "closed again, received"],
                changes: &[Counts(IN_PORT_CLOSED, -1), Counts("in_pkts_no_tag", 1)],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "The kernel sends EAPOL that is given to the secure interface, and delivers to it \
               what comes in clear where validation is not strict.",
        why: "It does not look at the EtherType of what it protects or lets pass.",
        shows: &[
            Place {
                scripts: &["eapol_is_not_sent_through_the_controlled_port"],
                steps: &["eapol"],
                changes: &[
                    Sends(0, 0),
                    Sent(2),
                    Counts("out_pkts_eapol", -1),
                    Counts("out_pkts_encrypted", 1),
                    Counts("out_octets_encrypted", 88),
                ],
            },
            Place {
                scripts: &["without_protection_frames_go_and_come_as_they_are"],
                steps: &["eapol"],
                changes: &[
                    Sends(0, 0),
                    Counts("out_pkts_eapol", -1),
                    Counts("out_pkts_untagged", 1),
                ],
            },
            Place {
                scripts: &["eapol_is_not_for_a_strict_controlled_port"],
                steps: &["eapol"],
                changes: &[Counts("in_pkts_eapol", -1), Counts("in_pkts_no_tag", 1)],
            },
            Place {
                scripts: &["eapol_is_not_for_a_lenient_controlled_port"],
                steps: &["eapol"],
                changes: &[
                    Delivers(0, 0),
                    Counts("in_pkts_eapol", -1),
                    Counts("in_pkts_untagged", 1),
                ],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "The kernel's data plane refuses a key with a confidentiality offset.",
        why: "The kernel has none, and would encrypt all of each frame.",
        shows: &[
            Place {
                scripts: &["a_key_with_a_confidentiality_offset_gives_way_to_one_without"],
                steps: &["install key 1"],
                changes: &[
                    Refuses("the kernel has no confidentiality offset other than 0"),
                    Forgets(0),
                ],
            },
            Place {
                scripts: &["a_key_with_a_confidentiality_offset_gives_way_to_one_without"],
                steps: &["remove key 1"],
                changes: &[HasNoKey(1)],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "In the kernel the first key of another suite is the end of the keys of the suite \
               before.",
        why: "The suite of an interface cannot change, so that another is made.",
        shows: &[
            Place {
                scripts: &["a_rekey_to_another_suite"],
                steps: &["install key 2"],
                changes: &[Silent, Forgets(0), Loses(1)],
            },
            Place {
                scripts: &["a_rekey_to_another_suite"],
                steps: &["still with the old"],
                changes: &[
                    Withholds(0),
                    Silent,
                    Forgets(0),
                    Counts("out_pkts_encrypted", -1),
                    Counts("out_octets_encrypted", -88),
                    Counts("out_pkts_no_sa", 1),
                ],
            },
            Place {
                scripts: &["a_rekey_to_another_suite"],
                steps: &["both received"],
                changes: &[
                    Keeps(0),
                    Forgets(0),
                    Silent,
                    Counts("in_pkts_ok", -1),
                    Counts("in_octets_decrypted", -88),
                    Counts("in_pkts_not_using_sa", 1),
                ],
            },
            Place {
                scripts: &["a_rekey_to_another_suite"],
                steps: &["send with key 2"],
                changes: &[Forgets(0)],
            },
        ],
    },
];
