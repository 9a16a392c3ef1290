//! The MKPDU as a whole: the Basic Parameter Set, the other sets, the ICV (802.1X-2020 11.11).
//!
//! Reading has two steps, because nothing in an MKPDU may be believed before its ICV is checked
//! and the ICV's key is named in the MKPDU. [`RawMkpdu::decode`] finds the name and the ICV;
//! [`RawMkpdu::parse`], for which the caller should first have verified the ICV, reads the rest.

use super::basic::{ALGORITHM_AGILITY, Basic};
use super::sets::{RawSet, SetWriter, body_length, decode_potential, encode_potential, kind};
use super::{
    Announcement, DistributedCak, DistributedSak, Eapol, ICV_LEN, LivePeerList, PeerEntry,
    SakUseSet, SetFault, Xpn,
};
use crate::ident::{Ckn, MacAddress};

/// An MKPDU of which only what finds its key has been read. Nothing in it may be believed yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawMkpdu<'a> {
    basic: Basic,
    algorithm_agility: [u8; 4],
    /// Whole words, from behind the Basic Parameter Set up to the ICV.
    sets: &'a [u8],
    covered: &'a [u8],
    icv: &'a [u8; ICV_LEN],
}

/// All that an MKPDU says. A list that is absent means the same as an empty one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mkpdu {
    /// The sender.
    pub basic: Basic,
    /// The members it knows to be alive.
    pub live_peers: Option<LivePeerList>,
    /// The members it has heard.
    pub potential_peers: Option<Vec<PeerEntry>>,
    /// The SAKs it has.
    pub sak_use: Option<SakUseSet>,
    /// An SAK, or the word that there is to be none.
    pub distributed_sak: Option<DistributedSak>,
    /// A CAK for a group.
    pub distributed_cak: Option<DistributedCak>,
    /// The name of its key management domain (802.1X-2020 11.11.3).
    pub kmd: Option<Vec<u8>>,
    /// What it can do.
    pub announcement: Option<Announcement>,
    /// The high halves of its packet numbers.
    pub xpn: Option<Xpn>,
    /// Whether an ICV Indicator stands in front of the ICV, which changes nothing.
    pub icv_indicator: bool,
}

/// What is wrong with an MKPDU.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MkpduError {
    /// It has less than 32 octets.
    #[error("the MKPDU has less than 32 octets")]
    TooShort,
    /// It has an odd end.
    #[error("the length of the MKPDU is no multiple of 4")]
    NotMultipleOf4,
    /// The Basic Parameter Set is too short, or runs into the ICV.
    #[error("the Basic Parameter Set has an impossible length")]
    BasicLength,
    /// The CKN is empty, or has more than 32 octets.
    #[error("the CKN has not 1 to 32 octets")]
    CknLength,
    /// Its ICV was made in a way that no standard has defined yet.
    #[error("the algorithm agility parameter is unknown")]
    AlgorithmAgility,
    /// A parameter set is malformed.
    #[error("parameter set {set}: {fault}")]
    ParameterSet {
        /// The type of the set.
        set: u8,
        /// What is wrong with it.
        fault: SetFault,
    },
    /// Its version is 0, which never was.
    #[error("the MKA version is 0")]
    Version0,
}

/// An MKPDU has more to say than one frame holds: 1496 octets of sets and ICV.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the MKPDU does not fit one frame")]
pub struct MkpduTooLong;

/// The shortest MKPDU (802.1X-2020 11.11.2).
const MIN_LEN: usize = 32;

impl<'a> RawMkpdu<'a> {
    /// Finds the name of the key, and the ICV.
    ///
    /// # Errors
    ///
    /// The first rule about lengths that the MKPDU breaks (802.1X-2020 11.11.2).
    pub fn decode(eapol: &Eapol<'a>) -> Result<Self, MkpduError> {
        if eapol.body.len() < MIN_LEN {
            return Err(MkpduError::TooShort);
        }
        if !eapol.body.len().is_multiple_of(4) {
            return Err(MkpduError::NotMultipleOf4);
        }
        let (sets, icv) = eapol.body.split_last_chunk().ok_or(MkpduError::TooShort)?;
        let (covered, _) =
            eapol.frame().split_last_chunk::<ICV_LEN>().ok_or(MkpduError::TooShort)?;
        let (set, sets) = RawSet::split_first(sets).ok_or(MkpduError::BasicLength)?;
        let (basic, algorithm_agility) = Basic::decode(&set)?;
        Ok(Self { basic, algorithm_agility, sets, covered, icv })
    }

