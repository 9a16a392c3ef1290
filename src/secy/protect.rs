//! Frames out: the tag, the cipher, the ICV (802.1AE-2018 10.5).

use crate::engine::{BATCH_MAX, Job};
use crate::ident::ConfidentialityOffset;
use crate::secy::buffer::ETHERTYPE_LEN;
use crate::secy::{Counters, FrameBuf, PnRun, SecySettings, TxPn, TxSa};
use crate::wire::ethernet::{ADDRESSES_LEN, ETHERTYPE_EAPOL, ETHERTYPE_MACSEC};
use crate::wire::{SciField, SecTag};

/// How the tag of a sent frame says whose frame it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TagStyle {
    /// It carries the SCI. Always right.
    Sci,
    /// It says nothing: for a point-to-point link, where the receiver has one channel.
    PointToPoint,
    /// It says that the SCI is the source address with port identifier 1 (TCI.ES).
    EndStation,
    /// It says that the SCI is the source address with port identifier 0 (TCI.SCB).
    SingleCopy,
}

impl TagStyle {
    /// Chooses for a SecY that is neither a known end station nor single copy.
    ///
    /// The SCI may stay out only while there is at most one channel to receive, as then there is
    /// but one other member to tell us apart from (802.1AE-2018 10.5.3).
    #[must_use]
    pub const fn choose(settings: &SecySettings, receive_channels: usize) -> Self {
        if settings.include_sci || receive_channels > 1 { Self::Sci } else { Self::PointToPoint }
    }

    const fn field(self, sa: &TxSa) -> SciField {
        match self {
            Self::Sci => SciField::Explicit(sa.sci()),
            Self::PointToPoint => SciField::Implicit { end_station: false, single_copy: false },
            Self::EndStation => SciField::Implicit { end_station: true, single_copy: false },
            Self::SingleCopy => SciField::Implicit { end_station: false, single_copy: true },
        }
    }
}

/// Why a frame is not sent. Each has one counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TxDiscard {
    /// Too short to have an EtherType (`out_pkts_runt`).
    #[error("the frame has no EtherType")]
    Runt,
    /// EAPOL, which goes through the Uncontrolled Port (`out_pkts_eapol`).
    #[error("EAPOL does not go through the Controlled Port")]
    Eapol,
    /// No SA transmits (`out_pkts_no_sa`).
    #[error("no security association transmits")]
    NoSa,
    /// The SA has sent its last packet number (`out_pkts_exhausted`).
    #[error("the packet numbers of the security association are used up")]
    Exhausted,
    /// Protected, it would be longer than the link takes (`out_pkts_too_long`).
    #[error("the protected frame is too long for the link")]
    TooLong,
}

/// Makes a frame ready for the wire as the SecY's settings say, with the next packet number of `sa`.
///
/// # Errors
///
/// [`TxDiscard`] where the frame is not to be sent; it has been counted, and the buffer is empty.
pub fn transmit(
    settings: &SecySettings,
    sa: Option<&TxSa>,
    receive_channels: usize,
    frame: &mut FrameBuf,
    counters: &mut Counters,
) -> Result<(), TxDiscard> {
    // Before a number is spent.
    if let Err(discard) = admit(frame) {
        return Err(refuse(discard, frame, counters));
    }
    if !settings.protect {
        counters.out_pkts_untagged += 1;
        return Ok(());
    }
    let Some(sa) = sa else {
        return Err(refuse(TxDiscard::NoSa, frame, counters));
    };
    let Some(pn) = sa.reserve(1).and_then(|mut run| run.next()) else {
        return Err(refuse(TxDiscard::Exhausted, frame, counters));
    };
    protect(pn, TagStyle::choose(settings, receive_channels), frame, counters)
}

/// Protects a frame with a packet number, where it lies: tag in, data sealed, ICV on.
///
/// # Errors
///
/// [`TxDiscard`] where the frame is not to be sent; it has been counted, and the buffer is empty.
/// The packet number is then lost.
pub fn protect(
    pn: TxPn<'_>,
    style: TagStyle,
    frame: &mut FrameBuf,
    counters: &mut Counters,
) -> Result<(), TxDiscard> {
    let gcm = pn.sa().key().gcm();
    let tag = Tag::new(pn.sa(), style);
    let job = prepare(pn, &tag, frame, counters)?;
    gcm.seal(&mut [job]);
    Ok(())
}

