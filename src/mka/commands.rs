//! Commands to the data plane, and what becomes of their answers.

use std::collections::{BTreeMap, BTreeSet};

use super::io::Output;
use super::kay::{Decided, Kay, RETRY};
use crate::ident::{KeyId, Sci};
use crate::secy::{CommandId, SecyCommand, SecyError};
use crate::time::Time;

/// What a command was about, for when it is answered. Ordered as it is to be repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) enum Asked {
    Configure,
    ControlledPort,
    CreateSas(KeyId),
    EnableTx(KeyId),
    RemoveReceiver(Sci),
    AddReceiver(KeyId, Sci),
    RemoveSak(KeyId),
    RaiseLowestPn,
}

impl Asked {
    fn of(command: &SecyCommand) -> Self {
        match *command {
            SecyCommand::Configure(_) => Self::Configure,
            SecyCommand::SetControlledPort(_) => Self::ControlledPort,
            SecyCommand::InstallSak(ref install) => Self::CreateSas(install.key.ki),
            SecyCommand::AddReceiver { ki, member } => Self::AddReceiver(ki, member.sci),
            SecyCommand::RemoveReceiver(sci) => Self::RemoveReceiver(sci),
            SecyCommand::EnableTx(ki) => Self::EnableTx(ki),
            SecyCommand::RemoveSak(ki) => Self::RemoveSak(ki),
            SecyCommand::RaiseLowestPn { .. } => Self::RaiseLowestPn,
        }
    }
}

/// The commands that are not done: not answered yet, or to be given again.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Commands {
    given: u64,
    pending: BTreeMap<CommandId, Asked>,
    /// What the data plane refused and is to be asked again, and when.
    undone: BTreeSet<Asked>,
    redo_at: Option<Time>,
}

impl Commands {
    /// Numbers a command that is about to be given.
    fn give(&mut self, command: &SecyCommand) -> CommandId {
        self.given += 1;
        let (id, asked) = (CommandId(self.given), Asked::of(command));
        if asked != Asked::RaiseLowestPn {
            self.pending.insert(id, asked);
        }
        id
    }

    /// What the command was about, once it is answered.
    fn answered(&mut self, id: CommandId) -> Option<Asked> {
        self.pending.remove(&id)
    }

    /// Has it given again after a while.
    fn fail(&mut self, now: Time, asked: Asked) {
        self.undone.insert(asked);
        self.redo_at = Some(now.after(RETRY));
    }

    /// What is to be given again now.
    fn take_due(&mut self, now: Time) -> BTreeSet<Asked> {
        if self.redo_at.is_none_or(|at| at > now) {
            return BTreeSet::new();
        }
        self.redo_at = None;
        std::mem::take(&mut self.undone)
    }

    /// Whether nothing of this kind is to be done any more.
    fn is_done(&self, asked: Asked) -> bool {
        !self.pending.values().chain(&self.undone).any(|&other| other == asked)
    }

    /// When something is to be given again.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.redo_at
    }
}

impl Kay {
    /// Has the data plane do something.
    pub(super) fn command(&mut self, command: SecyCommand) {
        let id = self.commands.give(&command);
        self.outputs.push_back(Output::Secy { id, command });
    }

    /// Whether the SecY is known to protect, or not to, as it was told last.
    pub(super) fn is_configured(&self) -> bool {
        self.commands.is_done(Asked::Configure)
    }

    /// Takes the answer to a command.
    pub(super) fn answered(&mut self, now: Time, id: CommandId, result: Result<(), SecyError>) {
        let Some(asked) = self.commands.answered(id) else { return };
        let done = result.is_ok();
        let is_gone = matches!(result, Err(SecyError::NoSuchKey(_)));
        if let Err(error) = result
            && !is_gone
        {
            self.evidence.refused_by_secy = Some((error.to_string(), now));
        }
        match asked {
            Asked::CreateSas(ki) => {
                self.retry_at = if done { self.retry_at } else { Some(now.after(RETRY)) };
                self.cp.sas_created(ki, done);
            }
            Asked::EnableTx(ki) => {
                if !done {
                    self.retry_at = Some(now.after(RETRY));
                } else if self.cp.has_next() {
                    // Where it was lost meanwhile, another stays due.
                    self.retry_at = None;
                }
                if done && self.cp.old().is_some_and(|(_, tx, _)| tx) {
                    self.rekeys += 1;
                }
                if done {
                    self.note_sending(now, ki);
                }
                self.cp.tx_enabled(ki, done);
            }
            Asked::RaiseLowestPn => {}
            Asked::Configure
            | Asked::ControlledPort
            | Asked::RemoveReceiver(_)
            | Asked::AddReceiver(..)
            | Asked::RemoveSak(_) => {
                if !done && !is_gone {
                    self.commands.fail(now, asked);
                }
            }
        }
    }

    /// Asks the data plane again for what it has refused and no other SAK can make good.
    pub(super) fn redo(&mut self, now: Time) {
        for asked in self.commands.take_due(now) {
            match asked {
                Asked::Configure => self.configure(),
                Asked::ControlledPort => self.command(SecyCommand::SetControlledPort(self.open)),
                Asked::RemoveReceiver(sci) => {
                    let receivers = self.saks.iter_mut().flat_map(|sak| &mut sak.receivers);
                    for present in receivers.filter_map(|receivers| receivers.get_mut(&sci)) {
                        *present = false;
                    }
                    self.command(SecyCommand::RemoveReceiver(sci));
                }
                // Whoever is to be received is added by `tend_receivers`.
                Asked::AddReceiver(ki, sci) => {
                    let receivers = self.saks.get_mut(ki).and_then(|sak| sak.receivers.as_mut());
                    if let Some(present) = receivers.and_then(|of| of.get_mut(&sci)) {
                        *present = false;
                    }
                }
                Asked::RemoveSak(ki) => self.command(SecyCommand::RemoveSak(ki)),
                Asked::CreateSas(_) | Asked::EnableTx(_) | Asked::RaiseLowestPn => {}
            }
        }
    }

    fn configure(&mut self) {
        let in_clear = matches!(self.decided, Some(Decided { secure: false, .. }));
        let settings = if in_clear { self.policy.in_clear() } else { self.policy.secured() };
        self.command(SecyCommand::Configure(settings));
    }
}
