//! A daemon is killed at any request, and another goes on with what is there: no frame is lost, no
//! nonce repeats, and what was received once is not received again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use macsecd::dataplane::kernel::{KernelDataplane, KernelSettings};
use macsecd::dataplane::{End, Offload};
use macsecd::ident::{CipherSuite, KeyId, Sci};
use macsecd::secy::{InstallSak, InstalledSak, SecyCommand, SecyError, TransmitState};

use crate::fake_kernel::numbers::oper;
use crate::fake_kernel::{FakeKernel, Sa, Secy};
use crate::killed::{Process, Remains, Traffic, killed_at};
use crate::rig::{PEER, Port, SECURE, THIRD, key, ki, machine, settings, start, words};

/// The last key of a life.
const LAST: u32 = 6;

/// What somebody else does while no daemon is there.
type Deed = fn(&FakeKernel);

fn expecting(suite: CipherSuite, expected: &[InstalledSak]) -> KernelSettings {
    KernelSettings { expected: expected.to_vec(), ..settings(suite) }
}

/// The key that frames go out with, and its next packet number.
fn flows(kernel: &FakeKernel) -> Option<(Vec<u8>, u64)> {
    let link = kernel.link(SECURE)?;
    let secy = link.secy()?;
    let sa = secy.tx_sa(secy.encoding_sa).filter(|sa| sa.active)?;
    link.up.then(|| (sa.key.clone(), sa.next_pn))
}

/// The kernel has what the data plane says that it keeps, and nothing else.
fn check_kept(plane: &KernelDataplane, secy: &Secy) {
    let kept = plane.kept();
    let named = |ki: KeyId| kept.iter().find(|sak| sak.key.ki == ki);
    for (an, sa) in secy.tx.iter().enumerate() {
        let Some(sa) = sa else { continue };
        let sak = kept.iter().find(|sak| sak.key.ki.octets() == sa.key_id);
        let sak = sak.unwrap_or_else(|| panic!("a transmit SA that is not kept: {sa:?}"));
        assert_eq!((sak.an.index(), sak.key.sak.expose()), (an, &sa.key[..]));
        match sak.transmit {
            TransmitState::Transmitting => assert!(sa.active, "{sa:?}"),
            TransmitState::Superseded => assert!(!sa.active, "{sa:?}"),
            TransmitState::Waiting => {}
        }
    }
    for sak in &kept {
        let sa = secy.tx_sa(sak.an.value());
        if sak.transmit != TransmitState::Superseded {
            assert_eq!(sa.map(|sa| sa.key_id), Some(sak.key.ki.octets()), "{sak:?}");
        }
        for sci in sak.receivers.keys() {
            let sa = secy.channel(sci.octets()).and_then(|of| of.sas[sak.an.index()].as_ref());
            assert!(sa.is_some_and(|sa| sa.active && sa.key_id == sak.key.ki.octets()), "{sci}");
        }
    }
    for (sci, sa) in receive_sas(secy) {
        let sak = kept.iter().find(|sak| sak.key.ki.octets() == sa.key_id);
        let sak = sak.and_then(|sak| named(sak.key.ki)).expect("a receive SA that is not kept");
        assert!(sak.receivers.contains_key(&Sci::from_octets(sci)));
    }
    let sends = kept.iter().find(|sak| sak.transmit == TransmitState::Transmitting);
    let open = sends.filter(|_| plane.is_open()).map(|sak| sak.key.ki.octets());
    let sa = secy.tx_sa(secy.encoding_sa).filter(|sa| sa.active);
    assert_eq!(sa.map(|sa| sa.key_id), open, "what frames go out with");
    assert!(secy.protect && secy.validate == 2 && secy.replay_protect);
    assert!(secy.encrypt || sa.is_none());
}

fn receive_sas(secy: &Secy) -> impl Iterator<Item = ([u8; 8], &Sa)> {
    let sas = |channel: &'_ crate::fake_kernel::state::RxSc| channel.sci;
    secy.rx.iter().flat_map(move |of| of.sas.iter().flatten().map(move |sa| (sas(of), sa)))
}

/// What was received once does not pass again.
fn check_received(traffic: &[&Traffic], secy: &Secy) {
    for (sci, sa) in receive_sas(secy) {
        let came = traffic.iter().filter_map(|of| of.received.get(&(sa.key.clone(), sci))).max();
        let came = came.copied().unwrap_or(1);
        assert!(sa.next_pn >= came, "a receive SA expects {} after {came}", sa.next_pn);
    }
}

