//! The model of the kernel by itself: it refuses what the kernel refuses, and sees a nonce repeat.

use crate::fake_kernel::attributes::{Attributes, Writer};
use crate::fake_kernel::numbers::{GCM_AES_256, GCM_AES_XPN_128, command, link, oper, top};
use crate::fake_kernel::request::{Client, Refused, SaRequest, octet, suite, word};
use crate::fake_kernel::{FakeKernel, Fault};

const PARENT: u32 = 3;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const PEER: [u8; 8] = [2, 0, 0, 0, 0, 0x0b, 0, 1];

fn machine() -> (FakeKernel, Client) {
    let kernel = FakeKernel::new();
    kernel.add_parent(PARENT, "eth1", MAC);
    let client = Client::new(kernel.route(), kernel.generic());
    (kernel, client)
}

/// A machine with a MACsec interface that is up.
fn secure() -> (FakeKernel, Client, u32) {
    let (kernel, mut client) = machine();
    let index = client.create(PARENT, "macsec0", |_| {}).unwrap();
    client.set_link(index, Some(true), |_| {}).unwrap();
    (kernel, client, index)
}

fn key(an: u8) -> SaRequest {
    SaRequest {
        an: Some(an),
        active: Some(1),
        pn: Some(1_u32.to_ne_bytes().to_vec()),
        key: Some(vec![7; 16]),
        key_id: Some(vec![1; 16]),
        ..SaRequest::default()
    }
}

fn active(an: u8, active: u8) -> SaRequest {
    SaRequest { an: Some(an), active: Some(active), ..SaRequest::default() }
}

fn errno<T: std::fmt::Debug>(result: Result<T, Refused>) -> i32 {
    result.map_or_else(|refused| refused.errno, |_| 0)
}

#[test]
fn an_interface_has_the_parents_address_and_an_mtu_that_leaves_room() {
    let (kernel, mut client) = machine();
    client.create(PARENT, "macsec0", |data| suite(data, GCM_AES_256)).unwrap();
    let made = kernel.link("macsec0").unwrap();
    assert_eq!((made.mac, made.mtu, made.up), (MAC, 1468, false));
    let secy = made.secy().unwrap();
    assert_eq!((secy.sci, secy.suite), ([2, 0, 0, 0, 0, 0x0a, 0, 1], GCM_AES_256));
    assert!(secy.protect && !secy.encrypt && !secy.replay_protect);
}

#[test]
fn creation_is_refused_for_a_taken_name_a_taken_sci_and_a_busy_or_missing_parent() {
    let (kernel, mut client, _) = secure();
    kernel.add_parent(9, "port9", MAC);
    kernel.change("port9", |link| link.parent_mut().unwrap().occupied = true);
    assert_eq!(errno(client.create(PARENT, "macsec0", |_| {})), libc::EEXIST);
    assert_eq!(errno(client.create(PARENT, "other", |_| {})), libc::EBUSY);
    assert_eq!(errno(client.create(9, "other", |_| {})), libc::EBUSY);
    assert_eq!(errno(client.create(77, "other", |_| {})), libc::ENODEV);
    assert_eq!(errno(client.create(PARENT, "other", |data| suite(data, 9))), libc::EINVAL);
    let offloaded = client.create(PARENT, "other", octet(link::OFFLOAD, 2));
    assert_eq!(errno(offloaded), libc::EOPNOTSUPP);
    let port_2 = |data: &mut Writer| {
        data.put(link::PORT, &[0, 2]);
    };
    assert_eq!(errno(client.create(PARENT, "other", port_2)), 0);
}

#[test]
fn what_is_fixed_at_creation_cannot_be_changed() {
    let (_, mut client, index) = secure();
    assert_eq!(errno(client.set(index, |data| suite(data, GCM_AES_256))), libc::EINVAL);
    let replay = client.set(index, octet(link::REPLAY_PROTECT, 1));
    assert_eq!(errno(replay), libc::EINVAL, "a window belongs to it");
}

#[test]
fn an_occupied_association_and_an_active_one_are_busy() {
    let (_, mut client, index) = secure();
    client.tx(command::ADD_TXSA, index, &key(0)).unwrap();
    assert_eq!(errno(client.tx(command::ADD_TXSA, index, &key(0))), libc::EBUSY);
    assert_eq!(errno(client.tx(command::DEL_TXSA, index, &active(0, 0))), libc::EBUSY);
    client.tx(command::UPD_TXSA, index, &active(0, 0)).unwrap();
    client.tx(command::DEL_TXSA, index, &active(0, 0)).unwrap();
    assert_eq!(errno(client.tx(command::DEL_TXSA, index, &active(0, 0))), libc::ENODEV);
    assert_eq!(errno(client.tx(command::ADD_TXSA, 77, &key(0))), libc::ENODEV);
}

