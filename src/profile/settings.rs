//! What a link can be told, as values: the settings that a profile or a configuration sets.

use std::{borrow::Cow, fmt, time::Duration};

use crate::ident::{CipherSuite, ConfidentialityOffset, KeyServerPriority};

/// Who protects the frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DataplaneChoice {
    /// The kernel where it has MACsec and can do what is configured, otherwise the daemon.
    Auto,
    /// The kernel, or nobody.
    Kernel,
    /// The daemon.
    Userspace,
}

/// Who of the machine does the work of the kernel's MACsec.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OffloadChoice {
    /// The processor.
    Off,
    /// The PHY.
    Phy,
    /// The network card.
    Mac,
    /// The network card, else the PHY, else the processor.
    Auto,
}

/// What may pass while there is no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecurePolicy {
    /// Nothing.
    MustSecure,
    /// Everything, in clear, until there is a key.
    ShouldSecure,
}

/// When an ICV Indicator stands in front of our ICV.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IcvIndicatorChoice {
    /// To whoever sends one; every other time while nobody answers.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Who has which SSCI under the key of another key server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SsciChoice {
    /// As the key server states, else by SCI.
    Stated,
    /// By SCI.
    BySci,
}

/// Which group our key-exchange frames are sent to (802.1X-2020 11.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DestinationChoice {
    /// The nearest bridge that is no two-port relay.
    NearestNonTpmr,
    /// The nearest bridge of a customer: through those of a provider.
    NearestCustomer,
    /// The nearest bridge of any kind.
    NearestBridge,
    /// Everybody, where nothing else gets through.
    Broadcast,
}

/// Under which EtherType our key-exchange frames go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EtherTypeChoice {
    /// That of EAPOL.
    Eapol,
    /// One that carriers do not take for their own.
    Carried,
}

/// Which of several keys is taken where the far end speaks more than one, as far as it is ours to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RotationChoice {
    /// The one that the far end began to speak last.
    FollowPeer,
    /// The first in the file, which is the newest.
    NewestWithFallback,
    /// The one that started last.
    StartTime,
    /// The first in the file, whenever the far end speaks it.
    PrimaryFallback,
}

/// What becomes of a CAK that is shorter than a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CakPadding {
    /// It is refused.
    Refuse,
    /// Zeros are put after it, as many as the cipher suite's key length asks for.
    ZerosRight,
}

/// What `rekey-gigabytes` counts in.
const GIGABYTE: u64 = 1_000_000_000;

/// Every setting of a link that has a default.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkSettings {
    /// The suites that may be used, the one we like best first. Never empty.
    pub cipher_suites: Vec<CipherSuite>,
    /// Who protects the frames.
    pub dataplane: DataplaneChoice,
    /// Who does the work of the kernel's.
    pub offload: OffloadChoice,
    /// Whether the kernel's secure interface goes when the daemon stops.
    pub delete_on_stop: bool,
    /// Whether the tag of a sent frame carries the SCI (802.1AE-2018 10.7.17, alwaysIncludeSCI).
    pub include_sci: bool,
    /// Our rank in the election.
    pub key_server_priority: KeyServerPriority,
    /// What may pass while there is no key.
    pub policy: SecurePolicy,
    /// Whether frames below the window are refused (802.1AE-2018 10.7.8, replayProtect).
    pub replay_protect: bool,
    /// The window, in packet numbers.
    pub replay_window: u32,
    /// Whether frames are encrypted, or only protected against change.
    pub confidentiality: bool,
    /// How much stays in clear where frames are encrypted; never `IntegrityOnly`.
    pub confidentiality_offset: ConfidentialityOffset,
    /// The port identifier of our SCI.
    pub port_id: u16,
    /// How old an SAK gets where we are key server; `None` until its packet numbers run out.
    pub rekey: Option<Duration>,
    /// How many octets go with an SAK where we are key server; `None` until its packet numbers run
    /// out.
    pub rekey_octets: Option<u64>,
    /// Where our key-exchange frames go.
    pub eapol_destination: DestinationChoice,
    /// Under which EtherType.
    pub eapol_ethertype: EtherTypeChoice,
    /// Whether frames of ours that are some two seconds late are to be refused.
    pub delay_protect: bool,
    /// Whether we announce our cipher suites.
    pub announce_suites: bool,
    /// When an ICV Indicator is sent.
    pub icv_indicator: IcvIndicatorChoice,
    /// The MKA version to send, 1 to 3.
    pub mka_version: u8,
    /// How often we are heard from, in seconds.
    pub mka_hello: u8,
    /// How long a silent peer stays, in seconds.
    pub mka_life: u8,
    /// Whether a key that is the only one stays in the place of the latest.
    pub lone_key_latest: bool,
    /// Who has which SSCI.
    pub ssci_order: SsciChoice,
    /// Which of several keys is taken.
    pub rotation: RotationChoice,
    /// What becomes of a short CAK.
    pub cak_padding: CakPadding,
}