/// Asks for the members that are not there. Whoever may have been received before is refused.
fn ask_for_members(plane: &mut KernelDataplane, record: &[InstalledSak]) {
    for sak in plane.kept() {
        let expected = record.iter().find(|of| of.key.ki == sak.key.ki).unwrap();
        for (sci, member) in &expected.receivers {
            if sak.receivers.contains_key(sci) {
                continue;
            }
            let (ki, member) = (sak.key.ki, *member);
            let result = plane.apply(&SecyCommand::AddReceiver { ki, member });
            assert!(matches!(result, Err(SecyError::Refused(_))), "{result:?}");
        }
    }
}

/// Takes up what is there, and goes on with it. `again_at` kills the one who takes it up, too.
fn take_up(
    remains: &Remains,
    record: &[InstalledSak],
    suite: CipherSuite,
    deed: Option<Deed>,
    again_at: Option<u64>,
) {
    let kernel = &remains.kernel;
    let (before, left_alone) = (flows(kernel), deed.is_none());
    deed.into_iter().for_each(|deed| deed(kernel));
    let mut lost = Traffic::default();
    let process = |at| {
        let process = Process::new(kernel, at);
        if left_alone { process } else { process.in_silence() }
    };
    if again_at.is_some() {
        let second = process(again_at);
        std::mem::forget(second.start(expecting(suite, record)));
        lost = second.traffic();
    }
    let process = process(None);
    let mut plane = process.start(expecting(suite, record)).expect("starts");
    let traffic = process.traffic();
    let all = [&remains.traffic, &lost, &traffic];
    let secy = kernel.secy(SECURE).unwrap();
    check_kept(&plane, &secy);
    check_received(&all, &secy);
    assert_eq!(plane.snapshot().kernel.unwrap().interference, 0);
    if let Some((key, pn)) = before.filter(|_| left_alone) {
        assert_eq!(traffic.dropped + lost.dropped, 0, "frames are lost");
        let goes_on = Some((key, pn + traffic.sent + lost.sent));
        assert_eq!(flows(kernel), goes_on, "what was sending does not go on");
    }
    ask_for_members(&mut plane, record);
    plane.refresh();
    assert_eq!(plane.snapshot().kernel.unwrap().interference, 0);
    check_received(&all, &kernel.secy(SECURE).unwrap());
    go_on(kernel, plane, suite);
}

/// The KaY keeps what sends, gives up the rest, and changes the key.
fn go_on(kernel: &FakeKernel, mut plane: KernelDataplane, suite: CipherSuite) {
    for sak in plane.kept() {
        if sak.transmit != TransmitState::Transmitting {
            plane.apply(&SecyCommand::RemoveSak(sak.key.ki)).unwrap();
        }
    }
    let mut port = Port::taken_up(kernel.clone(), plane, suite, LAST);
    port.check("taken up");
    let _ = port.plane.take_lost();
    port.rekey();
    port.open(true).unwrap();
    port.check("with the next key");
    assert_eq!(port.pass_traffic(), 10);
    assert_eq!(port.plane.take_lost(), []);
}

/// Kills at every request, and says what went wrong.
fn everywhere(suite: CipherSuite, deed: Option<Deed>, also: &[Option<u64>]) {
    let requests = killed_at(None, suite).asked;
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for at in 0..=requests {
        for (which, again_at) in (0..killed_at(Some(at), suite).records.len())
            .flat_map(|which| also.iter().map(move |again_at| (which, *again_at)))
        {
            cases += 1;
            let done = catch_unwind(AssertUnwindSafe(|| {
                let remains = killed_at(Some(at), suite);
                // Nobody can do anything to an interface that is not there yet.
                if remains.kernel.link(SECURE).is_some() || deed.is_none() {
                    take_up(&remains, &remains.records[which].clone(), suite, deed, again_at);
                }
            }));
            if let Err(panic) = done {
                wrong.push(format!("{at} {again_at:?}, record {which}: {}", words(&*panic)));
            }
        }
    }
    let first: Vec<_> = wrong.iter().take(20).cloned().collect();
    assert!(wrong.is_empty(), "{} of {cases} go wrong:\n{}", wrong.len(), first.join("\n"));
}

#[test]
fn whatever_request_a_daemon_is_killed_at_the_next_goes_on() {
    for suite in [CipherSuite::GcmAes128, CipherSuite::GcmAesXpn256] {
        everywhere(suite, None, &[None]);
    }
}

