//! XPN: what 64-bit packet numbers add to MACsec SAK Use (802.1X-2020 11.11.3).

use super::{RawSet, SetFault, SetWriter, kind};
use crate::wire::MkpduTooLong;

/// The high halves of the packet numbers in MACsec SAK Use, and a request to be patient.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Xpn {
    /// For how many seconds the sender wants MKA to be suspended, or says that it is; 0 for none.
    pub suspension_time: u8,
    /// The high 32 bits of the latest key's packet number; 0 where the suite is not XPN.
    pub latest_lpn_high: u32,
    /// The high 32 bits of the old key's packet number; 0 where the suite is not XPN.
    pub old_lpn_high: u32,
}

impl Xpn {
    pub(in crate::wire) fn decode(set: &RawSet<'_>) -> Result<Self, SetFault> {
        let (latest, rest) = set.body.split_first_chunk().ok_or(SetFault::Length)?;
        let (old, _later) = rest.split_first_chunk().ok_or(SetFault::Length)?;
        Ok(Self {
            suspension_time: set.octet2,
            latest_lpn_high: u32::from_be_bytes(*latest),
            old_lpn_high: u32::from_be_bytes(*old),
        })
    }

    pub(in crate::wire) fn encode(&self, out: &mut SetWriter) -> Result<(), MkpduTooLong> {
        let body = [self.latest_lpn_high.to_be_bytes(), self.old_lpn_high.to_be_bytes()].concat();
        out.put([kind::XPN, self.suspension_time, 0], &body)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{raw, written};
    use super::*;

    #[test]
    fn the_latest_keys_half_comes_first() {
        let xpn = Xpn { suspension_time: 120, latest_lpn_high: 1, old_lpn_high: 0x0203_0405 };
        let octets = written(|out| xpn.encode(out));
        assert_eq!(octets, [8, 120, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5]);
        assert_eq!(Xpn::decode(&raw(&octets)), Ok(xpn));
    }

    #[test]
    fn a_short_body_is_refused_and_a_long_one_read_as_far_as_known() {
        for length in [0, 4, 7] {
            let octets = written(|out| out.put([8, 0, 0], &vec![0; length]));
            assert_eq!(Xpn::decode(&raw(&octets)), Err(SetFault::Length));
        }
        let octets = written(|out| out.put([8, 0, 0], &[0, 0, 0, 1, 0, 0, 0, 2, 9]));
        let expected = Xpn { suspension_time: 0, latest_lpn_high: 1, old_lpn_high: 2 };
        assert_eq!(Xpn::decode(&raw(&octets)), Ok(expected));
    }
}
