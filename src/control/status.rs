//! The status document: what the daemon says of its ports.
//!
//! The names are an interface that scripts hold on to. Fields may be added; none changes its name,
//! its unit or its meaning without a new [`SCHEMA`]. Units are in the names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the document. It counts changes that could break a reader, not additions.
pub const SCHEMA: u32 = 1;

/// All the ports, or the one that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// In the order of the configuration.
    pub ports: Vec<PortStatus>,
}

impl Status {
    /// Makes a document of this version.
    #[must_use]
    pub const fn new(ports: Vec<PortStatus>) -> Self {
        Self { schema: SCHEMA, ports }
    }
}

/// One port: where it stands, with whom, and what has passed through it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortStatus {
    /// The interface that faces the provider.
    pub interface: String,
    /// The interface that carries the protected traffic.
    pub secure_interface: String,
    /// How far the port has come.
    pub state: PortState,
    /// How long `state` has been what it is.
    pub state_seconds: f64,
    /// Why the port is not secured; `None` only where it is.
    pub reason: Option<Reason>,
    /// What is wrong, or worth a look, although frames are protected.
    pub findings: Vec<Reason>,
    /// Whether the interface has a link.
    pub carrier: bool,
    /// What encrypts; `None` until that is settled.
    pub dataplane: Option<Dataplane>,
    /// Why that one was chosen.
    pub dataplane_reason: Option<String>,
    /// What the configuration asks for: `auto`, `kernel` or `userspace`.
    pub dataplane_configured: String,
    /// What only the kernel has to tell; `None` where it does not encrypt.
    pub kernel: Option<Kernel>,
    /// The cipher suite in use, as IEEE 802.1AE spells it; `None` while there is no SAK.
    pub cipher_suite: Option<String>,
    /// Who makes the SAKs.
    pub key_server: KeyServer,
    /// How long frames have been protected without a gap; `None` where they are not.
    pub secured_for_seconds: Option<f64>,
    /// Those who have proved that they hold a key of ours.
    pub peers: Vec<Peer>,
    /// One for each key that is in use now.
    pub participants: Vec<Participant>,
    /// The SAK that protects what is sent.
    pub sak: Option<Sak>,
    /// SAKs taken into use since the first.
    pub rekeys: u64,
    /// How long the last change from one CAK to another took, in milliseconds: from the far end's
    /// first word under it, or from when it was configured where the far end spoke it already, until
    /// frames were sent with an SAK that it protected. `None` before the first change.
    pub last_switch_ms: Option<f64>,
    /// The SecY's counters under their names in IEEE 802.1AE, in `snake_case`.
    pub counters: BTreeMap<String, u64>,
    /// The key agreement itself.
    pub mka: Mka,
}

/// How far a port, or one of its participants, has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// The interface has no link, or is not there.
    #[default]
    Down,
    /// MKPDUs are sent, and none that counts has come.
    Listening,
    /// A peer is heard and has not yet proved itself.
    Pending,
    /// A peer has proved itself; there is no SAK yet.
    Authenticated,
    /// Frames are protected both ways.
    Secured,
    /// It cannot go on without a change from outside.
    Failed,
}

/// What encrypts and decrypts the frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataplane {
    /// The kernel's `macsec` device.
    Kernel,
    /// This daemon.
    Userspace,
}

/// What only the kernel has to tell.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kernel {
    /// Who does the work; never [`Offload::Auto`].
    pub offload: Offload,
    /// Who is to do it.
    pub offload_configured: Offload,
    /// Why that one does not.
    pub offload_refused: Option<String>,
    /// How often something was found that somebody else had changed, and put right.
    pub interference: u64,
    /// What was found last.
    pub last_interference: Option<String>,
    /// The other MACsec interfaces on the same port.
    pub neighbours: Vec<String>,
}

/// Who of the machine does the work of the kernel's MACsec.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offload {
    /// The processor.
    #[default]
    Off,
    /// The PHY.
    Phy,
    /// The network card.
    Mac,
    /// The first of card, PHY and processor that can.
    Auto,
}

/// Who makes and hands out the SAKs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyServer {
    /// This station.
    #[serde(rename = "self")]
    Own,
    /// The other side.
    Peer,
    /// Nobody, so far.
    #[default]
    None,
}

/// Something a human should know: a stable code, what it means, and what to do about it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// `E101`, `W601`, `N204`: the letter is the severity.
    pub code: String,
    /// One line, without the code.
    pub title: String,
    /// What to do, in sentences.
    pub advice: String,
    /// What was seen that leads to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Severity {
    /// For information.
    Note,
    /// It works, and less well than it should.
    Warning,
    /// It does not work.
    Error,
}

