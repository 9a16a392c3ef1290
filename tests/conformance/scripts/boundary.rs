//! Where packet numbers cross 2^32, and where they end.

use macsecd::ident::CipherSuite;
use macsecd::secy::SecySettings;

use CipherSuite::{GcmAes128, GcmAesXpn128, GcmAesXpn256};

use crate::frame::{Key, Sender, data};
use crate::script::{Script, script};
use crate::secy::{Frame, PEER, STRICT};

const WRAP: u64 = 1 << 32;
const WINDOW: SecySettings = SecySettings { replay_window: 64, ..STRICT };

/// Frames of the peer with these packet numbers, which only rise.
fn numbered(key: &Key, numbers: impl IntoIterator<Item = u64>) -> Vec<Frame> {
    let peer = Sender::new(PEER, key);
    let frame = |pn| {
        peer.skip_to(pn);
        peer.protect(&data(PEER, 100))
    };
    numbers.into_iter().map(frame).collect()
}

/// One step for each frame, so that the numbers are seen after each.
fn one_by_one(script: &mut Script, suite: CipherSuite) {
    let key = Key::new(1, suite);
    script.open().apply("install", key.install_members(vec![key.member(PEER, WRAP - 2)]));
    let frames = numbered(&key, WRAP - 3..WRAP + 3);
    for (label, frame) in ["-3", "-2", "-1", "0", "1", "2"].into_iter().zip(frames) {
        script.inject(format!("2^32 and {label}"), vec![frame]);
    }
}

#[test]
fn xpn_128_frames_are_received_across_2_to_the_32() {
    let mut script = script!(STRICT);
    one_by_one(&mut script, GcmAesXpn128);
    script.run();
}

#[test]
fn xpn_256_frames_are_received_across_2_to_the_32() {
    let mut script = script!(STRICT);
    one_by_one(&mut script, GcmAesXpn256);
    script.run();
}

#[test]
fn xpn_frames_in_clear_are_received_across_2_to_the_32() {
    let key = Key::new(1, GcmAesXpn256).in_clear();
    script!(STRICT)
        .open()
        .apply("install", key.install_members(vec![key.member(PEER, WRAP - 2)]))
        .inject("across", numbered(&key, WRAP - 2..WRAP + 3))
        .run();
}

#[test]
fn a_gap_across_2_to_the_32_is_no_hindrance() {
    let key = Key::new(1, GcmAesXpn256);
    let frames = numbered(&key, [WRAP - 1000, WRAP + 1000, 2 * WRAP + 2000]);
    script!(STRICT)
        .open()
        .apply("install", key.install_members(vec![key.member(PEER, WRAP - 1000)]))
        .inject("before", vec![frames[0].clone()])
        .inject("after", vec![frames[1].clone()])
        .inject("far on, which cannot be told", vec![frames[2].clone()])
        .run();
}

#[test]
fn frames_from_before_2_to_the_32_are_not_valid_after_it() {
    let key = Key::new(1, GcmAesXpn256);
    let frames = numbered(&key, WRAP - 5..WRAP + 5);
    script!(STRICT)
        .open()
        .apply("install", key.install_members(vec![key.member(PEER, WRAP - 5)]))
        .inject("across", frames.clone())
        .inject("those after it again", frames[5..].to_vec())
        .inject("those from before it again", frames[..5].to_vec())
        .run();
}

#[test]
fn frames_from_before_2_to_the_32_are_in_the_window_after_it() {
    let key = Key::new(1, GcmAesXpn256);
    let frames = numbered(&key, WRAP - 5..WRAP + 5);
    let of = |numbers: &[usize]| numbers.iter().map(|at| frames[*at].clone()).collect();
    script!(WINDOW)
        .open()
        .apply("install", key.install_members(vec![key.member(PEER, WRAP - 200)]))
        .inject("before it", of(&[0, 2]))
        .inject("before it, in the window", of(&[1]))
        .inject("after it", of(&[6, 8]))
        .inject("after it, in the window", of(&[5, 7]))
        .inject("from before it, in the window", of(&[3]))
        .inject("from before it, again", of(&[2]))
        .inject("and on", of(&[9]))
        .run();
}

/// The kernel's next number is past 2^32 then, though no frame is.
#[test]
fn with_a_window_a_member_may_start_just_before_2_to_the_32() {
    let key = Key::new(1, GcmAesXpn256);
    script!(WINDOW)
        .open()
        .apply("install", key.install_members(vec![key.member(PEER, WRAP - 3)]))
        .inject("before it", numbered(&key, WRAP - 3..WRAP))
        .inject("after it", numbered(&key, WRAP..WRAP + 2))
        .run();
}

/// A receiver that does not count the last number of a half as received takes it for ever.
#[test]
fn an_xpn_frame_whose_low_half_is_all_ones_is_received_once() {
    let key = Key::new(1, GcmAesXpn256);
    let frames = numbered(&key, [WRAP - 1, WRAP]);
    let (last, next) = (vec![frames[0].clone()], vec![frames[1].clone()]);
    script!(STRICT)
        .open()
        .apply("install", key.install_members(vec![key.member(PEER, WRAP - 1)]))
        .inject("once", last.clone())
        .inject("twice", last.clone())
        .inject("three times", last.clone())
        .inject("the next", next)
        .inject("and once more", last)
        .run();
}

#[test]
fn an_xpn_frame_whose_low_half_is_all_ones_is_received_once_in_clear() {
    let key = Key::new(1, GcmAesXpn128).in_clear();
    let last = numbered(&key, [WRAP - 1]);
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("far from what is expected", last.clone())
        .inject("and again", last)
        .run();
}

/// 802.1AE-2018 10.6: after the last number of 32 bits nothing is good any more.
#[test]
fn after_the_last_of_32_bits_no_frame_is_received() {
    let key = Key::new(1, GcmAes128);
    let frames = numbered(&key, WRAP - 3..WRAP);
    script!(STRICT)
        .open()
        .apply("install", key.install_members(vec![key.member(PEER, WRAP - 3)]))
        .inject("the last but two", vec![frames[0].clone()])
        .inject("the last but one", vec![frames[1].clone()])
        .inject("the last", vec![frames[2].clone()])
        .inject("the last again", vec![frames[2].clone()])
        .or_else(vec![data(PEER, 100)])
        .inject("the last but one again", vec![frames[1].clone()])
        .inject("a low one", Sender::new(PEER, &key).frames(1))
        .run();
}
