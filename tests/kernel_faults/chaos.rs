//! Everything at once, at random: commands, faults, other people, traffic. When it is quiet again all
//! is as wanted, and on the way the model's guard has seen nothing that must not be.

use std::panic::{AssertUnwindSafe, catch_unwind};

use macsecd::ident::CipherSuite;
use macsecd::secy::{SecySettings, Validate};

use crate::fake_kernel::{Fault, Sa, Secy};
use crate::rig::{OWN, PARENT, PARENT_INDEX, PEER, Port, SECURE, STRICT, THIRD, machine, words};

/// Numbers that look random and come again with the seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What befalls requests here: what befalls one alone is in the matrix.
const FAULTS: &[Fault] = &[
    Fault::Refused(libc::ENOBUFS),
    Fault::Refused(libc::EBUSY),
    Fault::Refused(libc::ENODEV),
    Fault::NotSent(libc::ENOBUFS),
    Fault::Lost,
    Fault::AnswerLost,
    Fault::AnswerDropped,
    Fault::AnswerLate,
    Fault::AnswerAgain,
    Fault::Interrupted,
    Fault::TornByArrival,
    Fault::PieceDropped,
];

/// What somebody else does to the SecY.
const EDITS: &[fn(&mut Secy)] = &[
    |secy| secy.protect = false,
    |secy| secy.validate = 0,
    |secy| secy.encrypt = false,
    |secy| secy.window = 3,
    |secy| secy.replay_protect = false,
    |secy| (secy.include_sci, secy.scb) = (false, true),
    |secy| secy.encode_with(secy.encoding_sa.wrapping_add(1) & 3),
    |secy| secy.activate(secy.encoding_sa, false),
    |secy| secy.tx = [const { None }; 4],
    |secy| secy.rx.clear(),
    |secy| secy.rx.iter_mut().for_each(|channel| channel.sas = [const { None }; 4]),
    |secy| {
        let sas = secy.rx.iter_mut().flat_map(|channel| channel.sas.iter_mut().flatten());
        sas.for_each(|sa| (sa.active, sa.next_pn) = (false, 1));
    },
    |secy| {
        let some = secy.tx.iter().flatten().next().cloned();
        let foreign = some.map(|sa| Sa { key: vec![9; sa.key.len()], key_id: [9; 16], ..sa });
        if let Some(free) = secy.tx.iter_mut().find(|slot| slot.is_none()) {
            *free = foreign;
        }
    },
];

/// One thing happens.
fn step(port: &mut Port, dice: &mut Dice) {
    let kernel = port.kernel.clone();
    let there = kernel.link(SECURE).is_some();
    match dice.below(22) {
        0 => drop(port.install()),
        1 => port.enable(),
        2 => port.drop_old(),
        3 => port.rekey(),
        4 => drop(port.open(true)),
        5 => drop(port.open(false)),
        6 => {
            let (validate, replay_window) =
                dice.one_of(&[(Validate::Strict, 8), (Validate::Check, 64)]);
            port.configure(SecySettings { validate, replay_window, ..STRICT });
        }
        7 => port.remove(THIRD),
        8 => port.add(THIRD, 40),
        9 => port.raise(PEER, 30),
        10..=12 => port.tend(),
        13..=14 if there => drop(port.pass_traffic()),
        15..=17 => {
            let (after, fault) = (dice.below(12), dice.one_of(FAULTS));
            kernel.fault(u64::try_from(after).unwrap(), fault);
        }
        18..=19 if there => kernel.edit(SECURE, dice.one_of(EDITS)),
        20 if there => {
            kernel.set_carrier(PARENT, false);
            port.plane.refresh();
            kernel.set_carrier(PARENT, true);
        }
        21 if there && dice.below(3) == 0 => kernel.delete(SECURE),
        _ => {
            kernel.add_macsec(PARENT_INDEX, "macsec7", [2, 0, 0, 0, 0, 0x0a, 0, 7]);
            port.plane.refresh();
            kernel.delete("macsec7");
        }
    }
}

fn live(seed: u64, suite: CipherSuite) {
    let mut dice = Dice(seed);
    let mut port = Port::new(machine(), suite);
    for _ in 0..60 {
        step(&mut port, &mut dice);
    }
    port.recover();
    let _ = port.open(true);
    port.recover();
    port.check("when it is quiet");
    // The last key may have been installed and not enabled.
    port.rekey();
    port.check("with another key");
    assert_eq!(port.kernel.secy(SECURE).unwrap().sci, OWN.octets());
    assert!(port.pass_traffic() > 0, "nothing goes out at the end");
}

#[test]
fn whatever_happened_all_is_as_wanted_when_it_is_quiet() {
    let mut wrong = Vec::new();
    for seed in 0..1500 {
        let suite = CipherSuite::ALL[usize::try_from(seed % 4).unwrap()];
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(seed, suite))) {
            wrong.push(format!("seed {seed}: {}", words(&*panic)));
        }
    }
    let first = &wrong[..wrong.len().min(20)];
    assert!(wrong.is_empty(), "{} go wrong:\n{}", wrong.len(), first.join("\n"));
}
