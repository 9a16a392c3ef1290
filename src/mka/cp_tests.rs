//! Every transition of the machine, and every departure from the figure.

use std::time::Duration;

use super::*;
use crate::ident::{KeyNumber, MemberId};

const CIPHER: Cipher = (CipherSuite::GcmAesXpn256, ConfidentialityOffset::Offset0);

/// A port that is enabled, and an other end that has said nothing yet.
const IDLE: Conditions = Conditions {
    port_enabled: true,
    connect: Connect::Pending,
    elected_self: true,
    cipher: None,
    all_receiving: false,
    any_receiving: false,
    server_transmitting: false,
    all_transmitting: false,
    old_is_idle: false,
};

const SERVER: Conditions = Conditions { connect: Connect::Secure, cipher: Some(CIPHER), ..IDLE };
const MOVED: Conditions = Conditions { all_transmitting: true, ..SERVER };
const IDLE_OLD: Conditions = Conditions { old_is_idle: true, ..SERVER };
const MEMBER: Conditions = Conditions { elected_self: false, ..SERVER };

fn slot(number: u32) -> Slot {
    let an = AssociationNumber::from_low_bits(u8::try_from(number - 1).unwrap());
    Slot { ki: KeyId { server: MemberId::from_octets([9; 12]), number: KeyNumber(number) }, an }
}

fn at(millis: u64) -> Time {
    Time::ZERO.after(Duration::from_millis(millis))
}

struct Machine {
    cp: Cp,
    now: Time,
}

impl Machine {
    fn new() -> Self {
        Self { cp: Cp::new(), now: Time::ZERO }
    }

    fn step(&mut self, holds: Conditions) -> Vec<Action> {
        let mut actions = Vec::new();
        self.cp.step(self.now, &holds, &mut actions);
        actions
    }

    /// A server in TRANSMITTING with SAK 1 as its first.
    fn transmitting() -> Self {
        let mut machine = Self::receiving(1, SERVER);
        machine.step(Conditions { all_receiving: true, any_receiving: true, ..SERVER });
        machine.cp.tx_enabled(slot(1).ki, true);
        machine
    }

    /// In RECEIVING or READY with SAK `number`.
    fn receiving(number: u32, holds: Conditions) -> Self {
        let mut machine = Self::new();
        machine.cp.new_sak(slot(number));
        machine.step(holds);
        machine.cp.sas_created(slot(number).ki, true);
        machine.step(holds);
        machine
    }

    /// A server in TRANSMITTING with SAK 2, while SAK 1 is still received.
    fn rekeyed() -> Self {
        let mut machine = Self::rekeying();
        machine.step(SERVER);
        machine.cp.sas_created(slot(2).ki, true);
        machine.step(Conditions { all_receiving: true, ..SERVER });
        machine.cp.tx_enabled(slot(2).ki, true);
        machine.step(SERVER);
        assert_eq!(machine.cp.state(), CpState::Transmitting);
        machine
    }

    /// A server that has retired everything before SAK 1 and gets SAK 2.
    fn rekeying() -> Self {
        let mut machine = Self::transmitting();
        machine.step(SERVER);
        assert_eq!(machine.cp.state(), CpState::Retire);
        machine.cp.new_sak(slot(2));
        machine
    }
}

#[test]
fn init_goes_on_once_the_port_is_enabled() {
    let mut machine = Machine::new();
    assert_eq!(machine.step(Conditions { port_enabled: false, ..IDLE }), []);
    assert_eq!(machine.cp.state(), CpState::Init);
    assert_eq!(machine.step(IDLE), []);
    assert_eq!(machine.cp.state(), CpState::Change);
}

#[test]
fn any_state_returns_to_init_and_closes_when_the_port_is_disabled() {
    let mut machine = Machine::transmitting();
    machine.step(SERVER);
    let actions = machine.step(Conditions { port_enabled: false, ..SERVER });
    assert_eq!(actions, [Action::Close, Action::DeleteSas(slot(1).ki)]);
    assert_eq!(machine.cp.state(), CpState::Init);
}

