//! Every fault at every place of a port's life: once it is over, the kernel is soon as wanted, and
//! on the way no nonce repeats, no key is installed twice, no packet number falls.

use std::panic::{AssertUnwindSafe, catch_unwind};

use macsecd::ident::CipherSuite;

use crate::fake_kernel::Fault;
use crate::rig::{PARENT_INDEX, PEER, Port, SECURE, STRICT, THIRD, machine, words};

/// Another port.
const OTHER_INDEX: u32 = PARENT_INDEX - 1;

/// What can befall one request.
pub(crate) const FAULTS: &[Fault] = &[
    Fault::Refused(libc::ENOBUFS),
    Fault::Refused(libc::EBUSY),
    Fault::Refused(libc::EEXIST),
    Fault::Refused(libc::ENODEV),
    Fault::Refused(libc::EINTR),
    Fault::Refused(libc::EINVAL),
    Fault::Refused(libc::EPERM),
    Fault::Refused(libc::ENOMEM),
    Fault::NotSent(libc::ENOBUFS),
    Fault::NotSent(libc::EINTR),
    Fault::NotSent(libc::EAGAIN),
    Fault::Lost,
    Fault::AnswerLost,
    Fault::AnswerDropped,
    Fault::Interrupted,
    Fault::AnswerLate,
    Fault::AnswerAgain,
    Fault::TornByArrival,
    // With what is on it, so that ours moves up and is missed.
    Fault::TornByLeave(OTHER_INDEX),
    Fault::PieceDropped,
];

/// Starts, takes two members in, changes the key twice, lets a member go and come back, closes the
/// port and opens it. Traffic passes all the time.
fn life(suite: CipherSuite, faults: &[(u64, Fault)]) -> Port {
    let kernel = machine();
    // A machine with another port, of which the dumps tell first.
    kernel.add_parent(OTHER_INDEX, "eth0", [2, 0, 0, 0, 0, 0x1a]);
    kernel.add_macsec(OTHER_INDEX, "macsec9", [2, 0, 0, 0, 0, 0x1a, 0, 1]);
    for (after, fault) in faults {
        kernel.fault(*after, *fault);
    }
    let mut port = Port::new(kernel, suite);
    port.rekey();
    let _ = port.open(true);
    for _ in 0..2 {
        port.pass_traffic();
        port.tend();
        port.install();
        port.pass_traffic();
        port.enable();
        port.pass_traffic();
        port.drop_old();
    }
    port.remove(THIRD);
    port.pass_traffic();
    port.add(THIRD, 50);
    port.raise(PEER, 100);
    port.configure(macsecd::secy::SecySettings { replay_window: 32, ..STRICT });
    // One that would not close does so without being asked again.
    if port.open(false).is_err() {
        port.kernel.heal();
        port.plane.refresh();
        port.plane.refresh();
    }
    assert_eq!(port.kernel.transmit(SECURE, 1), 0, "a closed port sends");
    let _ = port.open(true);
    port.pass_traffic();
    port.recover();
    port
}

/// Lives a life in which these befall, and says what was wrong after it.
fn verdict(suite: CipherSuite, faults: &[(u64, Fault)]) -> Result<(), String> {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let port = life(suite, faults);
        port.check("at the end");
        assert!(port.pass_traffic() > 0, "nothing goes out at the end");
    }));
    lived.map_err(|panic| {
        let few: Vec<_> = faults.iter().take(2).collect();
        format!("{few:?} of {}: {}", faults.len(), words(&*panic))
    })
}

/// How many requests there are in a life without a fault.
fn requests(suite: CipherSuite) -> u64 {
    let port = life(suite, &[]);
    port.check("without a fault");
    u64::try_from(port.kernel.asked().len()).unwrap()
}

fn report(wrong: &[String], cases: usize) {
    let first: Vec<_> = wrong.iter().take(40).cloned().collect();
    assert!(wrong.is_empty(), "{} of {cases} go wrong:\n{}", wrong.len(), first.join("\n"));
}

fn every_fault_everywhere(suite: CipherSuite) {
    let places = requests(suite);
    let cases = (0..places).flat_map(|at| FAULTS.iter().map(move |fault| (at, *fault)));
    let cases: Vec<_> = cases.collect();
    let wrong: Vec<_> = cases.iter().filter_map(|case| verdict(suite, &[*case]).err()).collect();
    report(&wrong, cases.len());
}

/// As [`every_fault_everywhere`], with each fault befalling so many requests in a row.
fn every_fault_for(span: u64, suite: CipherSuite) {
    let places = requests(suite);
    let mut wrong = Vec::new();
    for at in 0..places {
        for fault in FAULTS {
            let faults: Vec<_> = (at..at + span).map(|at| (at, *fault)).collect();
            wrong.extend(verdict(suite, &faults).err());
        }
    }
    report(&wrong, FAULTS.len() * usize::try_from(places).unwrap());
}

#[test]
fn faults_that_last_are_made_good_when_they_are_over() {
    for span in [2, 7, 30] {
        every_fault_for(span, CipherSuite::GcmAesXpn128);
    }
}

/// Two faults at places that a small generator of numbers picks.
#[test]
fn two_faults_anywhere_are_made_good() {
    let places = requests(CipherSuite::GcmAes256);
    let mut number = 1_u64;
    let mut pick = |below: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 33) % below
    };
    let kinds = u64::try_from(FAULTS.len()).unwrap();
    let mut wrong = Vec::new();
    for _ in 0..2000 {
        let mut one = || (pick(places), FAULTS[usize::try_from(pick(kinds)).unwrap()]);
        wrong.extend(verdict(CipherSuite::GcmAes256, &[one(), one()]).err());
    }
    report(&wrong, 2000);
}

#[test]
fn a_life_without_a_fault_ends_as_wanted() {
    for suite in CipherSuite::ALL {
        assert_eq!(verdict(suite, &[]), Ok(()));
    }
}

#[test]
fn any_fault_anywhere_is_made_good() {
    every_fault_everywhere(CipherSuite::GcmAes128);
}

#[test]
fn any_fault_anywhere_is_made_good_with_xpn() {
    every_fault_everywhere(CipherSuite::GcmAesXpn256);
}
