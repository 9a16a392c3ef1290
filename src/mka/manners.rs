//! How to speak with those whose ways differ; `docs/interop.md` says whose.

use std::time::Duration;

use super::timers::{HELLO, LIFE};

/// What of our speech is a matter of taste, and not of agreement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Manners {
    /// Which MKA version our MKPDUs say.
    pub version: MkaVersion,
    /// Whether an ICV Indicator stands in front of our ICV.
    pub icv_indicator: IcvIndicator,
    /// Whether a key that is the only one stays in the place of the latest, in MACsec SAK Use. The
    /// standard has it move to the place of the old one, and some look for it in the other alone.
    pub lone_key_in_latest: bool,
    /// Who has which SSCI under an SAK of another key server.
    pub ssci: SsciOrder,
    /// Whether we announce our cipher suites, for a key server to choose one of them. Some log each
    /// announcement as an error.
    pub announce: bool,
    /// How often we are heard from: MKA Hello Time.
    pub hello: Duration,
    /// How long a silent peer stays: MKA Life Time. Some say hello every 6 or 10 s.
    pub life: Duration,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            version: MkaVersion::default(),
            icv_indicator: IcvIndicator::default(),
            lone_key_in_latest: false,
            ssci: SsciOrder::default(),
            announce: false,
            hello: HELLO,
            life: LIFE,
        }
    }
}

/// An MKA version to send. What is received is read by its own version, whatever we send.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub enum MkaVersion {
    /// 802.1X-2010. XPN suites are used with it in the field, although it does not know them.
    V1 = 1,
    /// 802.1Xbx-2014.
    V2 = 2,
    /// 802.1Xck-2018 and 802.1X-2020: the key server states the SSCIs.
    #[default]
    V3 = 3,
}

/// When to send an ICV Indicator. It tells the length of the ICV, which is never another.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IcvIndicator {
    /// Where a live peer sends it; and while there is none, every other time, because some do not
    /// hear those who leave it out, and others those who do not.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How SSCIs are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SsciOrder {
    /// As a key server of version 3 states them, else by SCI.
    #[default]
    Stated,
    /// By SCI, whatever the server states: some state what they do not do.
    BySci,
}

impl IcvIndicator {
    /// Tells whether the MKPDU of this number carries one, there being live peers or none, one of
    /// which sends it or not.
    pub(super) fn stands(self, mn: u32, has_live: bool, peer_sends: bool) -> bool {
        match self {
            Self::Auto => peer_sends || (!has_live && mn.is_multiple_of(2)),
            Self::On => true,
            Self::Off => false,
        }
    }
}