#[test]
fn change_waits_until_the_outcome_is_known() {
    let mut machine = Machine::new();
    machine.step(IDLE);
    assert_eq!(machine.step(IDLE), []);
    let authenticated = Conditions { connect: Connect::Authenticated, ..IDLE };
    assert_eq!(machine.step(authenticated), [Action::PassInClear, Action::Open]);
    assert_eq!(machine.cp.state(), CpState::Authenticated);
}

#[test]
fn authenticated_closes_when_the_outcome_changes() {
    let mut machine = Machine::new();
    machine.step(Conditions { connect: Connect::Authenticated, ..IDLE });
    assert_eq!(machine.step(IDLE), [Action::Close]);
    assert_eq!(machine.cp.state(), CpState::Change);
}

#[test]
fn change_goes_to_secured_which_waits_for_an_sak_with_the_port_closed() {
    let mut machine = Machine::new();
    assert_eq!(machine.step(SERVER), [Action::Protect]);
    assert_eq!(machine.cp.state(), CpState::Secured);
    assert!(!machine.cp.is_open());
}

#[test]
fn secured_returns_to_change_with_the_outcome_the_server_or_the_cipher() {
    let other = Some((CipherSuite::GcmAes128, ConfidentialityOffset::Offset0));
    for change in 0..3 {
        let mut machine = Machine::new();
        machine.step(SERVER);
        let actions = match change {
            0 => machine.step(IDLE),
            1 => machine.step(Conditions { cipher: other, ..SERVER }),
            _ => {
                machine.cp.server_changed();
                machine.step(SERVER)
            }
        };
        // Through CHANGE and, where the outcome is MACsec all the same, back.
        let back = if change == 0 { vec![] } else { vec![Action::Protect] };
        assert_eq!(actions, back, "change {change}");
    }
}

#[test]
fn an_sak_is_received_before_it_is_said() {
    let mut machine = Machine::new();
    machine.cp.new_sak(slot(1));
    assert_eq!(machine.step(SERVER), [Action::Protect, Action::CreateSas(slot(1))]);
    assert_eq!(machine.cp.state(), CpState::Receive);
    assert_eq!(machine.cp.latest(), Some((slot(1), false, false)));

    machine.cp.sas_created(slot(1).ki, true);
    assert_eq!(machine.step(SERVER), [Action::NewInfo]);
    assert_eq!(machine.cp.state(), CpState::Receiving);
    assert_eq!(machine.cp.latest(), Some((slot(1), false, true)));
}

/// The figure has no such exit, and a refusal would leave the machine stuck.
#[test]
fn a_refused_sak_is_abandoned_and_the_next_one_taken() {
    let mut machine = Machine::new();
    machine.cp.new_sak(slot(1));
    machine.step(SERVER);
    machine.cp.sas_created(slot(1).ki, false);
    assert_eq!(machine.step(SERVER), [Action::DeleteSas(slot(1).ki)]);
    assert_eq!(machine.cp.state(), CpState::Abandon);

    machine.cp.new_sak(slot(2));
    assert_eq!(machine.step(SERVER), [Action::CreateSas(slot(2))]);
}

#[test]
fn the_answer_to_an_abandoned_sak_means_nothing_to_the_next() {
    let mut machine = Machine::new();
    machine.cp.new_sak(slot(1));
    machine.step(SERVER);
    machine.cp.new_sak(slot(2));
    let actions = machine.step(SERVER);
    assert_eq!(actions, [Action::DeleteSas(slot(1).ki), Action::CreateSas(slot(2))]);

    machine.cp.sas_created(slot(1).ki, true);
    assert_eq!(machine.step(SERVER), []);
    assert_eq!(machine.cp.state(), CpState::Receive);
}

#[test]
fn a_server_transmits_when_all_receive() {
    let mut machine = Machine::receiving(1, SERVER);
    assert_eq!(machine.step(SERVER), []);
    let some = Conditions { any_receiving: true, ..SERVER };
    assert_eq!(machine.step(some), []);

    let all = Conditions { all_receiving: true, any_receiving: true, ..SERVER };
    assert_eq!(machine.step(all), [Action::EnableTx(slot(1).ki)]);
    assert_eq!(machine.cp.state(), CpState::Transmit);
}

