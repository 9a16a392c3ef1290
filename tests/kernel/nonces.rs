//! The three ways to make the kernel send the same packet number twice under one key. Each works
//! with requests as `ip macsec` makes them; a port neither makes them nor lets them stand.

use macsecd::ident::CipherSuite::{GcmAes128, GcmAesXpn256};

use crate::fake_kernel::numbers::command::{ADD_TXSA, DEL_TXSA, UPD_TXSA};
use crate::fake_kernel::request::{Client, SaRequest};
use crate::port::{NONE, PARENT, Port, SECURE, Wire, an, ki, octets};

/// The association of the first key, which is all that is used here.
const AN: u8 = 1;

/// `ip macsec set DEV tx sa 1 pn …`.
fn set_number(client: &mut Client, index: u32, pn: u32) {
    let sa =
        SaRequest { an: Some(AN), pn: Some(pn.to_ne_bytes().to_vec()), ..SaRequest::default() };
    client.tx(UPD_TXSA, index, &sa).unwrap();
}

/// `ip macsec set DEV tx sa 1 on`, or off.
fn switch(client: &mut Client, index: u32, on: bool) {
    let sa = SaRequest { an: Some(AN), active: Some(u8::from(on)), ..SaRequest::default() };
    client.tx(UPD_TXSA, index, &sa).unwrap();
}

/// `ip macsec add DEV tx sa 1 pn 1 on key …`, with the first key.
fn add(client: &mut Client, index: u32) {
    let sa = SaRequest {
        an: Some(AN),
        active: Some(1),
        pn: Some(1_u32.to_ne_bytes().to_vec()),
        key: Some(octets(1, GcmAes128)),
        key_id: Some(ki(1).octets().to_vec()),
        ..SaRequest::default()
    };
    client.tx(ADD_TXSA, index, &sa).unwrap();
}

/// Off, deleted, and added again.
fn put_back(client: &mut Client, index: u32) {
    switch(client, index, false);
    let sa = SaRequest { an: Some(AN), ..SaRequest::default() };
    client.tx(DEL_TXSA, index, &sa).unwrap();
    add(client, index);
}

/// A MACsec interface without a daemon, that has sent 1 to 3.
fn by_hand() -> (Wire, u32) {
    use crate::fake_kernel::numbers::link::ENCODING_SA;
    use crate::fake_kernel::request::octet;
    let mut wire = Wire::new();
    let parent = wire.index(PARENT);
    let index = wire.other.create(parent, SECURE, octet(ENCODING_SA, AN)).unwrap();
    wire.other.set_link(index, Some(true), |_| {}).unwrap();
    add(&mut wire.other, index);
    assert_eq!(wire.send(SECURE, 3), [1, 2, 3]);
    (wire, index)
}

/// A port with the first key, that has sent 1 to 3 and been looked at.
fn port() -> (Wire, u32, Port) {
    assert_eq!(an(1), AN);
    let wire = Wire::new();
    let mut port = wire.secured(GcmAes128);
    assert_eq!(wire.send(SECURE, 3), [1, 2, 3]);
    port.plane.refresh();
    assert_eq!(port.plane.take_lost(), []);
    let index = wire.index(SECURE);
    (wire, index, port)
}

/// The key is reported, nothing goes out any more, and the next key works.
fn assert_lost_for_good(wire: &Wire, port: &mut Port) {
    assert_eq!(port.lost_within_a_second(), [ki(1)]);
    assert_eq!(wire.send(SECURE, 5), NONE, "sent with a key that is lost");
    port.plane.refresh();
    assert_eq!(port.plane.take_lost(), []);
    port.rekey(2);
    assert_eq!(wire.send(SECURE, 2), [1, 2], "not sent with the next key");
}

#[test]
fn the_kernel_sends_numbers_again_when_they_are_set_back() {
    let (mut wire, index) = by_hand();
    set_number(&mut wire.other, index, 1);
    assert_eq!(wire.send(SECURE, 3), [1, 2, 3]);
}

