//! How a port begins and ends: what it takes up, what it makes, and what it refuses in words.

use macsecd::dataplane::kernel::{KernelDataplane, KernelSettings};
use macsecd::dataplane::{End, Offload};
use macsecd::ident::CipherSuite::{GcmAes128, GcmAes256, GcmAesXpn256};

use crate::fake_kernel::numbers::{GCM_AES_256, oper};
use crate::fake_kernel::{FakeKernel, Fault, Protocol};
use crate::rig::{MAC, OWN, PARENT, PARENT_INDEX, Port, SECURE, ki, machine, settings, start};

fn refusal(kernel: &FakeKernel, settings: KernelSettings) -> String {
    let before = kernel.link(SECURE).map(|link| link.index);
    let words = start(kernel, settings).expect_err("is refused").to_string();
    let after = kernel.link(SECURE).map(|link| link.index);
    assert_eq!(after, before, "a start that was refused has made something, or deleted it");
    words
}

fn started(kernel: &FakeKernel) -> KernelDataplane {
    start(kernel, settings(GcmAes128)).unwrap()
}

#[test]
fn a_port_begins_up_closed_strict_and_without_a_key() {
    let kernel = machine();
    let port = Port::new(kernel.clone(), GcmAesXpn256);
    port.check("at the start");
    let link = kernel.link(SECURE).unwrap();
    assert_eq!((link.mac, link.mtu), (MAC.0, 1468));
    assert_eq!(kernel.transmit(SECURE, 1), 0);
}

#[test]
fn what_another_process_left_on_our_interface_is_removed() {
    let kernel = machine();
    let mut before = Port::secured(kernel.clone(), GcmAes128);
    before.install();
    before.pass_traffic();
    let index = kernel.link(SECURE).unwrap().index;
    // As after kill -9: nothing is closed.
    std::mem::forget(before);
    kernel.edit(SECURE, |secy| (secy.protect, secy.validate) = (false, 1));

    let port = Port::new(kernel.clone(), GcmAes128);
    port.check("taken up");
    let link = kernel.link(SECURE).unwrap();
    assert_eq!(link.index, index, "it was made anew");
    assert_eq!(port.plane.snapshot().kernel.unwrap().interference, 0, "nobody interfered");
}

#[test]
fn one_that_was_left_down_is_taken_up() {
    let kernel = machine();
    started(&kernel).close(End::Clear);
    kernel.set_up(SECURE, false);
    Port::new(kernel, GcmAes128).check("taken up");
}

#[test]
fn one_with_another_sci_or_suite_is_made_anew() {
    for change in [true, false] {
        let kernel = machine();
        let index = kernel.add_macsec(PARENT_INDEX, SECURE, OWN.octets());
        kernel.edit(SECURE, |secy| {
            if change {
                secy.sci = [2, 0, 0, 0, 0, 0x77, 0, 1];
            } else {
                secy.suite = GCM_AES_256;
            }
        });
        Port::new(kernel.clone(), GcmAes128).check("made anew");
        assert_ne!(kernel.link(SECURE).unwrap().index, index);
    }
}

#[test]
fn a_name_that_something_else_has_is_refused_with_what_to_do() {
    let kernel = machine();
    kernel.add_other(SECURE);
    assert_eq!(
        refusal(&kernel, settings(GcmAes128)),
        "macsec0 is there already, and is no MACsec interface; delete it, or name another \
         secure-interface"
    );
    let kernel = machine();
    kernel.add_parent(9, "eth9", [2, 0, 0, 0, 0, 0x99]);
    kernel.add_macsec(9, SECURE, OWN.octets());
    assert_eq!(
        refusal(&kernel, settings(GcmAes128)),
        "macsec0 is there already, and is a MACsec interface on eth9; delete it, or name another \
         secure-interface"
    );
}