#[test]
fn a_server_waits_a_life_time_for_stragglers_and_never_transmits_to_nobody() {
    let some = Conditions { any_receiving: true, ..SERVER };
    let mut machine = Machine::receiving(1, SERVER);
    assert_eq!(machine.cp.poll_timeout(machine.now), Some(at(6000)));
    machine.now = at(5999);
    assert_eq!(machine.step(some), []);
    machine.now = at(6000);
    assert_eq!(machine.step(SERVER), []);
    assert_eq!(machine.step(some), [Action::EnableTx(slot(1).ki)]);
}

#[test]
fn another_than_the_server_waits_in_ready_for_the_server_to_transmit() {
    let mut machine = Machine::receiving(1, MEMBER);
    assert_eq!(machine.cp.state(), CpState::Ready);
    assert_eq!(machine.step(Conditions { all_receiving: true, ..MEMBER }), []);
    let transmitting = Conditions { server_transmitting: true, ..MEMBER };
    assert_eq!(machine.step(transmitting), [Action::EnableTx(slot(1).ki)]);
}

#[test]
fn ready_goes_on_after_a_life_time_if_somebody_receives() {
    let mut machine = Machine::receiving(1, MEMBER);
    let receiving = Conditions { any_receiving: true, ..MEMBER };
    machine.now = at(5999);
    assert_eq!(machine.step(receiving), []);
    machine.now = at(6000);
    assert_eq!(machine.step(MEMBER), []);
    assert_eq!(machine.step(receiving), [Action::EnableTx(slot(1).ki)]);
}

#[test]
fn receiving_and_ready_give_up_for_a_newer_sak_before_they_go_on() {
    for (holds, go) in [
        (SERVER, Conditions { all_receiving: true, ..SERVER }),
        (MEMBER, Conditions { server_transmitting: true, ..MEMBER }),
    ] {
        let mut machine = Machine::receiving(1, holds);
        machine.cp.new_sak(slot(2));
        let actions = machine.step(go);
        assert_eq!(actions, [Action::DeleteSas(slot(1).ki), Action::CreateSas(slot(2))]);
        assert_eq!(machine.cp.state(), CpState::Receive);
    }
}

#[test]
fn receive_receiving_and_ready_give_up_when_the_outcome_changes() {
    let mut creating = Machine::new();
    creating.cp.new_sak(slot(1));
    creating.step(SERVER);
    let (receiving, ready) = (Machine::receiving(1, SERVER), Machine::receiving(1, MEMBER));
    for mut machine in [creating, receiving, ready] {
        assert_eq!(machine.step(IDLE), [Action::DeleteSas(slot(1).ki)]);
        assert_eq!(machine.cp.state(), CpState::Change);
    }
}

#[test]
fn the_first_sak_opens_the_port_once_it_transmits() {
    let mut machine = Machine::transmitting();
    assert_eq!(machine.step(SERVER), [Action::Open, Action::NewInfo]);
    assert_eq!(machine.cp.state(), CpState::Retire);
    assert_eq!(machine.cp.old(), Some((slot(1), true, true)));
    assert_eq!(machine.cp.transmits_with(), Some(slot(1)));
}

#[test]
fn a_refused_transmit_sa_is_abandoned() {
    let mut machine = Machine::receiving(1, SERVER);
    machine.step(Conditions { all_receiving: true, ..SERVER });
    machine.cp.tx_enabled(slot(1).ki, false);
    assert_eq!(machine.step(SERVER), [Action::DeleteSas(slot(1).ki)]);
    assert_eq!(machine.cp.state(), CpState::Abandon);
    assert!(!machine.cp.is_open());
}

#[test]
fn a_rekey_keeps_the_old_sak_until_the_retire_time_is_over() {
    let mut machine = Machine::rekeying();
    assert_eq!(machine.step(SERVER), [Action::CreateSas(slot(2))]);
    machine.cp.sas_created(slot(2).ki, true);
    machine.step(SERVER);
    assert_eq!(machine.cp.transmits_with(), Some(slot(1)));
    machine.step(Conditions { all_receiving: true, ..SERVER });
    machine.cp.tx_enabled(slot(2).ki, true);
    assert_eq!(machine.step(SERVER), [Action::NewInfo]);
    assert_eq!(machine.cp.state(), CpState::Transmitting);
    assert_eq!(machine.cp.transmits_with(), Some(slot(2)));
    assert_eq!(machine.cp.old(), Some((slot(1), false, true)));
    machine.now = at(2999);
    assert_eq!(machine.cp.poll_timeout(machine.now), Some(at(3000)));
    assert_eq!(machine.step(MOVED), []);
    machine.now = at(3000);
    assert_eq!(machine.step(MOVED), [Action::DeleteSas(slot(1).ki)]);
    assert_eq!(machine.cp.old(), Some((slot(2), true, true)));
}