impl LinkSettings {
    /// The offset to ask for, `confidentiality = false` being one of them.
    #[must_use]
    pub const fn offset(&self) -> ConfidentialityOffset {
        if self.confidentiality {
            self.confidentiality_offset
        } else {
            ConfidentialityOffset::IntegrityOnly
        }
    }

    /// Sets one value.
    pub fn apply(&mut self, setting: &Setting) {
        match setting {
            Setting::CipherSuites(suites) => self.cipher_suites = suites.to_vec(),
            Setting::Dataplane(choice) => self.dataplane = *choice,
            Setting::Offload(choice) => self.offload = *choice,
            Setting::DeleteOnStop(on) => self.delete_on_stop = *on,
            Setting::IncludeSci(on) => self.include_sci = *on,
            Setting::KeyServerPriority(priority) => self.key_server_priority = *priority,
            Setting::Policy(policy) => self.policy = *policy,
            Setting::ReplayProtect(on) => self.replay_protect = *on,
            Setting::ReplayWindow(window) => self.replay_window = *window,
            Setting::Confidentiality(on) => self.confidentiality = *on,
            Setting::ConfidentialityOffset(offset) => self.confidentiality_offset = *offset,
            Setting::PortId(port) => self.port_id = *port,
            Setting::RekeySeconds(seconds) => {
                self.rekey = (*seconds > 0).then(|| Duration::from_secs((*seconds).into()));
            }
            Setting::RekeyGigabytes(gigabytes) => {
                let octets = u64::from(*gigabytes) * GIGABYTE;
                self.rekey_octets = (octets > 0).then_some(octets);
            }
            Setting::EapolDestination(choice) => self.eapol_destination = *choice,
            Setting::EapolEthertype(choice) => self.eapol_ethertype = *choice,
            Setting::DelayProtect(on) => self.delay_protect = *on,
            Setting::AnnounceSuites(on) => self.announce_suites = *on,
            Setting::IcvIndicator(choice) => self.icv_indicator = *choice,
            Setting::MkaVersion(version) => self.mka_version = *version,
            Setting::MkaHelloSeconds(seconds) => self.mka_hello = *seconds,
            Setting::MkaLifeSeconds(seconds) => self.mka_life = *seconds,
            Setting::LoneKeyLatest(on) => self.lone_key_latest = *on,
            Setting::SsciOrder(choice) => self.ssci_order = *choice,
            Setting::Rotation(choice) => self.rotation = *choice,
            Setting::CakPadding(padding) => self.cak_padding = *padding,
        }
    }

