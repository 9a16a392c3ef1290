//! Other people, who are root too: what they change is put right, or where that could repeat a
//! nonce, given up and told.

use macsecd::dataplane::KernelState;
use macsecd::ident::CipherSuite::{GcmAes128, GcmAes256};
use macsecd::ident::{KeyId, Sci};
use macsecd::sys::LinkState;

use crate::fake_kernel::numbers::oper;
use crate::fake_kernel::{FakeKernel, Fault, Sa, Secy};
use crate::rig::{
    MAC, OWN, PARENT, PARENT_INDEX, PEER, Port, SECURE, STRICT, THIRD, ki, machine, settings, start,
};

/// The association of the first key.
const AN: u8 = 1;

fn secured() -> (FakeKernel, Port) {
    let kernel = machine();
    let mut port = Port::secured(kernel.clone(), GcmAes128);
    assert_eq!(port.pass_traffic(), 10);
    port.plane.refresh();
    assert_eq!(told(&port).interference, 0);
    (kernel, port)
}

fn told(port: &Port) -> KernelState {
    port.plane.snapshot().kernel.unwrap()
}

/// Looks several times, and gives what was lost.
fn lost_after_looking(port: &mut Port) -> Vec<KeyId> {
    let mut lost = Vec::new();
    for _ in 0..3 {
        port.plane.refresh();
        lost.extend(port.plane.take_lost());
    }
    lost
}

/// The key is lost, told once, and nothing is sent with it any more, nor is it in the kernel.
fn assert_key_is_lost(kernel: &FakeKernel, port: &mut Port) {
    assert_eq!(lost_after_looking(port), [ki(1)]);
    assert_eq!(kernel.transmit(SECURE, 1), 0);
    assert_eq!(kernel.secy(SECURE).unwrap().tx, [const { None }; 4]);
    assert_eq!(port.plane.snapshot().tx, None);
    // What others send with it still arrives.
    assert!(sa_of(kernel, PEER).active);
    // And the next key works.
    port.rekey();
    port.check("with the next key");
    assert_eq!(kernel.transmit(SECURE, 5), 5);
}

fn sa_of(kernel: &FakeKernel, sci: Sci) -> Sa {
    let secy = kernel.secy(SECURE).unwrap();
    let channel = secy.channel(sci.octets()).expect("the channel is there");
    channel.sas[usize::from(AN)].clone().expect("the receive SA is there")
}

#[test]
fn a_transmit_sa_that_vanished_is_lost_and_never_added_again() {
    let (kernel, mut port) = secured();
    kernel.edit(SECURE, |secy| secy.tx[usize::from(AN)] = None);
    assert_key_is_lost(&kernel, &mut port);
}

/// The next key was to take over, so that nobody would have missed the first; but it is gone, too.
#[test]
fn a_key_that_is_gone_back_to_and_was_lost_meanwhile_is_reported() {
    let (kernel, mut port) = secured();
    assert!(port.install());
    kernel.edit(SECURE, |secy| secy.tx = [const { None }; 4]);
    port.enable();
    assert_eq!(port.latest, Some(1), "the second is refused");
    assert_eq!(lost_after_looking(&mut port), [ki(1)]);
}

/// Or nothing would go out any more.
#[test]
fn a_key_that_is_lost_takes_over_from_nobody() {
    let (kernel, mut port) = secured();
    assert!(port.install());
    kernel.edit(SECURE, |secy| secy.tx[2] = None);
    assert_eq!(lost_after_looking(&mut port), [ki(2)]);
    port.enable();
    assert_eq!(port.latest, Some(1), "the second is refused");
    assert_eq!(lost_after_looking(&mut port), []);
    port.check("with the first key");
    assert_eq!(kernel.transmit(SECURE, 1), 1);
}

#[test]
fn a_packet_number_set_back_costs_the_key() {
    let (kernel, mut port) = secured();
    kernel.edit(SECURE, |secy| secy.tx_sa_mut(AN).unwrap().next_pn = 5);
    assert_key_is_lost(&kernel, &mut port);
}

