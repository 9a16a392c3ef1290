//! Any octets as an EAPOL frame: nothing panics, and what is read is what is written again.

use macsecd::wire::{Eapol, ICV_LEN, MkpduTooLong, RawMkpdu};

/// Reads a frame as far as it goes; where all of it is good, writes it and reads that.
pub fn mkpdu(data: &[u8]) {
    let Ok(eapol) = Eapol::decode(data) else { return };
    let Ok(raw) = RawMkpdu::decode(&eapol) else { return };
    assert_eq!([raw.covered(), raw.icv()].concat(), eapol.frame());
    let Ok(mut mkpdu) = raw.parse() else { return };
    if let Some(announcement) = &mut mkpdu.announcement {
        announcement.other_tlvs = 0; // They are never sent.
    }

    let mut frame = match mkpdu.encode(eapol.destination, eapol.source) {
        Ok(frame) => frame,
        Err(MkpduTooLong) => {
            assert!(eapol.body.len() > 1496, "our form of an MKPDU is never the longer one");
            return;
        }
    };
    frame.extend_from_slice(&[0; ICV_LEN]);

    assert!(frame.len() <= eapol.frame().len(), "our form of an MKPDU is never the longer one");
    let again = Eapol::decode(&frame).expect("we read what we write");
    let again = RawMkpdu::decode(&again).expect("we read what we write");
    assert_eq!(again.parse().as_ref(), Ok(&mkpdu));
}