#[test]
fn keys_numbers_and_salts_must_have_exactly_the_suites_width() {
    let (_, mut client) = machine();
    let index = client.create(PARENT, "macsec0", |data| suite(data, GCM_AES_XPN_128)).unwrap();
    let good = SaRequest {
        pn: Some(1_u64.to_ne_bytes().to_vec()),
        ssci: Some(1),
        salt: Some(vec![3; 12]),
        ..key(1)
    };
    for bad in [
        SaRequest { pn: key(1).pn, ..good.clone() },
        SaRequest { pn: Some(vec![0; 8]), ..good.clone() },
        SaRequest { key: Some(vec![7; 32]), ..good.clone() },
        SaRequest { key_id: Some(vec![1; 15]), ..good.clone() },
        SaRequest { salt: Some(vec![3; 11]), ..good.clone() },
        SaRequest { salt: None, ..good.clone() },
        SaRequest { ssci: None, ..good.clone() },
        SaRequest { an: Some(4), ..good.clone() },
        SaRequest { active: Some(2), ..good.clone() },
    ] {
        assert_eq!(errno(client.tx(command::ADD_TXSA, index, &bad)), libc::EINVAL, "{bad:?}");
    }
    client.tx(command::ADD_TXSA, index, &good).unwrap();
    let touched = SaRequest { key: good.key, ..active(1, 1) };
    assert_eq!(errno(client.tx(command::UPD_TXSA, index, &touched)), libc::EINVAL);
}

#[test]
fn a_channel_is_received_by_one_secy_of_a_parent_and_takes_its_associations_along() {
    let (kernel, mut client, index) = secure();
    kernel.add_macsec(PARENT, "other", [2, 0, 0, 0, 0, 0x0a, 0, 2]);
    let other = kernel.link("other").unwrap().index;
    client.channel(command::ADD_RXSC, index, PEER, None).unwrap();
    assert_eq!(errno(client.channel(command::ADD_RXSC, other, PEER, None)), libc::EEXIST);
    assert_eq!(errno(client.rx(command::ADD_RXSA, other, PEER, &key(0))), libc::ENODEV);
    client.rx(command::ADD_RXSA, index, PEER, &key(0)).unwrap();
    client.channel(command::DEL_RXSC, index, PEER, None).unwrap();
    assert_eq!(kernel.secy("macsec0").unwrap().rx, []);
}

#[test]
fn only_an_active_association_of_the_encoding_number_sends() {
    let (kernel, mut client, index) = secure();
    assert_eq!(kernel.transmit("macsec0", 5), 0);
    client.tx(command::ADD_TXSA, index, &key(0)).unwrap();
    assert_eq!(kernel.transmit("macsec0", 5), 5);
    client.set(index, octet(link::ENCODING_SA, 1)).unwrap();
    assert_eq!(kernel.transmit("macsec0", 5), 0);
    let at = kernel.link("macsec0").unwrap();
    assert_eq!(at.tx_dropped, 10);
    assert_eq!(at.secy().unwrap().tx_sa(0).unwrap().next_pn, 6);
}

#[test]
fn the_last_number_is_sent_and_then_the_association_is_off() {
    let (kernel, mut client, index) = secure();
    client.tx(command::ADD_TXSA, index, &key(0)).unwrap();
    kernel.exhaust("macsec0");
    let secy = kernel.secy("macsec0").unwrap();
    let sa = secy.tx_sa(0).unwrap();
    assert_eq!((sa.active, sa.next_pn, secy.operational), (false, 0, false));
    assert_eq!(kernel.transmit("macsec0", 1), 0);
}

#[test]
#[should_panic(expected = "a nonce repeats")]
fn a_number_set_back_is_seen_when_it_is_sent_again() {
    let (kernel, mut client, index) = secure();
    client.tx(command::ADD_TXSA, index, &key(0)).unwrap();
    kernel.transmit("macsec0", 5);
    let back = SaRequest { an: Some(0), pn: key(0).pn, ..SaRequest::default() };
    client.tx(command::UPD_TXSA, index, &back).unwrap();
    kernel.transmit("macsec0", 1);
}

#[test]
#[should_panic(expected = "a nonce repeats")]
fn an_exhausted_association_that_is_switched_on_repeats_nonces() {
    let (kernel, mut client, index) = secure();
    client.tx(command::ADD_TXSA, index, &key(0)).unwrap();
    kernel.exhaust("macsec0");
    client.tx(command::UPD_TXSA, index, &active(0, 1)).unwrap();
    kernel.transmit("macsec0", 1);
}