/// The figure retires it all the same, and loses what a slow member still sends with it.
#[test]
fn the_old_sak_stays_for_a_member_that_has_not_moved_but_not_for_ever() {
    let mut machine = Machine::rekeyed();
    machine.now = at(3000);
    assert_eq!(machine.step(SERVER), []);
    assert_eq!(machine.cp.poll_timeout(machine.now), Some(at(20_000)));
    machine.now = at(19_999);
    assert_eq!(machine.step(SERVER), []);
    machine.now = at(20_000);
    assert_eq!(machine.step(SERVER), [Action::DeleteSas(slot(1).ki)]);
}

#[test]
fn the_next_sak_waits_for_the_retire_time_at_most() {
    let replaced = [Action::DeleteSas(slot(1).ki), Action::CreateSas(slot(3))];
    for (moved, retired_at) in [(MOVED, 200), (IDLE_OLD, 200), (SERVER, 3000)] {
        let mut machine = Machine::rekeyed();
        machine.cp.new_sak(slot(3));
        machine.now = at(retired_at - 1);
        assert_eq!(machine.step(moved), []);
        machine.now = at(retired_at);
        assert_eq!(machine.step(moved), replaced);
    }
}

#[test]
fn another_server_tears_the_port_down_from_transmitting_and_from_retire() {
    let mut machine = Machine::transmitting();
    machine.step(SERVER);
    machine.cp.server_changed();
    let actions = machine.step(SERVER);
    assert_eq!(actions, [Action::Close, Action::DeleteSas(slot(1).ki), Action::Protect]);
    assert_eq!(machine.cp.state(), CpState::Secured);

    let mut machine = Machine::rekeying();
    machine.step(SERVER);
    machine.cp.sas_created(slot(2).ki, true);
    machine.step(Conditions { all_receiving: true, ..SERVER });
    machine.cp.tx_enabled(slot(2).ki, true);
    machine.step(SERVER);
    let actions = machine.step(IDLE);
    let deletions = [Action::DeleteSas(slot(1).ki), Action::Close, Action::DeleteSas(slot(2).ki)];
    assert_eq!(actions, deletions);
    assert_eq!(machine.cp.state(), CpState::Change);
}

#[test]
fn an_association_that_the_old_key_still_has_is_freed_first() {
    let mut machine = Machine::transmitting();
    machine.step(SERVER);
    let clash = Slot { an: slot(1).an, ..slot(2) };
    machine.cp.new_sak(clash);
    assert_eq!(machine.step(SERVER), [Action::DeleteSas(slot(1).ki), Action::CreateSas(clash)]);
    assert_eq!(machine.cp.old(), None);
}

/// The key in use is gone, and with it the old one's reason to stay: what is left of both still
/// receives, until there is another.
#[test]
fn a_lost_key_is_neither_sent_with_nor_claimed_and_stays_until_the_next_takes_over() {
    let mut machine = Machine::transmitting();
    machine.step(SERVER);
    assert!(machine.cp.sak_lost(slot(1).ki));
    assert!(!machine.cp.sak_lost(slot(1).ki), "it is lost once");
    assert_eq!(machine.cp.old(), Some((slot(1), false, false)));
    assert_eq!((machine.cp.transmits_with(), machine.cp.is_stranded()), (None, true));
    assert_eq!(machine.step(SERVER), []);

    machine.cp.new_sak(slot(2));
    assert!(!machine.cp.is_stranded());
    assert_eq!(machine.step(SERVER), [Action::CreateSas(slot(2))]);
    machine.cp.sas_created(slot(2).ki, true);
    machine.step(Conditions { all_receiving: true, ..SERVER });
    machine.cp.tx_enabled(slot(2).ki, true);
    machine.step(SERVER);
    assert_eq!(machine.cp.transmits_with(), Some(slot(2)));
    machine.now = at(2_999);
    assert_eq!(machine.step(MOVED), []);
    machine.now = at(3_000);
    assert_eq!(machine.step(MOVED), [Action::DeleteSas(slot(1).ki)]);
}

