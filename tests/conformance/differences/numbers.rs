//! What the kernel makes otherwise of packet numbers.

use Change::{Counts, Delivers, Keeps, Lowest, Next};
use Who::Kernel;

use super::{Change, Difference, Place};
use crate::secy::Who;

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        who: Kernel,
        what: "The kernel shows as the next packet number one that is a window above the lowest \
               that MKA gave, until a higher one has come.",
        why: "It keeps no lowest number: it takes what is not further below the next one than \
              the window.",
        shows: &[
            Place {
                scripts: &["with_a_window_a_member_starts_at_its_lowest_packet_number_too"],
                steps: &["install", "around 20"],
                changes: &[Next(0, 20 + 64)],
            },
            Place {
                scripts: &["with_a_window_a_member_starts_at_its_lowest_packet_number_too"],
                steps: &["raise to 150", "around 150", "not back to 100", "around 150 again"],
                changes: &[Next(0, 150 + 64)],
            },
            Place {
                scripts: &["with_a_window_a_leaver_returns_to_where_it_was"],
                steps: &["it returns", "too old", "in the window"],
                changes: &[Next(0, 101)],
            },
            Place {
                scripts: &["frames_from_before_2_to_the_32_are_in_the_window_after_it"],
                steps: &["install"],
                changes: &[Next(0, (1 << 32) - 200 + 64)],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "In the kernel a member whose lowest packet number is less than a window below a \
               multiple of 2^32 is received from that multiple on.",
        why: "The next number is above the multiple then, and the upper half of a number is \
              recovered from it.",
        shows: &[
            Place {
                scripts: &["with_a_window_a_member_may_start_just_before_2_to_the_32"],
                steps: &["install", "after it"],
                changes: &[Next(0, (1 << 32) - 3 + 64)],
            },
            Place {
                scripts: &["with_a_window_a_member_may_start_just_before_2_to_the_32"],
                steps: &["before it"],
                changes: &[
                    Keeps(0),
                    Keeps(0),
                    Keeps(0),
                    Counts("in_pkts_ok", -3),
                    Counts("in_pkts_not_valid", 3),
                    Next(0, (1 << 32) - 3 + 64),
                ],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "In the kernel the lowest packet number is not raised to one that is in the window \
               already.",
        why: "The next number would have to be written, while frames that arrive raise it.",
        shows: &[
            Place {
                scripts: &["a_lowest_packet_number_in_the_window_counts_too"],
                steps: &["raise to 290"],
                changes: &[Lowest(0, 301 - 64)],
            },
            Place {
                scripts: &["a_lowest_packet_number_in_the_window_counts_too"],
                steps: &["around 290"],
                changes: &[
                    Delivers(0, 0),
                    Counts("in_pkts_late", -1),
                    Counts("in_pkts_ok", 1),
                    Counts("in_octets_decrypted", 88),
                    Lowest(0, 301 - 64),
                ],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "In the kernel a wider window lets in at once what was too late before, and a \
               narrower one refuses at once what was not.",
        why: "The lowest number follows from the next one and the window of the moment. The \
              model refuses as much after a narrowing, but only once it has decrypted.",
        shows: &[
            Place {
                scripts: &["a_wider_window_does_not_let_in_what_was_too_late_before"],
                steps: &["a wider window"],
                changes: &[Lowest(0, 101 - 64)],
            },
            Place {
                scripts: &["a_wider_window_does_not_let_in_what_was_too_late_before"],
                steps: &["in it, and too late before"],
                changes: &[
                    Delivers(0, 0),
                    Counts("in_pkts_late", -1),
                    Counts("in_pkts_ok", 1),
                    Counts("in_octets_decrypted", 88),
                    Lowest(0, 101 - 64),
                ],
            },
            Place {
                scripts: &["a_wider_window_does_not_let_in_what_was_too_late_before"],
                steps: &["a narrower window"],
                changes: &[Lowest(0, 201)],
            },
            Place {
                scripts: &["a_wider_window_does_not_let_in_what_was_too_late_before"],
                steps: &["in the old one"],
                // The model finds out only after the check, when the window has its say again.
                changes: &[Lowest(0, 201), Counts("in_octets_decrypted", -88)],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "The kernel takes the last packet number of 32 bits again and again.",
        why: "The number after it is 0 in 32 bits, and is not taken as the next one.",
        shows: &[
            Place {
                scripts: &["after_the_last_of_32_bits_no_frame_is_received"],
                steps: &["the last", "the last but one again", "a low one"],
                changes: &[Next(0, 0xffff_ffff), Lowest(0, 0xffff_ffff)],
            },
            Place {
                scripts: &["after_the_last_of_32_bits_no_frame_is_received"],
                steps: &["the last again"],
                changes: &[
                    Delivers(0, 0),
                    Counts("in_pkts_late", -1),
                    Counts("in_pkts_ok", 1),
                    Counts("in_octets_decrypted", 88),
                    Next(0, 0xffff_ffff),
                    Lowest(0, 0xffff_ffff),
                ],
            },
        ],
    },
    Difference {
        who: Kernel,
        what: "In the kernel a window ends at a multiple of 2^32: what comes late from before it \
               is not valid after it.",
        why: "The upper half of a number is recovered from the next one, and not from the \
              lowest.",
        shows: &[Place {
            scripts: &["frames_from_before_2_to_the_32_are_in_the_window_after_it"],
            steps: &["from before it, in the window", "from before it, again"],
            changes: &[Keeps(0), Counts("in_pkts_ok", -1), Counts("in_pkts_not_valid", 1)],
        }],
    },
    Difference {
        who: Kernel,
        what: "The kernel may count the first XPN frame after a multiple of 2^32 as delayed.",
        why: "It counts by the lower halves, and does so before the next number is past the \
              multiple.",
        shows: &[
            Place {
                scripts: &["a_gap_across_2_to_the_32_is_no_hindrance"],
                steps: &["after"],
                changes: &[Counts("in_pkts_ok", -1), Counts("in_pkts_delayed", 1)],
            },
            Place {
                scripts: &["frames_from_before_2_to_the_32_are_in_the_window_after_it"],
                steps: &["after it"],
                changes: &[Counts("in_pkts_ok", -1), Counts("in_pkts_delayed", 1)],
            },
        ],
    },
];