    /// The name of the key.
    #[must_use]
    pub fn ckn(&self) -> Ckn {
        self.basic.ckn.clone()
    }

    /// The name of the key, to look it up by.
    #[must_use]
    pub fn ckn_octets(&self) -> &[u8] {
        self.basic.ckn.octets()
    }

    /// Which algorithms the sender used.
    #[must_use]
    pub fn algorithm_agility(&self) -> [u8; 4] {
        self.algorithm_agility
    }

    /// Makes sure that the ICV is of the one kind there is. To be done once the key is found.
    ///
    /// # Errors
    ///
    /// [`MkpduError::AlgorithmAgility`] where it is not.
    pub fn check_algorithm_agility(&self) -> Result<(), MkpduError> {
        if self.algorithm_agility != ALGORITHM_AGILITY {
            return Err(MkpduError::AlgorithmAgility);
        }
        Ok(())
    }

    /// The ICV.
    #[must_use]
    pub fn icv(&self) -> &[u8; ICV_LEN] {
        self.icv
    }

    /// What the ICV covers: from the destination address to the last set (802.1X-2020 9.4.1).
    #[must_use]
    pub fn covered(&self) -> &'a [u8] {
        self.covered
    }

    /// Who claims to have sent it. Anyone can; for diagnosis only.
    #[must_use]
    pub fn basic(&self) -> Basic {
        self.basic.clone()
    }

    /// Reads all sets. In any order; the first of a type counts, and unknown types are skipped.
    ///
    /// # Errors
    ///
    /// [`MkpduError::Version0`], or the first malformed set. Nothing is half accepted.
    pub fn parse(&self) -> Result<Mkpdu, MkpduError> {
        if self.basic.version == 0 {
            return Err(MkpduError::Version0);
        }
        let mut mkpdu = Mkpdu::new(self.basic.clone());
        let mut rest = self.sets;
        while let Some(&set) = rest.first() {
            rest = mkpdu.take(rest).map_err(|fault| MkpduError::ParameterSet { set, fault })?;
        }
        Ok(mkpdu)
    }
}

impl Mkpdu {
    /// Makes one that says no more than who sends it.
    #[must_use]
    pub const fn new(basic: Basic) -> Self {
        Self {
            basic,
            live_peers: None,
            potential_peers: None,
            sak_use: None,
            distributed_sak: None,
            distributed_cak: None,
            kmd: None,
            announcement: None,
            xpn: None,
            icv_indicator: false,
        }
    }

