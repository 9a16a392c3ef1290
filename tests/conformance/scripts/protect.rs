//! Frames to send, and the same kinds of frames received.

use macsecd::ident::{CipherSuite, ConfidentialityOffset};
use macsecd::secy::{SecyCommand, SecySettings, TagStyle};

use CipherSuite::{GcmAes128, GcmAes256, GcmAesXpn128, GcmAesXpn256};

use super::CHECK;
use crate::frame::{ETHERTYPE_EAPOL, Key, Sender, between, data, ours, with_ethertype};
use crate::script::{Script, script};
use crate::secy::{Frame, OWN, PEER, STRICT, THIRD, Who};

/// The shortest frame: its EtherType and no data.
const SHORTEST: usize = 14;
/// The longest frame that a link with an MTU of 1500 leaves to the secure interface.
const LONGEST: usize = 1482;

/// Frames of every length, both ways, under each kind of protection and each kind of tag: of every
/// single length where both or neither of them is the longer, else of some.
fn every_size(script: &mut Script, suite: CipherSuite) {
    script.open();
    let (mut number, mut previous) = (0, None);
    for (include_sci, encrypt) in [(true, true), (true, false), (false, false), (false, true)] {
        let style = if include_sci { TagStyle::Sci } else { TagStyle::PointToPoint };
        number += 1;
        let key = Key::new(number, suite);
        let key = if encrypt { key } else { key.in_clear() };
        let peer = Sender::new(PEER, &key).with_style(style);
        script
            .configure(
                format!("carry the SCI with key {number}: {include_sci}"),
                SecySettings { include_sci, ..STRICT },
            )
            .apply(format!("install key {number}"), key.install(&[PEER]))
            .enable(&key);
        if let Some(previous) = previous.replace(key) {
            script.remove(&previous);
        }
        let all = include_sci == encrypt;
        let sizes = (SHORTEST..=LONGEST).filter(|len| all || *len < 100 || len % 50 == 32);
        let sizes: Vec<usize> = sizes.collect();
        let protected = |len: &usize| peer.protect(&data(PEER, *len));
        script
            .send(format!("sent with key {number}"), sizes.iter().copied().map(ours).collect())
            .inject(format!("received with key {number}"), sizes.iter().map(protected).collect());
    }
}

#[test]
fn gcm_aes_128_protects_every_size() {
    let mut script = script!(STRICT);
    every_size(&mut script, GcmAes128);
    script.run();
}

#[test]
fn gcm_aes_256_protects_every_size() {
    let mut script = script!(STRICT);
    every_size(&mut script, GcmAes256);
    script.run();
}

#[test]
fn gcm_aes_xpn_128_protects_every_size() {
    let mut script = script!(STRICT);
    every_size(&mut script, GcmAesXpn128);
    script.run();
}

#[test]
fn gcm_aes_xpn_256_protects_every_size() {
    let mut script = script!(STRICT);
    every_size(&mut script, GcmAesXpn256);
    script.run();
}

#[test]
fn the_sci_is_carried_whatever_the_settings_while_there_are_two_members() {
    let key = Key::new(1, GcmAes128);
    let without = SecySettings { include_sci: false, ..STRICT };
    let joins = SecyCommand::AddReceiver { ki: key.ki(), member: key.member(THIRD, 1) };
    script!(without)
        .open()
        .apply("install", key.install(&[]))
        .enable(&key)
        .send("to nobody known", vec![ours(100)])
        .apply("one joins", SecyCommand::AddReceiver { ki: key.ki(), member: key.member(PEER, 1) })
        .send("to one", vec![ours(100)])
        .apply("another joins", joins)
        .send("to two", vec![ours(100)])
        .apply("one leaves", SecyCommand::RemoveReceiver(PEER.sci))
        .send("to one again", vec![ours(100)])
        .run();
}

