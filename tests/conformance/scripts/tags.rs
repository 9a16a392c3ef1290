//! SecTAGs that break a rule, or leave the SCI to be inferred.

use macsecd::ident::{CipherSuite, Sci};
use macsecd::secy::{RxMember, SecyCommand, SecySettings, TagStyle};

use CipherSuite::{GcmAes128, GcmAesXpn256};

use super::{CHECK, DISABLED};
use crate::frame::{Key, Sender, between, data};
use crate::script::{Script, script};
use crate::secy::{Frame, OWN, PEER, STRICT, Station, THIRD};

/// Where the octets of a tag stand in a frame.
const TCI: usize = 14;
const SHORT_LENGTH: usize = 15;
const PN: usize = 16;

const V: u8 = 0x80;
const ES: u8 = 0x40;
const SCB: u8 = 0x10;
const E: u8 = 0x08;
const C: u8 = 0x04;

fn with(mut frame: Frame, at: usize, octet: u8) -> Frame {
    frame[at] = octet;
    frame
}

fn flipped(mut frame: Frame, at: usize, bits: u8) -> Frame {
    frame[at] ^= bits;
    frame
}

/// Frames of the peer, each with one rule of 802.1AE-2018 9.12 broken.
fn bad_tags(script: &mut Script, key: Key) {
    let peer = Sender::new(PEER, &key);
    let long = || peer.protect(&data(PEER, 100));
    let short = || peer.protect(&data(PEER, 40));
    let cut = |frame: Frame, len: usize| frame[..len].to_vec();
    let padded = |frame: Frame| [frame, vec![0; 5]].concat();
    script
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("a version", vec![flipped(long(), TCI, V)])
        .inject("an end station with an SCI", vec![flipped(long(), TCI, ES)])
        .inject("a single copy with an SCI", vec![flipped(long(), TCI, SCB)])
        .inject(
            "reserved bits",
            vec![with(long(), SHORT_LENGTH, 0x40), with(short(), SHORT_LENGTH, 0x80 | 28)],
        )
        .inject("a short length of 48", vec![with(peer.protect(&data(PEER, 60)), SHORT_LENGTH, 48)])
        .or_else(vec![data(PEER, 60)])
        .inject("a short length of 63", vec![with(peer.protect(&data(PEER, 75)), SHORT_LENGTH, 63)])
        .or_else(vec![data(PEER, 75)])
        .inject("a short length past the end", vec![with(short(), SHORT_LENGTH, 29)])
        .inject("no short length", vec![with(short(), SHORT_LENGTH, 0)])
        .inject("a short length of a long frame", vec![with(long(), SHORT_LENGTH, 28)])
        .inject(
            "packet number 0",
            vec![{
                let mut frame = long();
                frame[PN..PN + 4].fill(0);
                frame
            }],
        )
        .inject("cut in the ICV", vec![cut(short(), 40 + 31)])
        .inject("cut in the data", vec![cut(long(), 60)])
        .inject("cut behind the tag", vec![cut(long(), 30)])
        .inject("cut at the end of the tag", vec![cut(long(), 28)])
        .inject("cut in the tag", (14..28).map(|len| cut(long(), len)).collect())
        .inject("and a good one", vec![long()])
        .inject("a short frame with padding", vec![padded(short())]);
}

#[test]
fn a_tag_that_breaks_a_rule_is_bad() {
    let mut script = script!(STRICT);
    bad_tags(&mut script, Key::new(1, GcmAes128));
    script.run();
}

#[test]
fn a_tag_that_breaks_a_rule_is_bad_with_xpn_too() {
    let mut script = script!(STRICT);
    bad_tags(&mut script, Key::new(1, GcmAesXpn256));
    script.run();
}

#[test]
fn a_tag_that_breaks_a_rule_is_bad_even_where_nothing_is_checked() {
    let mut script = script!(DISABLED);
    bad_tags(&mut script, Key::new(1, GcmAes128).in_clear());
    script.run();
}

/// 802.1AE-2018 9.5, 10.6: neither delivered nor counted by the SecY.
#[test]
fn encrypted_yet_unchanged_is_left_to_the_kay_however_wrong_the_rest() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    let for_kay = || flipped(peer.protect(&data(PEER, 100)), TCI, C);
    for settings in [STRICT, CHECK, DISABLED] {
        script!(settings)
            .open()
            .apply("install", key.install(&[PEER]))
            .inject("for the KaY", vec![for_kay(), for_kay()])
            .inject("with a version", vec![flipped(for_kay(), TCI, V)])
            .inject("cut short", vec![for_kay()[..22].to_vec()])
            .run();
    }
}

