//! What the kernel shows of a MACsec interface: its SecY, its channels, its SAs, its counters.

use super::message::{Attributes, GENERIC_HEADER_LEN, Message};
use super::uapi::*;
use crate::ident::{AssociationNumber, CipherSuite, KeyId, KeyNumber, MemberId, Sci, Ssci};
use crate::secy::Counters;

/// The SecY of a MACsec interface, as dumped.
#[derive(Clone, Debug)]
pub(super) struct Secy {
    /// The MACsec interface.
    pub(super) index: u32,
    pub(super) sci: Sci,
    /// `None` where the kernel has a suite that we do not know.
    pub(super) suite: Option<CipherSuite>,
    pub(super) icv_len: u8,
    pub(super) flags: Flags,
    /// The association that frames go out with, if it has an active SA.
    pub(super) encoding: AssociationNumber,
    pub(super) encrypt: bool,
    /// `OFFLOAD_…`.
    pub(super) offload: u8,
    pub(super) transmit: Vec<SeenSa>,
    pub(super) receive: Vec<SeenChannel>,
    /// All that the kernel counts, but for what [`SeenChannel`] has.
    pub(super) counters: Counters,
}

/// The settings that hold for all frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Flags {
    pub(super) protect: bool,
    /// `VALIDATE_…`.
    pub(super) validate: u8,
    /// Whether late frames are refused.
    pub(super) replay_protect: bool,
    /// How late a frame may be. Shown as 0 where none is refused, whatever it is.
    pub(super) window: u32,
    pub(super) include_sci: bool,
    pub(super) end_station: bool,
    pub(super) single_copy: bool,
}

impl Flags {
    /// Whether these are the wanted ones, as far as the kernel shows them.
    pub(super) fn show(&self, wanted: &Self) -> bool {
        let window = if wanted.replay_protect { wanted.window } else { 0 };
        *self == Self { window, ..*wanted }
    }

    /// Words how they differ from the wanted ones, by the names that `ip macsec` has for them.
    pub(super) fn differ(&self, wanted: &Self) -> String {
        let switches = [
            ("protect", self.protect, wanted.protect),
            ("send_sci", self.include_sci, wanted.include_sci),
            ("end_station", self.end_station, wanted.end_station),
            ("scb", self.single_copy, wanted.single_copy),
            ("replay", self.replay_protect, wanted.replay_protect),
        ];
        let differing = switches.into_iter().filter(|(_, is, wanted)| is != wanted);
        let mut words: Vec<String> = differing
            .map(|(name, is, wanted)| format!("{name} was {}, not {}", on(is), on(wanted)))
            .collect();
        if self.validate != wanted.validate {
            let word = |mode| match mode {
                VALIDATE_DISABLED => "disabled",
                VALIDATE_CHECK => "check",
                _ => "strict",
            };
            words.push(format!(
                "validate was {}, not {}",
                word(self.validate),
                word(wanted.validate)
            ));
        }
        if self.replay_protect && wanted.replay_protect && self.window != wanted.window {
            words.push(format!("window was {}, not {}", self.window, wanted.window));
        }
        words.join("; ")
    }
}

/// The word for a switch.
pub(super) const fn on(is: bool) -> &'static str {
    if is { "on" } else { "off" }
}

/// A receive SC.
#[derive(Clone, Debug)]
pub(super) struct SeenChannel {
    pub(super) sci: Sci,
    pub(super) sas: Vec<SeenSa>,
    pub(super) counters: Counters,
}

/// An SA in either direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SeenSa {
    pub(super) an: AssociationNumber,
    /// The 16 octets that the kernel keeps, read as we write them.
    pub(super) ki: KeyId,
    /// The SSCI that its nonces are made with; `None` where the suite is not XPN.
    pub(super) ssci: Option<Ssci>,
    /// The next packet number; 0 when they are used up.
    pub(super) pn: u64,
    pub(super) active: bool,
    /// Of a transmit SA: how many frames went out with it, as far as 32 bits tell.
    pub(super) sent: u32,
}