#[test]
fn the_kernel_starts_over_when_an_exhausted_association_is_switched_on() {
    let (mut wire, index) = by_hand();
    set_number(&mut wire.other, index, u32::MAX - 1);
    assert_eq!(wire.send(SECURE, 5), [u32::MAX - 1, u32::MAX], "it does not end by itself");
    switch(&mut wire.other, index, true);
    // One frame is lost, that of number 0.
    assert_eq!(wire.send(SECURE, 4), [1, 2, 3]);
}

#[test]
fn the_kernel_takes_a_deleted_key_again_from_1() {
    let (mut wire, index) = by_hand();
    put_back(&mut wire.other, index);
    assert_eq!(wire.send(SECURE, 2), [1, 2]);
}

#[test]
fn the_kernel_keeps_the_rest_of_the_rules() {
    let (mut wire, index) = by_hand();
    let delete =
        wire.other.tx(DEL_TXSA, index, &SaRequest { an: Some(AN), ..SaRequest::default() });
    assert_eq!(delete.unwrap_err().errno, libc::EBUSY);
    let again = SaRequest {
        an: Some(AN),
        pn: Some(1_u32.to_ne_bytes().to_vec()),
        key: Some(vec![9; 16]),
        key_id: Some(vec![9; 16]),
        ..SaRequest::default()
    };
    assert_eq!(wire.other.tx(ADD_TXSA, index, &again).unwrap_err().errno, libc::EBUSY);
}

#[test]
fn a_port_gives_up_a_key_whose_number_was_set_back() {
    let (mut wire, index, mut port) = port();
    set_number(&mut wire.other, index, 1);
    assert_lost_for_good(&wire, &mut port);
}

/// The number was set back and has come further since than it was seen.
#[test]
fn a_port_gives_up_a_key_whose_number_was_set_back_under_traffic() {
    let (mut wire, index, mut port) = port();
    set_number(&mut wire.other, index, 2);
    assert_eq!(wire.send(SECURE, 5), [2, 3, 4, 5, 6]);
    assert_lost_for_good(&wire, &mut port);
}

#[test]
fn a_port_gives_up_an_exhausted_key_and_does_not_switch_it_on() {
    let (mut wire, index, mut port) = port();
    set_number(&mut wire.other, index, u32::MAX);
    assert_eq!(wire.send(SECURE, 3), [u32::MAX]);
    assert_lost_for_good(&wire, &mut port);
}

#[test]
fn a_port_switches_off_an_exhausted_key_that_somebody_switched_on() {
    let (mut wire, index, mut port) = port();
    set_number(&mut wire.other, index, u32::MAX);
    assert_eq!(wire.send(SECURE, 3), [u32::MAX]);
    switch(&mut wire.other, index, true);
    assert_lost_for_good(&wire, &mut port);
}

#[test]
fn a_port_gives_up_a_key_that_somebody_put_back() {
    let (mut wire, index, mut port) = port();
    put_back(&mut wire.other, index);
    assert_lost_for_good(&wire, &mut port);
}

#[test]
fn a_port_gives_up_a_key_that_somebody_switched_off() {
    let (mut wire, index, mut port) = port();
    switch(&mut wire.other, index, false);
    assert_lost_for_good(&wire, &mut port);
}

/// Its own commands are those of eight rekeys, by which each association is used twice.
#[test]
fn a_port_repeats_no_number_through_eight_rekeys() {
    for suite in [GcmAes128, GcmAesXpn256] {
        let wire = Wire::new();
        let mut port = wire.secured(suite);
        for number in 2..=9 {
            assert_eq!(wire.send(SECURE, 3), [1, 2, 3]);
            port.plane.refresh();
            port.rekey(number);
        }
        assert_eq!(port.plane.take_lost(), []);
        assert_eq!(port.told().interference, 0, "{:?}", port.told().last_interference);
    }
}