    /// Every value, in the order of the documentation.
    #[must_use]
    pub fn to_settings(&self) -> [Setting; 26] {
        let seconds = self.rekey.map_or(0, |age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
        let gigabytes = self.rekey_octets.map_or(0, |octets| octets / GIGABYTE);
        [
            Setting::CipherSuites(Cow::Owned(self.cipher_suites.clone())),
            Setting::Dataplane(self.dataplane),
            Setting::Offload(self.offload),
            Setting::DeleteOnStop(self.delete_on_stop),
            Setting::IncludeSci(self.include_sci),
            Setting::KeyServerPriority(self.key_server_priority),
            Setting::Policy(self.policy),
            Setting::ReplayProtect(self.replay_protect),
            Setting::ReplayWindow(self.replay_window),
            Setting::Confidentiality(self.confidentiality),
            Setting::ConfidentialityOffset(self.confidentiality_offset),
            Setting::PortId(self.port_id),
            Setting::RekeySeconds(seconds),
            Setting::RekeyGigabytes(u32::try_from(gigabytes).unwrap_or(u32::MAX)),
            Setting::EapolDestination(self.eapol_destination),
            Setting::EapolEthertype(self.eapol_ethertype),
            Setting::DelayProtect(self.delay_protect),
            Setting::AnnounceSuites(self.announce_suites),
            Setting::IcvIndicator(self.icv_indicator),
            Setting::MkaVersion(self.mka_version),
            Setting::MkaHelloSeconds(self.mka_hello),
            Setting::MkaLifeSeconds(self.mka_life),
            Setting::LoneKeyLatest(self.lone_key_latest),
            Setting::SsciOrder(self.ssci_order),
            Setting::Rotation(self.rotation),
            Setting::CakPadding(self.cak_padding),
        ]
    }
}

/// One setting with its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Setting {
    /// `cipher-suites`
    CipherSuites(Cow<'static, [CipherSuite]>),
    /// `dataplane`
    Dataplane(DataplaneChoice),
    /// `offload`
    Offload(OffloadChoice),
    /// `delete-on-stop`
    DeleteOnStop(bool),
    /// `include-sci`
    IncludeSci(bool),
    /// `key-server-priority`
    KeyServerPriority(KeyServerPriority),
    /// `policy`
    Policy(SecurePolicy),
    /// `replay-protect`
    ReplayProtect(bool),
    /// `replay-window`
    ReplayWindow(u32),
    /// `confidentiality`
    Confidentiality(bool),
    /// `confidentiality-offset`
    ConfidentialityOffset(ConfidentialityOffset),
    /// `port-id`
    PortId(u16),
    /// `rekey-seconds`; 0 is never
    RekeySeconds(u32),
    /// `rekey-gigabytes`, of 10^9 octets; 0 is never
    RekeyGigabytes(u32),
    /// `eapol-destination`
    EapolDestination(DestinationChoice),
    /// `eapol-ethertype`
    EapolEthertype(EtherTypeChoice),
    /// `delay-protect`
    DelayProtect(bool),
    /// `announce-suites`
    AnnounceSuites(bool),
    /// `icv-indicator`
    IcvIndicator(IcvIndicatorChoice),
    /// `mka-version`
    MkaVersion(u8),
    /// `mka-hello-seconds`
    MkaHelloSeconds(u8),
    /// `mka-life-seconds`
    MkaLifeSeconds(u8),
    /// `lone-key-latest`
    LoneKeyLatest(bool),
    /// `ssci-order`
    SsciOrder(SsciChoice),
    /// `rotation`
    Rotation(RotationChoice),
    /// `cak-padding`
    CakPadding(CakPadding),
}

impl Setting {
    /// The key it goes by in the configuration file.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::CipherSuites(_) => "cipher-suites",
            Self::Dataplane(_) => "dataplane",
            Self::Offload(_) => "offload",
            Self::DeleteOnStop(_) => "delete-on-stop",
            Self::IncludeSci(_) => "include-sci",
            Self::KeyServerPriority(_) => "key-server-priority",
            Self::Policy(_) => "policy",
            Self::ReplayProtect(_) => "replay-protect",
            Self::ReplayWindow(_) => "replay-window",
            Self::Confidentiality(_) => "confidentiality",
            Self::ConfidentialityOffset(_) => "confidentiality-offset",
            Self::PortId(_) => "port-id",
            Self::RekeySeconds(_) => "rekey-seconds",
            Self::RekeyGigabytes(_) => "rekey-gigabytes",
            Self::EapolDestination(_) => "eapol-destination",
            Self::EapolEthertype(_) => "eapol-ethertype",
            Self::DelayProtect(_) => "delay-protect",
            Self::AnnounceSuites(_) => "announce-suites",
            Self::IcvIndicator(_) => "icv-indicator",
            Self::MkaVersion(_) => "mka-version",
            Self::MkaHelloSeconds(_) => "mka-hello-seconds",
            Self::MkaLifeSeconds(_) => "mka-life-seconds",
            Self::LoneKeyLatest(_) => "lone-key-latest",
            Self::SsciOrder(_) => "ssci-order",
            Self::Rotation(_) => "rotation",
            Self::CakPadding(_) => "cak-padding",
        }
    }
}

/// Writes the value as the configuration file would have it.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CipherSuites(suites) => {
                let names: Vec<_> = suites.iter().map(|suite| suite_key(*suite)).collect();
                write!(f, "[\"{}\"]", names.join("\", \""))
            }
            Self::Dataplane(choice) => write!(f, "\"{}\"", choice.name()),
            Self::Offload(choice) => write!(f, "\"{}\"", choice.name()),
            Self::DeleteOnStop(on)
            | Self::IncludeSci(on)
            | Self::ReplayProtect(on)
            | Self::DelayProtect(on)
            | Self::AnnounceSuites(on)
            | Self::LoneKeyLatest(on)
            | Self::Confidentiality(on) => write!(f, "{on}"),
            Self::KeyServerPriority(priority) => write!(f, "{}", priority.0),
            Self::MkaVersion(number)
            | Self::MkaHelloSeconds(number)
            | Self::MkaLifeSeconds(number) => write!(f, "{number}"),
            Self::IcvIndicator(choice) => write!(f, "\"{}\"", choice.name()),
            Self::SsciOrder(choice) => write!(f, "\"{}\"", choice.name()),
            Self::Rotation(choice) => write!(f, "\"{}\"", choice.name()),
            Self::Policy(policy) => write!(f, "\"{}\"", policy.name()),
            Self::EapolDestination(choice) => write!(f, "\"{}\"", choice.name()),
            Self::EapolEthertype(choice) => write!(f, "\"{}\"", choice.name()),
            Self::ReplayWindow(number)
            | Self::RekeySeconds(number)
            | Self::RekeyGigabytes(number) => write!(f, "{number}"),
            Self::ConfidentialityOffset(offset) => write!(f, "{}", offset.octets()),
            Self::PortId(port) => write!(f, "{port}"),
            Self::CakPadding(padding) => write!(f, "\"{}\"", padding.name()),
        }
    }
}

