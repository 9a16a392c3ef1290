//! The SecTAG: which channel and association a protected frame belongs to, and its packet number.

use crate::ident::{AssociationNumber, Sci};
use crate::wire::ICV_LEN;

/// How a receiver learns which secure channel sent a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SciField {
    /// The tag carries the identifier (TCI.SC set).
    Explicit(Sci),
    /// The tag leaves it out; these bits say how to infer it (802.1AE-2018 9.5).
    Implicit {
        /// TCI.ES: the source address with port identifier 1.
        end_station: bool,
        /// TCI.SCB: the source address with port identifier 0.
        single_copy: bool,
    },
}

/// The SecTAG, after its EtherType (802.1AE-2018 9.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecTag {
    /// Whose frame it is.
    pub sci: SciField,
    /// TCI.E: the Secure Data is encrypted.
    pub encrypted: bool,
    /// TCI.C: the Secure Data differs from the user data.
    pub changed: bool,
    /// The association, and so the key.
    pub an: AssociationNumber,
    /// Octets of Secure Data where fewer than 48, else 0.
    pub short_length: u8,
    /// The PN, or its low 32 bits where the cipher suite is XPN.
    pub pn: u32,
}

impl SecTag {
    /// The octets of a tag that leaves the SCI out, after its EtherType.
    pub const LEN: usize = 6;
    /// The octets of a tag that carries the SCI, after its EtherType.
    pub const LEN_WITH_SCI: usize = 14;
    /// Secure Data of this many octets or more has a short length of 0 (802.1AE-2018 9.7).
    pub const SHORT_BELOW: usize = 48;

    /// Tells whether a tag says encrypted yet unchanged, given what follows the EtherType.
    ///
    /// The standard keeps that combination for frames that the KaY is to see (802.1AE-2018 9.5). It
    /// is looked for before anything else in the tag is judged (10.6).
    #[must_use]
    pub const fn is_for_kay(input: &[u8]) -> bool {
        matches!(input, [tci_an, ..] if *tci_an & (E | C) == E)
    }

    /// Reads a tag and returns it with what follows: the Secure Data and the ICV.
    ///
    /// A PN of 0 passes: only a caller that knows the cipher suite can refuse it. So does a short
    /// length that does not fit what follows: [`SecTag::secure_data_len`] refuses that.
    ///
    /// # Errors
    ///
    /// The first rule of 802.1AE-2018 9.12 that the octets break. Nothing is half accepted.
    #[inline(always)]
    pub fn decode(input: &[u8]) -> Result<(Self, &[u8]), SecTagError> {
        let (&[tci_an, short_length, pn @ ..], rest) =
            input.split_first_chunk::<{ Self::LEN }>().ok_or(SecTagError::Truncated)?;
        if tci_an & V != 0 {
            return Err(SecTagError::Version);
        }
        if short_length & SL_RESERVED != 0 {
            return Err(SecTagError::ReservedBits);
        }
        if usize::from(short_length) >= Self::SHORT_BELOW {
            return Err(SecTagError::ShortLength);
        }
        let (sci, rest) = match (tci_an & SC != 0, tci_an & ES != 0, tci_an & SCB != 0) {
            (true, false, false) => {
                let (octets, rest) = rest.split_first_chunk().ok_or(SecTagError::Truncated)?;
                (SciField::Explicit(Sci::from_octets(*octets)), rest)
            }
            (true, _, _) => return Err(SecTagError::SciBothWays),
            (false, end_station, single_copy) => {
                (SciField::Implicit { end_station, single_copy }, rest)
            }
        };
        let an = AssociationNumber::from_low_bits(tci_an);
        let (encrypted, changed) = (tci_an & E != 0, tci_an & C != 0);
        let pn = u32::from_be_bytes(pn);
        Ok((Self { sci, encrypted, changed, an, short_length, pn }, rest))
    }

