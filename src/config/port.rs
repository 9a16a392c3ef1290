//! One `[[port]]`: its settings, resolved from file, profile and defaults.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use toml::de::DeTable;

use super::{
    KEYS_MAX,
    diagnostic::{Code, Diagnostic, Findings, quoted},
    key::KeyConfig,
    keys::{Place, check_keys, missing},
    port_key::{KeyDraft, read_keys},
    reader::KeyReader,
    values::{self, Tables, Value},
};
use crate::ident::{ConfidentialityOffset, KeyServerPriority};
use crate::keyring::Key;
use crate::profile::{
    DataplaneChoice, LinkSettings, OffloadChoice, PROFILES, Profile, ProfileValue, SecurePolicy,
    Setting,
};

/// A port of the router that is to be protected.
#[derive(Debug)]
#[non_exhaustive]
pub struct PortConfig {
    /// The interface that faces the provider.
    pub interface: String,
    /// The interface that carries the protected traffic.
    pub secure_interface: String,
    /// What is known about the far end.
    pub profile: Option<&'static Profile>,
    /// How the link is protected.
    pub link: LinkSettings,
    /// The keys, newest first; at least one.
    pub keys: Vec<KeyConfig>,
    /// The interface of the port that carries the same traffic, so that one of them can fail.
    pub pair: Option<String>,
    /// Which settings do not come from the defaults.
    pub(crate) origins: BTreeMap<&'static str, Origin>,
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// This line of the configuration file.
    File {
        /// From 1.
        line: usize,
    },
    /// The profile of this name.
    Profile(&'static str),
    /// The defaults.
    Default,
}

/// A setting with its value and where it comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Effective {
    /// The key in the configuration file.
    pub key: &'static str,
    /// The value, as the file would have it.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl PortConfig {
    /// Tells whether a running port can stay as it is, but for its keys.
    ///
    /// The name of the profile is nothing but a name, padding is over when a key has been read, and
    /// how keys are chosen goes with the keys.
    #[must_use]
    pub fn same_settings(&self, other: &Self) -> bool {
        let Self { interface, secure_interface, profile: _, link, keys: _, pair: _, origins: _ } =
            self;
        let LinkSettings { cak_padding, rotation, .. } = other.link;
        let link = LinkSettings { cak_padding, rotation, ..link.clone() };
        *interface == other.interface
            && *secure_interface == other.secure_interface
            && link == other.link
    }

    /// Tells whether the keys are the same, in the same order and to be chosen from alike.
    #[must_use]
    pub fn same_keys(&self, other: &Self) -> bool {
        self.link.rotation == other.link.rotation
            && self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(ours, theirs)| ours.same_as(theirs))
    }

    /// Every setting with its value and where it comes from.
    #[must_use]
    pub fn explain(&self) -> Vec<Effective> {
        explain(&self.link, &self.origins)
    }
}

pub(crate) fn explain(
    link: &LinkSettings,
    origins: &BTreeMap<&'static str, Origin>,
) -> Vec<Effective> {
    let effective = |setting: Setting| Effective {
        key: setting.key(),
        value: setting.to_string(),
        origin: origins.get(setting.key()).copied().unwrap_or(Origin::Default),
    };
    link.to_settings().into_iter().map(effective).collect()
}

/// A port as far as it could be read.
#[derive(Debug)]
pub(crate) struct PortDraft {
    pub(crate) header: Range<usize>,
    pub(crate) interface: Option<Named>,
    pub(crate) secure_interface: Option<Named>,
    /// Whether the file says anything about the secure interface, right or wrong.
    pub(crate) names_secure_interface: bool,
    pub(crate) profile: Option<&'static Profile>,
    pub(crate) link: LinkSettings,
    pub(crate) origins: BTreeMap<&'static str, Origin>,
    pub(crate) keys: Vec<KeyDraft>,
    pub(crate) pair: Option<Named>,
}

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
}

/// What reading a port needs beside its table.
pub(crate) struct Context<'a> {
    /// Whether anybody but its owner can read the configuration file.
    pub(crate) is_open: bool,
    /// Reads keys; without it they are left alone.
    pub(crate) reader: Option<&'a dyn KeyReader>,
    /// The text, to find a digit in it.
    pub(crate) text: &'a str,
}