/// Between two looks it may have come further than it was seen: the frames are more than the
/// numbers then.
#[test]
fn a_packet_number_set_back_and_passed_again_costs_the_key() {
    let (kernel, mut port) = secured();
    kernel.with(crate::fake_kernel::State::oblivious);
    kernel.edit(SECURE, |secy| secy.tx_sa_mut(AN).unwrap().next_pn = 5);
    kernel.transmit(SECURE, 50);
    assert_eq!(lost_after_looking(&mut port), [ki(1)]);
    assert_eq!(kernel.transmit(SECURE, 1), 0);
}

#[test]
fn a_packet_number_set_forward_costs_nothing() {
    let (kernel, mut port) = secured();
    kernel.edit(SECURE, |secy| secy.tx_sa_mut(AN).unwrap().next_pn = 5000);
    assert_eq!(lost_after_looking(&mut port), []);
    assert_eq!(kernel.transmit(SECURE, 1), 1);
}

#[test]
fn an_exhausted_transmit_sa_is_lost_and_never_switched_on_again() {
    let (kernel, mut port) = secured();
    kernel.exhaust(SECURE);
    assert_key_is_lost(&kernel, &mut port);
}

/// As in `set tx sa 1 on` after the numbers had run out: it would start again at 1.
#[test]
fn an_exhausted_transmit_sa_that_somebody_switched_on_is_switched_off() {
    let (kernel, mut port) = secured();
    kernel.exhaust(SECURE);
    kernel.edit(SECURE, |secy| secy.activate(AN, true));
    assert_key_is_lost(&kernel, &mut port);
}

#[test]
fn a_transmit_sa_that_somebody_switched_off_is_lost_and_stays_off() {
    let (kernel, mut port) = secured();
    kernel.edit(SECURE, |secy| secy.activate(AN, false));
    assert_key_is_lost(&kernel, &mut port);
}

/// Off, deleted and added again: the same name, but its numbers start again.
#[test]
fn a_transmit_sa_put_back_by_somebody_is_not_taken_for_the_old_one() {
    let (kernel, mut port) = secured();
    kernel.edit(SECURE, |secy| {
        secy.tx_sa_mut(AN).unwrap().next_pn = 1;
        secy.tx_sa_mut(AN).unwrap().sent = [0; 2];
    });
    assert_key_is_lost(&kernel, &mut port);
}

#[test]
fn another_key_on_our_association_is_removed_and_ours_is_lost() {
    let (kernel, mut port) = secured();
    kernel.edit(SECURE, |secy| secy.tx_sa_mut(AN).unwrap().key_id = [9; 16]);
    assert_key_is_lost(&kernel, &mut port);
}

/// That it was there before we put it there says that somebody else may have used it.
#[test]
fn a_key_that_is_in_the_kernel_before_it_is_installed_is_refused() {
    let (kernel, mut port) = secured();
    let octets = ki(2).octets();
    kernel.edit(SECURE, |secy| {
        let sa = secy.tx_sa(AN).cloned();
        secy.tx[2] = sa.map(|sa| Sa { key_id: octets, active: false, ..sa });
    });
    assert!(!port.install());
    port.plane.refresh();
    assert_eq!(port.plane.take_lost(), []);
    port.check("with the first key");
}

/// Every setting by itself, with the port open.
#[test]
fn settings_that_somebody_changed_are_put_right_and_counted() {
    type Change = fn(&mut Secy);
    let changes: [(&str, Change); 9] = [
        ("protect", |secy| secy.protect = false),
        ("validate", |secy| secy.validate = 0),
        ("encrypt", |secy| secy.encrypt = false),
        ("replay", |secy| secy.replay_protect = false),
        ("window", |secy| secy.window = 7),
        ("send_sci", |secy| secy.include_sci = false),
        ("scb", |secy| (secy.include_sci, secy.scb) = (false, true)),
        ("end_station", |secy| (secy.include_sci, secy.end_station) = (false, true)),
        ("encodingsa", |secy| secy.encode_with(3)),
    ];
    for (what, change) in changes {
        let (kernel, mut port) = secured();
        kernel.edit(SECURE, change);
        port.plane.refresh();
        port.check(what);
        let told = told(&port);
        assert_eq!(told.interference, 1, "{what}: {:?}", told.last_interference);
        assert!(told.last_interference.is_some(), "{what}");
        assert_eq!(port.plane.take_lost(), [], "{what}");
        assert_eq!(kernel.transmit(SECURE, 1), 1, "{what}");
    }
}

