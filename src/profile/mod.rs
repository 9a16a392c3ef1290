//! Profiles: what is known about the far end of a link, as data.
//!
//! A profile gives settings other defaults than [`DEFAULTS`], and says for each where the value
//! comes from: a public page of the provider, or our own choice with its reason. What no page
//! states is not in a profile: it is observed on the wire.

#![forbid(unsafe_code)]

mod data;
mod settings;
mod show;

pub use data::{DEFAULTS, PROFILES};
pub use settings::{
    CakPadding, DataplaneChoice, DestinationChoice, EtherTypeChoice, IcvIndicatorChoice,
    LinkSettings, OffloadChoice, RotationChoice, SecurePolicy, Setting, SsciChoice, Word,
    suite_key,
};
pub use show::{list, show};

use crate::ident::{CipherSuite, ConfidentialityOffset, KeyServerPriority};

/// What is known about the far end of a link.
#[derive(Debug)]
pub struct Profile {
    /// The name in the configuration file.
    pub name: &'static str,
    /// What it is for, in a line.
    pub summary: &'static str,
    /// The settings it gives another default.
    pub values: &'static [ProfileValue],
    /// What the far end takes as a CAK.
    pub cak: CakRule,
    /// The only length of a CKN that the far end takes, in octets; `None` where any will do.
    pub ckn_octets: Option<usize>,
    /// What else an operator should know; each one a sentence or two.
    pub notes: &'static [&'static str],
}

/// One setting of a profile.
#[derive(Debug)]
pub struct ProfileValue {
    /// The setting and its value.
    pub setting: Setting,
    /// Where the value comes from.
    pub basis: Basis,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Basis {
    /// Somebody else says so, in public.
    Published {
        /// What the page says, in our words.
        says: &'static str,
        /// The page.
        url: &'static str,
    },
    /// We say so.
    Chosen {
        /// Why.
        because: &'static str,
    },
}

/// What the far end takes as a CAK. The standard lets its length differ from the suite's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CakRule {
    /// 16 or 32 octets.
    Any,
    /// As many octets as the cipher suite's key has.
    AsSuite,
    /// So many octets.
    Octets(usize),
}

impl Profile {
    /// Finds a profile.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// The value it gives a setting, if it gives one.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'static ProfileValue> {
        self.values.iter().find(|value| value.setting.key() == key)
    }
}

impl LinkSettings {
    /// The settings where the configuration says nothing.
    #[must_use]
    pub fn with_profile(profile: Option<&Profile>) -> Self {
        // Any values will do here: `DEFAULTS` sets every one, and a test holds it to that.
        let mut settings = Self {
            cipher_suites: vec![CipherSuite::GcmAes128],
            dataplane: DataplaneChoice::Auto,
            offload: OffloadChoice::Off,
            delete_on_stop: false,
            include_sci: true,
            key_server_priority: KeyServerPriority::NEVER,
            policy: SecurePolicy::MustSecure,
            replay_protect: true,
            replay_window: 0,
            confidentiality: true,
            confidentiality_offset: ConfidentialityOffset::Offset0,
            port_id: 1,
            rekey: None,
            rekey_octets: None,
            eapol_destination: DestinationChoice::NearestNonTpmr,
            eapol_ethertype: EtherTypeChoice::Eapol,
            delay_protect: false,
            announce_suites: false,
            icv_indicator: IcvIndicatorChoice::Auto,
            mka_version: 3,
            mka_hello: 2,
            mka_life: 6,
            lone_key_latest: false,
            ssci_order: SsciChoice::Stated,
            rotation: RotationChoice::NewestWithFallback,
            cak_padding: CakPadding::Refuse,
        };
        let own = profile.map_or(&[][..], |profile| profile.values);
        for value in DEFAULTS.iter().chain(own) {
            settings.apply(&value.setting);
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keys(values: &[ProfileValue]) -> BTreeSet<&'static str> {
        values.iter().map(|value| value.setting.key()).collect()
    }

    #[test]
    fn the_defaults_set_every_setting_once() {
        let every = LinkSettings::with_profile(None).to_settings();
        assert_eq!(keys(DEFAULTS), every.iter().map(Setting::key).collect());
        assert_eq!(DEFAULTS.len(), every.len());
    }

    #[test]
    fn a_profile_sets_nothing_twice_and_has_a_reason_for_each_value() {
        for profile in PROFILES {
            assert_eq!(keys(profile.values).len(), profile.values.len(), "{}", profile.name);
            for value in profile.values.iter().chain(DEFAULTS) {
                match value.basis {
                    Basis::Published { says, url } => {
                        assert!(!says.is_empty() && url.starts_with("https://"), "{url}");
                    }
                    Basis::Chosen { because } => assert!(!because.is_empty()),
                }
            }
        }
    }

    /// The XPN suites know no offset (802.1AE-2018 14.7, 14.8) and bound the window.
    #[test]
    fn no_profile_contradicts_itself() {
        for profile in PROFILES {
            let settings = LinkSettings::with_profile(Some(profile));
            assert!(!settings.cipher_suites.is_empty());
            assert_eq!(settings.confidentiality_offset, ConfidentialityOffset::Offset0);
            assert!(settings.replay_window < 1 << 30);
            assert_ne!(settings.key_server_priority, KeyServerPriority::NEVER);
            assert_ne!(settings.port_id, 0);
        }
    }

    #[test]
    fn azure_is_as_its_pages_say() {
        let settings = LinkSettings::with_profile(Profile::find("azure-expressroute-direct"));
        assert_eq!(settings.cipher_suites, [CipherSuite::GcmAesXpn256]);
        assert_eq!(settings.cak_padding, CakPadding::ZerosRight);
        assert_eq!(settings.policy, SecurePolicy::MustSecure);
        assert_eq!(settings.key_server_priority, KeyServerPriority(200));
        assert!(settings.include_sci);
        assert_eq!((settings.replay_window, settings.rekey), (64, None));
    }
}
