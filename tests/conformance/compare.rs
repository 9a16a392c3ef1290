//! Finds the first difference, and words it.

use std::fmt::{Debug, Write};

use crate::script::{Observation, Script, adjusted};
use crate::secy::{Frame, Who};

/// Holds what was seen of a data plane against what the model did.
pub(crate) fn same(script: &Script, who: Who, expected: &[Observation], seen: &[Observation]) {
    let expected = adjusted(who, script, expected);
    let mut differing = Vec::new();
    for ((step, expected), seen) in script.steps.iter().zip(&expected).zip(seen) {
        differing.extend(difference(expected, seen).map(|text| (&step.label, text)));
    }
    let Some((label, first)) = differing.first() else { return };
    let others: Vec<_> = differing.iter().skip(1).map(|(label, _)| label).collect();
    let mut text = format!("{}: {who} differs first at `{label}`:\n{first}", script.name);
    if !others.is_empty() {
        write!(text, "\nand then at {others:?}").unwrap();
    }
    panic!("{text}");
}

fn difference(expected: &Observation, seen: &Observation) -> Option<String> {
    let mut out = String::new();
    values(&mut out, "the answer", &expected.answer, &seen.answer);
    frames(&mut out, "on the wire", &expected.traffic.wire, &seen.traffic.wire);
    frames(&mut out, "delivered", &expected.traffic.delivered, &seen.traffic.delivered);
    values(&mut out, "counted", &expected.counted, &seen.counted);
    values(&mut out, "the transmit SA", &expected.state.tx, &seen.state.tx);
    values(&mut out, "the receive SAs", &expected.state.rx, &seen.state.rx);
    (!out.is_empty()).then_some(out)
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
    use crate::secy::{State, Traffic};

    fn observation() -> Observation {
        let traffic = Traffic { wire: vec![vec![1, 2]], delivered: vec![] };
        let counted = [("in_pkts_ok", 2)].into();
        Observation { answer: Ok(()), traffic, counted, state: State::default() }
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