    /// Writes the tag, as it stands after its EtherType, and gives how many octets it has.
    ///
    /// A short length of 48 or more, which no tag can say, is written as 0.
    #[must_use]
    pub fn encode(&self) -> ([u8; Self::LEN_WITH_SCI], usize) {
        let bit = |set: bool, mask: u8| if set { mask } else { 0 };
        let (sci_bits, [a, b, c, d, e, f, g, h], len) = match self.sci {
            SciField::Explicit(sci) => (SC, sci.octets(), Self::LEN_WITH_SCI),
            SciField::Implicit { end_station, single_copy } => {
                (bit(end_station, ES) | bit(single_copy, SCB), [0; 8], Self::LEN)
            }
        };
        let tci_an = sci_bits | bit(self.encrypted, E) | bit(self.changed, C) | self.an.value();
        let short_length = Self::short_length(usize::from(self.short_length));
        let [p, q, r, s] = self.pn.to_be_bytes();
        ([tci_an, short_length, p, q, r, s, a, b, c, d, e, f, g, h], len)
    }

    /// Gives what the short length field says of that much Secure Data (802.1AE-2018 9.7).
    #[must_use]
    pub const fn short_length(secure_data: usize) -> u8 {
        // Below 48, so nothing is cut off.
        #[allow(clippy::cast_possible_truncation)]
        if secure_data < Self::SHORT_BELOW { secure_data as u8 } else { 0 }
    }

    /// Tells how many of the `rest` octets behind the tag are Secure Data; the ICV follows them.
    ///
    /// Where the tag has a short length, octets behind the ICV are the medium's padding.
    ///
    /// # Errors
    ///
    /// The rule of 802.1AE-2018 9.12 on lengths that `rest` breaks.
    pub const fn secure_data_len(&self, rest: usize) -> Result<usize, SecTagError> {
        let Some(room) = rest.checked_sub(ICV_LEN) else {
            return Err(SecTagError::Truncated);
        };
        match self.short_length as usize {
            0 if room < Self::SHORT_BELOW => Err(SecTagError::NotShort),
            0 => Ok(room),
            short if short >= Self::SHORT_BELOW => Err(SecTagError::ShortLength),
            short if short > room => Err(SecTagError::Truncated),
            short => Ok(short),
        }
    }

    /// The octets of the tag, after its EtherType.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self.sci {
            SciField::Explicit(_) => Self::LEN_WITH_SCI,
            SciField::Implicit { .. } => Self::LEN,
        }
    }
}

/// The rule that keeps octets from being a SecTAG (802.1AE-2018 9.12).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecTagError {
    /// The frame ends before the tag, the Secure Data it announces, or the ICV does.
    #[error("the frame ends too early")]
    Truncated,
    /// A version other than 0.
    #[error("the tag's version is not 0")]
    Version,
    /// The two bits above the short length are not 0.
    #[error("reserved bits of the tag are set")]
    ReservedBits,
    /// A short length of 48 or more.
    #[error("the short length is 48 or more")]
    ShortLength,
    /// No short length, yet fewer than 48 octets of Secure Data.
    #[error("fewer than 48 octets of secure data, but no short length")]
    NotShort,
    /// The SCI is carried and, by ES or SCB, left to be inferred.
    #[error("the tag both carries its SCI and leaves it out")]
    SciBothWays,
    /// A PN of 0 where the cipher suite is not XPN; found by the SecY, not by the decoder.
    #[error("the packet number is 0")]
    PnZero,
}

