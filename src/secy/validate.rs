//! Frames in: the tag, the ICV, replay, and what is counted (802.1AE-2018 10.6).

use std::sync::Arc;

use crate::engine::{BATCH_MAX, Job};
use crate::ident::{AssociationNumber, MacAddress, PacketNumber};
use crate::secy::buffer::ETHERTYPE_LEN;
use crate::secy::table::Found;
use crate::secy::{Arrival, Counters, FrameBuf, RxSa, RxTable, SecySettings, Validate};
use crate::wire::ethernet::{ADDRESSES_LEN, ETHERTYPE_EAPOL, ETHERTYPE_MACSEC, HEADER_LEN};
use crate::wire::{ICV_LEN, SciField, SecTag, SecTagError};

/// Why a frame is handed to the Controlled Port. Each has one counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Its ICV is good and its number in the window (`in_pkts_ok`).
    Ok,
    /// Its ICV is good, or was not looked at, and its number is below the window
    /// (`in_pkts_delayed`).
    Delayed,
    /// Its ICV was not looked at (`in_pkts_unchecked`).
    Unchecked,
    /// Its ICV is wrong, but the content is in clear (`in_pkts_invalid`).
    Invalid,
    /// It has no tag (`in_pkts_untagged`).
    Untagged,
    /// Nobody is received on its channel, but the content is in clear (`in_pkts_unknown_sci`).
    UnknownSci,
    /// Its association has no SA, but the content is in clear (`in_pkts_unused_sa`).
    UnusedSa,
}

/// Why a frame is dropped. Each has one counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameDiscard {
    /// Too short to have an EtherType (`in_pkts_runt`).
    #[error("the frame has no EtherType")]
    Runt,
    /// EAPOL, which is for the Uncontrolled Port (`in_pkts_eapol`).
    #[error("EAPOL does not go through the Controlled Port")]
    Eapol,
    /// It has no tag (`in_pkts_no_tag`).
    #[error("the frame has no SecTAG")]
    NoTag,
    /// Its tag marks it as the KaY's (`in_pkts_for_kay`).
    #[error("the frame is encrypted yet unchanged, which is left to the KaY")]
    ForKay,
    /// Its tag is wrong (`in_pkts_bad_tag`).
    #[error("bad SecTAG: {0}")]
    BadTag(#[from] SecTagError),
    /// Nobody is received on its channel (`in_pkts_no_sci`).
    #[error("no receive channel has the frame's SCI")]
    NoSci,
    /// Its association has no SA (`in_pkts_not_using_sa`).
    #[error("no security association is in use for the frame's AN")]
    NotUsingSa,
    /// Its number is below the window (`in_pkts_late`).
    #[error("the packet number is too low")]
    Late,
    /// Its ICV is wrong (`in_pkts_not_valid`).
    #[error("the integrity check failed")]
    NotValid,
}

/// Takes a frame from the wire, and leaves in the buffer what the Controlled Port is to get.
///
/// # Errors
///
/// [`FrameDiscard`] where it gets nothing; that has been counted, and the buffer is empty.
pub fn validate(
    table: &RxTable,
    settings: &SecySettings,
    frame: &mut FrameBuf,
    counters: &mut Counters,
) -> Result<Verdict, FrameDiscard> {
    let mut outcome = Err(FrameDiscard::Runt);
    validate_batch(table, settings, [frame], counters, |_, of_frame| outcome = of_frame);
    outcome
}

/// Does for many frames what [`validate`] does for each, one after the other, and faster.
///
/// `outcome` is told what became of each frame, by its place, once and in any order.
pub fn validate_batch<'f>(
    table: &RxTable,
    settings: &SecySettings,
    frames: impl IntoIterator<Item = &'f mut FrameBuf>,
    counters: &mut Counters,
    outcome: impl FnMut(usize, Result<Verdict, FrameDiscard>),
) {
    let mut batch =
        Batch { settings, counters, outcome, waiting: [const { None }; BATCH_MAX], count: 0 };
    let mut last = None;
    for (at, frame) in frames.into_iter().enumerate() {
        let looked = match frame.ethertype() {
            None => Err(FrameDiscard::Runt),
            Some(ETHERTYPE_EAPOL) => Err(FrameDiscard::Eapol),
            Some(ETHERTYPE_MACSEC) => tagged(table, settings, frame, &mut last),
            Some(_) if settings.validate == Validate::Strict => Err(FrameDiscard::NoTag),
            Some(_) => Ok(Looked::Delivered(Verdict::Untagged)),
        };
        match looked {
            Ok(Looked::Delivered(verdict)) => batch.settle(at, frame, Ok(verdict)),
            Err(discard) => batch.settle(at, frame, Err(discard)),
            Ok(Looked::HasSa(sa, parts)) => batch.take(at, frame, sa, parts),
        }
    }
    batch.finish();
}