#[test]
fn our_own_changes_are_not_taken_for_somebody_elses() {
    let (_, mut port) = secured();
    for round in 0..3 {
        port.rekey();
        port.remove(THIRD);
        port.plane.refresh();
        port.add(THIRD, 1);
        port.open(round == 1).unwrap();
        port.configure(macsecd::secy::SecySettings { replay_window: round, ..STRICT });
        port.plane.refresh();
    }
    assert_eq!(told(&port).interference, 0, "{:?}", told(&port).last_interference);
}

#[test]
fn a_closed_port_stays_closed_whatever_somebody_sets() {
    let (kernel, mut port) = secured();
    port.open(false).unwrap();
    kernel.edit(SECURE, |secy| {
        secy.protect = false;
        secy.validate = 0;
        secy.encode_with(AN);
    });
    port.plane.refresh();
    port.check("closed");
    assert_eq!(kernel.transmit(SECURE, 1), 0);
}

#[test]
fn a_receive_sa_that_vanished_comes_back_no_lower_than_it_was_seen() {
    let (kernel, mut port) = secured();
    let before = sa_of(&kernel, PEER).next_pn;
    assert!(before > 1);
    for whole_channel in [false, true] {
        kernel.edit(SECURE, |secy| {
            if whole_channel {
                secy.rx.clear();
            } else {
                secy.channel_mut(PEER.octets()).unwrap().sas[usize::from(AN)] = None;
            }
        });
        port.plane.refresh();
        port.check("after it vanished");
        assert_eq!(sa_of(&kernel, PEER).next_pn, before);
    }
    assert_eq!(told(&port).interference, 2);
}

#[test]
fn a_receive_sa_set_back_or_switched_off_is_put_right() {
    let (kernel, mut port) = secured();
    let before = sa_of(&kernel, PEER).next_pn;
    kernel.edit(SECURE, |secy| {
        let channel = secy.channel_mut(PEER.octets()).unwrap();
        let sa = channel.sas[usize::from(AN)].as_mut().unwrap();
        (sa.next_pn, sa.active) = (1, false);
    });
    port.plane.refresh();
    port.check("after it was set back");
    assert_eq!(sa_of(&kernel, PEER).next_pn, before);
    assert_eq!(port.plane.take_lost(), []);
}

/// Else what it had let pass could come again.
#[test]
fn a_member_that_comes_back_under_the_same_key_is_received_from_where_it_was() {
    let (kernel, mut port) = secured();
    let before = sa_of(&kernel, THIRD).next_pn;
    port.remove(THIRD);
    port.add(THIRD, 1);
    assert_eq!(sa_of(&kernel, THIRD).next_pn, before);
}

#[test]
fn channels_and_associations_of_somebody_else_are_removed() {
    let (kernel, mut port) = secured();
    let stranger = [2, 0, 0, 0, 0, 0xdd, 0, 1];
    kernel.edit(SECURE, |secy| {
        let sa = secy.tx_sa(AN).cloned().map(|sa| Sa { key_id: [9; 16], ..sa });
        secy.tx[0].clone_from(&sa);
        let mut channel = secy.channel(PEER.octets()).unwrap().clone();
        channel.sci = stranger;
        secy.rx.push(channel);
        secy.channel_mut(PEER.octets()).unwrap().sas[0] = sa;
    });
    port.plane.refresh();
    port.check("after they were added");
    assert_eq!(told(&port).interference, 1);
}