#[test]
fn an_old_key_that_is_lost_while_the_latest_transmits_is_dropped() {
    let mut machine = Machine::rekeyed();
    assert!(machine.cp.sak_lost(slot(1).ki));
    assert_eq!(machine.step(SERVER), [Action::DeleteSas(slot(1).ki)]);
    assert_eq!(machine.cp.transmits_with(), Some(slot(2)));
    assert!(!machine.cp.is_stranded());
}

#[test]
fn a_key_that_is_lost_before_it_transmits_is_given_up_and_the_one_before_stays() {
    for (created, holds) in [(false, SERVER), (true, SERVER), (true, MEMBER)] {
        let mut machine = Machine::rekeying();
        machine.step(holds);
        if created {
            machine.cp.sas_created(slot(2).ki, true);
            machine.step(holds);
        }
        assert!(machine.cp.sak_lost(slot(2).ki));
        assert!(!machine.cp.has_next());
        assert_eq!(machine.step(holds), [Action::DeleteSas(slot(2).ki)]);
        assert_eq!(machine.cp.state(), CpState::Abandon);
        assert_eq!(machine.cp.transmits_with(), Some(slot(1)));
    }
}

/// Whether the one before still transmits is known only by the answer.
#[test]
fn a_key_that_is_lost_while_transmission_is_being_enabled_waits_for_the_answer() {
    let enabling = || {
        let mut machine = Machine::rekeying();
        machine.step(SERVER);
        machine.cp.sas_created(slot(2).ki, true);
        machine.step(Conditions { all_receiving: true, ..SERVER });
        assert_eq!(machine.cp.state(), CpState::Transmit);
        assert!(machine.cp.sak_lost(slot(2).ki));
        assert_eq!(machine.step(SERVER), []);
        machine
    };
    let mut refused = enabling();
    refused.cp.tx_enabled(slot(2).ki, false);
    assert_eq!(refused.step(SERVER), [Action::DeleteSas(slot(2).ki)]);
    assert_eq!(refused.cp.transmits_with(), Some(slot(1)));

    let mut done = enabling();
    done.cp.tx_enabled(slot(2).ki, true);
    assert_eq!(done.step(SERVER), [Action::NewInfo]);
    assert_eq!((done.cp.transmits_with(), done.cp.is_stranded()), (None, true));
}

/// Beyond the figure: SAK Retire Time is no reason to stay mute.
#[test]
fn the_next_sak_does_not_wait_behind_one_that_is_lost() {
    let mut machine = Machine::rekeyed();
    assert!(machine.cp.sak_lost(slot(2).ki));
    assert_eq!(machine.cp.latest(), Some((slot(2), false, false)));
    assert_eq!(machine.step(SERVER), []);
    machine.cp.new_sak(slot(3));
    let actions = [Action::DeleteSas(slot(1).ki), Action::CreateSas(slot(3))];
    assert_eq!(machine.step(SERVER), actions);
}

#[test]
fn a_first_key_that_is_lost_does_not_open_the_port() {
    let mut machine = Machine::receiving(1, SERVER);
    machine.step(Conditions { all_receiving: true, ..SERVER });
    assert!(machine.cp.sak_lost(slot(1).ki));
    machine.cp.tx_enabled(slot(1).ki, true);
    machine.step(SERVER);
    assert!(!machine.cp.is_open() && machine.cp.is_stranded());
}

