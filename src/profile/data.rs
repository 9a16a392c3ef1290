//! The profiles themselves.
//!
//! Every `Published` value was read on the page it names. Where a provider publishes nothing, the
//! value is ours, and its reason says so.

use std::borrow::Cow;

use super::{
    Basis, CakPadding, CakRule, DataplaneChoice, DestinationChoice, EtherTypeChoice,
    IcvIndicatorChoice, OffloadChoice, Profile, ProfileValue, RotationChoice, SecurePolicy,
    Setting, SsciChoice,
};
use crate::ident::{CipherSuite, ConfidentialityOffset, KeyServerPriority};

const AZURE_HOWTO: &str =
    "https://learn.microsoft.com/en-us/azure/expressroute/expressroute-howto-macsec";
const AZURE_ABOUT: &str =
    "https://learn.microsoft.com/en-us/azure/expressroute/expressroute-about-encryption";
const AWS_GUIDE: &str = "https://docs.aws.amazon.com/directconnect/latest/UserGuide/MACsec.html";
const GCP_SETUP: &str =
    "https://cloud.google.com/network-connectivity/docs/interconnect/how-to/macsec/set-up";
const GCP_ROTATE: &str = "https://cloud.google.com/network-connectivity/docs/interconnect/how-to/macsec/rotate-macsec-keys";
const HOSTAP_CONF: &str = "https://w1.fi/cgit/hostap/plain/wpa_supplicant/wpa_supplicant.conf";

const fn published(setting: Setting, url: &'static str, says: &'static str) -> ProfileValue {
    ProfileValue { setting, basis: Basis::Published { says, url } }
}

const fn chosen(setting: Setting, because: &'static str) -> ProfileValue {
    ProfileValue { setting, basis: Basis::Chosen { because } }
}

const fn suites(suites: &'static [CipherSuite]) -> Setting {
    Setting::CipherSuites(Cow::Borrowed(suites))
}

/// What holds where neither the configuration nor a profile says otherwise.
pub static DEFAULTS: &[ProfileValue] = &[
    chosen(
        suites(&[
            CipherSuite::GcmAesXpn256,
            CipherSuite::GcmAes256,
            CipherSuite::GcmAesXpn128,
            CipherSuite::GcmAes128,
        ]),
        "whatever the far end takes, the strongest first; name the suites to take no others",
    ),
    chosen(
        Setting::Dataplane(DataplaneChoice::Auto),
        "the kernel where it has MACsec and can do what is configured, otherwise the daemon, which \
         can do it on any kernel",
    ),
    chosen(
        Setting::Offload(OffloadChoice::Off),
        "a card's driver once set packet numbers back at each change of a setting (mended by Linux \
         commit 3c99bace4ad0), which breaks the encryption; so it is for an operator to ask for",
    ),
    chosen(
        Setting::DeleteOnStop(false),
        "addresses and routes on the secure interface outlive a restart of the daemon; without a \
         key nothing passes through it",
    ),
    chosen(
        Setting::IncludeSci(true),
        "a receiver that finds no SCI has to guess it, and drops the frame if it guesses wrong",
    ),
    chosen(
        Setting::KeyServerPriority(KeyServerPriority(16)),
        "what routers commonly start with, so that a lower number elsewhere decides as usual",
    ),
    chosen(
        Setting::Policy(SecurePolicy::MustSecure),
        "a link that was to be protected never carries traffic in clear",
    ),
    chosen(
        Setting::ReplayProtect(true),
        "without it a recorded frame can be sent again and is delivered",
    ),
    chosen(
        Setting::ReplayWindow(64),
        "frames that several queues reorder still pass; 0 demands strict order",
    ),
    chosen(Setting::Confidentiality(true), "traffic is encrypted unless somebody asks otherwise"),
    chosen(
        Setting::ConfidentialityOffset(ConfidentialityOffset::Offset0),
        "all of a frame is encrypted; the XPN suites know nothing else",
    ),
    chosen(
        Setting::PortId(1),
        "what a receiver assumes where a frame carries no SCI (802.1AE-2018 9.9)",
    ),
    chosen(
        Setting::RekeySeconds(0),
        "a key is replaced before its packet numbers run out; age alone is no reason",
    ),
    chosen(
        Setting::RekeyGigabytes(0),
        "none of the suites limits the octets of a key; packet numbers do",
    ),
    chosen(
        Setting::EapolDestination(DestinationChoice::NearestNonTpmr),
        "the PAE group address; far ends that use another are answered there",
    ),
    chosen(
        Setting::EapolEthertype(EtherTypeChoice::Eapol),
        "that of EAPOL; another only helps where a carrier keeps EAPOL for itself",
    ),
    chosen(
        Setting::DelayProtect(false),
        "the replay window bounds how late a frame may be; with it packet numbers are told twice a \
         second, and a path with more than a second of queues loses frames",
    ),
    chosen(
        Setting::AnnounceSuites(false),
        "most key servers do not read it, and wpa_supplicant logs each one as an error",
    ),
    chosen(
        Setting::IcvIndicator(IcvIndicatorChoice::Auto),
        "some far ends demand it and none is known to refuse it; whoever sends it gets it",
    ),
    chosen(
        Setting::MkaVersion(3),
        "that of 802.1X-2020; far ends read it by the rules of the highest version that they know",
    ),
    chosen(Setting::MkaHelloSeconds(2), "MKA Hello Time (802.1X-2020 Table 9-3)"),
    chosen(Setting::MkaLifeSeconds(6), "MKA Life Time (802.1X-2020 Table 9-3)"),
    chosen(
        Setting::LoneKeyLatest(false),
        "the standard has the key in use move to the place of the old one",
    ),
    chosen(
        Setting::SsciOrder(SsciChoice::Stated),
        "what a key server of version 3 states is what it does, as the standard has it",
    ),
    chosen(
        Setting::Rotation(RotationChoice::NewestWithFallback),
        "what most routers and providers do: the newest key that both ends have",
    ),
    chosen(
        Setting::CakPadding(CakPadding::Refuse),
        "a short CAK is more often a mistake than a wish, and zeros make it easy to guess",
    ),
];