/// Where the parts of a tagged frame lie.
#[derive(Clone, Copy)]
struct Parts {
    /// TCI.E and TCI.C.
    encrypted: bool,
    changed: bool,
    /// The packet number, or its low half.
    pn: u32,
    /// The octets of the tag with its EtherType.
    tag_len: usize,
    /// The octets of Secure Data.
    data_len: usize,
}

/// What a frame's tag tells.
enum Looked<'t> {
    /// All that there is to know: the frame is delivered, and is what it has to be already.
    Delivered(Verdict),
    /// Which SA it is for.
    HasSa(&'t RxSa, Parts),
}

// Always inlined, as are others on this way: what they give would else be written in small pieces and
// read back in large ones, which the CPU has to wait for.
#[inline(always)]
fn tagged<'t>(
    table: &'t RxTable,
    settings: &SecySettings,
    frame: &mut FrameBuf,
    last: &mut Option<(SciField, AssociationNumber, &'t RxSa)>,
) -> Result<Looked<'t>, FrameDiscard> {
    let after_ethertype = frame.octets().get(HEADER_LEN..).unwrap_or_default();
    if SecTag::is_for_kay(after_ethertype) {
        return Err(FrameDiscard::ForKay);
    }
    let (tag, rest) = SecTag::decode(after_ethertype)?;
    let data_len = tag.secure_data_len(rest.len())?;
    let parts = Parts {
        encrypted: tag.encrypted,
        changed: tag.changed,
        pn: tag.pn,
        tag_len: ETHERTYPE_LEN + tag.encoded_len(),
        data_len,
    };

    let found = match *last {
        // Where the tag carries the SCI, the same leads to the same.
        Some((sci, an, sa)) if sci == tag.sci && an == tag.an => Found::Sa(sa),
        _ => table.find(source(frame), tag.sci, tag.an),
    };
    if tag.pn == 0 && !zero_is_a_number(table, &found) {
        return Err(SecTagError::PnZero.into());
    }
    // Only a frame in clear is of use to anybody without its key.
    let legible = !tag.changed && settings.validate != Validate::Strict;
    let (verdict, discard) = match found {
        Found::Sa(sa) => {
            if matches!(tag.sci, SciField::Explicit(_)) {
                *last = Some((tag.sci, tag.an, sa));
            }
            return Ok(Looked::HasSa(sa, parts));
        }
        Found::NoSa => (Verdict::UnusedSa, FrameDiscard::NotUsingSa),
        Found::NoChannel => (Verdict::UnknownSci, FrameDiscard::NoSci),
    };
    if !legible {
        return Err(discard);
    }
    frame.shrink(parts.tag_len, parts.data_len);
    Ok(Looked::Delivered(verdict))
}

/// Tells whether a tag may say 0, as the low half of an XPN number does once in 2^32.
fn zero_is_a_number(table: &RxTable, found: &Found<'_>) -> bool {
    match found {
        Found::Sa(sa) => sa.is_xpn(),
        Found::NoSa | Found::NoChannel => table.sas().any(|sa| sa.is_xpn()),
    }
}

/// Frames whose ICVs are to be checked together.
///
/// What becomes of each is as if the ones before it had been finished already: the replay state is
/// looked at again when their turn comes, in order, and a frame that would let the next one's number
/// be completed differently ends the batch.
struct Batch<'t, 'f, F> {
    settings: &'t SecySettings,
    counters: &'t mut Counters,
    outcome: F,
    /// All of them under one key.
    waiting: [Option<Waiting<'t, 'f>>; BATCH_MAX],
    count: usize,
}

