//! Who is key server (802.1X-2020 9.5).

use serde::{Deserialize, Serialize};

use crate::ident::{KeyServerPriority, MemberId, Sci};

/// One who could be key server.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Candidate {
    /// `None` for ourselves.
    pub(super) mi: Option<MemberId>,
    pub(super) priority: KeyServerPriority,
    pub(super) sci: Sci,
}

impl Candidate {
    pub(super) fn is_own(&self) -> bool {
        self.mi.is_none()
    }

    /// What it is compared by; the least wins.
    pub(super) fn rank(&self) -> (KeyServerPriority, Sci) {
        (self.priority, self.sci)
    }
}

/// Elects the candidate of the lowest priority, and of those the numerically lowest SCI.
///
/// Priority 255 asks not to serve, yet some implementations ship it as their default and serve:
/// such a peer is taken where there is nobody else. We ourselves never stand with it.
pub(super) fn elect(candidates: impl IntoIterator<Item = Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(Candidate::rank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::MacAddress;

    fn candidate(mi: Option<u8>, priority: u8, address: u8) -> Candidate {
        Candidate {
            mi: mi.map(|octet| MemberId::from_octets([octet; 12])),
            priority: KeyServerPriority(priority),
            sci: Sci::new(MacAddress([2, 0, 0, 0, 0, address]), 1),
        }
    }

    /// 802.1X-2020 9.5.
    #[test]
    fn the_lowest_priority_wins_and_then_the_lowest_sci() {
        let (own, low, near) =
            (candidate(None, 16, 1), candidate(Some(1), 15, 9), candidate(Some(2), 15, 8));
        assert_eq!(elect([own, low]), Some(low));
        assert_eq!(elect([own, low, near]), Some(near));
        assert_eq!(elect([own]), Some(own));
        assert_eq!(elect([]), None);
    }

    #[test]
    fn a_peer_of_priority_255_serves_only_where_nobody_else_does() {
        let (own, never) = (candidate(None, 254, 2), candidate(Some(1), 255, 1));
        assert_eq!(elect([own, never]), Some(own));
        assert_eq!(elect([never]), Some(never));
    }
}