/// Every profile, by name.
pub static PROFILES: &[Profile] =
    &[AWS_DIRECT_CONNECT, AZURE_EXPRESSROUTE_DIRECT, GCP_INTERCONNECT, LINUX_PEER];

const AZURE_EXPRESSROUTE_DIRECT: Profile = Profile {
    name: "azure-expressroute-direct",
    summary: "the customer's end of a Microsoft Azure ExpressRoute Direct port",
    values: &[
        published(
            suites(&[CipherSuite::GcmAesXpn256]),
            AZURE_HOWTO,
            "the port offers four ciphers and advises XPN, since 32-bit packet numbers run out on \
             fast links; name here the cipher that the port is set to",
        ),
        chosen(
            Setting::IncludeSci(true),
            "the port has a switch for the SCI, off unless turned on, and no page says what it \
             does to received frames; a conforming receiver understands a tag that carries it",
        ),
        chosen(
            Setting::KeyServerPriority(KeyServerPriority(200)),
            "Microsoft does not publish its own; so Microsoft serves if it has any usual number, \
             and this end still does if it has 255",
        ),
        published(
            Setting::Policy(SecurePolicy::MustSecure),
            AZURE_ABOUT,
            "a key mismatch stops traffic; Microsoft's end does not fall back to clear",
        ),
        chosen(
            Setting::ReplayWindow(64),
            "Microsoft does not publish its own; 0 suits a plain cross-connect, a path with \
             equipment in between can reorder",
        ),
        chosen(
            Setting::RekeySeconds(0),
            "Microsoft does not publish how often it changes the SAK; a key server that has XPN \
             need not",
        ),
        published(
            Setting::Rotation(RotationChoice::FollowPeer),
            AZURE_ABOUT,
            "each link holds one key, and changing it is not atomic: the link is down until both \
             ends have the new one. So whatever the port begins to speak is followed at once",
        ),
        published(
            Setting::CakPadding(CakPadding::ZerosRight),
            AZURE_HOWTO,
            "a CAK shorter than the cipher's key gets zeros after it: 1234 becomes 12340000...",
        ),
    ],
    cak: CakRule::AsSuite,
    ckn_octets: None,
    notes: &[
        "Each of the two links of a port holds one CAK. Changing it takes the link down until both \
         ends have the new one; with old and new key configured here, this end follows at once: see `macsecctl rotate`.",
        "The port takes a CAK of 32 hex digits with a 128-bit cipher and 64 with a 256-bit one, \
         and a CKN of up to 64 hex digits, an even number of them.",
    ],
};