/// A frame whose SA is known and whose number was not late when it came.
struct Waiting<'t, 'f> {
    at: usize,
    frame: &'f mut FrameBuf,
    sa: &'t RxSa,
    pn: PacketNumber,
    parts: Parts,
}

impl<'t, 'f, F: FnMut(usize, Result<Verdict, FrameDiscard>)> Batch<'t, 'f, F> {
    fn settle(&mut self, at: usize, frame: &mut FrameBuf, outcome: Result<Verdict, FrameDiscard>) {
        settle(at, frame, outcome, self.counters, &mut self.outcome);
    }

    /// Goes on with a frame whose SA is known.
    #[inline(always)]
    fn take(&mut self, at: usize, frame: &'f mut FrameBuf, sa: &'t RxSa, parts: Parts) {
        let Parts { changed, pn, tag_len, data_len, .. } = parts;
        let unchecked = self.settings.validate == Validate::Disabled && !changed;
        if self.count == BATCH_MAX || unchecked || !self.is_of_this_key(sa) {
            self.finish();
        }
        let pn = sa.full_pn(pn);
        let arrival = sa.replay().check(pn);
        if arrival == Arrival::Late && self.settings.replay_protect {
            return self.settle(at, frame, Err(FrameDiscard::Late));
        }
        if unchecked {
            frame.shrink(tag_len, data_len);
            let verdict = match arrival {
                Arrival::InWindow => Verdict::Unchecked,
                Arrival::Late => Verdict::Delayed,
            };
            return self.settle(at, frame, Ok(verdict));
        }
        if let Some(slot) = self.waiting.get_mut(self.count) {
            *slot = Some(Waiting { at, frame, sa, pn, parts });
            self.count += 1;
        }
        if sa.is_xpn() && sa.replay().may_complete_differently(pn, self.settings.replay_window) {
            self.finish();
        }
    }

    fn is_of_this_key(&self, sa: &RxSa) -> bool {
        match self.waiting.first() {
            Some(Some(first)) if self.count > 0 => Arc::ptr_eq(first.sa.key(), sa.key()),
            _ => true,
        }
    }

    /// Checks the ICVs of the frames that wait, and settles them in order.
    fn finish(&mut self) {
        let count = std::mem::take(&mut self.count);
        let waiting = self.waiting.get_mut(..count).unwrap_or_default();
        let Some((Some(first), others)) = waiting.split_first_mut() else { return };
        let gcm = first.sa.key().gcm();
        let (sa, lowest) = (first.sa, first.pn);
        let (mut rising, mut highest) = (true, lowest);
        let mut jobs: [Job<'_>; BATCH_MAX] = std::array::from_fn(|_| Job::default());
        let [head, tail @ ..] = &mut jobs;
        *head = first.job();
        for (job, waiting) in tail.iter_mut().zip(others.iter_mut().flatten()) {
            rising = rising && std::ptr::eq(waiting.sa, sa) && waiting.pn > highest;
            highest = waiting.pn;
            *job = waiting.job();
        }
        let right = gcm.open(jobs.get_mut(..count).unwrap_or_default());
        let all = u64::try_from(count).is_ok_and(|count| u64::from(right.count_ones()) == count);
        let committed = all
            && rising
            && sa.replay().commit_rising(lowest, highest, self.settings.replay_window);
        for (n, waiting) in waiting.iter_mut().flatten().enumerate() {
            let outcome = if committed {
                waiting.deliver(self.counters);
                Ok(Verdict::Ok)
            } else {
                waiting.finish(right >> n & 1 == 1, self.settings, self.counters)
            };
            settle(waiting.at, waiting.frame, outcome, self.counters, &mut self.outcome);
        }
    }
}

/// Counts what becomes of a frame, and says so.
#[inline(always)]
fn settle(
    at: usize,
    frame: &mut FrameBuf,
    outcome: Result<Verdict, FrameDiscard>,
    counters: &mut Counters,
    tell: &mut impl FnMut(usize, Result<Verdict, FrameDiscard>),
) {
    match outcome {
        Ok(verdict) => count_delivered(verdict, counters),
        Err(discard) => {
            frame.clear();
            count_discarded(discard, counters);
        }
    }
    tell(at, outcome);
}

impl Waiting<'_, '_> {
    /// What of the frame is authenticated only, and what is decrypted, as its tag says, which may
    /// differ from frame to frame.
    #[inline(always)]
    fn job(&mut self) -> Job<'_> {
        let Parts { encrypted, tag_len, data_len, .. } = self.parts;
        let offset = self.sa.key().key().offset.octets();
        let in_clear = if encrypted { offset.min(data_len) } else { data_len };
        let aad_len = ADDRESSES_LEN + tag_len + in_clear;
        let end = ADDRESSES_LEN + tag_len + data_len + ICV_LEN;
        let octets = self.frame.octets_mut().get_mut(..end).unwrap_or_default();
        // There is as much; else the job is empty, and its ICV wrong.
        let (aad, sealed) = octets.split_at_mut_checked(aad_len).unwrap_or_default();
        Job::new(self.sa.nonce(self.pn), aad, sealed)
    }