#[test]
fn a_deleted_interface_is_made_anew_and_all_its_keys_are_lost() {
    let (kernel, mut port) = secured();
    port.install();
    let before = kernel.link(SECURE).unwrap().index;
    kernel.delete(SECURE);
    let mut lost = lost_after_looking(&mut port);
    lost.sort();
    assert_eq!(lost, [ki(1), ki(2)]);
    let link = kernel.link(SECURE).unwrap();
    assert!(link.index != before && link.up);
    assert_eq!(link.secy().unwrap().tx, [const { None }; 4]);
    assert_eq!(told(&port).interference, 1);
    // As the KaY gives up what is lost.
    port.drop_old();
    port.rekey();
    port.drop_old();
    port.check("with a new key");
    assert_eq!(kernel.transmit(SECURE, 1), 1);
}

#[test]
fn an_index_that_has_gone_to_another_interface_is_left_alone() {
    let (kernel, mut port) = secured();
    let index = kernel.link(SECURE).unwrap().index;
    kernel.delete(SECURE);
    kernel.with(|state| {
        let mut other = state.named(PARENT).cloned().unwrap();
        other.name = "eth7".to_owned();
        state.add(Some(index), other);
    });
    port.plane.refresh();
    assert!(kernel.link("eth7").is_some(), "somebody else's interface is gone");
    assert!(kernel.link(SECURE).is_some());
}

/// Looks in vain for so long that only starting afresh can help, and not before.
fn give_up(port: &mut Port) {
    port.plane.refresh();
    assert!(port.plane.snapshot().alive, "once is no reason");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    port.plane.refresh();
    assert!(!port.plane.snapshot().alive, "only starting afresh can help");
}

#[test]
fn without_its_parent_a_port_tells_so_and_makes_nothing() {
    let (kernel, mut port) = secured();
    kernel.delete(PARENT);
    assert_eq!(lost_after_looking(&mut port), [ki(1)]);
    let snapshot = port.plane.snapshot();
    assert_eq!(snapshot.parent, LinkState::Gone);
    assert_eq!(snapshot.secure_interface, LinkState::Gone);
    assert!(kernel.link(SECURE).is_none());
    give_up(&mut port);
}

#[test]
fn a_renamed_interface_goes_on_and_is_made_under_its_own_name_when_it_is_gone() {
    let (kernel, mut port) = secured();
    kernel.rename(SECURE, "other0");
    port.plane.refresh();
    port.rekey();
    assert_eq!(kernel.transmit("other0", 5), 5);
    kernel.delete("other0");
    port.recover();
    port.check("with its own name again");
}

#[test]
fn an_interface_moved_to_another_namespace_costs_the_keys_and_the_port() {
    let (kernel, mut port) = secured();
    kernel.move_away(SECURE);
    assert_eq!(lost_after_looking(&mut port), [ki(1)]);
    assert_eq!(port.plane.snapshot().secure_interface, LinkState::Gone);
    give_up(&mut port);
}

#[test]
fn other_macsec_interfaces_on_the_parent_are_named_and_left_alone() {
    let (kernel, mut port) = secured();
    kernel.add_macsec(PARENT_INDEX, "macsec7", [2, 0, 0, 0, 0, 0x0a, 0, 7]);
    let before = kernel.secy("macsec7");
    port.plane.refresh();
    assert_eq!(told(&port).neighbours, ["macsec7"]);
    assert_eq!(told(&port).interference, 0);
    assert_eq!(kernel.secy("macsec7"), before);
    kernel.delete("macsec7");
    port.plane.refresh();
    assert_eq!(told(&port).neighbours, Vec::<String>::new());
}

/// Whoever takes it down may have a reason; nothing leaves it.
#[test]
fn an_interface_taken_down_stays_down_and_is_told_of() {
    let (kernel, mut port) = secured();
    kernel.set_up(SECURE, false);
    port.plane.refresh();
    assert_eq!(port.plane.snapshot().secure_interface, LinkState::Down);
    assert!(!kernel.link(SECURE).unwrap().up);
    assert_eq!(kernel.transmit(SECURE, 1), 0);
    kernel.set_up(SECURE, true);
    port.plane.refresh();
    port.check("up again");
}

