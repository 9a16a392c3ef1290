//! A real sender whose packet numbers cross 2^32, or end.
//!
//! Our data planes start at 1 and cannot be told otherwise, so that the sender is an interface of
//! the kernel's that was set up by hand. What it sends is what the model sends.

use macsecd::dataplane::RxProgress;
use macsecd::ident::{CipherSuite, PacketNumber};
use macsecd::secy::SecyCommand;

use CipherSuite::{GcmAes128, GcmAes256, GcmAesXpn128, GcmAesXpn256};

use crate::foreign;
use crate::frame::{ETHERTYPE_MACSEC, Key, Sender, data, ethertype, marker};
use crate::netns::Namespace;
use crate::plane::{PARENT, Plane, Watcher, kernel_is_there, subjects};
use crate::secy::{Frame, PEER, STRICT, Secy};

const WRAP: u64 = 1 << 32;

/// Sends frames from this packet number on to each of our data planes, and tells how many packet
/// numbers were good for one.
fn receives(suite: CipherSuite, first: u64, frames: usize, good: usize) {
    if !kernel_is_there() {
        eprintln!("this kernel has no MACsec, and a sender with it is needed");
        return;
    }
    for who in subjects() {
        let (near, far) = (Namespace::new(), Namespace::new());
        near.cable(PARENT, &far, PARENT);
        far.set_address(PARENT, PEER.sci.address().0);
        let key = Key::new(1, suite);
        let sender = foreign::sender(&far, PEER, &key, first);
        let cable = Watcher::new(&near, PARENT);
        let mut plane = Plane::start_in(who, STRICT, near, far);
        plane.apply(&SecyCommand::SetControlledPort(true)).unwrap();
        plane.apply(&key.install_members(vec![key.member(PEER, first)])).unwrap();

        let plain: Vec<Frame> = (0..frames).map(|at| data(PEER, 60 + at)).collect();
        let traffic = plane.receive(good as u64, || {
            for frame in &plain {
                sender.send(frame).unwrap();
            }
        });

        assert_eq!(traffic.delivered, plain[..good], "{who}, {suite}");
        let mut seen = cable.frames();
        seen.retain(|frame| ethertype(frame) == ETHERTYPE_MACSEC && *frame != marker());
        let model = Sender::new(PEER, &key);
        model.skip_to(first);
        let expected: Vec<Frame> = plain[..good].iter().map(|of| model.protect(of)).collect();
        assert_eq!(seen, expected, "{who}, {suite}");
        assert_eq!(plane.counts()["in_pkts_ok"], good as u64);
        plane.finish();
        let next = first + good as u64;
        // The kernel stays at the last number of 32 bits.
        if suite.is_xpn() {
            let next_pn = PacketNumber(next);
            let rx = RxProgress { ki: key.ki(), sci: PEER.sci, next_pn, lowest_pn: next_pn };
            assert_eq!(plane.state().rx, [rx]);
        }
    }
}

#[test]
fn a_kernel_that_sends_xpn_128_is_received_across_2_to_the_32() {
    receives(GcmAesXpn128, WRAP - 5, 12, 12);
}

#[test]
fn a_kernel_that_sends_xpn_256_is_received_across_2_to_the_32() {
    receives(GcmAesXpn256, WRAP - 5, 12, 12);
}

#[test]
fn a_kernel_that_sends_its_last_of_32_bits_is_received_to_the_end() {
    receives(GcmAes128, WRAP - 5, 8, 5);
    receives(GcmAes256, WRAP - 5, 8, 5);
}