    /// Says what becomes of the frame, given whether its ICV was right.
    fn finish(
        &mut self,
        right: bool,
        settings: &SecySettings,
        counters: &mut Counters,
    ) -> Result<Verdict, FrameDiscard> {
        let Parts { changed, tag_len, data_len, .. } = self.parts;
        let late = |arrival| arrival == Arrival::Late && settings.replay_protect;
        // Those before it have been committed since it was looked at first.
        if late(self.sa.replay().check(self.pn)) {
            return Err(FrameDiscard::Late);
        }
        if !right {
            if changed || settings.validate == Validate::Strict {
                return Err(FrameDiscard::NotValid);
            }
            // Nothing was decrypted, so the octets are still those that came.
            self.frame.shrink(tag_len, data_len);
            return Ok(Verdict::Invalid);
        }
        self.count_octets(counters);
        let arrival = self.sa.replay().commit(self.pn, settings.replay_window);
        if late(arrival) {
            return Err(FrameDiscard::Late);
        }
        self.frame.shrink(tag_len, data_len);
        Ok(match arrival {
            Arrival::InWindow => Verdict::Ok,
            Arrival::Late => Verdict::Delayed,
        })
    }

    /// Leaves the user data of a valid frame in the buffer.
    #[inline(always)]
    fn deliver(&mut self, counters: &mut Counters) {
        self.count_octets(counters);
        self.frame.shrink(self.parts.tag_len, self.parts.data_len);
    }

    const fn count_octets(&self, counters: &mut Counters) {
        let octets = self.parts.data_len as u64;
        if self.parts.encrypted {
            counters.in_octets_decrypted += octets;
        } else {
            counters.in_octets_validated += octets;
        }
    }
}

fn source(frame: &FrameBuf) -> MacAddress {
    match frame.octets() {
        [_, _, _, _, _, _, a, b, c, d, e, f, ..] => MacAddress([*a, *b, *c, *d, *e, *f]),
        _ => MacAddress([0; 6]),
    }
}

fn count_delivered(verdict: Verdict, counters: &mut Counters) {
    match verdict {
        Verdict::Ok => counters.in_pkts_ok += 1,
        Verdict::Delayed => counters.in_pkts_delayed += 1,
        Verdict::Unchecked => counters.in_pkts_unchecked += 1,
        Verdict::Invalid => counters.in_pkts_invalid += 1,
        Verdict::Untagged => counters.in_pkts_untagged += 1,
        Verdict::UnknownSci => counters.in_pkts_unknown_sci += 1,
        Verdict::UnusedSa => counters.in_pkts_unused_sa += 1,
    }
}

fn count_discarded(discard: FrameDiscard, counters: &mut Counters) {
    match discard {
        FrameDiscard::Runt => counters.in_pkts_runt += 1,
        FrameDiscard::Eapol => counters.in_pkts_eapol += 1,
        FrameDiscard::NoTag => counters.in_pkts_no_tag += 1,
        FrameDiscard::ForKay => counters.in_pkts_for_kay += 1,
        FrameDiscard::BadTag(_) => counters.in_pkts_bad_tag += 1,
        FrameDiscard::NoSci => counters.in_pkts_no_sci += 1,
        FrameDiscard::NotUsingSa => counters.in_pkts_not_using_sa += 1,
        FrameDiscard::Late => counters.in_pkts_late += 1,
        FrameDiscard::NotValid => counters.in_pkts_not_valid += 1,
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