const AWS_DIRECT_CONNECT: Profile = Profile {
    name: "aws-direct-connect",
    summary: "the customer's end of an AWS Direct Connect dedicated connection",
    values: &[
        published(
            suites(&[CipherSuite::GcmAesXpn256]),
            AWS_GUIDE,
            "GCM-AES-XPN-256 on every port; 10 Gb/s ports take GCM-AES-256 too, faster ones do not",
        ),
        published(
            Setting::IncludeSci(true),
            AWS_GUIDE,
            "the SCI must be in the tag; this cannot be changed",
        ),
        published(
            Setting::ConfidentialityOffset(ConfidentialityOffset::Offset0),
            AWS_GUIDE,
            "no offset: a VLAN tag in clear is not supported",
        ),
        published(
            Setting::Rotation(RotationChoice::NewestWithFallback),
            AWS_GUIDE,
            "a connection keeps up to three keys, and uses the newest that works",
        ),
        chosen(
            Setting::Policy(SecurePolicy::MustSecure),
            "the connection's encryption mode is should_encrypt until it is changed; this end \
             does not follow it into clear",
        ),
    ],
    cak: CakRule::Octets(32),
    ckn_octets: Some(32),
    notes: &[
        "CKN and CAK have exactly 64 hex digits each. A connection keeps up to three, and uses the \
         newest that works.",
    ],
};

const GCP_INTERCONNECT: Profile = Profile {
    name: "gcp-interconnect",
    summary: "the customer's end of a Google Cloud Dedicated Interconnect",
    values: &[
        published(
            suites(&[CipherSuite::GcmAesXpn256, CipherSuite::GcmAes256]),
            GCP_SETUP,
            "GCM-AES-XPN-256 preferred, GCM-AES-256 possible with caution",
        ),
        published(Setting::IncludeSci(true), GCP_SETUP, "the SCI is enabled"),
        published(
            Setting::KeyServerPriority(KeyServerPriority(15)),
            GCP_SETUP,
            "15 for the customer's router",
        ),
        published(
            Setting::Policy(SecurePolicy::MustSecure),
            GCP_SETUP,
            "fail-closed unless fail-open is asked for, which is discouraged",
        ),
        published(Setting::ReplayWindow(64), GCP_SETUP, "a window of 64"),
        published(
            Setting::ConfidentialityOffset(ConfidentialityOffset::Offset0),
            GCP_SETUP,
            "offset 0",
        ),
        published(Setting::RekeySeconds(28_800), GCP_SETUP, "a new SAK every 28800 seconds"),
        published(
            Setting::Rotation(RotationChoice::StartTime),
            GCP_ROTATE,
            "each key has a start time, and the one that started last is used; give each \
             `[[port.key]]` the same `start`",
        ),
    ],
    cak: CakRule::Octets(32),
    ckn_octets: None,
    notes: &[
        "Google makes the keys, up to five with a start time each; a new session on any but the \
         latest started one is refused.",
    ],
};

const LINUX_PEER: Profile = Profile {
    name: "linux-peer",
    summary: "wpa_supplicant at the far end, bare or under NetworkManager",
    values: &[
        published(
            suites(&[CipherSuite::GcmAes128, CipherSuite::GcmAes256]),
            HOSTAP_CONF,
            "macsec_csindex chooses between these two, GCM-AES-128 unless set; it has no XPN",
        ),
        chosen(
            Setting::IncludeSci(true),
            "a Linux kernel that finds no SCI assumes port 1 at the frame's source address",
        ),
        published(
            Setting::KeyServerPriority(KeyServerPriority(16)),
            HOSTAP_CONF,
            "mka_priority is 255 unless set, so any number below it makes this end the key server",
        ),
    ],
    cak: CakRule::Any,
    ckn_octets: None,
    notes: &[
        "wpa_supplicant spells these mka_cak, mka_ckn, mka_priority, macsec_csindex, macsec_port. \
         NetworkManager takes a CAK of 32 hex digits only.",
        "wpa_supplicant has no replay protection unless macsec_replay_protect=1 is set there.",
    ],
};