#[test]
fn whoever_goes_on_may_be_killed_at_any_request_too() {
    let places: Vec<_> = (0..12).map(Some).collect();
    everywhere(CipherSuite::GcmAesXpn128, None, &places);
}

fn edit(kernel: &FakeKernel, work: impl FnOnce(&mut Secy)) {
    kernel.edit(SECURE, work);
}

/// Changes the transmit SA that frames go out with, if there is one.
fn sender(kernel: &FakeKernel, work: impl FnOnce(&mut Option<Sa>)) {
    edit(kernel, |secy| {
        let at = usize::from(secy.encoding_sa);
        if secy.tx[at].is_some() {
            work(&mut secy.tx[at]);
        }
    });
}

const DEEDS: &[Deed] = &[
    |kernel| sender(kernel, |sa| *sa = None),
    |kernel| sender(kernel, |sa| sa.as_mut().unwrap().active = false),
    |kernel| sender(kernel, |sa| sa.as_mut().unwrap().next_pn = 1),
    |kernel| sender(kernel, |sa| sa.as_mut().unwrap().next_pn += 1000),
    |kernel| {
        sender(kernel, |sa| {
            let sa = sa.as_mut().unwrap();
            (sa.active, sa.next_pn) = (false, 1);
        });
    },
    |kernel| sender(kernel, |sa| sa.as_mut().unwrap().next_pn = 0),
    |kernel| sender(kernel, |sa| sa.as_mut().unwrap().key_id = [9; 16]),
    // Moved to another association.
    |kernel| {
        edit(kernel, |secy| {
            let sa = secy.tx[usize::from(secy.encoding_sa)].take();
            let to = (secy.encoding_sa + 2) & 3;
            secy.tx[usize::from(to)] = sa;
            secy.encode_with(to);
        });
    },
    |kernel| edit(kernel, |secy| (0..4).for_each(|an| secy.activate(an, true))),
    |kernel| edit(kernel, |secy| (0..4).for_each(|an| secy.activate(an, false))),
    |kernel| edit(kernel, |secy| secy.encode_with((secy.encoding_sa + 1) & 3)),
    |kernel| edit(kernel, |secy| secy.rx.clear()),
    |kernel| {
        edit(kernel, |secy| secy.rx.iter_mut().for_each(|of| of.sas = [const { None }; 4]));
    },
    |kernel| {
        edit(kernel, |secy| {
            let sas = secy.rx.iter_mut().flat_map(|of| of.sas.iter_mut().flatten());
            sas.for_each(|sa| sa.active = false);
        });
    },
    |kernel| {
        edit(kernel, |secy| {
            let one = secy.rx.iter().find(|of| of.sci == PEER.octets()).cloned();
            secy.rx.extend(one.map(|of| crate::fake_kernel::state::RxSc { sci: [3; 8], ..of }));
        });
    },
    |kernel| edit(kernel, |secy| secy.rx.retain(|of| of.sci == THIRD.octets())),
    |kernel| {
        edit(kernel, |secy| {
            (secy.protect, secy.validate, secy.encrypt, secy.window) = (false, 0, false, 3);
            (secy.include_sci, secy.scb) = (false, true);
        });
    },
    |kernel| kernel.delete(SECURE),
    |kernel| {
        kernel.set_up(SECURE, false);
    },
    |kernel| kernel.change(SECURE, |link| link.operstate = oper::DORMANT),
];

#[test]
fn whatever_somebody_does_meanwhile_repeats_no_nonce_and_no_frame() {
    for (number, deed) in DEEDS.iter().enumerate() {
        println!("deed {number}");
        everywhere(CipherSuite::GcmAes256, Some(*deed), &[None]);
    }
}

/// A port with one key in use and the next one installed, as written down, whose daemon is gone.
fn left_behind(kernel: &FakeKernel, leave: impl FnOnce(Port)) -> Vec<InstalledSak> {
    let mut port = Port::secured(kernel.clone(), CipherSuite::GcmAesXpn256);
    assert!(port.install());
    port.pass_traffic();
    let record = port.plane.kept();
    leave(port);
    record
}

/// The first key sends on, and the second waits.
fn assert_goes_on(kernel: &FakeKernel, plane: &KernelDataplane, pn: u64) {
    let kept: Vec<_> = plane.kept().iter().map(|sak| (sak.key.ki, sak.transmit)).collect();
    let as_before = [(ki(1), TransmitState::Transmitting), (ki(2), TransmitState::Waiting)];
    assert_eq!(kept, as_before);
    assert!(plane.is_open());
    check_kept(plane, &kernel.secy(SECURE).unwrap());
    assert_eq!(flows(kernel).map(|(_, pn)| pn), Some(pn));
}