/// Whatever happens in whatever order, the machine has an exit: from each state that random
/// events lead to, a good peer and a working data plane get it to transmit.
#[test]
fn no_state_is_without_an_exit() {
    let mut random = 1_u64;
    let mut roll = |sides: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % sides
    };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        let (mut machine, mut number) = (Machine::new(), 0);
        for _ in 0..roll(30) {
            machine.now = machine.now.after(Duration::from_millis(roll(4000)));
            let latest = machine.cp.latest().map(|(slot, ..)| slot.ki);
            match roll(8) {
                0 => {
                    number += 1;
                    machine.cp.new_sak(slot(number));
                }
                1 => machine.cp.server_changed(),
                2 | 3 => {
                    if let Some(ki) = latest {
                        machine.cp.sas_created(ki, roll(4) > 0);
                        machine.cp.tx_enabled(ki, roll(4) > 0);
                    }
                }
                4 => {
                    let old = machine.cp.old().map(|(slot, ..)| slot.ki);
                    let lost = if roll(2) > 0 { latest } else { old };
                    let _ = lost.map(|ki| machine.cp.sak_lost(ki));
                }
                _ => {}
            }
            machine.step(Conditions {
                port_enabled: roll(20) > 0,
                connect: if roll(8) > 0 { Connect::Secure } else { Connect::Pending },
                elected_self: roll(2) > 0,
                cipher: Some(CIPHER),
                all_receiving: roll(2) > 0,
                any_receiving: roll(2) > 0,
                server_transmitting: roll(2) > 0,
                all_transmitting: roll(2) > 0,
                old_is_idle: roll(2) > 0,
            });
            seen.insert(machine.cp.state());
        }
        number += 1;
        machine.cp.new_sak(slot(number));
        for _ in 0..12 {
            machine.now = machine.now.after(Duration::from_secs(1));
            if let Some((latest, ..)) = machine.cp.latest() {
                machine.cp.sas_created(latest.ki, true);
                machine.cp.tx_enabled(latest.ki, true);
            }
            machine.step(Conditions { all_receiving: true, any_receiving: true, ..SERVER });
        }
        assert_eq!(machine.cp.transmits_with(), Some(slot(number)), "{:?}", machine.cp);
        assert!(machine.cp.is_open());
    }
    assert!(seen.len() >= 8, "random events reached only {seen:?}");
}

/// It stays what it was: only one that has nothing before it is told as the latest.
#[test]
fn the_key_before_one_that_was_given_up_is_told_as_the_old_one() {
    let mut machine = Machine::rekeying();
    machine.step(SERVER);
    machine.cp.sas_created(slot(2).ki, false);
    machine.step(SERVER);
    assert_eq!(machine.cp.state(), CpState::Abandon);
    assert_eq!(machine.cp.told(machine.now), [None, Some((slot(1), true, true))]);
}

#[test]
fn a_key_is_superseded_once_the_next_transmits_and_no_other_is() {
    let machine = Machine::rekeyed();
    assert_eq!([1, 2, 3].map(|of| machine.cp.is_superseded(slot(of).ki)), [true, false, false]);
    let machine = Machine::rekeying();
    assert_eq!([1, 2].map(|of| machine.cp.is_superseded(slot(of).ki)), [false, false]);
}

#[test]
fn a_key_that_waits_for_its_turn_is_not_installed() {
    let machine = Machine::rekeying();
    assert_eq!([1, 2, 3].map(|of| machine.cp.is_installed(slot(of).ki)), [true, false, false]);
}

/// Whether transmission was enabled before the end is seen by what the data plane sends with.
#[test]
fn after_a_restart_transmission_is_enabled_where_it_was_not() {
    let mut machine = Machine::rekeying();
    machine.step(SERVER);
    machine.cp.sas_created(slot(2).ki, true);
    machine.step(Conditions { all_receiving: true, ..SERVER });
    assert_eq!(machine.cp.state(), CpState::Transmit);
    let again = |with: u32| machine.cp.clone().resume(slot(with).ki, |_| true);
    assert_eq!(again(1), Some(vec![Action::EnableTx(slot(2).ki)]));
    assert_eq!(again(2), Some(vec![]));
}

#[test]
fn a_first_key_is_told_as_the_latest_for_the_retire_time() {
    let mut machine = Machine::transmitting();
    machine.step(SERVER);
    assert_eq!(machine.cp.state(), CpState::Retire);
    let key = Some((slot(1), true, true));
    assert_eq!(machine.cp.told(at(2999)), [key, None]);
    assert_eq!(machine.cp.told(at(3000)), [None, key]);
}
