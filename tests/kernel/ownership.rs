//! Interfaces change under a port: whose they are, and what the port makes of it on the real kernel.

use macsecd::dataplane::End;
use macsecd::dataplane::kernel::KernelSettings;
use macsecd::ident::CipherSuite::{GcmAes128, GcmAesXpn256};
use macsecd::ident::{MacAddress, Sci};
use macsecd::secy::SecyCommand;
use macsecd::sys::LinkState;
use rtnetlink::LinkUnspec;

use crate::fake_kernel::request::octet;
use crate::netns::{Namespace, eventually};
use crate::port::{MAC, NONE, OWN, PARENT, Port, SECURE, Wire, ki};

fn secured() -> (Wire, Port) {
    let wire = Wire::new();
    let mut port = wire.secured(GcmAesXpn256);
    assert_eq!(wire.send(SECURE, 2), [1, 2]);
    port.plane.refresh();
    (wire, port)
}

/// Nothing was lost, and frames go out with the key of this number as before.
fn assert_goes_on(wire: &Wire, port: &mut Port, interface: &str) {
    port.plane.refresh();
    assert_eq!(port.plane.take_lost(), []);
    assert!(port.plane.snapshot().alive);
    port.rekey(2);
    assert_eq!(wire.send(interface, 2), [1, 2]);
}

fn secure_state(port: &mut Port) -> LinkState {
    port.plane.refresh();
    port.plane.snapshot().secure_interface
}

/// The kernel takes a moment for what follows from a carrier.
fn runs(port: &mut Port, namespace: &Namespace) {
    eventually("the secure interface runs", || {
        secure_state(port) == LinkState::Running && namespace.is_running(SECURE)
    });
}

/// After a while in vain only starting afresh can help.
fn gives_up(port: &mut Port) {
    eventually("the port gives up", || {
        port.plane.refresh();
        !port.plane.snapshot().alive
    });
}

#[test]
fn a_port_begins_dormant_and_runs_once_it_is_open() {
    let wire = Wire::new();
    let mut port = wire.start(wire.settings(GcmAes128)).unwrap();
    assert_eq!(wire.namespace.mtu(SECURE), 1468);
    eventually("the secure interface is dormant", || {
        secure_state(&mut port) == LinkState::NoCarrier && !wire.namespace.is_running(SECURE)
    });
    assert_eq!(wire.send(SECURE, 2), NONE);
    port.rekey(1);
    assert_eq!(wire.send(SECURE, 2), NONE, "a closed port sends");
    port.apply(&SecyCommand::SetControlledPort(true));
    runs(&mut port, &wire.namespace);
    assert_eq!(wire.send(SECURE, 2), [1, 2]);
    port.apply(&SecyCommand::SetControlledPort(false));
    assert_eq!(wire.send(SECURE, 2), NONE, "a closed port sends");
    eventually("the secure interface is dormant again", || {
        secure_state(&mut port) == LinkState::NoCarrier && !wire.namespace.is_running(SECURE)
    });
}

#[test]
fn with_its_parent_a_port_loses_everything_and_says_so() {
    let (wire, mut port) = secured();
    wire.namespace.delete(PARENT);
    assert_eq!(port.lost_within_a_second(), [ki(1)]);
    let snapshot = port.plane.snapshot();
    assert_eq!((snapshot.parent, snapshot.secure_interface), (LinkState::Gone, LinkState::Gone));
    gives_up(&mut port);
    assert!(!wire.namespace.has(SECURE));
}

#[test]
fn a_parent_that_is_renamed_changes_nothing() {
    let (wire, mut port) = secured();
    wire.rename(PARENT, "wan0");
    runs(&mut port, &wire.namespace);
    assert_goes_on(&wire, &mut port, SECURE);
}

#[test]
fn a_parent_that_is_moved_away_takes_the_secure_interface_along_to_its_end() {
    let (wire, mut port) = secured();
    let elsewhere = Namespace::new();
    wire.move_to(PARENT, &elsewhere);
    assert_eq!(port.lost_within_a_second(), [ki(1)]);
    let snapshot = port.plane.snapshot();
    assert_eq!((snapshot.parent, snapshot.secure_interface), (LinkState::Gone, LinkState::Gone));
    assert!(!elsewhere.has(SECURE));
}

