//! A SecY that does what it is told, frame by frame, without a cipher: the model that the oracles
//! look at. Written from the documentation of `SecyCommand` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use macsecd::ident::{AssociationNumber, KeyId, PacketNumber, Sci, Ssci};
use macsecd::secy::{
    InstallSak, RxMember, RxProgress, SecyCommand, SecyError, SecyKey, SecySettings, TxProgress,
};

use crate::oracles::SakId;

/// A data frame as far as its keys and numbers go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DataFrame {
    pub(crate) sak: SakId,
    pub(crate) an: AssociationNumber,
    pub(crate) sci: Sci,
    pub(crate) ssci: Option<Ssci>,
    pub(crate) pn: u64,
    /// Whether no fault can excuse its loss.
    pub(crate) must_arrive: bool,
}

/// What becomes of a data frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Delivered,
    PortClosed,
    NoAssociation,
    /// There is an association of that number, with another key or another nonce.
    NotValid,
    Late,
}

/// The SAs of one SAK.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) key: Arc<SecyKey>,
    pub(crate) sak: SakId,
    pub(crate) an: AssociationNumber,
    pub(crate) ssci: Option<Ssci>,
    pub(crate) next_pn: u64,
    pub(crate) receive: BTreeMap<Sci, Receive>,
}

/// One receive SA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receive {
    ssci: Option<Ssci>,
    next_pn: u64,
    lowest_pn: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Secy {
    pub(crate) settings: Option<SecySettings>,
    pub(crate) open: bool,
    pub(crate) sas: BTreeMap<KeyId, Association>,
    pub(crate) transmits: Option<KeyId>,
    /// What it once had and can no longer send with, though told to.
    pub(crate) lost: BTreeSet<KeyId>,
    /// The packet numbers of frames that are not simulated, behind each that is.
    pub(crate) unseen: u64,
    /// Whether a frame could not be sent because packet numbers had run out.
    pub(crate) ran_out: bool,
    used: BTreeSet<KeyId>,
    superseded: BTreeSet<KeyId>,
}

impl Secy {
    /// Carries out a command; `sak` is what the oracles call the SAK of an `InstallSak`.
    pub(crate) fn execute(
        &mut self,
        command: &SecyCommand,
        sak: Option<SakId>,
    ) -> Result<(), SecyError> {
        match command {
            SecyCommand::Configure(settings) => self.settings = Some(*settings),
            SecyCommand::SetControlledPort(open) => self.open = *open,
            SecyCommand::InstallSak(install) => return self.install(install, sak.unwrap()),
            SecyCommand::AddReceiver { ki, member } => {
                let association = self.association(*ki)?;
                check_ssci(&association.key, member.ssci)?;
                if association.receive.contains_key(&member.sci) {
                    return Err(SecyError::Invalid("the member is received already"));
                }
                association.receive.insert(member.sci, Receive::new(member));
            }
            SecyCommand::RemoveReceiver(sci) => {
                self.sas.values_mut().for_each(|association| {
                    association.receive.remove(sci);
                });
            }
            SecyCommand::EnableTx(ki) => {
                self.association(*ki)?;
                if self.superseded.contains(ki) {
                    return Err(SecyError::Invalid("the transmit SA was superseded"));
                }
                self.superseded.extend(self.transmits.filter(|before| before != ki));
                self.transmits = Some(*ki);
            }
            SecyCommand::RemoveSak(ki) => {
                self.sas.remove(ki).ok_or(SecyError::NoSuchKey(*ki))?;
                if self.transmits == Some(*ki) {
                    self.transmits = None;
                }
            }
            SecyCommand::RaiseLowestPn { ki, sci, lowest_pn } => {
                let association = self.association(*ki)?;
                let Some(receive) = association.receive.get_mut(sci) else {
                    return Err(SecyError::Invalid("the member is not received"));
                };
                receive.lowest_pn = receive.lowest_pn.max(lowest_pn.0);
            }
        }
        Ok(())
    }

    fn association(&mut self, ki: KeyId) -> Result<&mut Association, SecyError> {
        self.sas.get_mut(&ki).ok_or(SecyError::NoSuchKey(ki))
    }

    fn install(&mut self, install: &InstallSak, sak: SakId) -> Result<(), SecyError> {
        let ki = install.key.ki;
        if self.used.contains(&ki) {
            return Err(SecyError::KeyUsedBefore(ki));
        }
        if let Some((&by, _)) = self.sas.iter().find(|(_, has)| has.an == install.an) {
            return Err(SecyError::AssociationBusy { an: install.an, by });
        }
        check_ssci(&install.key, install.ssci)?;
        let mut receive = BTreeMap::new();
        for member in &install.receive {
            check_ssci(&install.key, member.ssci)?;
            if receive.insert(member.sci, Receive::new(member)).is_some() {
                return Err(SecyError::Invalid("a member is named twice"));
            }
        }
        let (key, an, ssci) = (Arc::clone(&install.key), install.an, install.ssci);
        self.used.insert(ki);
        self.sas.insert(ki, Association { key, sak, an, ssci, next_pn: 1, receive });
        Ok(())
    }