#[test]
fn a_port_that_is_left_asks_for_nothing_and_the_next_goes_on() {
    let kernel = machine();
    let record = left_behind(&kernel, |mut port| {
        let before = (port.kernel.asked().len(), port.kernel.link(SECURE).map(|of| of.index));
        port.plane.close(End::Leave);
        let kernel = port.kernel.clone();
        drop(port);
        assert_eq!((kernel.asked().len(), kernel.link(SECURE).map(|of| of.index)), before);
    });
    let (_, pn) = flows(&kernel).unwrap();
    let before = kernel.link(SECURE);
    let plane = start(&kernel, expecting(CipherSuite::GcmAesXpn256, &record)).unwrap();
    assert_goes_on(&kernel, &plane, pn);
    assert_eq!(format!("{:?}", kernel.link(SECURE)), format!("{before:?}"), "something is touched");
}

/// Or a start that is tried again would find nothing to go on with.
#[test]
fn whatever_befalls_one_request_of_a_start_costs_no_key() {
    for fault in crate::matrix::FAULTS {
        for at in 0..14 {
            let kernel = machine();
            let record = left_behind(&kernel, std::mem::forget);
            let (_, pn) = flows(&kernel).unwrap();
            kernel.fault(at, *fault);
            let again = || {
                kernel.heal();
                start(&kernel, expecting(CipherSuite::GcmAesXpn256, &record))
            };
            let with = expecting(CipherSuite::GcmAesXpn256, &record);
            let mut plane = start(&kernel, with).or_else(|_| again()).unwrap();
            kernel.heal();
            plane.refresh();
            assert_eq!(plane.take_lost(), [], "{fault:?} at {at}");
            assert_goes_on(&kernel, &plane, pn);
        }
    }
}

#[test]
fn settings_that_have_changed_meanwhile_are_set_while_frames_pass() {
    let kernel = machine();
    let record = left_behind(&kernel, std::mem::forget);
    let (_, pn) = flows(&kernel).unwrap();
    let process = Process::new(&kernel, None);
    let mut with = expecting(CipherSuite::GcmAesXpn256, &record);
    (with.settings.replay_window, with.settings.include_sci) = (9, false);
    let plane = process.start(with).unwrap();
    let secy = kernel.secy(SECURE).unwrap();
    assert_eq!((secy.window, secy.include_sci), (9, false));
    assert_eq!(process.traffic().dropped, 0);
    assert_goes_on(&kernel, &plane, pn + process.traffic().sent);
}

/// The kernel changes it only on an interface that is down and has no key.
#[test]
fn the_work_stays_where_it_is_while_keys_are_in_use() {
    let kernel = machine();
    kernel.change(crate::rig::PARENT, |link| link.parent_mut().unwrap().offloads = vec![2]);
    let record = left_behind(&kernel, std::mem::forget);
    let (_, pn) = flows(&kernel).unwrap();
    let process = Process::new(&kernel, None);
    let mut with = expecting(CipherSuite::GcmAesXpn256, &record);
    with.offload = Offload::Mac;
    let plane = process.start(with).unwrap();
    assert_eq!(process.traffic().dropped, 0);
    assert_goes_on(&kernel, &plane, pn + process.traffic().sent);
    let told = plane.snapshot().kernel.unwrap();
    assert_eq!(told.offload, Offload::Off);
    let why = "mac: not while the keys of the process before are in use";
    assert_eq!(told.offload_refused.as_deref(), Some(why));
}

#[test]
fn an_interface_that_cannot_serve_any_more_is_made_anew_and_its_keys_count_as_used() {
    let kernel = machine();
    let record = left_behind(&kernel, std::mem::forget);
    let mut plane = start(&kernel, expecting(CipherSuite::GcmAes128, &record)).unwrap();
    assert_eq!((plane.kept().len(), plane.is_open()), (0, false));
    let again = InstallSak {
        key: key(2, CipherSuite::GcmAes128),
        an: record[1].an,
        ssci: None,
        receive: Vec::new(),
    };
    let refused = plane.apply(&SecyCommand::InstallSak(again));
    assert_eq!(refused, Err(SecyError::KeyUsedBefore(ki(2))));
}