#[test]
fn a_carrier_that_comes_back_finds_an_open_port_running_and_a_closed_one_dormant() {
    for open in [true, false] {
        let (kernel, mut port) = secured();
        port.open(open).unwrap();
        kernel.set_carrier(PARENT, false);
        port.plane.refresh();
        assert_eq!(port.plane.snapshot().secure_interface, LinkState::NoCarrier);
        kernel.set_carrier(PARENT, true);
        port.plane.refresh();
        let state = if open { oper::UP } else { oper::DORMANT };
        assert_eq!(kernel.link(SECURE).unwrap().operstate, state);
        port.check("with a carrier");
    }
}

#[test]
fn the_secure_interface_follows_the_parents_mtu_both_ways() {
    let (kernel, mut port) = secured();
    kernel.set_mtu(PARENT, 1400);
    port.plane.set_parent_mtu(1400).unwrap();
    assert_eq!(kernel.link(SECURE).unwrap().mtu, 1368);
    kernel.set_mtu(PARENT, 9000);
    port.plane.set_parent_mtu(9000).unwrap();
    assert_eq!(kernel.link(SECURE).unwrap().mtu, 8968);
}

#[test]
fn dumps_of_other_kernels_are_read_as_well() {
    let quirks: [fn(&mut crate::fake_kernel::Quirks); 4] = [
        |quirks| quirks.pads = true,
        |quirks| quirks.per_datagram = 100,
        |quirks| quirks.offload_by_link = true,
        |quirks| quirks.legacy_id = false,
    ];
    for quirk in quirks {
        let kernel = machine();
        kernel.quirks(quirk);
        kernel.add_macsec(PARENT_INDEX, "macsec7", [2, 0, 0, 0, 0, 0x0a, 0, 7]);
        let mut port = Port::secured(kernel, GcmAes128);
        port.rekey();
        port.check("at the end");
    }
}

/// While interfaces come and go all the time, no look is whole; nothing is taken for lost by that.
#[test]
fn what_a_torn_look_does_not_show_is_not_lost() {
    let (kernel, mut port) = secured();
    kernel.fault_always(Fault::TornByArrival);
    for _ in 0..3 {
        port.plane.refresh();
    }
    assert_eq!(port.plane.take_lost(), []);
    kernel.heal();
    port.plane.refresh();
    port.check("when it is quiet again");
    assert_eq!(told(&port).interference, 0);
}

#[test]
fn without_an_answer_for_two_seconds_a_port_says_so_and_when_asked_again_goes_on() {
    let (kernel, mut port) = secured();
    kernel.fault_always(Fault::Lost);
    give_up(&mut port);
    assert_eq!(port.plane.take_lost(), []);
    kernel.heal();
    port.plane.refresh();
    port.check("when it answers again");
}

/// The suite of an interface cannot change, so a key of another one takes another interface.
#[test]
fn a_key_of_another_suite_has_the_interface_made_anew() {
    let kernel = machine();
    let both = macsecd::dataplane::kernel::KernelSettings {
        suites: vec![GcmAes128, GcmAes256],
        ..settings(GcmAes128)
    };
    let plane = start(&kernel, both).unwrap();
    let mut port = Port::on(kernel.clone(), plane, GcmAes128);
    port.rekey();
    port.open(true).unwrap();
    kernel.transmit(SECURE, 5);
    port.suite = GcmAes256;
    assert!(port.install());
    assert_eq!(port.plane.take_lost(), [ki(1)]);
    port.enable();
    assert_eq!(port.latest, Some(2));
    port.drop_old();
    port.check("with the other suite");
    let link = kernel.link(SECURE).unwrap();
    assert_eq!((link.mac, link.secy().unwrap().sci), (MAC.0, OWN.octets()));
    assert_eq!(kernel.transmit(SECURE, 5), 5);
}
