//! Every reason to refuse an MKPDU or a part of one, each with a counter.

use crate::wire::{EapolError, MkpduError};

macro_rules! discards {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why an MKPDU, or one of its parameter sets, was not acted upon. In the order of the
        /// checks: from `Icv` on, the sender holds our key.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
        pub enum Discard { $($(#[$doc])* $variant,)* }

        impl Discard {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Whether the MKPDU was authentic, and only then refused.
            #[must_use]
            pub fn is_authentic(self) -> bool {
                self > Self::Icv
            }

            /// The name that counters go by.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

discards! {
    /// The frame is too short to be EAPOL or shorter than it says.
    Truncated = "truncated",
    /// The frame is not EAPOL.
    EtherType = "ethertype",
    /// An EAPOL version that does not carry MKA.
    EapolVersion = "eapol_version",
    /// EAPOL, but not MKA.
    PacketType = "packet_type",
    /// The destination is no group address.
    Destination = "destination",
    /// The MKPDU is shorter than the shortest possible.
    TooShort = "too_short",
    /// The length is no multiple of four.
    NotMultipleOf4 = "not_multiple_of_4",
    /// The Basic Parameter Set does not fit.
    BasicLength = "basic_length",
    /// The CKN is empty or too long.
    CknLength = "ckn_length",
    /// The CKN is none of ours.
    UnknownCkn = "unknown_ckn",
    /// An algorithm set that nobody has defined yet.
    AlgorithmAgility = "algorithm_agility",
    /// The ICV is not that of our key.
    Icv = "icv",
    /// MKA version 0.
    MkaVersion = "mka_version",
    /// A parameter set does not fit or contradicts itself.
    ParameterSet = "parameter_set",
    /// The sender has our own address: a reflection, or a duplicate.
    OwnAddress = "own_address",
    /// The sender has our own MI: one of us must change it, and we do.
    OwnMemberId = "own_member_id",
    /// Not newer than what the member has sent before.
    Replayed = "replayed",
    /// There is no room for another member.
    PeersFull = "peers_full",
    /// An SAK from one who is not our live key server, or does not list us as live.
    SakNotFromServer = "sak_not_from_server",
    /// An SAK for a suite that nobody knows, or that policy does not allow.
    SakSuite = "sak_suite",
    /// An SAK with a confidentiality offset that we cannot do or the suite does not allow.
    SakOffset = "sak_offset",
    /// An SAK that our KEK does not unwrap.
    SakUnwrap = "sak_unwrap",
    /// An SAK whose key number the server has used before.
    SakReused = "sak_reused",
    /// An XPN SAK for members of whom one was never heard, so that our SSCI cannot be told yet.
    SakMembersUnknown = "sak_members_unknown",
    /// The server says that MACsec is not to be used, and policy says that it must be.
    PlainText = "plain_text",
}

impl From<EapolError> for Discard {
    fn from(error: EapolError) -> Self {
        match error {
            EapolError::Truncated | EapolError::Length => Self::Truncated,
            EapolError::EtherType => Self::EtherType,
            EapolError::Version => Self::EapolVersion,
            EapolError::PacketType => Self::PacketType,
            EapolError::Destination => Self::Destination,
        }
    }
}

impl From<MkpduError> for Discard {
    fn from(error: MkpduError) -> Self {
        match error {
            MkpduError::TooShort => Self::TooShort,
            MkpduError::NotMultipleOf4 => Self::NotMultipleOf4,
            MkpduError::BasicLength => Self::BasicLength,
            MkpduError::CknLength => Self::CknLength,
            MkpduError::Version0 => Self::MkaVersion,
            MkpduError::AlgorithmAgility => Self::AlgorithmAgility,
            MkpduError::ParameterSet { .. } => Self::ParameterSet,
        }
    }
}

/// How often each [`Discard`] has happened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// Counts one.
    pub fn count(&mut self, discard: Discard) {
        if let Some(counter) = self.0.get_mut(discard as usize) {
            *counter += 1;
        }
    }

    /// How often `discard` has happened.
    #[must_use]
    pub fn of(&self, discard: Discard) -> u64 {
        self.0.get(discard as usize).copied().unwrap_or_default()
    }

    /// All counters with their names, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        Discard::ALL.iter().map(|&discard| (discard, self.of(discard)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_discard_has_a_counter_of_its_own() {
        for &counted in Discard::ALL {
            let mut discards = Discards::default();
            discards.count(counted);
            for (discard, count) in discards.iter() {
                assert_eq!(count, u64::from(discard == counted), "{}", discard.name());
            }
        }
    }
}