impl Secy {
    /// Reads one message of a dump; `None` where it lacks what every kernel has.
    pub(super) fn read(message: &Message<'_>) -> Option<Self> {
        let whole = Attributes::after(message.payload, GENERIC_HEADER_LEN);
        let secy = whole.nest(MACSEC_ATTR_SECY);
        Some(Self {
            index: whole.u32(MACSEC_ATTR_IFINDEX)?,
            sci: Sci::from_octets(secy.array(MACSEC_SECY_ATTR_SCI)?),
            suite: suite(secy.u64(MACSEC_SECY_ATTR_CIPHER_SUITE)?),
            icv_len: secy.u8(MACSEC_SECY_ATTR_ICV_LEN)?,
            flags: Flags {
                protect: secy.bool(MACSEC_SECY_ATTR_PROTECT)?,
                validate: secy.u8(MACSEC_SECY_ATTR_VALIDATE)?,
                replay_protect: secy.bool(MACSEC_SECY_ATTR_REPLAY)?,
                window: secy.u32(MACSEC_SECY_ATTR_WINDOW).unwrap_or(0),
                include_sci: secy.bool(MACSEC_SECY_ATTR_INC_SCI)?,
                end_station: secy.bool(MACSEC_SECY_ATTR_ES)?,
                single_copy: secy.bool(MACSEC_SECY_ATTR_SCB)?,
            },
            encoding: AssociationNumber::from_low_bits(secy.u8(MACSEC_SECY_ATTR_ENCODING_SA)?),
            encrypt: secy.bool(MACSEC_SECY_ATTR_ENCRYPT)?,
            offload: whole
                .nest(MACSEC_ATTR_OFFLOAD)
                .u8(MACSEC_OFFLOAD_ATTR_TYPE)
                .unwrap_or(OFFLOAD_OFF),
            transmit: whole.list(MACSEC_ATTR_TXSA_LIST).filter_map(SeenSa::read).collect(),
            receive: whole.list(MACSEC_ATTR_RXSC_LIST).filter_map(SeenChannel::read).collect(),
            counters: counters(whole),
        })
    }

    /// The transmit SA of an association.
    pub(super) fn sent_with(&self, an: AssociationNumber) -> Option<&SeenSa> {
        self.transmit.iter().find(|sa| sa.an == an)
    }

    pub(super) fn channel(&self, sci: Sci) -> Option<&SeenChannel> {
        self.receive.iter().find(|channel| channel.sci == sci)
    }

    /// Everything counted for this SecY, its channels included.
    pub(super) fn all_counters(&self) -> Counters {
        let mut all = self.counters;
        for channel in &self.receive {
            all.add(&channel.counters);
        }
        all
    }
}

impl SeenChannel {
    fn read(channel: Attributes<'_>) -> Option<Self> {
        Some(Self {
            sci: Sci::from_octets(channel.array(MACSEC_RXSC_ATTR_SCI)?),
            sas: channel.list(MACSEC_RXSC_ATTR_SA_LIST).filter_map(SeenSa::read).collect(),
            counters: received(channel.nest(MACSEC_RXSC_ATTR_STATS)),
        })
    }

    pub(super) fn sa(&self, an: AssociationNumber) -> Option<&SeenSa> {
        self.sas.iter().find(|sa| sa.an == an)
    }
}

impl SeenSa {
    fn read(sa: Attributes<'_>) -> Option<Self> {
        let name: [u8; 16] = sa.array(MACSEC_SA_ATTR_KEYID)?;
        let (server, number) = name.split_first_chunk::<12>()?;
        let number = KeyNumber(u32::from_be_bytes(number.try_into().ok()?));
        Some(Self {
            an: AssociationNumber::from_low_bits(sa.u8(MACSEC_SA_ATTR_AN)?),
            ki: KeyId { server: MemberId::from_octets(*server), number },
            // In network order, as we put it there.
            ssci: sa.array(MACSEC_SA_ATTR_SSCI).map(|octets| Ssci(u32::from_be_bytes(octets))),
            pn: sa.u32_or_u64(MACSEC_SA_ATTR_PN)?,
            active: sa.bool(MACSEC_SA_ATTR_ACTIVE)?,
            sent: [
                MACSEC_SA_STATS_ATTR_OUT_PKTS_PROTECTED,
                MACSEC_SA_STATS_ATTR_OUT_PKTS_ENCRYPTED,
            ]
            .into_iter()
            .filter_map(|kind| sa.nest(MACSEC_SA_ATTR_STATS).u32(kind))
            .fold(0, u32::wrapping_add),
        })
    }
}