/// The other way round it is a suite of which we have none.
#[test]
fn changed_yet_unencrypted_is_not_valid_under_any_of_our_suites() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key);
    script!(CHECK)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("changed", vec![flipped(peer.protect(&data(PEER, 100)), TCI, E)])
        .run();
}

#[test]
fn a_tag_without_sci_is_the_only_members_wherever_it_comes_from() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key).with_style(TagStyle::PointToPoint);
    let elsewhere = between([2, 0, 0, 0, 0, 0x55], OWN.sci.address().0, 100);
    script!(STRICT)
        .open()
        .inject("no member", vec![peer.protect(&data(PEER, 100))])
        .apply("install", key.install(&[PEER]))
        .inject("from its address", vec![peer.protect(&data(PEER, 100))])
        .inject("from another address", vec![peer.protect(&elsewhere)])
        .inject("short", vec![peer.protect(&data(PEER, 14)), peer.protect(&data(PEER, 61))])
        .apply(
            "another joins",
            SecyCommand::AddReceiver { ki: key.ki(), member: key.member(THIRD, 1) },
        )
        .inject("two members", vec![peer.protect(&data(PEER, 100))])
        .run();
}

#[test]
fn a_tag_of_an_end_station_means_its_address_and_port_1() {
    let key = Key::new(1, GcmAes128);
    let peer = Sender::new(PEER, &key).with_style(TagStyle::EndStation);
    let third = Sender::new(THIRD, &key).with_style(TagStyle::EndStation);
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("the member", vec![peer.protect(&data(PEER, 100))])
        .inject("a stranger", vec![third.protect(&data(THIRD, 100))])
        .apply("it joins", SecyCommand::AddReceiver { ki: key.ki(), member: key.member(THIRD, 1) })
        .inject("both", vec![peer.protect(&data(PEER, 100)), third.protect(&data(THIRD, 100))])
        .run();
}

/// 802.1AE-2018 9.5: the port identifier of a single copy broadcast is 0.
#[test]
fn a_tag_of_a_single_copy_means_its_address_and_port_0() {
    let key = Key::new(1, GcmAes128);
    let broadcast = Station { sci: Sci::new(PEER.sci.address(), 0), ..PEER };
    let peer = Sender::new(PEER, &key).with_style(TagStyle::SingleCopy);
    let sender = Sender::new(broadcast, &key).with_style(TagStyle::SingleCopy);
    let member = RxMember { sci: broadcast.sci, ..key.member(PEER, 1) };
    let station = || sender.protect(&data(PEER, 100));
    script!(STRICT)
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("there is none but port 1", vec![peer.protect(&data(PEER, 100))])
        .or_else(vec![data(PEER, 100)])
        .apply("forget port 1", SecyCommand::RemoveReceiver(PEER.sci))
        .apply("receive port 0", SecyCommand::AddReceiver { ki: key.ki(), member })
        .inject("port 0", vec![station()])
        .inject("port 0 as an end station too", vec![flipped(station(), TCI, ES)])
        .apply(
            "another joins",
            SecyCommand::AddReceiver { ki: key.ki(), member: key.member(THIRD, 1) },
        )
        .inject("two members", vec![station()])
        .or_else(vec![data(PEER, 100)])
        .run();
}

/// The tag is judged before its channel is looked for.
#[test]
fn a_bad_tag_of_a_stranger_is_a_bad_tag() {
    let key = Key::new(1, GcmAes128);
    let third = Sender::new(THIRD, &key);
    let frame = || third.protect(&data(THIRD, 100));
    script!(SecySettings { ..STRICT })
        .open()
        .apply("install", key.install(&[PEER]))
        .inject("a version", vec![flipped(frame(), TCI, V)])
        .inject("a short length", vec![with(frame(), SHORT_LENGTH, 50)])
        .inject(
            "packet number 0",
            vec![{
                let mut frame = frame();
                frame[PN..PN + 4].fill(0);
                frame
            }],
        )
        .run();
}
