//! Packet numbers that repeat, come out of order, or come too late.

use macsecd::ident::{CipherSuite, PacketNumber};
use macsecd::secy::{SecyCommand, SecySettings};

use CipherSuite::{GcmAes128, GcmAesXpn256};

use super::{CHECK, DISABLED};
use crate::frame::{Key, Sender, data};
use crate::script::{Script, script};
use crate::secy::{Frame, PEER, STRICT};

const WINDOW: SecySettings = SecySettings { replay_window: 64, ..STRICT };

/// Picks frames by their packet numbers.
fn pick(frames: &[Frame], numbers: &[usize]) -> Vec<Frame> {
    numbers.iter().map(|pn| frames[pn - 1].clone()).collect()
}

fn out_of_order(script: &mut Script, suite: CipherSuite) {
    let key = Key::new(1, suite);
    let frames = Sender::new(PEER, &key).frames(300);
    script
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("in order", pick(&frames, &[1, 2, 3]))
        .inject("the last again", pick(&frames, &[3]))
        .inject("an older one", pick(&frames, &[1]))
        .inject("with a gap", pick(&frames, &[10, 20]))
        .inject("from the gap", pick(&frames, &[15, 11, 19]))
        .inject("far on", pick(&frames, &[200]))
        .inject("64 back", pick(&frames, &[137, 138]))
        .inject("65 back", pick(&frames, &[136]))
        .inject("and on", pick(&frames, &[201, 199, 300, 237, 236]));
}

#[test]
fn with_a_window_of_0_packet_numbers_only_rise() {
    let mut script = script!(STRICT);
    out_of_order(&mut script, GcmAes128);
    script.run();
}

#[test]
fn with_a_window_of_64_frames_may_come_so_late_and_no_later() {
    let mut script = script!(WINDOW);
    out_of_order(&mut script, GcmAes128);
    script.run();
}

#[test]
fn with_a_window_of_0_xpn_packet_numbers_only_rise() {
    let mut script = script!(STRICT);
    out_of_order(&mut script, GcmAesXpn256);
    script.run();
}

#[test]
fn with_a_window_of_64_xpn_frames_may_come_so_late_and_no_later() {
    let mut script = script!(WINDOW);
    out_of_order(&mut script, GcmAesXpn256);
    script.run();
}

#[test]
fn without_replay_protection_late_frames_are_delivered_and_counted_delayed() {
    let mut script = script!(SecySettings { replay_protect: false, ..WINDOW });
    out_of_order(&mut script, GcmAes128);
    script.run();
}

#[test]
fn without_replay_protection_late_xpn_frames_are_delivered_and_counted_delayed() {
    let mut script = script!(SecySettings { replay_protect: false, ..STRICT });
    out_of_order(&mut script, GcmAesXpn256);
    script.run();
}

#[test]
fn a_late_frame_that_is_not_checked_is_delayed_too() {
    let key = Key::new(1, GcmAes128).in_clear();
    let frames = Sender::new(PEER, &key).frames(20);
    script!(SecySettings { replay_protect: false, ..CHECK })
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("checked", pick(&frames, &[10]))
        .configure("not checked", SecySettings { replay_protect: false, ..DISABLED })
        .inject("late", pick(&frames, &[5]))
        .inject("not late", pick(&frames, &[15]))
        .inject("and again", pick(&frames, &[12]))
        .run();
}

#[test]
fn a_wider_window_does_not_let_in_what_was_too_late_before() {
    let key = Key::new(1, GcmAes128);
    let frames = Sender::new(PEER, &key).frames(300);
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("up to 100", pick(&frames, &[100]))
        .configure("a wider window", WINDOW)
        .inject("in it, and too late before", pick(&frames, &[50]))
        .or_else(vec![data(PEER, 100)])
        .inject("far on", pick(&frames, &[200]))
        .inject("in it", pick(&frames, &[150]))
        .configure("a narrower window", STRICT)
        .inject("in the old one", pick(&frames, &[160]))
        .run();
}

#[test]
fn turning_replay_protection_off_and_on_again_forgets_nothing() {
    let key = Key::new(1, GcmAes128);
    let frames = Sender::new(PEER, &key).frames(50);
    let off = SecySettings { replay_protect: false, ..STRICT };
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("up to 10", pick(&frames, &[10]))
        .configure("off", off)
        .inject("late", pick(&frames, &[5]))
        .inject("and on", pick(&frames, &[20]))
        .configure("on", STRICT)
        .inject("late again", pick(&frames, &[15]))
        .inject("and on again", pick(&frames, &[21]))
        .run();
}

#[test]
fn a_lowest_packet_number_in_the_window_counts_too() {
    let key = Key::new(1, GcmAes128);
    let frames = Sender::new(PEER, &key).frames(300);
    let lowest_pn = PacketNumber(290);
    script!(WINDOW)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("up to 300", pick(&frames, &[300]))
        .apply(
            "raise to 290",
            SecyCommand::RaiseLowestPn { ki: key.ki(), sci: PEER.sci, lowest_pn },
        )
        .inject("around 290", pick(&frames, &[289, 290]))
        .or_else(vec![data(PEER, 100)])
        .run();
}

fn raised(script: &mut Script) {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    let frames = peer.frames(300);
    let raise = |lowest| {
        let lowest_pn = PacketNumber(lowest);
        SecyCommand::RaiseLowestPn { ki: key.ki(), sci: PEER.sci, lowest_pn }
    };
    script
        .open()
        .apply("install", key.install_members(vec![key.member(PEER, 20)]))
        .inject("around 20", pick(&frames, &[19, 20, 21]))
        .apply("raise to 150", raise(150))
        .inject("around 150", pick(&frames, &[149, 150]))
        .apply("not back to 100", raise(100))
        .inject("around 150 again", pick(&frames, &[149, 151]))
        .inject("far on", pick(&frames, &[290]))
        .inject("and late", pick(&frames, &[225, 226]));
}

#[test]
fn a_member_starts_at_its_lowest_packet_number_and_is_raised_from_there() {
    let mut script = script!(STRICT);
    raised(&mut script);
    script.run();
}

#[test]
fn with_a_window_a_member_starts_at_its_lowest_packet_number_too() {
    let mut script = script!(WINDOW);
    raised(&mut script);
    script.run();
}
