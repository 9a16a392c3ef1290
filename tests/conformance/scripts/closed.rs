//! The Controlled Port, open and closed.

use macsecd::ident::CipherSuite;
use macsecd::secy::{SecyCommand, SecySettings};

use CipherSuite::GcmAes128;

use super::CHECK;
use crate::frame::{Key, Sender, data, ours};
use crate::script::script;
use crate::secy::{PEER, STRICT};

const CLOSE: SecyCommand = SecyCommand::SetControlledPort(false);
const OPEN: SecyCommand = SecyCommand::SetControlledPort(true);

#[test]
fn nothing_leaves_a_closed_port_and_what_comes_is_dropped() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    script!(STRICT)
        .apply("install", key.install(&[PEER]))
        .enable(&key)
        .send("closed at first", vec![ours(100)])
        .apply("open", OPEN)
        .send("sent", vec![ours(100), ours(200)])
        .inject("received", peer.frames(2))
        .apply("close", CLOSE)
        .send("closed", vec![ours(100)])
        .apply("open again", OPEN)
        .send("open again, sent", vec![ours(100)])
        .inject("open again, received", peer.frames(1))
        .run();
}

#[test]
fn a_good_frame_is_not_delivered_by_a_closed_port() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    script!(STRICT)
        .apply("install", key.install(&[PEER]))
        .inject("closed", peer.frames(2))
        .or_else(vec![data(PEER, 100)])
        .run();
}

/// Whatever the settings are for an open one.
#[test]
fn nothing_passes_a_closed_port_in_clear() {
    let plain = SecySettings { protect: false, ..CHECK };
    script!(plain)
        .send("closed", vec![ours(100)])
        .inject("closed, received", vec![data(PEER, 100)])
        .apply("open", OPEN)
        .send("sent", vec![ours(100)])
        .inject("received", vec![data(PEER, 100)])
        .apply("close", CLOSE)
        .send("closed again", vec![ours(100)])
        .inject("closed again, received", vec![data(PEER, 100)])
        .run();
}

#[test]
fn a_rekey_behind_a_closed_port_is_ready_when_it_opens() {
    let (old, new) = (Key::new(1, GcmAes128), Key::new(2, GcmAes128));
    let peer = Sender::new(PEER, &new);
    script!(STRICT)
        .apply("install the old", old.install(&[PEER]))
        .enable(&old)
        .apply("install the new", new.install(&[PEER]))
        .enable(&new)
        .remove(&old)
        .apply("open", OPEN)
        .send("with the new", vec![ours(100)])
        .inject("with the new, received", peer.frames(1))
        .run();
}
