//! Finds the first difference, and words it and what follows from it.

use std::fmt::{Debug, Write};

use macsecd::dataplane::RxProgress;

use crate::script::{Observation, Script, adjusted};
use crate::secy::{Frame, State, Who};

/// Holds what was seen of a data plane against what the model did.
pub(crate) fn same(script: &Script, who: Who, expected: &[Observation], seen: &[Observation]) {
    let expected = adjusted(who, script, expected);
    let mut text = String::new();
    for ((step, expected), seen) in script.steps.iter().zip(&expected).zip(seen) {
        let Some(difference) = difference(expected, seen) else { continue };
        let then = if text.is_empty() { "differs first" } else { "and then" };
        write!(text, "{then} at `{}`:\n{difference}", step.label).unwrap();
    }
    assert!(text.is_empty(), "\n{}: {who} {text}", script.name);
}

fn difference(expected: &Observation, seen: &Observation) -> Option<String> {
    let mut out = String::new();
    values(&mut out, "the answer", &expected.answer, &seen.answer);
    frames(&mut out, "on the wire", &expected.traffic.wire, &seen.traffic.wire);
    frames(&mut out, "delivered", &expected.traffic.delivered, &seen.traffic.delivered);
    values(&mut out, "counted", &expected.counted, &seen.counted);
    values(&mut out, "the transmit SA", &sender(&expected.state), &sender(&seen.state));
    values(&mut out, "the receive SAs", &receivers(&expected.state), &receivers(&seen.state));
    values(&mut out, "the keys lost", &expected.lost, &seen.lost);
    (!out.is_empty()).then_some(out)
}

fn sender(state: &State) -> Option<String> {
    state.tx.map(|tx| format!("key {}: next {:#x}", tx.ki.number.0, tx.next_pn.0))
}

fn receivers(state: &State) -> Vec<String> {
    let word = |rx: &RxProgress| {
        let RxProgress { ki, sci, next_pn, lowest_pn } = rx;
        let (next, lowest) = (next_pn.0, lowest_pn.0);
        format!("key {} of {sci}: next {next:#x}, lowest {lowest:#x}", ki.number.0)
    };
    state.rx.iter().map(word).collect()
}

fn values<T: Debug + Eq>(out: &mut String, what: &str, expected: &T, seen: &T) {
    if expected != seen {
        write!(out, "  {what}\n    expected {expected:?}\n    seen     {seen:?}\n").unwrap();
    }
}

fn frames(out: &mut String, what: &str, expected: &[Frame], seen: &[Frame]) {
    if expected == seen {
        return;
    }
    writeln!(out, "  {what}: {} frames expected, {} seen", expected.len(), seen.len()).unwrap();
    let first = (0..).find(|at| expected.get(*at) != seen.get(*at)).unwrap();
    for (name, frames) in [("expected", expected), ("seen    ", seen)] {
        match frames.get(first) {
            Some(frame) => writeln!(out, "    {name} {first}: {}", hex::encode(frame)).unwrap(),
            None => writeln!(out, "    {name} {first}: none").unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secy::Traffic;

    fn observation() -> Observation {
        let traffic = Traffic { wire: vec![vec![1, 2]], delivered: vec![] };
        let counted = [("in_pkts_ok", 2)].into();
        Observation { answer: Ok(()), traffic, counted, state: State::default(), lost: Vec::new() }
    }

    #[test]
    fn equal_observations_have_no_difference() {
        assert_eq!(difference(&observation(), &observation()), None);
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let (expected, mut seen) = (observation(), observation());
        seen.traffic.wire.push(vec![3]);
        seen.count("in_pkts_ok", -1);
        let text = difference(&expected, &seen).unwrap();
        assert!(text.contains("1 frames expected, 2 seen"), "{text}");
        assert!(text.contains("expected 1: none\n    seen     1: 03"), "{text}");
        assert!(text.contains("expected {\"in_pkts_ok\": 2}\n    seen     {\"in_pkts_ok\": 1}"));
    }
}