/// Protects frames as [`protect`] does, one packet number each, and many at a time.
///
/// It ends with the numbers or with the frames; no frame is taken that there is no number for. A
/// frame that is not to be sent has been counted, and its buffer is empty; its number is lost.
pub fn protect_batch<'f>(
    mut run: PnRun<'_>,
    style: TagStyle,
    frames: &mut impl Iterator<Item = &'f mut FrameBuf>,
    counters: &mut Counters,
) {
    let gcm = run.sa().key().gcm();
    let tag = Tag::new(run.sa(), style);
    loop {
        let mut jobs: [Job<'f>; BATCH_MAX] = std::array::from_fn(|_| Job::default());
        let (mut count, mut ended) = (0, false);
        while let Some(slot) = jobs.get_mut(count) {
            // In this order, so that a frame without a number stays with the caller.
            let Some((pn, frame)) = run.next().and_then(|pn| Some((pn, frames.next()?))) else {
                ended = true;
                break;
            };
            if let Ok(job) = prepare(pn, &tag, frame, counters) {
                *slot = job;
                count += 1;
            }
        }
        gcm.seal(jobs.get_mut(..count).unwrap_or_default());
        if ended {
            return;
        }
    }
}

/// Puts a frame's tag in, and gives what is left to do: to seal it, which cannot fail.
#[inline(always)]
fn prepare<'f>(
    pn: TxPn<'_>,
    tag: &Tag,
    frame: &'f mut FrameBuf,
    counters: &mut Counters,
) -> Result<Job<'f>, TxDiscard> {
    let data_len = frame.len().saturating_sub(ADDRESSES_LEN);
    if let Err(discard) = admit(frame).and_then(|()| tag.admit(frame)) {
        return Err(refuse(discard, frame, counters));
    }
    if tag.confidential {
        counters.out_pkts_encrypted += 1;
        counters.out_octets_encrypted += data_len as u64;
    } else {
        counters.out_pkts_protected += 1;
        counters.out_octets_protected += data_len as u64;
    }
    let in_clear = if tag.confidential { tag.offset.min(data_len) } else { data_len };
    let octets = tag.of(&pn, data_len);
    let grown = frame.grow(octets.get(..tag.len).unwrap_or_default()).unwrap_or_default();
    let aad_len = ADDRESSES_LEN + tag.len + in_clear;
    let (aad, sealed) = grown.split_at_mut_checked(aad_len).unwrap_or_default();
    Ok(Job::new(pn.into_nonce(), aad, sealed))
}

/// Lets through what the Controlled Port may send.
fn admit(frame: &FrameBuf) -> Result<(), TxDiscard> {
    match frame.ethertype() {
        None => Err(TxDiscard::Runt),
        Some(ETHERTYPE_EAPOL) => Err(TxDiscard::Eapol),
        Some(_) => Ok(()),
    }
}

/// The tag of all frames of an SA, with its EtherType, and what it says of them.
struct Tag {
    /// Without a packet number and a short length.
    octets: [u8; TAG_MAX],
    len: usize,
    confidential: bool,
    /// The octets of user data in clear, where there are as many.
    offset: usize,
}

const TAG_MAX: usize = ETHERTYPE_LEN + SecTag::LEN_WITH_SCI;

impl Tag {
    fn new(sa: &TxSa, style: TagStyle) -> Self {
        let confidential = sa.offset() != ConfidentialityOffset::IntegrityOnly;
        let tag = SecTag {
            sci: style.field(sa),
            encrypted: confidential,
            changed: confidential,
            an: sa.an(),
            short_length: 0,
            pn: 0,
        };
        let (encoded, len) = tag.encode();
        let mut octets = [0; TAG_MAX];
        let (ethertype, after) = octets.split_at_mut(ETHERTYPE_LEN);
        ethertype.copy_from_slice(&ETHERTYPE_MACSEC.to_be_bytes());
        after.copy_from_slice(&encoded);
        Self { octets, len: ETHERTYPE_LEN + len, confidential, offset: sa.offset().octets() }
    }

    const fn admit(&self, frame: &FrameBuf) -> Result<(), TxDiscard> {
        if frame.fits(self.len) { Ok(()) } else { Err(TxDiscard::TooLong) }
    }

    /// The tag of one frame.
    fn of(&self, pn: &TxPn<'_>, data_len: usize) -> [u8; TAG_MAX] {
        let [a, b, tci_an, _, _, _, _, _, sci @ ..] = self.octets;
        let short_length = SecTag::short_length(data_len);
        // The low half of an XPN number, all of another.
        let [.., p, q, r, s] = pn.value().0.to_be_bytes();
        let mut octets = [a, b, tci_an, short_length, p, q, r, s, 0, 0, 0, 0, 0, 0, 0, 0];
        let [_, _, _, _, _, _, _, _, rest @ ..] = &mut octets;
        *rest = sci;
        octets
    }
}