#[test]
fn frames_to_any_address_are_protected_and_delivered() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    let addresses = [[0xff; 6], [0x01, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0, 0x77]];
    let (own, other) = (OWN.sci.address().0, PEER.sci.address().0);
    let from_us = addresses.map(|to| between(own, to, 100)).to_vec();
    let to_us = addresses.map(|to| peer.protect(&between(other, to, 100))).to_vec();
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .send("to all, to a group, to a stranger", from_us)
        .inject("and received", to_us)
        .run();
}

/// A VLAN tag inside the protection may make a frame four octets longer, and the link must take
/// that too.
#[test]
fn a_frame_that_protection_makes_too_long_costs_a_packet_number() {
    let key = Key::new(1, GcmAes128);
    let tagged = |len| with_ethertype(ours(len), [0x81, 0x00]);
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .send("as long as may be", vec![tagged(LONGEST)])
        .send("one octet longer", vec![tagged(LONGEST + 1)])
        .send("four octets longer, and one that fits", vec![tagged(LONGEST + 4), ours(100)])
        .run();
}

#[test]
fn eapol_is_not_sent_through_the_controlled_port() {
    let key = Key::new(1, GcmAes128);
    let own = Sender::new(OWN, &key);
    let eapol = with_ethertype(ours(100), ETHERTYPE_EAPOL);
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .send("eapol", vec![eapol.clone()])
        .or_else(vec![own.protect_eapol(&eapol)])
        .run();
}

/// 802.1AE-2018 10.5 and 10.6 with protectFrames off: for a peer without MACsec.
#[test]
fn without_protection_frames_go_and_come_as_they_are() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    let plain = SecySettings { protect: false, ..CHECK };
    let eapol = |frame: Frame| with_ethertype(frame, ETHERTYPE_EAPOL);
    script!(plain)
        .open()
        .send("no key", vec![ours(14), ours(100), ours(1482)])
        .inject("no key, received", vec![data(PEER, 60), data(PEER, 1514)])
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .send("a key that is not used", vec![ours(100)])
        .inject("in clear and protected", vec![data(PEER, 60), peer.protect(&data(PEER, 60))])
        .send("eapol", vec![eapol(ours(100))])
        .or_else(vec![eapol(ours(100))])
        .configure("protect again", STRICT)
        .send("protected", vec![ours(100)])
        .configure("and not", plain)
        .send("in clear", vec![ours(100)])
        .run();
}

/// The kernel has none, and its data plane does not get so far.
#[test]
fn a_confidentiality_offset_leaves_so_much_in_clear() {
    let mut script = script!(STRICT);
    script.open();
    let offsets = [ConfidentialityOffset::Offset30, ConfidentialityOffset::Offset50];
    for (number, offset) in (1..).zip(offsets) {
        let key = Key::new(number, GcmAes128).with_offset(offset);
        let peer = Sender::new(PEER, &key);
        let sizes = [14, 41, 42, 43, 61, 62, 63, 100];
        script
            .apply(format!("install key {number}"), key.install(&[PEER]))
            .enable(&key)
            .send(format!("with key {number}"), sizes.map(ours).to_vec())
            .inject(
                format!("received with key {number}"),
                sizes.map(|len| peer.protect(&data(PEER, len))).to_vec(),
            );
    }
    script.run_without(Who::Kernel);
}

/// It must say that it has none, rather than encrypt more than was agreed.
#[test]
fn a_key_with_a_confidentiality_offset_gives_way_to_one_without() {
    let with = Key::new(1, GcmAes128).with_offset(ConfidentialityOffset::Offset30);
    let without = Key::new(2, GcmAes128);
    let peer = Sender::new(PEER, &without);
    script!(STRICT)
        .open()
        .apply("install key 1", with.install(&[PEER]))
        .remove(&with)
        .apply("install key 2", without.install(&[PEER]))
        .enable(&without)
        .send("sent", vec![ours(100)])
        .inject("received", peer.frames(2))
        .run();
}