#[test]
fn a_parent_with_another_address_leaves_the_sci_and_the_address_above_as_they_were() {
    let (mut wire, mut port) = secured();
    wire.namespace.set_address(PARENT, [2, 0, 0, 0, 0, 0x77]);
    assert_goes_on(&wire, &mut port, SECURE);
    let index = wire.index(SECURE);
    let link = wire.other.link(index).unwrap();
    let attributes = crate::fake_kernel::attributes::Attributes::parse(&link[16..]);
    assert_eq!(attributes.octets(libc::IFLA_ADDRESS).unwrap(), MAC.0);
    // Whoever restarts has another SCI, and the old interface is made anew for it.
    drop(port);
    let sci = Sci::new(MacAddress([2, 0, 0, 0, 0, 0x77]), 1);
    let settings = KernelSettings { sci, ..wire.settings(GcmAesXpn256) };
    wire.start(settings).unwrap();
    assert_ne!(wire.index(SECURE), index);
}

#[test]
fn the_parents_mtu_is_followed_down_by_the_kernel_and_up_by_us() {
    let (wire, mut port) = secured();
    wire.namespace.set_mtu(PARENT, 1400);
    assert_eq!(wire.namespace.mtu(SECURE), 1368);
    wire.namespace.set_mtu(PARENT, 9000);
    assert_eq!(wire.namespace.mtu(SECURE), 1368);
    port.plane.set_parent_mtu(9000).unwrap();
    assert_eq!(wire.namespace.mtu(SECURE), 8968);
    assert_goes_on(&wire, &mut port, SECURE);
}

#[test]
fn a_carrier_that_goes_and_comes_costs_no_key() {
    let (wire, mut port) = secured();
    runs(&mut port, &wire.namespace);
    wire.namespace.down(PARENT);
    eventually("the carrier is gone", || secure_state(&mut port) == LinkState::NoCarrier);
    assert_eq!(port.plane.snapshot().parent, LinkState::Down);
    wire.namespace.up(PARENT);
    runs(&mut port, &wire.namespace);
    assert_goes_on(&wire, &mut port, SECURE);
}

#[test]
fn a_deleted_secure_interface_is_made_anew_without_a_key() {
    let (wire, mut port) = secured();
    let index = wire.index(SECURE);
    wire.namespace.delete(SECURE);
    assert_eq!(port.lost_within_a_second(), [ki(1)]);
    assert_ne!(wire.index(SECURE), index);
    assert_eq!(wire.send(SECURE, 2), NONE);
    assert_eq!(port.told().interference, 1);
    port.rekey(2);
    runs(&mut port, &wire.namespace);
    assert_eq!(wire.send(SECURE, 2), [1, 2]);
}

#[test]
fn a_renamed_secure_interface_goes_on() {
    let (wire, mut port) = secured();
    wire.rename(SECURE, "uplink");
    assert_goes_on(&wire, &mut port, "uplink");
}

#[test]
fn a_secure_interface_that_is_moved_away_is_lost_and_not_made_twice() {
    let (wire, mut port) = secured();
    let elsewhere = Namespace::new();
    wire.move_to(SECURE, &elsewhere);
    assert_eq!(port.lost_within_a_second(), [ki(1)]);
    gives_up(&mut port);
    assert!(!wire.namespace.has(SECURE) && elsewhere.has(SECURE));
    // A start says why it cannot be.
    let words = wire.start(wire.settings(GcmAesXpn256)).err().unwrap().to_string();
    assert!(words.contains("namespace"), "{words}");
}

#[test]
fn a_secure_interface_with_another_address_or_mtu_goes_on() {
    let (wire, mut port) = secured();
    wire.namespace.set_address(SECURE, [2, 0, 0, 0, 0, 0x99]);
    wire.namespace.set_mtu(SECURE, 1300);
    assert_goes_on(&wire, &mut port, SECURE);
    assert_eq!(wire.namespace.mtu(SECURE), 1300, "somebody may want it lower");
}

