//! Where the keys of a port stand: what the file says, and what the daemon says of it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cli::words::clean;
use crate::cli::{ExitCode, Failure};
use crate::config::{Config, KeyConfig, PortConfig, RotationChoice, StartTime};
use crate::control::{Participant, PortState, PortStatus, Role, Status};
use crate::profile::Word as _;

/// A port and its keys.
pub(super) struct View {
    pub(super) interface: String,
    pub(super) rotation: RotationChoice,
    pub(super) profile: Option<&'static str>,
    /// Newest first; those with a start that is to come last, the next one of them first.
    pub(super) keys: Vec<KeyView>,
    pub(super) secured: bool,
    pub(super) last_switch_ms: Option<f64>,
    /// The other port of the pair, and whether it is secured.
    pub(super) sister: Option<(String, bool)>,
}

/// A key of the file, and its participant.
#[derive(Clone, Debug)]
pub(super) struct KeyView {
    pub(super) ckn: String,
    /// When it starts, where that is yet to come.
    pub(super) to_come: Option<StartTime>,
    pub(super) principal: bool,
    pub(super) in_use: bool,
    /// Whether the daemon listens to it.
    pub(super) armed: bool,
    pub(super) live_peers: u32,
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// One key, or the first one is in use and the others are what was kept.
    Idle,
    /// A new key stands first, and an older one is in use.
    Staged,
    /// The new key is in use and the old one is still there.
    Switched,
    /// Nothing is in use.
    Dark,
}

impl Stage {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Staged => "staged",
            Self::Switched => "switched",
            Self::Dark => "not-secured",
        }
    }
}

impl View {
    /// Puts together what is known of a port; `sister` is the one that the command line names.
    pub(super) fn new(
        config: &Config,
        status: &Status,
        interface: &str,
        sister: Option<&str>,
    ) -> Result<Self, Failure> {
        let none = |what: &str| {
            let message = format!("{what} has no port with the interface {}", clean(interface));
            Failure::new(ExitCode::Failure, message)
        };
        let port = config.port(interface).ok_or_else(|| none("the configuration"))?;
        let shown = of(status, interface).ok_or_else(|| none("the daemon"))?;
        let sister = sister.or_else(|| config.sister(interface)).map(|sister| {
            let secured = of(status, sister).is_some_and(|of| of.state == PortState::Secured);
            (sister.to_owned(), secured)
        });
        Ok(Self {
            interface: interface.to_owned(),
            rotation: port.link.rotation,
            profile: port.profile.map(|profile| profile.name),
            keys: keys(port, shown),
            secured: shown.state == PortState::Secured,
            last_switch_ms: shown.last_switch_ms,
            sister,
        })
    }

    /// The newest key, which a change is to.
    pub(super) fn newest(&self) -> Option<&KeyView> {
        self.keys.first()
    }

    /// The keys that a change leaves behind.
    pub(super) fn older(&self) -> impl Iterator<Item = &KeyView> {
        self.keys.iter().skip(1).filter(|key| key.to_come.is_none())
    }

    pub(super) fn stage(&self) -> Stage {
        let first = self.newest().is_some_and(|key| key.in_use);
        match (self.secured, first, self.older().next().is_some()) {
            (false, ..) => Stage::Dark,
            (true, true, true) => Stage::Switched,
            (true, false, true) => Stage::Staged,
            (true, _, false) => Stage::Idle,
        }
    }

    /// Whether the daemon runs by the keys of the file, as far as it runs the port at all.
    pub(super) fn is_in_step(&self, status: &Status) -> bool {
        let running = of(status, &self.interface).map_or(0, |port| port.participants.len());
        running == 0 || running == self.keys.len() && self.keys.iter().all(|key| key.armed)
    }

    pub(super) fn to_json(&self, action: &str, changes: &[String], next: &[String]) -> Value {
        let key = |key: &KeyView| {
            json!({
                "ckn": key.ckn,
                "starts": key.to_come.map(|start| start.to_string()),
                "principal": key.principal,
                "in_use": key.in_use,
                "armed": key.armed,
                "live_peers": key.live_peers,
            })
        };
        json!({
            "schema": 1,
            "action": action,
            "interface": self.interface,
            "rotation": self.rotation.name(),
            "stage": self.stage().name(),
            "secured": self.secured,
            "keys": self.keys.iter().map(key).collect::<Vec<_>>(),
            "last_switch_ms": self.last_switch_ms,
            "sister": self.sister.as_ref().map(|(name, secured)| {
                json!({ "interface": name, "secured": secured })
            }),
            "changes": changes,
            "next": next,
        })
    }
}

/// The status of one port.
pub(super) fn of<'a>(status: &'a Status, interface: &str) -> Option<&'a PortStatus> {
    status.ports.iter().find(|port| port.interface == interface)
}

fn keys(port: &PortConfig, status: &PortStatus) -> Vec<KeyView> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut keys: Vec<&KeyConfig> = port.keys.iter().collect();
    let by_start = port.link.rotation == RotationChoice::StartTime;
    if by_start {
        keys.sort_by_key(|key| StartTime::place(key.start, now));
    }
    let view = |key: &KeyConfig| {
        let ckn = key.key.ckn.to_string();
        let found = status.participants.iter().find(|of: &&Participant| of.ckn == ckn);
        KeyView {
            to_come: key.start.filter(|start| by_start && start.is_to_come(now)),
            principal: found.is_some_and(|of| of.role == Role::Principal),
            in_use: found.is_some_and(|of| of.in_use),
            armed: found.is_some(),
            live_peers: found.map_or(0, |of| of.live_peers),
            ckn,
        }
    };
    keys.into_iter().map(view).collect()
}