/// Reads a port.
pub(crate) fn read_port(
    table: &DeTable<'_>,
    header: Range<usize>,
    context: &Context<'_>,
    findings: &mut Findings,
) -> PortDraft {
    check_keys(table, Place::Port, &header, &["interface"], findings);
    let before = findings.errors();
    let profile = table.get("profile").and_then(|value| read_profile(value, findings));
    let mut draft = PortDraft {
        interface: table.get("interface").and_then(|value| name("interface", value, findings)),
        secure_interface: table
            .get("secure-interface")
            .and_then(|value| name("secure-interface", value, findings)),
        names_secure_interface: table.contains_key("secure-interface"),
        profile,
        link: LinkSettings::with_profile(profile),
        origins: BTreeMap::new(),
        keys: Vec::new(),
        pair: table.get("pair").and_then(|value| name("pair", value, findings)),
        header,
    };
    if let Some(profile) = profile {
        let from_profile =
            |value: &ProfileValue| (value.setting.key(), Origin::Profile(profile.name));
        draft.origins.extend(profile.values.iter().map(from_profile));
    }
    let places = read_settings(table, &mut draft, findings);
    // What was meant is not known where a setting is at fault, and not to be held against the rest.
    let sound = findings.errors() == before;
    if sound {
        contradictions(&draft, &places, findings);
        cautions(&draft, &places, findings);
    }
    let link = sound.then_some(&draft.link);
    draft.keys = match table.get("key") {
        Some(value) => {
            let keys = Tables {
                key: "key",
                header: "[[port.key]]",
                most: KEYS_MAX,
                advice: "remove keys that no far end has any more; the oldest stand last",
            };
            read_keys(&keys.read(value, findings), link, profile, context, findings)
        }
        None => {
            let example = "[[port.key]]` followed by `ckn = \"...\"` and `cak = \"file:...\"";
            findings.push(missing("[[port.key]]", draft.header.clone(), example));
            Vec::new()
        }
    };
    draft
}

/// Where the settings stand that the file gives.
type Places = BTreeMap<&'static str, Range<usize>>;

fn read_settings(table: &DeTable<'_>, draft: &mut PortDraft, findings: &mut Findings) -> Places {
    let mut places = Places::new();
    for (key, value) in table {
        match values::setting(key.get_ref(), value) {
            Some(Ok(setting)) => {
                draft.link.apply(&setting);
                let line = findings.line(key.span().start);
                draft.origins.insert(setting.key(), Origin::File { line });
                places.insert(setting.key(), value.span());
            }
            Some(Err(error)) => findings.push(error),
            None => {}
        }
    }
    places
}

/// Refuses settings that exclude each other.
fn contradictions(draft: &PortDraft, places: &Places, findings: &mut Findings) {
    let link = &draft.link;
    let place = |keys: &[&str]| {
        keys.iter().find_map(|key| places.get(key)).unwrap_or(&draft.header).clone()
    };
    let xpn = link.cipher_suites.iter().find(|suite| suite.is_xpn());
    let has_offset = link.confidentiality_offset != ConfidentialityOffset::Offset0;
    if let Some(suite) = xpn.filter(|_| has_offset) {
        let title = format!("{suite} has no confidentiality offset");
        findings.push(
            Diagnostic::error(Code::Contradiction, title)
                .at(place(&["confidentiality-offset", "cipher-suites"]), "not with an XPN suite")
                .note("the XPN suites encrypt all of a frame (802.1AE-2018 14.7, 14.8)")
                .help("write 0, or name the suites in `cipher-suites` and leave out XPN"),
        );
    }
    if has_offset && !link.confidentiality {
        findings.push(
            Diagnostic::error(Code::Contradiction, "an offset without confidentiality")
                .at(place(&["confidentiality-offset", "confidentiality"]), "nothing is encrypted")
                .help("remove `confidentiality-offset`, or write `confidentiality = true`"),
        );
    }
    if let Some(suite) = xpn.filter(|_| link.replay_window > REPLAY_WINDOW_XPN_MAX) {
        let title = format!("the replay window of {suite} is at most {REPLAY_WINDOW_XPN_MAX}");
        findings.push(
            Diagnostic::error(Code::Contradiction, title)
                .at(place(&["replay-window", "cipher-suites"]), "too large for an XPN suite")
                .note("a larger one would make it ambiguous which 64-bit packet number is meant")
                .help("64 is enough for frames that several queues reorder"),
        );
    }
    if link.dataplane == DataplaneChoice::Kernel && has_offset && link.confidentiality {
        let title = "the kernel has no confidentiality offset";
        findings.push(
            Diagnostic::error(Code::Contradiction, title)
                .at(place(&["confidentiality-offset", "dataplane"]), "not with the kernel's MACsec")
                .note("the kernel encrypts all of a frame or nothing")
                .help("write 0, or `dataplane = \"userspace\"`; \"auto\" takes that one here"),
        );
    }
    if u16::from(link.mka_life) < 3 * u16::from(link.mka_hello) {
        let title = "`mka-life-seconds` is less than three times `mka-hello-seconds`";
        findings.push(
            Diagnostic::error(Code::Contradiction, title)
                .at(place(&["mka-life-seconds", "mka-hello-seconds"]), "a hello may be lost")
                .help("both ends should have the same two; 2 and 6 are the standard's"),
        );
    }
    if link.dataplane == DataplaneChoice::Userspace && link.offload != OffloadChoice::Off {
        let title = "`offload` is for the kernel data plane";
        findings.push(
            Diagnostic::error(Code::Contradiction, title)
                .at(place(&["offload", "dataplane"]), "the daemon encrypts with the processor")
                .help("remove `offload`, or write `dataplane = \"kernel\"`"),
        );
    }
}

