//! What the kernel cannot do is refused before it is asked.

use std::sync::Arc;

use macsecd::crypto::Sak;
use macsecd::ident::{AssociationNumber, CipherSuite, ConfidentialityOffset};
use macsecd::secy::{InstallSak, SecyCommand, SecyError, SecyKey};
use zeroize::Zeroizing;

use crate::rig::{ki, machine, settings, start};

/// It would encrypt all of a frame, where the others leave a part of it in clear.
#[test]
fn a_key_with_a_confidentiality_offset_is_refused_and_may_come_again_without() {
    let kernel = machine();
    let mut plane = start(&kernel, settings(CipherSuite::GcmAes128)).unwrap();
    let install = |offset| {
        let sak = Sak::new(Zeroizing::new(vec![1; 16])).unwrap();
        let suite = CipherSuite::GcmAes128;
        let key = Arc::new(SecyKey { ki: ki(1), suite, offset, sak, salt: None });
        let an = AssociationNumber::from_low_bits(1);
        SecyCommand::InstallSak(InstallSak { key, an, ssci: None, receive: Vec::new() })
    };
    for offset in [ConfidentialityOffset::Offset30, ConfidentialityOffset::Offset50] {
        let error = plane.apply(&install(offset)).unwrap_err();
        assert!(matches!(&error, SecyError::Refused(why) if why.contains("offset")), "{error}");
        assert!(plane.snapshot().alive);
    }
    assert_eq!(plane.apply(&install(ConfidentialityOffset::Offset0)), Ok(()));
}