/// The name of a suite in the configuration file.
#[must_use]
pub const fn suite_key(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::GcmAes128 => "gcm-aes-128",
        CipherSuite::GcmAes256 => "gcm-aes-256",
        CipherSuite::GcmAesXpn128 => "gcm-aes-xpn-128",
        CipherSuite::GcmAesXpn256 => "gcm-aes-xpn-256",
    }
}

/// A value that the configuration file spells as one of a few words.
pub trait Word: Copy + Sized + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// The word for it.
    fn name(self) -> &'static str;

    /// Finds the value that a word stands for.
    #[must_use]
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.name() == name)
    }
}

impl Word for DataplaneChoice {
    const ALL: &'static [Self] = &[Self::Auto, Self::Kernel, Self::Userspace];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        }
    }
}

impl Word for OffloadChoice {
    const ALL: &'static [Self] = &[Self::Off, Self::Phy, Self::Mac, Self::Auto];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Phy => "phy",
            Self::Mac => "mac",
            Self::Auto => "auto",
        }
    }
}

impl Word for SecurePolicy {
    const ALL: &'static [Self] = &[Self::MustSecure, Self::ShouldSecure];

    fn name(self) -> &'static str {
        match self {
            Self::MustSecure => "must-secure",
            Self::ShouldSecure => "should-secure",
        }
    }
}

impl Word for IcvIndicatorChoice {
    const ALL: &'static [Self] = &[Self::Auto, Self::On, Self::Off];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl Word for SsciChoice {
    const ALL: &'static [Self] = &[Self::Stated, Self::BySci];

    fn name(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::BySci => "by-sci",
        }
    }
}

impl Word for DestinationChoice {
    const ALL: &'static [Self] =
        &[Self::NearestNonTpmr, Self::NearestCustomer, Self::NearestBridge, Self::Broadcast];

    fn name(self) -> &'static str {
        match self {
            Self::NearestNonTpmr => "nearest-non-tpmr",
            Self::NearestCustomer => "nearest-customer",
            Self::NearestBridge => "nearest-bridge",
            Self::Broadcast => "broadcast",
        }
    }
}

impl Word for EtherTypeChoice {
    const ALL: &'static [Self] = &[Self::Eapol, Self::Carried];

    fn name(self) -> &'static str {
        match self {
            Self::Eapol => "0x888e",
            Self::Carried => "0x876f",
        }
    }
}

impl Word for RotationChoice {
    const ALL: &'static [Self] =
        &[Self::FollowPeer, Self::NewestWithFallback, Self::StartTime, Self::PrimaryFallback];

    fn name(self) -> &'static str {
        match self {
            Self::FollowPeer => "follow-peer",
            Self::NewestWithFallback => "newest-with-fallback",
            Self::StartTime => "start-time",
            Self::PrimaryFallback => "primary-fallback",
        }
    }
}

impl Word for CakPadding {
    const ALL: &'static [Self] = &[Self::Refuse, Self::ZerosRight];

    fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::ZerosRight => "zeros-right",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_read_back_from_its_key() {
        for suite in CipherSuite::ALL {
            assert_eq!(suite_key(suite).parse(), Ok(suite));
        }
    }

    #[test]
    fn a_value_is_written_as_the_file_would_have_it() {
        let suites = Setting::CipherSuites(Cow::Borrowed(&[
            CipherSuite::GcmAesXpn256,
            CipherSuite::GcmAes256,
        ]));
        assert_eq!(suites.to_string(), r#"["gcm-aes-xpn-256", "gcm-aes-256"]"#);
        assert_eq!(Setting::Policy(SecurePolicy::MustSecure).to_string(), "\"must-secure\"");
        assert_eq!(
            Setting::ConfidentialityOffset(ConfidentialityOffset::Offset30).to_string(),
            "30"
        );
    }
}
