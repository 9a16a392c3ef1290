//! Commands against the rules: refused by all in the same words, and without a trace.

use macsecd::ident::{CipherSuite, PacketNumber};
use macsecd::secy::{RxMember, SecyCommand, SecySettings};

use CipherSuite::{GcmAes128, GcmAesXpn256};

use crate::frame::{Key, Sender, ours};
use crate::script::script;
use crate::secy::{OWN, PEER, STRICT, THIRD};

fn add(key: &Key, member: RxMember) -> SecyCommand {
    SecyCommand::AddReceiver { ki: key.ki(), member }
}

fn raise(key: &Key, of: macsecd::ident::Sci) -> SecyCommand {
    SecyCommand::RaiseLowestPn { ki: key.ki(), sci: of, lowest_pn: PacketNumber(5) }
}

#[test]
fn a_key_is_not_used_twice_nor_is_its_association() {
    let (key, next) = (Key::new(5, GcmAes128), Key::new(6, GcmAes128));
    let peer = Sender::new(PEER, &key);
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .send("sent", vec![ours(100), ours(100)])
        .inject("received", peer.frames(3))
        .apply("the same key", key.install(&[PEER]))
        .apply("the same key elsewhere", key.on(3).install(&[PEER]))
        .apply("another on its association", next.on(1).install(&[PEER]))
        .send("sent as before", vec![ours(100)])
        .inject("received as before", peer.frames(1))
        .remove(&key)
        .apply("the same key after its end", key.install(&[PEER]))
        .apply("a lower number", Key::new(4, GcmAes128).install(&[PEER]))
        .send("with nothing", vec![ours(100)])
        .inject("by nobody", peer.frames(1))
        .apply("a higher number", next.install(&[PEER]))
        .run();
}

#[test]
fn what_is_not_there_is_neither_used_nor_changed() {
    let (key, unknown) = (Key::new(1, GcmAes128), Key::new(2, GcmAes128));
    let peer = Sender::new(PEER, &key);
    script!(STRICT)
        .open()
        .apply("enable nothing", SecyCommand::EnableTx(key.ki()))
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .apply("enable an unknown key", SecyCommand::EnableTx(unknown.ki()))
        .apply("remove an unknown key", SecyCommand::RemoveSak(unknown.ki()))
        .apply("receive with an unknown key", add(&unknown, unknown.member(THIRD, 1)))
        .apply("raise under an unknown key", raise(&unknown, PEER.sci))
        .apply("raise an unknown member", raise(&key, THIRD.sci))
        .apply("remove an unknown member", SecyCommand::RemoveReceiver(THIRD.sci))
        .send("sent", vec![ours(100)])
        .inject("received", peer.frames(2))
        .run();
}

#[test]
fn a_superseded_sender_is_not_enabled_again() {
    let (old, new) = (Key::new(1, GcmAes128), Key::new(2, GcmAes128));
    script!(STRICT)
        .open()
        .apply("install the old", old.install(&[PEER]))
        .enable(&old)
        .apply("install the new", new.install(&[PEER]))
        .enable(&new)
        .apply("back to the old", SecyCommand::EnableTx(old.ki()))
        .apply("the new, which is in use", SecyCommand::EnableTx(new.ki()))
        .send("with the new", vec![ours(100)])
        .run();
}

#[test]
fn nobody_is_received_twice_or_under_our_own_name() {
    let key = Key::new(1, GcmAesXpn256);
    let peer = Sender::new(PEER, &key);
    let without = RxMember { ssci: None, ..key.member(THIRD, 1) };
    let as_peer = RxMember { ssci: Some(PEER.ssci), ..key.member(THIRD, 1) };
    let as_us = RxMember { ssci: Some(OWN.ssci), ..key.member(THIRD, 1) };
    script!(STRICT)
        .open()
        .apply("install with ourselves", key.install(&[PEER, OWN]))
        .apply("with one twice", key.install(&[PEER, PEER]))
        .apply("with one without an SSCI", key.install_members(vec![without]))
        .apply("with our SSCI", key.install_members(vec![as_us]))
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .apply("one that is there", add(&key, key.member(PEER, 1)))
        .apply("ourselves", add(&key, key.member(OWN, 1)))
        .apply("one without an SSCI", add(&key, without))
        .apply("one with another's SSCI", add(&key, as_peer))
        .apply("one with our SSCI", add(&key, as_us))
        .send("sent", vec![ours(100)])
        .inject("received", peer.frames(2))
        .run();
}

/// 802.1AE-2018 10.7.8: an XPN suite's window is below 2^30.
#[test]
fn a_window_too_wide_for_xpn_is_refused_from_either_side() {
    let (key, xpn) = (Key::new(1, GcmAes128), Key::new(2, GcmAesXpn256));
    let wide = SecySettings { replay_window: 1 << 30, ..STRICT };
    let widest = SecySettings { replay_window: (1 << 30) - 1, ..STRICT };
    let peer = Sender::new(PEER, &xpn);
    script!(wide)
        .open()
        .apply("install with 32 bits", key.install(&[PEER]))
        .enable(&key)
        .apply("install with XPN", xpn.install(&[PEER]))
        .send("sent", vec![ours(100)])
        .remove(&key)
        .configure("narrower", widest)
        .apply("install with XPN now", xpn.install(&[PEER]))
        .enable(&xpn)
        .configure("wider", wide)
        .send("sent with XPN", vec![ours(100)])
        .inject("received with XPN", peer.frames(2))
        .run();
}