#[test]
fn a_secure_interface_that_is_taken_down_stays_down_until_it_is_taken_up() {
    let (wire, mut port) = secured();
    wire.namespace.down(SECURE);
    assert_eq!(secure_state(&mut port), LinkState::Down);
    assert_eq!(wire.send(SECURE, 2), NONE);
    wire.namespace.up(SECURE);
    runs(&mut port, &wire.namespace);
    assert_goes_on(&wire, &mut port, SECURE);
}

#[test]
fn several_ports_share_a_parent_each_with_its_sci() {
    let (wire, mut port) = secured();
    let second = KernelSettings {
        name: "macsec1".to_owned(),
        sci: Sci::new(MAC, 2),
        ..wire.settings(GcmAesXpn256)
    };
    let mut second = wire.start(second).unwrap();
    assert_eq!(second.told().neighbours, [SECURE]);
    port.plane.refresh();
    assert_eq!(port.told().neighbours, ["macsec1"]);
    second.plane.refresh();
    assert_eq!((port.told().interference, second.told().interference), (0, 0));
    // The same peer cannot be received twice on a parent.
    let same = KernelSettings { name: "macsec2".to_owned(), ..wire.settings(GcmAesXpn256) };
    let words = wire.start(same).err().unwrap().to_string();
    assert!(words.contains(&format!("has the SCI {OWN}: {SECURE}")), "{words}");
    second.plane.close(End::Delete);
    assert!(!wire.namespace.has("macsec1"));
    assert_goes_on(&wire, &mut port, SECURE);
}

#[test]
fn settings_that_somebody_changed_are_put_right() {
    use crate::fake_kernel::numbers::link::{ENCODING_SA, ENCRYPT, PROTECT, VALIDATION};
    for (count, (kind, value)) in
        [(PROTECT, 0), (VALIDATION, 0), (ENCRYPT, 0), (ENCODING_SA, 3)].into_iter().enumerate()
    {
        let (mut wire, mut port) = secured();
        let index = wire.index(SECURE);
        wire.other.set(index, octet(kind, value)).unwrap();
        port.plane.refresh();
        assert_eq!(port.told().interference, 1, "change {count}");
        assert_eq!(wire.send(SECURE, 2), [3, 4], "change {count}");
        assert_eq!(port.plane.take_lost(), []);
    }
}

#[test]
fn what_a_killed_process_left_is_taken_up_without_its_keys() {
    let (wire, port) = secured();
    let index = wire.index(SECURE);
    std::mem::forget(port);
    let mut port = wire.start(wire.settings(GcmAesXpn256)).unwrap();
    assert_eq!(wire.index(SECURE), index);
    assert_eq!(wire.send(SECURE, 2), NONE);
    port.rekey(7);
    port.apply(&SecyCommand::SetControlledPort(true));
    assert_eq!(wire.send(SECURE, 2), [1, 2]);
    port.plane.close(End::Clear);
    assert_eq!(wire.send(SECURE, 2), NONE);
    assert!(wire.namespace.has(SECURE));
}

#[test]
fn a_parent_in_a_bridge_is_refused_in_words() {
    let wire = Wire::new();
    let bridge = rtnetlink::LinkBridge::new("br0").build();
    wire.namespace.add(bridge);
    let index = wire.index("br0");
    wire.namespace.change(LinkUnspec::new_with_name(PARENT).controller(index).build());
    let words = wire.start(wire.settings(GcmAes128)).err().unwrap().to_string();
    assert!(words.contains("port of a bridge"), "{words}");
}

#[test]
fn a_card_that_cannot_offload_leaves_the_work_to_the_processor_and_says_why() {
    let wire = Wire::new();
    let offload = macsecd::dataplane::Offload::Mac;
    let port = wire.start(KernelSettings { offload, ..wire.settings(GcmAes128) }).unwrap();
    let told = port.told();
    assert_eq!(told.offload, macsecd::dataplane::Offload::Off);
    let why = told.offload_refused.unwrap();
    assert!(why.contains("not supported"), "{why}");
}