#[test]
fn an_sci_that_is_in_use_on_the_parent_is_refused_with_who_has_it() {
    let kernel = machine();
    kernel.add_macsec(PARENT_INDEX, "macsec7", OWN.octets());
    let words = "another MACsec interface on eth1 has the SCI 02:00:00:00:00:0a/0001: macsec7; \
                 delete it, or set another port-id";
    assert_eq!(refusal(&kernel, settings(GcmAes128)), words);
    kernel.delete("macsec7");
    started(&kernel);
}

/// It has the parent's receive handler, but is not to be seen from here.
#[test]
fn an_sci_that_is_in_use_in_another_namespace_is_refused_without_blaming_a_bridge_alone() {
    let kernel = machine();
    kernel.add_macsec(PARENT_INDEX, "macsec7", OWN.octets());
    kernel.move_away("macsec7");
    let words = refusal(&kernel, settings(GcmAes128));
    assert!(words.contains("namespace"), "{words}");
}

#[test]
fn a_parent_in_a_bridge_is_refused_with_what_to_do() {
    let kernel = machine();
    kernel.change(PARENT, |link| link.parent_mut().unwrap().occupied = true);
    let words = refusal(&kernel, settings(GcmAes128));
    assert!(words.starts_with("eth1 has another receiver of frames: it is a port of a bridge"));
}

#[test]
fn a_parent_that_is_gone_is_refused() {
    let kernel = machine();
    kernel.delete(PARENT);
    let words = refusal(&kernel, settings(GcmAes128));
    assert_eq!(words, "making the MACsec interface macsec0: No such device");
}

#[test]
fn a_kernel_without_macsec_and_one_that_does_not_let_us_are_told_apart() {
    let kernel = machine();
    kernel.quirks(|quirks| quirks.has_macsec = false);
    let words = refusal(&kernel, settings(GcmAes128));
    assert_eq!(words, "this kernel has no MACsec (module `macsec`)");
    let kernel = machine();
    kernel.quirks(|quirks| quirks.permitted = false);
    let words = refusal(&kernel, settings(GcmAes128));
    assert!(words.contains("CAP_NET_ADMIN"), "{words}");
}

/// What is refused in the midst of starting leaves no interface behind.
#[test]
fn a_start_that_fails_half_way_makes_nothing() {
    let kernel = machine();
    drop(started(&kernel));
    kernel.delete(SECURE);
    let before = kernel.asked().len();
    drop(started(&kernel));
    kernel.delete(SECURE);
    let asked = kernel.asked();
    let steps = asked[before..].iter().position(|asked| asked.errno == 0 && asked.what == 17);
    let steps = u64::try_from(steps.unwrap_or(asked.len() - before)).unwrap();
    for at in 0..steps {
        let kernel = machine();
        kernel.fault(at, Fault::Refused(libc::ENOMEM));
        if start(&kernel, settings(GcmAes128)).map(std::mem::forget).is_err() {
            assert!(kernel.link(SECURE).is_none(), "request {at} was refused");
        }
    }
}

#[test]
fn a_port_that_ends_leaves_a_dormant_interface_without_a_key_or_none() {
    for delete in [false, true] {
        let kernel = machine();
        let mut port = Port::secured(kernel.clone(), GcmAes256);
        port.plane.close(if delete { End::Delete } else { End::Clear });
        drop(port);
        let Some(link) = kernel.link(SECURE) else {
            assert!(delete);
            continue;
        };
        assert!(!delete);
        assert_eq!((link.up, link.operstate), (true, oper::DORMANT));
        let secy = link.secy().unwrap();
        assert_eq!((&secy.tx, &secy.rx), (&[const { None }; 4], &vec![]));
    }
}

/// Nobody tries a second time.
#[test]
fn a_port_that_ends_leaves_no_key_whatever_befalls_one_request() {
    for fault in [
        Fault::Refused(libc::EBUSY),
        Fault::Refused(libc::ENOBUFS),
        Fault::Lost,
        Fault::AnswerLost,
        Fault::AnswerDropped,
        Fault::Interrupted,
        Fault::PieceDropped,
    ] {
        for after in 0..20 {
            let kernel = machine();
            let mut port = Port::secured(kernel.clone(), GcmAes256);
            port.install();
            kernel.fault(after, fault);
            port.plane.close(End::Clear);
            let secy = kernel.secy(SECURE).unwrap();
            assert_eq!(secy.tx, [const { None }; 4], "{fault:?} at {after}");
            assert_eq!(secy.rx, [], "{fault:?} at {after}");
        }
    }
}

