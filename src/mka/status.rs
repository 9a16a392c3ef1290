//! What a KaY shows of itself: names, numbers and times, and never a key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cp::CpState;
use super::discard::Discards;
use crate::ident::{
    AssociationNumber, CipherSuite, Ckn, ConfidentialityOffset, KeyId, KeyServerPriority, MemberId,
    MessageNumber, Sci,
};
use crate::time::Time;
use crate::wire::MacsecCapability;

/// How a port, or one participant of it, stands (802.1X-2020 12.3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Serialize)]
pub enum PortState {
    /// No carrier.
    Down,
    /// Sending hellos, hearing nobody yet.
    Listening,
    /// Somebody is heard; the outcome is open.
    Pending,
    /// A key server decided that frames pass in clear.
    Authenticated,
    /// Frames pass protected.
    Secured,
    /// No live peer for an MKA Life Time.
    Failed,
}

/// A snapshot of one port.
#[derive(Clone, Debug)]
pub struct Status {
    /// How the port stands.
    pub state: PortState,
    /// Since when it stands so.
    pub since: Time,
    /// Since when there is a carrier.
    pub carrier_since: Option<Time>,
    /// Our secure channel.
    pub sci: Sci,
    /// Our priority as key server.
    pub priority: KeyServerPriority,
    /// Where the Controlled Port state machine is.
    pub cp: CpState,
    /// Who is key server of the principal participant.
    pub key_server: Option<KeyServer>,
    /// The participants, the preferred key first.
    pub participants: Vec<ParticipantStatus>,
    /// The SAK that frames are sent with.
    pub sak: Option<SakStatus>,
    /// The SAK that we distribute and that not every live peer receives yet.
    pub distributing: Option<Distributing>,
    /// How often an SAK in use has been replaced.
    pub rekeys: u64,
    /// How long the last change from one key (CAK) to another took: from the first MKPDU of a peer
    /// under it, or from when we were given it where a peer spoke it already, until frames were sent
    /// with an SAK of its CA. A key that had stood by for longer than MKA Life Time counts from when
    /// it was made the principal one. `None` before the first change.
    pub last_switch: Option<Duration>,
    /// MKPDUs sent.
    pub sent: u64,
    /// MKPDUs accepted.
    pub accepted: u64,
    /// MKPDUs and parameter sets refused.
    pub discards: Discards,
    /// What was seen that may explain why there is no security.
    pub evidence: Evidence,
}

/// The key server of a CA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyServer {
    /// We are.
    Own,
    /// A peer is.
    Peer(Sci),
}

/// A snapshot of one participant.
#[derive(Clone, Debug)]
pub struct ParticipantStatus {
    /// The name of its CAK.
    pub ckn: Ckn,
    /// Whether it is the one that drives the SecY.
    pub principal: bool,
    /// How it stands.
    pub state: PortState,
    /// Our member identifier in it.
    pub mi: MemberId,
    /// The number of our last MKPDU.
    pub mn: MessageNumber,
    /// Whether it has elected a key server.
    pub has_key_server: bool,
    /// Whether frames are sent with an SAK of its CA.
    pub in_use: bool,
    /// Everyone heard in it.
    pub peers: Vec<PeerStatus>,
}

/// A snapshot of one peer.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its secure channel.
    pub sci: Sci,
    /// Its member identifier.
    pub mi: MemberId,
    /// Whether it has proved that it hears us.
    pub live: bool,
    /// Its priority as key server.
    pub priority: KeyServerPriority,
    /// Whether it offers to serve.
    pub key_server: bool,
    /// What it says it can do.
    pub capability: MacsecCapability,
    /// The MKA version that it speaks.
    pub mka_version: u8,
    /// Whether it says that it also sends or takes frames in clear (802.1X-2020 11.11, Plain tx and
    /// Plain rx). It is secured with all the same; what comes in clear is not let in here.
    pub also_in_clear: bool,
    /// When it was first heard.
    pub first_heard: Time,
    /// When it was last heard.
    pub last_heard: Time,
}

/// The SAK that frames are sent with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SakStatus {
    /// Its name.
    pub ki: KeyId,
    /// Its association.
    pub an: AssociationNumber,
    /// Its cipher suite.
    pub suite: CipherSuite,
    /// How much of a frame it encrypts.
    pub offset: ConfidentialityOffset,
    /// When we got it.
    pub since: Time,
    /// How much of its packet number space is spent, 0 to 1.
    pub pn_used_ratio: f64,
}

/// An SAK that is on its way to the peers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Distributing {
    /// Since when.
    pub since: Time,
    /// Its cipher suite.
    pub suite: CipherSuite,
}

/// Who was seen, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// The key name that it used.
    pub ckn: Ckn,
    /// Who it says it is.
    pub sci: Sci,
    /// When it was last seen.
    pub at: Time,
}

/// What was seen last of each kind of trouble. All of it may come from a stranger.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Evidence {
    /// Any MKPDU at all.
    pub mkpdu: Option<Time>,
    /// An MKPDU whose key name is none of ours.
    pub unknown_ckn: Option<Sighting>,
    /// An MKPDU with a key name of ours and an ICV of another key.
    pub bad_icv: Option<Sighting>,
    /// Our own address came back.
    pub own_address: Option<Time>,
    /// The key server chose this suite, which is unknown or not allowed.
    pub suite_refused: Option<([u8; 8], Time)>,
    /// The key server chose this offset.
    pub offset_refused: Option<(ConfidentialityOffset, Time)>,
    /// An SAK did not unwrap although its MKPDU was authentic.
    pub unwrap_failed: Option<Time>,
    /// The key server wants no MACsec, and policy does.
    pub plain_text_refused: Option<Time>,
    /// The data plane refused a command.
    pub refused_by_secy: Option<(String, Time)>,
    /// The data plane has lost this key, the one that we sent with, and there is no other yet.
    pub sak_lost: Option<(KeyId, Time)>,
    /// There were no random numbers for a key.
    pub no_entropy: Option<Time>,
}

impl Evidence {
    /// Whether somebody used this key name not longer than `span` ago, when it was none of ours.
    pub(super) fn was_called(&self, now: Time, ckn: &Ckn, span: Duration) -> bool {
        let sighting = self.unknown_ckn.as_ref().filter(|sighting| sighting.ckn == *ckn);
        sighting.is_some_and(|sighting| now.since(sighting.at) < span)
    }
}