/// Warns of settings that are right and seldom meant.
fn cautions(draft: &PortDraft, places: &Places, findings: &mut Findings) {
    let place = |key: &str| places.get(key).unwrap_or(&draft.header).clone();
    if draft.link.key_server_priority == KeyServerPriority::NEVER {
        findings.push(
            Diagnostic::warning(Code::NeverServes, "this end never becomes key server")
                .at(place("key-server-priority"), "255 is for a system that is not to serve")
                .help("if the far end has 255 too there is no key; 254 still lets it serve first"),
        );
    }
    if draft.link.policy == SecurePolicy::ShouldSecure {
        let title = "traffic passes in clear while there is no key";
        findings.push(
            Diagnostic::warning(Code::ClearAllowed, title)
                .at(place("policy"), "nothing waits for a key")
                .note("whoever keeps the two ends from agreeing on a key can read the traffic")
                .help("write \"must-secure\" as soon as both ends are known to get a key"),
        );
    }
    if !draft.link.include_sci && draft.link.port_id != 1 {
        let title = format!("frames say nothing of port {}", draft.link.port_id);
        findings.push(
            Diagnostic::warning(Code::PortUnsaid, title)
                .at(place("include-sci"), "a receiver has to guess whose frame it is")
                .and(place("port-id"), "and most guess port 1")
                .note(
                    "Linux takes a frame without SCI as port 1 of its sender's address, and drops \
                     it where the key agreement has named another port",
                )
                .help("write `include-sci = true`, or `port-id = 1`"),
        );
    }
    let in_kernel = draft.link.dataplane != DataplaneChoice::Userspace;
    if in_kernel && draft.link.offload != OffloadChoice::Off {
        let title = "what a network card does with packet numbers is for its driver to say";
        findings.push(
            Diagnostic::warning(Code::Offloaded, title)
                .at(place("offload"), "the kernel hands over keys and packet numbers")
                .note(
                    "a driver once set packet numbers back at each change of a setting (Linux \
                     commit 3c99bace4ad0), so that they were used again, which breaks the encryption",
                )
                .note("a card that is reset may send in clear, below all filters of the kernel")
                .help("write \"off\" unless this card and driver are known to be good"),
        );
    }
}

/// The largest replay window of an XPN suite (802.1AE-2018 10.7.8): with more, the upper half of a
/// packet number could not be told from its lower half.
const REPLAY_WINDOW_XPN_MAX: u32 = (1 << 30) - 1;

fn read_profile(value: &Value<'_>, findings: &mut Findings) -> Option<&'static Profile> {
    let found = values::text("profile", value).and_then(|name| {
        let names = || PROFILES.iter().map(|profile| profile.name);
        Profile::find(name)
            .ok_or_else(|| values::unknown_value("profile", name, value.span(), names))
    });
    found.map_err(|error| findings.push(error)).ok()
}

/// Reads the name of an interface.
fn name(key: &str, value: &Value<'_>, findings: &mut Findings) -> Option<Named> {
    let checked = values::text(key, value).and_then(|name| {
        let Err(reason) = check_interface(name) else { return Ok(name.to_owned()) };
        let title = format!("{} cannot be the name of an interface", quoted(name));
        Err(Diagnostic::error(Code::BadName, title)
            .at(value.span(), reason)
            .help("`ip link` lists the interfaces there are"))
    });
    match checked {
        Ok(name) => Some(Named { name, span: value.span() }),
        Err(error) => {
            findings.push(error);
            None
        }
    }
}

/// Applies the kernel's rule for the name of an interface, and its rule for a new one.
fn check_interface(name: &str) -> Result<(), &'static str> {
    /// `IFNAMSIZ` without the zero at the end.
    const LONGEST: usize = 15;
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > LONGEST {
        return Err("it has more than 15 characters");
    }
    if matches!(name, "." | "..") {
        return Err("that is a directory");
    }
    // The kernel would number a `%d`.
    if name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%'))
    {
        return Err("it has a space, or one of `/`, `:` and `%`");
    }
    Ok(())
}

impl PortDraft {
    /// Makes a port of it; `None` where anything is missing, which has been reported then.
    pub(crate) fn finish(self) -> Option<PortConfig> {
        let finish = |key: KeyDraft| {
            let (ckn, source, start) = (key.ckn?.0, key.source?.0, key.start);
            Some(KeyConfig { source, start, key: Arc::new(Key { ckn, cak: key.cak? }) })
        };
        Some(PortConfig {
            interface: self.interface?.name,
            secure_interface: self.secure_interface?.name,
            profile: self.profile,
            link: self.link,
            keys: self.keys.into_iter().map(finish).collect::<Option<_>>()?,
            pair: self.pair.map(|pair| pair.name),
            origins: self.origins,
        })
    }
}
