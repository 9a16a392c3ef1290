//! What a SecY has of an SAK.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ident::{AssociationNumber, Sci, Ssci};
use crate::secy::{RxMember, SecyKey};

/// An SAK with its SAs.
#[derive(Clone, Debug)]
pub struct InstalledSak {
    /// The key.
    pub key: Arc<SecyKey>,
    /// Its association number.
    pub an: AssociationNumber,
    /// Our own SSCI; `None` where the suite is not XPN.
    pub ssci: Option<Ssci>,
    /// Whom it receives, by SCI.
    pub receivers: BTreeMap<Sci, RxMember>,
    /// What its transmit SA does.
    pub transmit: TransmitState,
}

/// The life of a transmit SA. It only goes forward.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TransmitState {
    /// Not enabled yet.
    Waiting,
    /// Every frame goes out with it.
    Transmitting,
    /// Another has taken over for good.
    Superseded,
}
