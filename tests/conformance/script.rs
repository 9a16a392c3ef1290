//! Scripts: what is done to a SecY, step by step, and what is seen of it after each.

use macsecd::ident::KeyId;
use macsecd::secy::{SecyCommand, SecyError, SecySettings};

use crate::compare;
use crate::differences;
use crate::frame::Key;
use crate::model::Model;
use crate::plane::{Plane, subjects};
use crate::secy::{Counts, Frame, Secy, State, Traffic, Who};

/// A list of steps with a name.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    settings: SecySettings,
    pub(crate) steps: Vec<Step>,
}

/// One thing done to a SecY.
pub(crate) struct Step {
    pub(crate) label: String,
    pub(crate) action: Action,
    /// Frames that do not come out of the model, but may come out of a data plane that differs.
    pub(crate) others: Vec<Frame>,
}

pub(crate) enum Action {
    /// It is told something.
    Apply(SecyCommand),
    /// It is given frames to send.
    Send(Vec<Frame>),
    /// Frames come in from the wire.
    Inject(Vec<Frame>),
}

/// What a step has led to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Observation {
    pub(crate) answer: Result<(), SecyError>,
    pub(crate) traffic: Traffic,
    /// What was counted since the step before.
    pub(crate) counted: Counts,
    pub(crate) state: State,
    /// The keys lost since the step before.
    pub(crate) lost: Vec<KeyId>,
}

/// Starts a script that has the name of the function around it.
macro_rules! script {
    ($settings:expr) => {{
        fn here() {}
        $crate::script::Script::new(std::any::type_name_of_val(&here), $settings)
    }};
}
pub(crate) use script;

impl Script {
    /// Starts one from the path of something inside the function that it is to be named after.
    pub(crate) fn new(inside: &'static str, settings: SecySettings) -> Self {
        let name = inside.rsplit("::").nth(1).expect("a path has a function in it");
        Self { name, settings, steps: Vec::new() }
    }

    fn step(&mut self, label: impl Into<String>, action: Action) -> &mut Self {
        let label = label.into();
        assert!(self.steps.iter().all(|step| step.label != label), "`{label}` is there twice");
        self.steps.push(Step { label, action, others: Vec::new() });
        self
    }

    pub(crate) fn apply(&mut self, label: impl Into<String>, command: SecyCommand) -> &mut Self {
        self.step(label, Action::Apply(command))
    }

    pub(crate) fn send(&mut self, label: impl Into<String>, frames: Vec<Frame>) -> &mut Self {
        self.step(label, Action::Send(frames))
    }

    pub(crate) fn inject(&mut self, label: impl Into<String>, frames: Vec<Frame>) -> &mut Self {
        self.step(label, Action::Inject(frames))
    }

    /// Names frames that may come of the last step where a data plane differs.
    pub(crate) fn or_else(&mut self, others: Vec<Frame>) -> &mut Self {
        self.steps.last_mut().expect("there is a step").others = others;
        self
    }

    pub(crate) fn configure(&mut self, label: impl Into<String>, to: SecySettings) -> &mut Self {
        self.apply(label, SecyCommand::Configure(to))
    }

    pub(crate) fn open(&mut self) -> &mut Self {
        self.apply("open the port", SecyCommand::SetControlledPort(true))
    }

    pub(crate) fn enable(&mut self, key: &Key) -> &mut Self {
        self.apply(format!("send with key {}", key.ki().number.0), SecyCommand::EnableTx(key.ki()))
    }

    pub(crate) fn remove(&mut self, key: &Key) -> &mut Self {
        self.apply(format!("remove key {}", key.ki().number.0), SecyCommand::RemoveSak(key.ki()))
    }

    /// Runs it on the model and on every data plane that there is, and compares.
    pub(crate) fn run(&self) {
        self.run_on(&subjects());
    }

    /// The same without a data plane that does not have what the script is about.
    pub(crate) fn run_without(&self, who: Who) {
        let subjects = subjects().into_iter().filter(|subject| *subject != who);
        self.run_on(&subjects.collect::<Vec<_>>());
    }

    /// What the model does.
    pub(crate) fn expected(&self) -> Vec<Observation> {
        self.observe(&mut Model::new(self.settings))
    }

    fn run_on(&self, subjects: &[Who]) {
        differences::check_labels(self);
        let expected = self.expected();
        for who in subjects.iter().copied() {
            let mut plane = Plane::start(who, self.settings);
            let seen = self.observe(&mut plane);
            plane.finish();
            compare::same(self, who, &expected, &seen);
        }
    }

    fn observe(&self, secy: &mut dyn Secy) -> Vec<Observation> {
        let mut before = secy.counts();
        let observe = |step: &Step| {
            let (mut answer, mut traffic) = (Ok(()), Traffic::default());
            match &step.action {
                Action::Apply(command) => answer = secy.apply(command),
                Action::Send(frames) => traffic = secy.send(frames),
                Action::Inject(frames) => traffic = secy.inject(frames),
            }
            let now = secy.counts();
            let counted = since(&now, &std::mem::replace(&mut before, now.clone()));
            let (state, lost) = (secy.state(), secy.lost());
            Observation { answer, traffic, counted, state, lost }
        };
        self.steps.iter().map(observe).collect()
    }
}

fn since(now: &Counts, before: &Counts) -> Counts {
    let fresh = now.iter().map(|(name, count)| {
        let count = count.checked_sub(before[name]);
        (*name, count.unwrap_or_else(|| panic!("{name} went down")))
    });
    fresh.filter(|(_, count)| *count != 0).collect()
}

impl Observation {
    /// Counts more or less under a name.
    pub(crate) fn count(&mut self, name: &'static str, by: i64) {
        let count = self.counted.entry(name).or_default();
        *count = count.checked_add_signed(by).expect("a count is never below zero");
        if *count == 0 {
            self.counted.remove(name);
        }
    }
}

/// Tells which differences a SecY is allowed in a script.
pub(crate) fn adjusted(who: Who, script: &Script, expected: &[Observation]) -> Vec<Observation> {
    let mut adjusted = expected.to_vec();
    for (step, observation) in script.steps.iter().zip(&mut adjusted) {
        differences::adjust(who, script.name, step, observation);
    }
    adjusted
}