impl Reason {
    /// Reads the severity off the code. A letter that is not known counts as an error.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.code.as_bytes().first() {
            Some(b'N') => Severity::Note,
            Some(b'W') => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

/// A station that has proved, or is proving, that it holds a key of ours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// Its MAC address and port: `02:00:00:00:00:02/0001`.
    pub sci: String,
    /// Its member identifier, 24 hex digits.
    pub mi: String,
    /// Whether it has proved that it hears us (802.1X-2020 9.4.2).
    pub live: bool,
    /// Lower wins the election; 255 never does.
    pub key_server_priority: u8,
    /// The version of MKA it speaks.
    pub mka_version: u8,
    /// Whether it says that it also sends or takes frames in clear.
    pub also_in_clear: bool,
    /// How long ago its last MKPDU that counted came.
    pub last_heard_seconds: f64,
}

/// One key at work.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Participant {
    /// The name of its CAK, in hex.
    pub ckn: String,
    /// Whether its SAK is the one in use.
    pub role: Role,
    /// How far it has come.
    pub state: PortState,
    /// How many stations have proved that they hold this key.
    pub live_peers: u32,
    /// Whether the SAK that frames are sent with came with this key.
    pub in_use: bool,
}

/// What a participant is to the port.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its SAK protects the frames.
    Principal,
    /// It is kept live, to take over.
    #[default]
    Standby,
}

/// The SAK that protects what is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sak {
    /// The key server's number for it.
    pub key_number: u32,
    /// Its association number, 0 to 3.
    pub an: u8,
    /// How long ago it came into use.
    pub age_seconds: f64,
    /// How much of its packet numbers is spent, 0 to 1.
    pub pn_used_ratio: f64,
}

/// The key agreement: who we are in it, and what became of what was received.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mka {
    /// Our MAC address and port.
    pub sci: String,
    /// Our member identifier, 24 hex digits; of the principal participant.
    pub mi: String,
    /// The number of the last MKPDU sent under it.
    pub mn: u32,
    /// MKPDUs sent, of all participants.
    pub mkpdus_sent: u64,
    /// MKPDUs received that counted.
    pub mkpdus_received: u64,
    /// MKPDUs received that did not, by what was wrong with them.
    pub discards: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document of the design, word for word but for the two elided member identifiers.
    #[test]
    fn a_document_with_only_the_first_fields_is_read() {
        let status: Status = serde_json::from_str(
            r#"{"schema":1,"ports":[{"interface":"eth1","secure_interface":"macsec0",
            "state":"secured","reason":null,"dataplane":"userspace",
            "cipher_suite":"GCM-AES-XPN-256","key_server":"self","secured_for_seconds":12.4,
            "peers":[{"sci":"02:00:00:00:00:02/0001","mi":"0102030405060708090a0b0c","live":true,
            "key_server_priority":200,"mka_version":3,"also_in_clear":false,"last_heard_seconds":0.7}],
            "participants":[{"ckn":"0a0b","role":"principal","state":"secured"}],
            "sak":{"key_number":3,"an":2,"age_seconds":5.0,"pn_used_ratio":0.0},"rekeys":2,
            "counters":{"in_pkts_ok":0,"in_pkts_not_valid":0,"in_pkts_late":0,
            "out_pkts_encrypted":0}}]}"#,
        )
        .unwrap();

        let port = &status.ports[0];
        assert_eq!(port.state, PortState::Secured);
        assert_eq!(port.key_server, KeyServer::Own);
        assert_eq!(port.dataplane, Some(Dataplane::Userspace));
        assert_eq!(port.participants[0].role, Role::Principal);
        assert_eq!(port.counters.len(), 4);
    }

    #[test]
    fn a_field_of_a_later_daemon_is_passed_over() {
        let status: Status = serde_json::from_str(
            r#"{"schema":1,"ports":[{"interface":"eth1","secure_interface":"macsec0",
            "state":"down","phase_of_the_moon":"new"}],"and":"more"}"#,
        )
        .unwrap();
        assert_eq!(status.ports[0].state, PortState::Down);
    }

    #[test]
    fn the_letter_of_a_code_is_its_severity() {
        let severity = |code: &str| Reason { code: code.into(), ..Reason::default() }.severity();
        assert_eq!(severity("E101"), Severity::Error);
        assert_eq!(severity("W601"), Severity::Warning);
        assert_eq!(severity("N204"), Severity::Note);
        assert_eq!(severity(""), Severity::Error);
    }
}