/// A suite by the kernel's number, which is the identifier read as a big-endian integer.
fn suite(number: u64) -> Option<CipherSuite> {
    CipherSuite::from_id(number.to_be_bytes())
}

fn counters(whole: Attributes<'_>) -> Counters {
    let (sent, secy) = (whole.nest(MACSEC_ATTR_TXSC_STATS), whole.nest(MACSEC_ATTR_SECY_STATS));
    let tx = |kind| sent.u64(kind).unwrap_or(0);
    let of = |kind| secy.u64(kind).unwrap_or(0);
    Counters {
        out_pkts_protected: tx(MACSEC_TXSC_STATS_ATTR_OUT_PKTS_PROTECTED),
        out_pkts_encrypted: tx(MACSEC_TXSC_STATS_ATTR_OUT_PKTS_ENCRYPTED),
        out_octets_protected: tx(MACSEC_TXSC_STATS_ATTR_OUT_OCTETS_PROTECTED),
        out_octets_encrypted: tx(MACSEC_TXSC_STATS_ATTR_OUT_OCTETS_ENCRYPTED),
        out_pkts_untagged: of(MACSEC_SECY_STATS_ATTR_OUT_PKTS_UNTAGGED),
        out_pkts_too_long: of(MACSEC_SECY_STATS_ATTR_OUT_PKTS_TOO_LONG),
        in_pkts_untagged: of(MACSEC_SECY_STATS_ATTR_IN_PKTS_UNTAGGED),
        in_pkts_no_tag: of(MACSEC_SECY_STATS_ATTR_IN_PKTS_NO_TAG),
        in_pkts_bad_tag: of(MACSEC_SECY_STATS_ATTR_IN_PKTS_BAD_TAG),
        in_pkts_unknown_sci: of(MACSEC_SECY_STATS_ATTR_IN_PKTS_UNKNOWN_SCI),
        in_pkts_no_sci: of(MACSEC_SECY_STATS_ATTR_IN_PKTS_NO_SCI),
        in_pkts_overrun: of(MACSEC_SECY_STATS_ATTR_IN_PKTS_OVERRUN),
        ..Counters::default()
    }
}

fn received(stats: Attributes<'_>) -> Counters {
    let of = |kind| stats.u64(kind).unwrap_or(0);
    Counters {
        in_octets_validated: of(MACSEC_RXSC_STATS_ATTR_IN_OCTETS_VALIDATED),
        in_octets_decrypted: of(MACSEC_RXSC_STATS_ATTR_IN_OCTETS_DECRYPTED),
        in_pkts_unchecked: of(MACSEC_RXSC_STATS_ATTR_IN_PKTS_UNCHECKED),
        in_pkts_delayed: of(MACSEC_RXSC_STATS_ATTR_IN_PKTS_DELAYED),
        in_pkts_ok: of(MACSEC_RXSC_STATS_ATTR_IN_PKTS_OK),
        in_pkts_invalid: of(MACSEC_RXSC_STATS_ATTR_IN_PKTS_INVALID),
        in_pkts_late: of(MACSEC_RXSC_STATS_ATTR_IN_PKTS_LATE),
        in_pkts_not_valid: of(MACSEC_RXSC_STATS_ATTR_IN_PKTS_NOT_VALID),
        in_pkts_not_using_sa: of(MACSEC_RXSC_STATS_ATTR_IN_PKTS_NOT_USING_SA),
        in_pkts_unused_sa: of(MACSEC_RXSC_STATS_ATTR_IN_PKTS_UNUSED_SA),
        ..Counters::default()
    }
}