    /// Takes in the first set and gives what follows.
    fn take<'a>(&mut self, sets: &'a [u8]) -> Result<&'a [u8], SetFault> {
        if let [kind::ICV_INDICATOR, _, octet3, octet4, rest @ ..] = sets {
            return self.take_icv_indicator(body_length(*octet3, *octet4), rest);
        }
        let (set, rest) = RawSet::split_first(sets).ok_or(SetFault::Overrun)?;
        match set.kind {
            kind::LIVE_PEER_LIST => keep_first(&mut self.live_peers, &set, LivePeerList::decode)?,
            kind::POTENTIAL_PEER_LIST => {
                keep_first(&mut self.potential_peers, &set, decode_potential)?;
            }
            kind::SAK_USE => keep_first(&mut self.sak_use, &set, SakUseSet::decode)?,
            kind::DISTRIBUTED_SAK => {
                keep_first(&mut self.distributed_sak, &set, DistributedSak::decode)?;
            }
            kind::DISTRIBUTED_CAK => {
                keep_first(&mut self.distributed_cak, &set, DistributedCak::decode)?;
            }
            kind::KMD => keep_first(&mut self.kmd, &set, |set| Ok(set.body.to_vec()))?,
            kind::ANNOUNCEMENT => {
                keep_first(&mut self.announcement, &set, Announcement::decode)?;
            }
            kind::XPN => keep_first(&mut self.xpn, &set, Xpn::decode)?,
            _ => {}
        }
        Ok(rest)
    }

    /// Takes in the set whose body is the ICV, which is why it can only be the last.
    fn take_icv_indicator<'a>(
        &mut self,
        length: usize,
        rest: &'a [u8],
    ) -> Result<&'a [u8], SetFault> {
        if length != ICV_LEN {
            return Err(SetFault::Length);
        }
        if !rest.is_empty() {
            return Err(SetFault::NotLast);
        }
        self.icv_indicator = true;
        Ok(rest)
    }

    /// Writes a whole frame but for the ICV, which the caller computes over it and appends.
    ///
    /// The sets go in the order of 802.1X-2020 11.11.3: by type, but with the peer lists after the
    /// others.
    ///
    /// # Errors
    ///
    /// [`MkpduTooLong`] where it would not fit one frame with its ICV.
    pub fn encode(
        &self,
        destination: MacAddress,
        source: MacAddress,
    ) -> Result<Vec<u8>, MkpduTooLong> {
        let mut out = SetWriter::default();
        self.basic.encode(&mut out)?;
        self.sak_use.iter().try_for_each(|set| set.encode(&mut out))?;
        self.distributed_sak.iter().try_for_each(|set| set.encode(&mut out))?;
        self.distributed_cak.iter().try_for_each(|set| set.encode(&mut out))?;
        self.kmd.iter().try_for_each(|domain| out.put([kind::KMD, 0, 0], domain))?;
        self.announcement.iter().try_for_each(|set| set.encode(&mut out))?;
        self.xpn.iter().try_for_each(|set| set.encode(&mut out))?;
        self.live_peers.iter().try_for_each(|set| set.encode(&mut out))?;
        self.potential_peers.iter().try_for_each(|set| encode_potential(set, &mut out))?;
        if self.icv_indicator {
            out.put_icv_indicator()?;
        }

        let sets = out.into_octets();
        let length = u16::try_from(sets.len() + ICV_LEN).map_err(|_| MkpduTooLong)?;
        let mut frame = Vec::with_capacity(sets.len() + HEADERS_AND_ICV_LEN);
        Eapol::encode_headers(destination, source, length, &mut frame);
        frame.extend_from_slice(&sets);
        Ok(frame)
    }
}