const V: u8 = 0x80;
const ES: u8 = 0x40;
const SC: u8 = 0x20;
const SCB: u8 = 0x10;
const E: u8 = 0x08;
const C: u8 = 0x04;
const SL_RESERVED: u8 = 0xc0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::MacAddress;

    const SCI: Sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 0xa0]), 1);
    const EXPLICIT: [u8; 14] = [0x2d, 10, 0, 0, 1, 2, 2, 0, 0, 0, 0, 0xa0, 0, 1];

    fn tag(sci: SciField) -> SecTag {
        SecTag {
            sci,
            encrypted: true,
            changed: true,
            an: AssociationNumber::from_low_bits(1),
            short_length: 10,
            pn: 0x0102,
        }
    }

    fn refusal(change: impl FnOnce(&mut [u8; 14])) -> SecTagError {
        let mut octets = EXPLICIT;
        change(&mut octets);
        SecTag::decode(&octets).unwrap_err()
    }

    #[test]
    fn a_tag_with_its_sci_reads_and_writes_as_on_the_wire() {
        let mut octets = EXPLICIT.to_vec();
        octets.extend([7, 8, 9]);

        let (read, rest) = SecTag::decode(&octets).unwrap();

        assert_eq!(read, tag(SciField::Explicit(SCI)));
        assert_eq!(rest, [7, 8, 9]);
        assert_eq!(read.encode(), (EXPLICIT, 14));
        assert_eq!(read.encoded_len(), 14);
    }

    #[test]
    fn a_tag_without_sci_says_by_two_bits_how_to_infer_it() {
        for (tci_an, end_station, single_copy) in
            [(0x0d, false, false), (0x4d, true, false), (0x1d, false, true), (0x5d, true, true)]
        {
            let octets = [tci_an, 10, 0, 0, 1, 2];
            let expected = tag(SciField::Implicit { end_station, single_copy });

            assert_eq!(SecTag::decode(&octets), Ok((expected, &[][..])));
            let (written, len) = expected.encode();
            assert_eq!((&written[..len], expected.encoded_len()), (&octets[..], 6));
        }
    }

    #[test]
    fn a_tag_is_refused_for_the_first_rule_it_breaks() {
        assert_eq!(refusal(|octets| octets[0] |= 0x80), SecTagError::Version);
        assert_eq!(refusal(|octets| octets[0] |= 0x40), SecTagError::SciBothWays);
        assert_eq!(refusal(|octets| octets[0] |= 0x10), SecTagError::SciBothWays);
        assert_eq!(refusal(|octets| octets[1] = 0x40), SecTagError::ReservedBits);
        assert_eq!(refusal(|octets| octets[1] = 0x80), SecTagError::ReservedBits);
        assert_eq!(refusal(|octets| octets[1] = 48), SecTagError::ShortLength);
        assert_eq!(refusal(|octets| octets[1] = 63), SecTagError::ShortLength);
    }

    #[test]
    fn a_tag_cut_anywhere_is_truncated() {
        for len in 0..EXPLICIT.len() {
            assert_eq!(SecTag::decode(&EXPLICIT[..len]), Err(SecTagError::Truncated), "{len}");
        }
    }

    #[test]
    fn a_short_length_is_followed_by_the_icv_and_then_by_padding() {
        let short = tag(SciField::Explicit(SCI));
        assert_eq!(short.secure_data_len(26), Ok(10));
        assert_eq!(short.secure_data_len(31), Ok(10));
        assert_eq!(short.secure_data_len(25), Err(SecTagError::Truncated));
        assert_eq!(short.secure_data_len(15), Err(SecTagError::Truncated));
    }

    #[test]
    fn no_short_length_means_48_octets_or_more() {
        let long = SecTag { short_length: 0, ..tag(SciField::Explicit(SCI)) };
        assert_eq!(long.secure_data_len(64), Ok(48));
        assert_eq!(long.secure_data_len(1516), Ok(1500));
        assert_eq!(long.secure_data_len(63), Err(SecTagError::NotShort));
        assert_eq!(long.secure_data_len(16), Err(SecTagError::NotShort));
        assert_eq!(long.secure_data_len(15), Err(SecTagError::Truncated));
    }

    /// No frame that was read has one; a tag that was made can.
    #[test]
    fn a_short_length_of_48_and_more_is_refused() {
        let of = |short_length| SecTag { short_length, ..tag(SciField::Explicit(SCI)) };
        assert_eq!(of(47).secure_data_len(1516), Ok(47));
        assert_eq!(of(48).secure_data_len(1516), Err(SecTagError::ShortLength));
    }

    #[test]
    fn the_short_length_of_48_octets_and_more_is_zero() {
        assert_eq!(SecTag::short_length(0), 0);
        assert_eq!(SecTag::short_length(47), 47);
        assert_eq!(SecTag::short_length(48), 0);
        assert_eq!(SecTag::short_length(256 + 5), 0);
    }

    #[test]
    fn encrypted_but_unchanged_is_for_the_kay_whatever_else_is_wrong() {
        assert!(SecTag::is_for_kay(&[0x08]));
        assert!(SecTag::is_for_kay(&[0xf8, 0xff]));
        assert!(!SecTag::is_for_kay(&[0x0c]));
        assert!(!SecTag::is_for_kay(&[0x04]));
        assert!(!SecTag::is_for_kay(&[]));
    }
}
