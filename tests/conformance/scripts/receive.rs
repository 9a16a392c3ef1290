//! Frames that are not what they should be, under each way to validate.

use macsecd::ident::CipherSuite;
use macsecd::secy::SecySettings;

use CipherSuite::{GcmAes128, GcmAesXpn128};

use super::{CHECK, DISABLED};
use crate::frame::{ETHERTYPE_EAPOL, Key, Sender, data, with_ethertype};
use crate::script::{Script, script};
use crate::secy::{Frame, PEER, STRICT, THIRD};

fn damaged(mut frame: Frame, at: usize) -> Frame {
    frame[at] ^= 0x10;
    frame
}

/// The peer's frames under another packet number, source, association or key, and damaged.
fn wrong_frames(script: &mut Script, key: Key) {
    let (peer, third) = (Sender::new(PEER, &key), Sender::new(THIRD, &key));
    let other_key = Sender::new(PEER, &Key::new(9, key.suite).on(1));
    other_key.skip_to(50);
    let other_an = Sender::new(PEER, &Key::new(10, key.suite).on(2));
    let good = || peer.protect(&data(PEER, 100));
    let last = 100 + 32 - 1;
    script
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("good", vec![good()])
        .inject("damaged in the address", vec![damaged(good(), 0)])
        .inject("damaged in the data", vec![damaged(good(), 40)])
        .inject("damaged in the ICV", vec![damaged(good(), last)])
        .inject("damaged in the packet number", vec![damaged(good(), 19)])
        .inject("another key", vec![other_key.protect(&data(PEER, 100))])
        .inject("an association without an SA", vec![other_an.protect(&data(PEER, 100))])
        .inject("a stranger", vec![third.protect(&data(THIRD, 100))])
        .inject("a short stranger", vec![third.protect(&data(THIRD, 20))])
        .inject("good again", vec![good(), peer.protect(&data(PEER, 20))]);
}

#[test]
fn strict_validation_delivers_nothing_wrong() {
    let mut script = script!(STRICT);
    wrong_frames(&mut script, Key::new(1, GcmAes128));
    script.run();
}

#[test]
fn strict_validation_delivers_nothing_wrong_in_clear() {
    let mut script = script!(STRICT);
    wrong_frames(&mut script, Key::new(1, GcmAesXpn128).in_clear());
    script.run();
}

#[test]
fn checking_delivers_nothing_wrong_that_is_encrypted() {
    let mut script = script!(CHECK);
    wrong_frames(&mut script, Key::new(1, GcmAes128));
    script.run();
}

#[test]
fn checking_delivers_what_is_wrong_and_in_clear() {
    let mut script = script!(CHECK);
    wrong_frames(&mut script, Key::new(1, GcmAes128).in_clear());
    script.run();
}

#[test]
fn without_validation_encrypted_frames_are_checked_all_the_same() {
    let mut script = script!(DISABLED);
    wrong_frames(&mut script, Key::new(1, GcmAes128));
    script.run();
}

#[test]
fn without_validation_frames_in_clear_are_not_checked() {
    let mut script = script!(DISABLED);
    wrong_frames(&mut script, Key::new(1, GcmAes128).in_clear());
    script.run();
}

/// Each frame says by itself whether it is encrypted.
#[test]
fn frames_in_clear_and_encrypted_come_under_one_key() {
    let key = Key::new(1, GcmAes128);
    let (encrypted, in_clear) = (Sender::new(PEER, &key), Sender::new(PEER, &key.in_clear()));
    in_clear.skip_to(3);
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("encrypted", encrypted.frames(2))
        .inject("in clear", in_clear.frames(2))
        .run();
}

/// With all frames refused that are too late, whatever else they are.
#[test]
fn a_late_frame_is_late_before_it_is_checked() {
    for settings in [STRICT, CHECK, DISABLED] {
        let key = Key::new(1, GcmAes128).in_clear();
        let frames = Sender::new(PEER, &key).frames(5);
        script!(settings)
            .open()
            .apply("install", key.install_members(vec![key.member(PEER, 4)]))
            .inject("late", vec![frames[1].clone()])
            .inject("late and damaged", vec![damaged(frames[2].clone(), 40)])
            .inject("not late", vec![frames[3].clone()])
            .run();
    }
}

fn untagged(script: &mut Script) {
    script
        .open()
        .inject("two without a tag", vec![data(PEER, 60), data(PEER, 1514)])
        .inject("without data", vec![data(PEER, 14)]);
}

#[test]
fn strict_validation_refuses_frames_without_a_tag() {
    let mut script = script!(STRICT);
    untagged(&mut script);
    script.run();
}

#[test]
fn checking_lets_frames_without_a_tag_pass() {
    let mut script = script!(CHECK);
    untagged(&mut script);
    script.run();
}

#[test]
fn without_validation_frames_without_a_tag_pass() {
    let mut script = script!(DISABLED);
    untagged(&mut script);
    script.run();
}

fn eapol(script: &mut Script) {
    let frame = with_ethertype(data(PEER, 60), ETHERTYPE_EAPOL);
    script.open().inject("eapol", vec![frame.clone()]).or_else(vec![frame]);
}

#[test]
fn eapol_is_not_for_a_strict_controlled_port() {
    let mut script = script!(STRICT);
    eapol(&mut script);
    script.run();
}

#[test]
fn eapol_is_not_for_a_lenient_controlled_port() {
    let mut script = script!(SecySettings { protect: false, ..CHECK });
    eapol(&mut script);
    script.run();
}