/// Reads a set into an empty slot; a later set of its type is ignored, whatever it holds.
fn keep_first<T>(
    slot: &mut Option<T>,
    set: &RawSet<'_>,
    decode: impl FnOnce(&RawSet<'_>) -> Result<T, SetFault>,
) -> Result<(), SetFault> {
    if slot.is_none() {
        *slot = Some(decode(set)?);
    }
    Ok(())
}

/// What a frame has around its sets.
const HEADERS_AND_ICV_LEN: usize = 18 + ICV_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{KeyServerPriority, MemberId, MessageNumber, Sci};
    use crate::wire::MacsecCapability;

    const SOURCE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    fn hello() -> Mkpdu {
        Mkpdu::new(Basic {
            version: 3,
            key_server_priority: KeyServerPriority(16),
            key_server: true,
            macsec_desired: true,
            macsec_capability: MacsecCapability::Offset0,
            sci: Sci::new(SOURCE, 1),
            mi: MemberId::from_octets([0xa1; 12]),
            mn: MessageNumber(5),
            ckn: Ckn::new(b"MKA").unwrap(),
        })
    }

    /// A frame with the hello and these sets, and zeros for an ICV.
    fn frame_with(sets: &[u8]) -> Vec<u8> {
        let mut frame = hello().encode(MacAddress::PAE_GROUP, SOURCE).unwrap();
        frame.extend_from_slice(sets);
        frame.extend_from_slice(&[0; 16]);
        set_body_len(&mut frame);
        frame
    }

    /// Makes the EAPOL header fit what follows it.
    fn set_body_len(frame: &mut [u8]) {
        let length = u16::try_from(frame.len() - 18).unwrap();
        frame[16..18].copy_from_slice(&length.to_be_bytes());
    }

    fn decode(frame: &[u8]) -> Result<RawMkpdu<'_>, MkpduError> {
        RawMkpdu::decode(&Eapol::decode(frame).unwrap())
    }

    fn parse(sets: &[u8]) -> Result<Mkpdu, MkpduError> {
        decode(&frame_with(sets)).unwrap().parse()
    }

    fn faulty(set: u8, fault: SetFault) -> Result<Mkpdu, MkpduError> {
        Err(MkpduError::ParameterSet { set, fault })
    }

    #[test]
    fn a_name_ends_before_its_padding_and_the_icv_covers_all_in_front_of_it() {
        let mut frame = frame_with(&[]);
        let end = frame.len();
        frame[end - 16..].copy_from_slice(&[0xee; 16]);
        frame.extend_from_slice(&[0; 9]);

        let raw = decode(&frame).unwrap();

        assert_eq!((raw.ckn_octets(), raw.ckn()), (b"MKA".as_slice(), Ckn::new(b"MKA").unwrap()));
        assert_eq!(raw.icv(), &[0xee; 16]);
        assert_eq!(raw.covered(), &frame[..end - 16]);
        assert_eq!(raw.basic(), hello().basic);
        assert_eq!(raw.parse(), Ok(hello()));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_each_for_its_reason() {
        let frame = frame_with(&[]);
        let cut = |len: usize| {
            let mut frame = frame[..18 + len].to_vec();
            set_body_len(&mut frame);
            decode(&frame).map(|_| ())
        };
        assert_eq!(cut(0), Err(MkpduError::TooShort));
        assert_eq!(cut(28), Err(MkpduError::TooShort));
        assert_eq!(cut(32), Err(MkpduError::BasicLength), "long enough, and cut off");
        assert_eq!(cut(34), Err(MkpduError::NotMultipleOf4));
        assert_eq!(cut(48), Err(MkpduError::BasicLength), "the set runs into the ICV");
        assert_eq!(cut(52), Ok(()));

        let basic_of = |len: u8| {
            let mut frame = frame_with(&[0; 32]);
            frame[21] = len;
            decode(&frame).map(|_| ())
        };
        assert_eq!(basic_of(27), Err(MkpduError::BasicLength));
        assert_eq!(basic_of(28), Err(MkpduError::CknLength));
        assert_eq!(basic_of(60), Ok(()));
        assert_eq!(basic_of(61), Err(MkpduError::CknLength));
        assert_eq!(basic_of(69), Err(MkpduError::BasicLength), "the set runs into the ICV");
    }

    #[test]
    fn an_unknown_algorithm_agility_is_told_when_asked_for() {
        let mut frame = frame_with(&[]);
        assert_eq!(decode(&frame).unwrap().check_algorithm_agility(), Ok(()));
        frame[49] = 2;
        let raw = decode(&frame).unwrap();
        assert_eq!(raw.algorithm_agility(), [0x00, 0x80, 0xc2, 0x02]);
        assert_eq!(raw.check_algorithm_agility(), Err(MkpduError::AlgorithmAgility));
    }

    #[test]
    fn version_0_is_refused_and_a_later_one_read_as_ours() {
        let version = |version: u8| {
            let mut frame = frame_with(&[]);
            frame[18] = version;
            decode(&frame).unwrap().parse().map(|mkpdu| mkpdu.basic.version)
        };
        assert_eq!(version(0), Err(MkpduError::Version0));
        assert_eq!(version(1), Ok(1));
        assert_eq!(version(200), Ok(200));
    }

    #[test]
    fn sets_come_in_any_order_and_unknown_ones_are_skipped() {
        let xpn = [8, 9, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        let unknown = [99, 1, 0xf0, 1, 7, 0, 0, 0];
        let plain = [4, 0, 0, 0];
        let mkpdu = parse(&[xpn.as_slice(), &unknown, &plain].concat()).unwrap();
        let expected = Mkpdu {
            xpn: Some(Xpn { suspension_time: 9, latest_lpn_high: 0, old_lpn_high: 0 }),
            distributed_sak: Some(DistributedSak::PlainText),
            ..hello()
        };
        assert_eq!(mkpdu, expected);
    }

    #[test]
    fn the_first_set_of_a_type_counts_and_a_later_one_is_not_even_read() {
        let mkpdu = parse(&[6, 0, 0, 1, b'a', 0, 0, 0, 6, 0, 0, 1, b'b', 0, 0, 0]).unwrap();
        assert_eq!(mkpdu.kmd, Some(b"a".to_vec()));
        let mkpdu = parse(&[1, 0, 0, 0, 1, 0, 0, 1, 9, 0, 0, 0]).unwrap();
        assert_eq!(mkpdu.live_peers, Some(LivePeerList::default()));
    }

    #[test]
    fn a_malformed_set_is_named_with_its_fault() {
        assert_eq!(parse(&[2, 0, 0, 1, 0, 0, 0, 0]), faulty(2, SetFault::Length));
        assert_eq!(parse(&[99, 0, 0, 5, 0, 0, 0, 0]), faulty(99, SetFault::Overrun));
        assert_eq!(parse(&[7, 0, 0, 1, 0, 0, 0, 0]), faulty(7, SetFault::Tlv));
    }

    #[test]
    fn an_icv_indicator_is_accepted_as_the_last_set_and_only_there() {
        let mkpdu = parse(&[255, 0xff, 0xf0, 16]).unwrap();
        assert!(mkpdu.icv_indicator);
        assert_eq!(parse(&[255, 0, 0, 16, 99, 0, 0, 0]), faulty(255, SetFault::NotLast));
        assert_eq!(parse(&[255, 0, 0, 12]), faulty(255, SetFault::Length));

        let octets = Mkpdu { icv_indicator: true, ..hello() };
        let octets = octets.encode(MacAddress::PAE_GROUP, SOURCE).unwrap();
        assert_eq!(octets[16..18], [0, 56]);
        assert_eq!(octets[octets.len() - 4..], [255, 0, 0, 16]);
    }

    #[test]
    fn sets_are_sent_by_type_but_with_the_peer_lists_after_the_others() {
        let all = Mkpdu {
            live_peers: Some(LivePeerList::default()),
            potential_peers: Some(vec![]),
            sak_use: Some(SakUseSet::Unsupported),
            distributed_sak: Some(DistributedSak::PlainText),
            distributed_cak: Some(DistributedCak { wrapped: [0; 24], ckn: hello().basic.ckn }),
            kmd: Some(vec![]),
            announcement: Some(Announcement::default()),
            xpn: Some(Xpn::default()),
            icv_indicator: true,
            ..hello()
        };
        let frame = all.encode(MacAddress::PAE_GROUP, SOURCE).unwrap();

        let mut kinds = Vec::new();
        let mut rest = &frame[18 + 36..frame.len() - 4];
        while let Some((set, after)) = RawSet::split_first(rest) {
            kinds.push(set.kind);
            rest = after;
        }
        assert_eq!((kinds.as_slice(), rest), ([3, 4, 5, 6, 7, 8, 1, 2].as_slice(), [].as_slice()));
    }

    #[test]
    fn an_mkpdu_fills_a_frame_of_1500_octets_and_no_more() {
        let entry = PeerEntry { mi: hello().basic.mi, mn: MessageNumber(1) };
        // Basic and ICV leave 1496 - 36 - 16 = 1444 octets: a header and 90 entries of 16.
        let filled = Mkpdu { potential_peers: Some(vec![entry; 90]), ..hello() };
        let frame = filled.encode(MacAddress::PAE_GROUP, SOURCE).unwrap();
        assert_eq!(frame.len() + 16, 14 + 1500);
        let over = Mkpdu { potential_peers: Some(vec![entry; 91]), ..hello() };
        assert_eq!(over.encode(MacAddress::PAE_GROUP, SOURCE), Err(MkpduTooLong));
    }
}