#[test]
#[should_panic(expected = "is installed to transmit a second time")]
fn a_guarded_kernel_does_not_let_a_key_be_installed_twice() {
    let (kernel, mut client, index) = secure();
    kernel.guard();
    client.tx(command::ADD_TXSA, index, &key(0)).unwrap();
    let _ = client.tx(command::ADD_TXSA, index, &key(1));
}

#[test]
fn the_parent_takes_its_mtu_its_carrier_and_itself_from_those_above() {
    let (kernel, mut client, index) = secure();
    kernel.set_mtu("eth1", 1400);
    assert_eq!(kernel.link("macsec0").unwrap().mtu, 1368);
    kernel.set_mtu("eth1", 1500);
    assert_eq!(kernel.link("macsec0").unwrap().mtu, 1368, "it does not grow back");
    let too_large = client.set_link(index, None, word(libc::IFLA_MTU, 1469));
    assert_eq!(errno(too_large), libc::ERANGE);
    kernel.set_carrier("eth1", false);
    assert_eq!(kernel.link("macsec0").unwrap().operstate, oper::LOWER_LAYER_DOWN);
    kernel.delete("eth1");
    assert!(kernel.link("macsec0").is_none());
}

#[test]
fn a_dormant_interface_is_up_only_once_it_is_said_to_be() {
    let (kernel, mut client, index) = secure();
    let set = |client: &mut Client, kind, value| {
        client.set_link(index, None, octet(kind, value)).unwrap();
        kernel.link("macsec0").unwrap().operstate
    };
    set(&mut client, libc::IFLA_LINKMODE, 1);
    assert_eq!(set(&mut client, libc::IFLA_OPERSTATE, oper::DORMANT), oper::DORMANT);
    assert_eq!(set(&mut client, libc::IFLA_OPERSTATE, oper::UP), oper::UP);
    kernel.set_carrier("eth1", false);
    kernel.set_carrier("eth1", true);
    assert_eq!(kernel.link("macsec0").unwrap().operstate, oper::DORMANT);
}

#[test]
fn a_dump_under_which_interfaces_went_says_so_and_may_have_missed_others() {
    let (kernel, mut client, index) = secure();
    kernel.add_parent(2, "eth0", MAC);
    kernel.add_macsec(2, "other", [2, 0, 0, 0, 0, 0x0a, 0, 2]);
    // It is told of by its place, and all after the one that went have moved up.
    kernel.fault(0, Fault::TornByLeave(2));
    client.associations().unwrap();
    assert!(client.torn);
    let whole = client.associations().unwrap();
    let secy = Attributes::parse(&whole[&index]).nest(top::SECY).unwrap();
    assert_eq!(secy.array(1), Ok(Some([2, 0, 0, 0, 0, 0x0a, 0, 1])));
}

#[test]
fn each_fault_shows_at_the_socket_as_it_does_on_a_machine() {
    let (kernel, mut client, index) = secure();
    let mut add = |fault, an| {
        kernel.fault(0, fault);
        let said = errno(client.tx(command::ADD_TXSA, index, &key(an)));
        (said, kernel.secy("macsec0").unwrap().tx_sa(an).is_some())
    };
    assert_eq!(add(Fault::Refused(libc::ENOMEM), 0), (libc::ENOMEM, false));
    assert_eq!(add(Fault::NotSent(libc::ENOBUFS), 0), (libc::ENOBUFS, false));
    assert_eq!(add(Fault::Lost, 0), (libc::EAGAIN, false));
    assert_eq!(add(Fault::AnswerLost, 0), (libc::EAGAIN, true));
    assert_eq!(add(Fault::AnswerDropped, 1), (libc::ENOBUFS, true));
    assert_eq!(add(Fault::Interrupted, 2), (libc::EINTR, true));
    assert_eq!(add(Fault::AnswerLate, 3), (libc::EAGAIN, true));
}

/// The kernel has one dump of a socket at a time, and whoever gave up one must fetch the rest of it.
#[test]
fn a_dump_given_up_half_way_stands_in_the_way_of_the_next() {
    let (kernel, mut client, _) = secure();
    kernel.add_macsec(PARENT, "other", [2, 0, 0, 0, 0, 0x0a, 0, 2]);
    kernel.fault(0, Fault::PieceDropped);
    assert_eq!(errno(client.associations()), libc::ENOBUFS);
    assert_eq!(errno(client.associations()), libc::EBUSY);
    while client.generic.receive(&mut [0; 512]).is_ok() {}
    assert_eq!(errno(client.associations()), 0);
}
