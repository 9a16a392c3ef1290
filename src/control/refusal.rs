//! What the daemon says instead of doing what was asked.

use serde_json::{Value, json};

/// An error of the interface `io.macsecd`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No port has this interface.
    #[error("no port of the configuration has the interface {interface}")]
    PortNotFound {
        /// The interface that was asked for.
        interface: String,
    },
    /// The caller may look and may not change anything.
    #[error("only root may ask for this")]
    NotPermitted,
    /// Only the key server makes SAKs, and that is the peer.
    #[error("the key server is {peer}; only it can make a new key")]
    NotKeyServer {
        /// Its SCI.
        peer: String,
    },
    /// The daemon is at its limit, or in the middle of the same thing.
    #[error("the daemon is busy; try again")]
    Busy,
    /// The port has no SAK to replace.
    #[error("the port is not secured")]
    NotSecured,
    /// The new configuration is not sound; the old one stays in force.
    #[error("the new configuration is refused and the old one stays in force: {message}")]
    ReloadRefused {
        /// What is wrong with it; several lines, perhaps.
        message: String,
    },
}

impl Refusal {
    /// The name of the error on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PortNotFound { .. } => "io.macsecd.PortNotFound",
            Self::NotPermitted => "io.macsecd.NotPermitted",
            Self::NotKeyServer { .. } => "io.macsecd.NotKeyServer",
            Self::Busy => "io.macsecd.Busy",
            Self::NotSecured => "io.macsecd.NotSecured",
            Self::ReloadRefused { .. } => "io.macsecd.ReloadRefused",
        }
    }

    /// Its parameters on the wire, where it has any.
    #[must_use]
    pub fn parameters(&self) -> Option<Value> {
        Some(match self {
            Self::PortNotFound { interface } => json!({ "interface": interface }),
            Self::NotKeyServer { peer } => json!({ "peer": peer }),
            Self::ReloadRefused { message } => json!({ "message": message }),
            Self::NotPermitted | Self::Busy | Self::NotSecured => return None,
        })
    }

    /// Reads an error off the wire; `None` where this interface has no such error.
    ///
    /// A parameter that is missing reads as empty: the name alone says what the caller must do.
    #[must_use]
    pub fn from_reply(name: &str, parameters: &Value) -> Option<Self> {
        let text =
            |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(match name {
            "io.macsecd.PortNotFound" => Self::PortNotFound { interface: text("interface") },
            "io.macsecd.NotPermitted" => Self::NotPermitted,
            "io.macsecd.NotKeyServer" => Self::NotKeyServer { peer: text("peer") },
            "io.macsecd.Busy" => Self::Busy,
            "io.macsecd.NotSecured" => Self::NotSecured,
            "io.macsecd.ReloadRefused" => Self::ReloadRefused { message: text("message") },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_the_wire() {
        for refusal in [
            Refusal::PortNotFound { interface: "eth1".into() },
            Refusal::NotPermitted,
            Refusal::NotKeyServer { peer: "02:00:00:00:00:02/0001".into() },
            Refusal::Busy,
            Refusal::NotSecured,
            Refusal::ReloadRefused { message: "line 3".into() },
        ] {
            let read =
                Refusal::from_reply(refusal.name(), &refusal.parameters().unwrap_or_default());
            assert_eq!(read, Some(refusal));
        }
    }

    #[test]
    fn a_foreign_error_is_not_taken_for_ours() {
        assert_eq!(Refusal::from_reply("io.other.Busy", &Value::Null), None);
        assert_eq!(Refusal::from_reply("io.macsecd.Melted", &Value::Null), None);
    }
}
