//! The key derivation function, and the CAK and CKN that EAP gives.

use zeroize::Zeroizing;

use super::{
    cak::Cak,
    prf::{KeyLengthError, Prf},
};
use crate::ident::{Ckn, MacAddress};

/// Derives `octets` octets from a key, for a purpose (802.1X-2020 6.2.1).
///
/// MKA's own keys have methods of [`Cak`]; this is for the rest.
///
/// # Errors
///
/// [`KeyLengthError`] where the key has not 16 or 32 octets.
pub fn kdf(
    key: &[u8],
    label: &[u8],
    context: &[u8],
    octets: u8,
) -> Result<Zeroizing<Vec<u8>>, KeyLengthError> {
    Ok(Prf::new(key)?.derive(label, context, octets))
}

/// Derives the CAK of two stations from what EAP left them (802.1X-2020 6.2.2).
///
/// `msk` is the first 16 octets of the MSK for a CAK of 128 bits, the first 32 for one of 256. The
/// stations may be given in any order.
///
/// # Errors
///
/// [`KeyLengthError`] where `msk` has not 16 or 32 octets.
pub fn eap_cak(msk: &[u8], one: MacAddress, other: MacAddress) -> Result<Cak, KeyLengthError> {
    let octets: u8 = match msk.len() {
        16 => 16,
        32 => 32,
        other => return Err(KeyLengthError(other)),
    };
    Cak::new(kdf(msk, b"IEEE8021 EAP CAK", &in_order(one, other), octets)?)
}

/// Derives the CKN that goes with [`eap_cak`]: 16 octets (802.1X-2020 6.2.2).
///
/// # Errors
///
/// [`KeyLengthError`] where `msk` has not 16 or 32 octets.
pub fn eap_ckn(
    msk: &[u8],
    session_id: &[u8],
    one: MacAddress,
    other: MacAddress,
) -> Result<Ckn, KeyLengthError> {
    let context = [session_id, &in_order(one, other)].concat();
    let octets = kdf(msk, b"IEEE8021 EAP CKN", &context, 16)?;
    // Never an error: 16 octets are always a name.
    Ckn::new(&octets).map_err(|_| KeyLengthError(octets.len()))
}

/// Puts the numerically lower address first.
fn in_order(one: MacAddress, other: MacAddress) -> Vec<u8> {
    [one.min(other).0, one.max(other).0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: MacAddress = MacAddress([0x00, 0x1b, 0x63, 0x93, 0xfc, 0xbc]);
    const HIGH: MacAddress = MacAddress([0x00, 0xd0, 0xb7, 0x1a, 0x77, 0x17]);

    #[test]
    fn both_stations_derive_the_same_cak_and_ckn() {
        let (msk, session) = ([0x5a; 32], [1, 2, 3]);

        let ours = eap_cak(&msk, LOW, HIGH).unwrap();
        let theirs = eap_cak(&msk, HIGH, LOW).unwrap();

        assert!(ours.same_as(&theirs));
        assert_eq!(eap_ckn(&msk, &session, LOW, HIGH), eap_ckn(&msk, &session, HIGH, LOW));
    }

    #[test]
    fn an_msk_of_another_length_is_refused() {
        assert_eq!(eap_cak(&[0; 64], LOW, HIGH).err(), Some(KeyLengthError(64)));
        assert_eq!(eap_ckn(&[0; 8], &[], LOW, HIGH), Err(KeyLengthError(8)));
    }
}