fn refuse(discard: TxDiscard, frame: &mut FrameBuf, counters: &mut Counters) -> TxDiscard {
    frame.clear();
    match discard {
        TxDiscard::Runt => counters.out_pkts_runt += 1,
        TxDiscard::Eapol => counters.out_pkts_eapol += 1,
        TxDiscard::NoSa => counters.out_pkts_no_sa += 1,
        TxDiscard::Exhausted => counters.out_pkts_exhausted += 1,
        TxDiscard::TooLong => counters.out_pkts_too_long += 1,
    }
    discard
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ident::{CipherSuite, PacketNumber};
    use crate::secy::fixture::{FRAME, OWN, STRICT, buffer, default_key, key, protected, tx_sa};

    const PLAIN: SecySettings = SecySettings { protect: false, ..STRICT };

    fn eapol() -> [u8; 76] {
        let mut frame = FRAME;
        frame[12..14].copy_from_slice(&[0x88, 0x8e]);
        frame
    }

    /// What becomes of a frame, and the counters that went up.
    fn sent(
        settings: &SecySettings,
        sa: Option<&TxSa>,
        frame: &mut FrameBuf,
    ) -> (Result<(), TxDiscard>, Vec<(&'static str, u64)>) {
        let mut counters = Counters::default();
        let outcome = transmit(settings, sa, 1, frame, &mut counters);
        assert_eq!(frame.is_empty(), outcome.is_err());
        (outcome, counters.iter().filter(|(_, count)| *count != 0).collect())
    }

    fn refused(
        settings: &SecySettings,
        sa: Option<&TxSa>,
        frame: &[u8],
    ) -> (TxDiscard, &'static str) {
        let (outcome, counted) = sent(settings, sa, &mut buffer(frame));
        let [(name, 1)] = counted[..] else { panic!("{counted:?}") };
        (outcome.unwrap_err(), name)
    }

    #[test]
    fn a_protected_frame_is_the_addresses_the_tag_the_data_and_the_icv() {
        let sa = tx_sa(&default_key());
        let frame = protected(&sa, TagStyle::Sci, &FRAME);
        let octets = frame.octets();
        assert_eq!(octets.len(), 76 + 16 + 16);
        assert_eq!(octets[..12], FRAME[..12]);
        assert_eq!(octets[12..20], [0x88, 0xe5, 0x2d, 0, 0, 0, 0, 1]);
        assert_eq!(octets[20..28], OWN.octets());
    }

    #[test]
    fn each_kind_of_protection_has_its_counters_of_frames_and_of_user_data() {
        let sa = tx_sa(&default_key());
        let (_, counted) = sent(&STRICT, Some(&sa), &mut buffer(&FRAME));
        assert_eq!(counted, [("out_pkts_encrypted", 1), ("out_octets_encrypted", 64)]);

        let sa = tx_sa(&key(CipherSuite::GcmAes256, ConfidentialityOffset::IntegrityOnly));
        let (_, counted) = sent(&STRICT, Some(&sa), &mut buffer(&FRAME));
        assert_eq!(counted, [("out_pkts_protected", 1), ("out_octets_protected", 64)]);
    }

    #[test]
    fn without_protection_a_frame_goes_out_as_it_is() {
        let mut frame = buffer(&FRAME);
        let (outcome, counted) = sent(&PLAIN, None, &mut frame);
        assert_eq!((outcome, frame.octets()), (Ok(()), &FRAME[..]));
        assert_eq!(counted, [("out_pkts_untagged", 1)]);
    }

    #[test]
    fn eapol_is_never_sent_protected_or_not() {
        let sa = tx_sa(&default_key());
        let expected = (TxDiscard::Eapol, "out_pkts_eapol");
        assert_eq!(refused(&STRICT, Some(&sa), &eapol()), expected);
        assert_eq!(sa.progress().next_pn, PacketNumber(1), "a number was spent on it");
        assert_eq!(refused(&PLAIN, None, &eapol()), expected);
    }

    #[test]
    fn a_frame_without_ethertype_is_not_sent() {
        let sa = tx_sa(&default_key());
        let expected = (TxDiscard::Runt, "out_pkts_runt");
        assert_eq!(refused(&STRICT, Some(&sa), &FRAME[..13]), expected);
        assert_eq!(refused(&PLAIN, None, &FRAME[..13]), expected);
        assert_eq!(refused(&STRICT, Some(&sa), &[]), expected);
    }

    #[test]
    fn nothing_is_sent_while_no_sa_transmits() {
        assert_eq!(refused(&STRICT, None, &FRAME), (TxDiscard::NoSa, "out_pkts_no_sa"));
    }

    /// 802.1AE-2018 10.5.2: never in clear, never with a number again.
    #[test]
    fn nothing_is_sent_after_the_last_packet_number() {
        let sa = tx_sa(&default_key());
        drop(sa.reserve(0xffff_ffff));
        let expected = (TxDiscard::Exhausted, "out_pkts_exhausted");
        assert_eq!(refused(&STRICT, Some(&sa), &FRAME), expected);
    }

    #[test]
    fn a_frame_that_protection_makes_too_long_is_not_sent() {
        let sa = tx_sa(&default_key());
        let longest = vec![0x45; 1600 - 32];
        assert_eq!(sent(&STRICT, Some(&sa), &mut buffer(&longest)).0, Ok(()));
        let one_more = vec![0x45; 1600 - 31];
        let expected = (TxDiscard::TooLong, "out_pkts_too_long");
        assert_eq!(refused(&STRICT, Some(&sa), &one_more), expected);
    }

    /// 802.1AE-2018 10.5.3.
    #[test]
    fn the_sci_is_left_out_only_where_allowed_and_wanted() {
        let without = SecySettings { include_sci: false, ..STRICT };
        assert_eq!(TagStyle::choose(&without, 0), TagStyle::PointToPoint);
        assert_eq!(TagStyle::choose(&without, 1), TagStyle::PointToPoint);
        assert_eq!(TagStyle::choose(&without, 2), TagStyle::Sci);
        assert_eq!(TagStyle::choose(&STRICT, 0), TagStyle::Sci);
    }
}