    /// Takes the next packet number of the transmit SA; `None` where nothing may be sent.
    pub(crate) fn protect(&mut self, sci: Sci, must_arrive: bool) -> Option<DataFrame> {
        if !self.open {
            return None;
        }
        let association = self.sas.get_mut(&self.sends_with()?)?;
        let last = if association.key.suite.is_xpn() { u64::MAX } else { PacketNumber::LAST_32.0 };
        if association.next_pn >= last {
            self.ran_out = true;
            return None;
        }
        let pn = association.next_pn;
        association.next_pn = pn.saturating_add(1 + self.unseen).min(last);
        let (sak, an, ssci) = (association.sak, association.an, association.ssci);
        Some(DataFrame { sak, an, sci, ssci, pn, must_arrive })
    }

    /// Receives a data frame.
    pub(crate) fn validate(&mut self, frame: &DataFrame) -> Verdict {
        let mut sas = self.sas.values_mut();
        let Some(association) =
            sas.find(|has| has.an == frame.an && has.receive.contains_key(&frame.sci))
        else {
            return Verdict::NoAssociation;
        };
        let Some(receive) = association.receive.get_mut(&frame.sci) else {
            return Verdict::NoAssociation;
        };
        if association.sak != frame.sak || receive.ssci != frame.ssci {
            return Verdict::NotValid;
        }
        let late = self.settings.is_some_and(|settings| {
            let window = u64::from(settings.replay_window);
            settings.replay_protect && frame.pn < receive.next_pn.saturating_sub(window)
        });
        if late || frame.pn < receive.lowest_pn {
            return Verdict::Late;
        }
        receive.next_pn = receive.next_pn.max(frame.pn + 1);
        if self.open { Verdict::Delivered } else { Verdict::PortClosed }
    }

    /// Knows no more of what it once had than it shows, as when another process takes it over.
    pub(crate) fn forget(&mut self) {
        self.used = self.sas.keys().copied().collect();
    }

    pub(crate) fn is_superseded(&self, ki: KeyId) -> bool {
        self.superseded.contains(&ki)
    }

    /// The SAK that it sends with, if it still can.
    pub(crate) fn sends_with(&self) -> Option<KeyId> {
        self.transmits.filter(|ki| !self.lost.contains(ki))
    }

    /// Loses an SAK: its transmit SA, or all that belongs to it.
    pub(crate) fn lose(&mut self, ki: KeyId, wholly: bool) {
        self.lost.insert(ki);
        if wholly {
            self.sas.remove(&ki);
            self.transmits = self.transmits.filter(|&of| of != ki);
        }
    }

    /// Tells whether frames that this member sends with `ki` would be accepted.
    pub(crate) fn receives(&self, ki: KeyId, from: Sci) -> bool {
        self.sas.get(&ki).is_some_and(|has| has.receive.contains_key(&from))
    }

    /// What it answers when asked for its packet numbers.
    pub(crate) fn progress(&self) -> Option<TxProgress> {
        let ki = self.transmits?;
        Some(TxProgress { ki, next_pn: PacketNumber(self.sas.get(&ki)?.next_pn) })
    }

    /// What it answers of those whom it receives.
    pub(crate) fn received(&self) -> Vec<RxProgress> {
        let all = self.sas.iter().flat_map(|(&ki, sa)| sa.receive.iter().map(move |of| (ki, of)));
        all.map(|(ki, (&sci, of))| RxProgress {
            ki,
            sci,
            next_pn: PacketNumber(of.next_pn),
            lowest_pn: PacketNumber(of.lowest_pn),
        })
        .collect()
    }

    /// Jumps to the packet number at which a key counts as nearly used up.
    pub(crate) fn nearly_exhaust(&mut self) {
        if let Some(has) = self.transmits.and_then(|ki| self.sas.get_mut(&ki)) {
            let mark = if has.key.suite.is_xpn() { 0xc000_0000_0000_0000 } else { 0xc000_0000_u64 };
            has.next_pn = has.next_pn.max(mark);
        }
    }
}

fn check_ssci(key: &SecyKey, ssci: Option<Ssci>) -> Result<(), SecyError> {
    if key.suite.is_xpn() != ssci.is_some() {
        return Err(SecyError::Invalid("an SSCI goes with an XPN suite and with no other"));
    }
    Ok(())
}

impl Receive {
    fn new(member: &RxMember) -> Self {
        let lowest_pn = member.lowest_pn.0;
        Self { ssci: member.ssci, next_pn: lowest_pn, lowest_pn }
    }
}
