//! What the kernel makes otherwise of SecTAGs.

use Change::{Counts, Delivers, Keeps, Lowest, Next};
use Who::Kernel;

use super::{Change, Difference, Place};
use crate::secy::Who;

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        who: Kernel,
        what: "The kernel takes a short length of 48 or more where it is the length of the data.",
        why: "It compares the length, and knows no upper limit.",
        shows: &[
            Place {
                scripts: &[
                    "a_tag_that_breaks_a_rule_is_bad",
                    "a_tag_that_breaks_a_rule_is_bad_with_xpn_too",
                ],
                steps: &["a short length of 48"],
                changes: &[
                    Counts("in_pkts_bad_tag", -1),
                    Counts("in_pkts_not_valid", 1),
                    Counts("in_octets_decrypted", 48),
                ],
            },
            Place {
                scripts: &[
                    "a_tag_that_breaks_a_rule_is_bad",
                    "a_tag_that_breaks_a_rule_is_bad_with_xpn_too",
                ],
                steps: &["a short length of 63"],
                changes: &[
                    Counts("in_pkts_bad_tag", -1),
                    Counts("in_pkts_not_valid", 1),
                    Counts("in_octets_decrypted", 63),
                ],
            },
            Place {
                scripts: &["a_tag_that_breaks_a_rule_is_bad_even_where_nothing_is_checked"],
                steps: &["a short length of 48", "a short length of 63"],
                changes: &[
                    Delivers(0, 0),
                    Counts("in_pkts_bad_tag", -1),
                    Counts("in_pkts_unchecked", 1),
                ],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "To the kernel a frame with a short length and anything behind the ICV has a bad \
               tag.",
        why: "It compares the length exactly, though a medium may pad short frames.",
        shows: &[
            Place {
                scripts: &[
                    "a_tag_that_breaks_a_rule_is_bad",
                    "a_tag_that_breaks_a_rule_is_bad_with_xpn_too",
                ],
                steps: &["a short length of a long frame"],
                changes: &[Counts("in_pkts_not_valid", -1), Counts("in_pkts_bad_tag", 1)],
            },
            Place {
                scripts: &[
                    "a_tag_that_breaks_a_rule_is_bad",
                    "a_tag_that_breaks_a_rule_is_bad_with_xpn_too",
                ],
                steps: &["a short frame with padding"],
                changes: &[
                    Keeps(0),
                    Counts("in_pkts_ok", -1),
                    Counts("in_octets_decrypted", -28),
                    Counts("in_pkts_bad_tag", 1),
                    Next(0, 31),
                    Lowest(0, 31),
                ],
            },
            Place {
                scripts: &["a_tag_that_breaks_a_rule_is_bad_even_where_nothing_is_checked"],
                steps: &["a short length of a long frame", "a short frame with padding"],
                changes: &[Keeps(0), Counts("in_pkts_unchecked", -1), Counts("in_pkts_bad_tag", 1)],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "The kernel does not count frames that end in the tag, or less than two octets \
               behind it.",
        why: "It drops them before it knows whose they are.",
        shows: &[
            Place {
                scripts: &[
                    "a_tag_that_breaks_a_rule_is_bad",
                    "a_tag_that_breaks_a_rule_is_bad_with_xpn_too",
                    "a_tag_that_breaks_a_rule_is_bad_even_where_nothing_is_checked",
                ],
                steps: &["cut at the end of the tag"],
                changes: &[Counts("in_pkts_bad_tag", -1)],
            },
            Place {
                scripts: &[
                    "a_tag_that_breaks_a_rule_is_bad",
                    "a_tag_that_breaks_a_rule_is_bad_with_xpn_too",
                    "a_tag_that_breaks_a_rule_is_bad_even_where_nothing_is_checked",
                ],
                steps: &["cut in the tag"],
                changes: &[Counts("in_pkts_bad_tag", -14)],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "To the kernel a bad tag of an unknown channel is one of an unknown channel.",
        why: "Several SecYs may share an interface, so that the channel is looked for first.",
        shows: &[Place {
            scripts: &["a_bad_tag_of_a_stranger_is_a_bad_tag"],
            steps: &["a version", "a short length", "packet number 0"],
            changes: &[Counts("in_pkts_bad_tag", -1), Counts("in_pkts_no_sci", 1)],
        }],
    },
    Difference {
        who: Kernel,
        what: "The kernel does not count frames that leave the channel to be inferred, where \
               there is not just one.",
        why: "It drops them before it knows whose they are.",
        shows: &[Place {
            scripts: &["a_tag_without_sci_is_the_only_members_wherever_it_comes_from"],
            steps: &["no member", "two members"],
            changes: &[Counts("in_pkts_no_sci", -1)],
        }],
    },
    Difference {
        who: Kernel,
        what: "To the kernel a single copy broadcast is of the only channel there is, or of port \
               1 with the end station's bit.",
        why: "It does not read the bit for single copy broadcasts.",
        shows: &[
            Place {
                scripts: &["a_tag_of_a_single_copy_means_its_address_and_port_0"],
                steps: &["there is none but port 1"],
                changes: &[
                    Delivers(0, 0),
                    Counts("in_pkts_no_sci", -1),
                    Counts("in_pkts_ok", 1),
                    Counts("in_octets_decrypted", 88),
                    Next(0, 2),
                    Lowest(0, 2),
                ],
            },
            Place {
                scripts: &["a_tag_of_a_single_copy_means_its_address_and_port_0"],
                steps: &["port 0 as an end station too"],
                changes: &[Counts("in_pkts_not_valid", -1), Counts("in_pkts_no_sci", 1)],
            },
            Place {
                scripts: &["a_tag_of_a_single_copy_means_its_address_and_port_0"],
                steps: &["two members"],
                changes: &[
                    Keeps(0),
                    Counts("in_pkts_ok", -1),
                    Counts("in_octets_decrypted", -88),
                    Next(0, 2),
                    Lowest(0, 2),
                ],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "The kernel does not count frames that are left to the KaY.",
        why: "It passes them on to the interface below.",
        shows: &[
            Place {
                scripts: &["encrypted_yet_unchanged_is_left_to_the_kay_however_wrong_the_rest"],
                steps: &["for the KaY"],
                changes: &[Counts("in_pkts_for_kay", -2)],
            },
            Place {
                scripts: &["encrypted_yet_unchanged_is_left_to_the_kay_however_wrong_the_rest"],
                steps: &["with a version", "cut short"],
                changes: &[Counts("in_pkts_for_kay", -1)],
            },
        ],
    },
];
