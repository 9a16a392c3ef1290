//! Keys and members that come and go.

use macsecd::ident::{CipherSuite, PacketNumber};
use macsecd::secy::{SecyCommand, SecySettings};

use CipherSuite::{GcmAes128, GcmAesXpn256};

use crate::frame::{Key, Sender, ours};
use crate::script::{Script, script};
use crate::secy::{PEER, STRICT, THIRD};

#[test]
fn a_key_is_installed_then_sent_with_then_removed() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    script!(STRICT)
        .open()
        .send("before any key", vec![ours(100)])
        .inject("before any key is known", peer.frames(1))
        .apply("install", key.install(&[PEER]))
        .send("before it is enabled", vec![ours(100)])
        .inject("received at once", peer.frames(3))
        .enable(&key)
        .send("three frames", vec![ours(100), ours(60), ours(1000)])
        .inject("and received", peer.frames(2))
        .remove(&key)
        .send("after its end", vec![ours(100)])
        .inject("received no more", peer.frames(1))
        .run();
}

/// Each key takes over from the one before, with traffic at every point.
fn rekeys(script: &mut Script, keys: &[Key]) {
    let peers: Vec<Sender> = keys.iter().map(|key| Sender::new(PEER, key)).collect();
    script.open().apply("install key 1", keys[0].install(&[PEER])).enable(&keys[0]);
    for at in 1..keys.len() {
        let (old, new) = (&keys[at - 1], &keys[at]);
        let number = new.ki().number.0;
        script
            .apply(format!("install key {number}"), new.install(&[PEER]))
            .send(format!("before the switch to {number}"), vec![ours(100), ours(200)])
            .inject(
                format!("both keys, with {number}"),
                [peers[at - 1].frames(2), peers[at].frames(2)].concat(),
            )
            .enable(new)
            .send(format!("after the switch to {number}"), vec![ours(100), ours(200)])
            .inject(
                format!("both keys still, with {number}"),
                [peers[at].frames(1), peers[at - 1].frames(1)].concat(),
            )
            .remove(old)
            .inject(
                format!("the old key is gone, with {number}"),
                [peers[at - 1].frames(1), peers[at].frames(1)].concat(),
            );
    }
}

#[test]
fn rekeys_go_over_all_four_associations_twice() {
    let mut script = script!(STRICT);
    let keys: Vec<Key> = (1..=9).map(|number| Key::new(number, GcmAes128)).collect();
    rekeys(&mut script, &keys);
    script.run();
}

#[test]
fn a_late_joiner_is_received_and_a_leaver_is_not() {
    let key = Key::new(1, GcmAes128);
    let (peer, third) = (Sender::new(PEER, &key), Sender::new(THIRD, &key));
    let both = || [peer.frames(2), third.frames(2)].concat();
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .inject("one member", both())
        .apply(
            "another joins",
            SecyCommand::AddReceiver { ki: key.ki(), member: key.member(THIRD, 1) },
        )
        .inject("two members", both())
        .send("to both", vec![ours(100)])
        .apply("the first leaves", SecyCommand::RemoveReceiver(PEER.sci))
        .inject("the other stays", both())
        .run();
}

#[test]
fn a_leaver_that_returns_under_the_same_key_is_not_received_from_the_start() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    let old = peer.frames(5);
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("first", old.clone())
        .apply("it leaves", SecyCommand::RemoveReceiver(PEER.sci))
        .inject("while it is gone", peer.frames(1))
        .apply("it returns", SecyCommand::AddReceiver { ki: key.ki(), member: key.member(PEER, 1) })
        .inject("its old frames", old)
        .inject("its new frames", peer.frames(2))
        .run();
}

#[test]
fn with_a_window_a_leaver_returns_to_where_it_was() {
    let key = Key::new(1, GcmAes128);
    let frames = Sender::new(PEER, &key).frames(101);
    let at = |pn: usize| vec![frames[pn - 1].clone()];
    script!(SecySettings { replay_window: 64, ..STRICT })
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("up to 100", at(100))
        .apply("it leaves", SecyCommand::RemoveReceiver(PEER.sci))
        .apply("it returns", SecyCommand::AddReceiver { ki: key.ki(), member: key.member(PEER, 1) })
        .inject("too old", at(36))
        .inject("in the window", at(37))
        .inject("and on", at(101))
        .run();
}

#[test]
fn the_lowest_packet_number_is_raised_and_not_lowered() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    let raise = |lowest| SecyCommand::RaiseLowestPn {
        ki: key.ki(),
        sci: PEER.sci,
        lowest_pn: PacketNumber(lowest),
    };
    let early = peer.frames(20);
    script!(SecySettings { replay_window: 0, ..STRICT })
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("five", early[..5].to_vec())
        .apply("raise to 11", raise(11))
        .inject("below it and at it", early[5..12].to_vec())
        .apply("to 2", raise(2))
        .inject("what was there, and the next", early[8..14].to_vec())
        .run();
}

#[test]
fn rekeys_go_over_all_four_associations_with_xpn_too() {
    let mut script = script!(STRICT);
    let keys: Vec<Key> = (1..=9).map(|number| Key::new(number, GcmAesXpn256)).collect();
    rekeys(&mut script, &keys);
    script.run();
}

#[test]
fn a_rekey_to_another_suite() {
    let (old, new) = (Key::new(1, GcmAes128), Key::new(2, GcmAesXpn256));
    let (with_old, with_new) = (Sender::new(PEER, &old), Sender::new(PEER, &new));
    script!(STRICT)
        .open()
        .apply("install key 1", old.install(&[PEER]))
        .enable(&old)
        .send("with the old", vec![ours(100)])
        .inject("received", with_old.frames(1))
        .apply("install key 2", new.install(&[PEER]))
        .send("still with the old", vec![ours(100)])
        .inject("both received", [with_old.frames(1), with_new.frames(1)].concat())
        .enable(&new)
        .remove(&old)
        .send("with the new", vec![ours(100)])
        .inject("the new received", with_new.frames(1))
        .run();
}