/// A panic elsewhere in the daemon must not leave keys behind.
#[test]
fn a_port_that_is_dropped_leaves_no_key() {
    let kernel = machine();
    drop(Port::secured(kernel.clone(), GcmAes256));
    let secy = kernel.secy(SECURE).unwrap();
    assert_eq!((&secy.tx, &secy.rx), (&[const { None }; 4], &vec![]));
}

#[test]
fn an_interface_that_went_with_its_parent_is_not_made_again_at_the_end() {
    let kernel = machine();
    let mut port = Port::secured(kernel.clone(), GcmAes128);
    kernel.delete(SECURE);
    port.plane.close(End::Clear);
    assert!(kernel.link(SECURE).is_none());
}

fn offloaded(kernel: &FakeKernel, offload: Offload) -> (Offload, Option<String>) {
    let plane = start(kernel, KernelSettings { offload, ..settings(GcmAes128) }).unwrap();
    let told = plane.snapshot().kernel.unwrap();
    let there = kernel.secy(SECURE).unwrap().offload;
    let expected = match told.offload {
        Offload::Off | Offload::Auto => 0,
        Offload::Phy => 1,
        Offload::Mac => 2,
    };
    assert_eq!(there, expected, "it tells something else than there is");
    assert!(kernel.link(SECURE).unwrap().up);
    (told.offload, told.offload_refused)
}

#[test]
fn offload_that_the_card_cannot_do_is_refused_with_the_kernels_reason() {
    let kernel = machine();
    let (now, why) = offloaded(&kernel, Offload::Mac);
    assert_eq!(now, Offload::Off);
    let why = why.expect("a reason");
    assert!(why.starts_with("mac: Operation not supported"), "{why}");
    assert_eq!(offloaded(&machine(), Offload::Off), (Offload::Off, None));
}

#[test]
fn offload_goes_where_it_is_wanted_and_auto_prefers_the_card() {
    for (can, wanted, now) in [
        (vec![2], Offload::Mac, Offload::Mac),
        (vec![1], Offload::Phy, Offload::Phy),
        (vec![1, 2], Offload::Auto, Offload::Mac),
        (vec![1], Offload::Auto, Offload::Phy),
        (vec![], Offload::Auto, Offload::Off),
    ] {
        let kernel = machine();
        kernel.change(PARENT, |link| link.parent_mut().unwrap().offloads = can);
        let (is, why) = offloaded(&kernel, wanted);
        assert_eq!(is, now, "{why:?}");
        if wanted != Offload::Auto {
            assert_eq!(why, None);
        }
    }
}

/// The kernel changes it on an interface that is down and has no key.
#[test]
fn an_interface_that_is_taken_up_is_offloaded_too() {
    let kernel = machine();
    kernel.change(PARENT, |link| link.parent_mut().unwrap().offloads = vec![2]);
    let before = Port::secured(kernel.clone(), GcmAes128);
    std::mem::forget(before);
    assert_eq!(offloaded(&kernel, Offload::Mac), (Offload::Mac, None));
}

#[test]
fn nothing_is_asked_of_the_kernel_that_could_set_a_number_to_transmit() {
    let kernel = machine();
    let mut port = Port::secured(kernel.clone(), GcmAesXpn256);
    port.rekey();
    port.rekey();
    // The guard of the model would have panicked; that anything was asked is to be seen.
    let updates = kernel.asked().into_iter().filter(|asked| asked.protocol == Protocol::Generic);
    assert!(updates.filter(|asked| asked.what == 6).count() >= 3);
    assert_eq!(port.latest, Some(3));
    assert_eq!(port.wanted.transmitting_ki(), Some(ki(3)));
}
