//! From a configuration to what is to be done, and from two of them to what has to change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::rotation;
use crate::config::{
    self, Config, ControlConfig, DataplaneChoice, Diagnostic, LinkSettings, LogLevel,
    OffloadChoice, PortConfig, SecurePolicy,
};
use crate::dataplane::{Choice, Offload};
use crate::ident::{CipherSuite, MacAddress, Sci};
use crate::keyring::KeyRing;
use crate::mka::{Access, IcvIndicator, Manners, MkaVersion, Policy, SsciOrder};
use crate::port::task::PortSetup;
use crate::profile::{
    DestinationChoice, EtherTypeChoice, IcvIndicatorChoice, SsciChoice, Word as _,
};
use crate::wire::EapolEthertype;

/// A configuration that can be carried out.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In the order of the file.
    pub(crate) ports: Vec<PortPlan>,
    pub(crate) control: ControlConfig,
    pub(crate) log_level: LogLevel,
    /// What an operator should know all the same.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A port that can be started.
#[derive(Clone, Debug)]
pub(crate) struct PortPlan {
    config: Arc<PortConfig>,
    pub(crate) keys: Arc<KeyRing>,
}

/// What has to be done to a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// It goes on as it is.
    None,
    /// It goes on with other keys.
    Keys,
    /// It has to stop and begin again.
    Restart,
    /// It was not there before.
    Add,
}

impl Plan {
    /// Reads a configuration with its keys.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, ready to be shown, in colour where wished.
    pub(crate) fn load(path: &Path, colour: bool) -> Result<Self, String> {
        let (config, warnings) = config::load(path).map_err(|error| error.render(colour))?;
        let mut plan = Self::new(config).map_err(|error| format!("{}: {error}", path.display()))?;
        plan.warnings = warnings;
        Ok(plan)
    }

    /// Reads a configuration whose keys stand in its text.
    #[cfg(test)]
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, String> {
        let keys = config::SystemKeys::from_env();
        let (config, _) =
            config::parse(text, path, 0o600, &keys).map_err(|error| error.render(false))?;
        Self::new(config)
    }

    fn new(config: Config) -> Result<Self, String> {
        let Config { ports, control, log_level } = config;
        let ports = ports.into_iter().map(PortPlan::new).collect::<Result<_, _>>()?;
        Ok(Self { ports, control, log_level, warnings: Vec::new() })
    }
}

impl PortPlan {
    fn new(config: PortConfig) -> Result<Self, String> {
        let keys = rotation::ring(&config, rotation::clock())
            .map_err(|error| format!("port {}: {error}", config.interface))?;
        Ok(Self { config: Arc::new(config), keys: Arc::new(keys) })
    }

    /// The same with its keys as they are to be preferred at this time, in seconds since 1970;
    /// `None` where they are so already.
    pub(crate) fn turned(&self, now: u64) -> Option<Self> {
        let keys = rotation::ring(&self.config, now).ok()?;
        let order = |keys: &KeyRing| keys.iter().map(Arc::as_ptr).collect::<Vec<_>>();
        let turned = Self { config: Arc::clone(&self.config), keys: Arc::new(keys) };
        (order(&turned.keys) != order(&self.keys)).then_some(turned)
    }

    /// The interface that faces the peer; the port's name.
    pub(crate) fn interface(&self) -> &str {
        &self.config.interface
    }

    /// The interface that carries the protected traffic.
    pub(crate) fn secure_interface(&self) -> &str {
        &self.config.secure_interface
    }

    /// The suites that may be used.
    pub(crate) fn suites(&self) -> &[CipherSuite] {
        &self.config.link.cipher_suites
    }

    /// The word of the configuration for the data plane.
    pub(crate) fn dataplane(&self) -> &'static str {
        self.config.link.dataplane.name()
    }

    /// Who is to do the work of the kernel's MACsec.
    pub(crate) fn offload(&self) -> OffloadChoice {
        self.config.link.offload
    }

    /// Whether our frames are to say whose they are.
    pub(crate) fn includes_sci(&self) -> bool {
        self.config.link.include_sci
    }

    /// What the port's task needs to know.
    pub(crate) fn setup(&self, delay: Duration) -> PortSetup {
        PortSetup {
            interface: self.config.interface.clone(),
            secure_interface: self.config.secure_interface.clone(),
            port_id: self.config.link.port_id,
            dataplane: match self.config.link.dataplane {
                DataplaneChoice::Auto => Choice::Auto,
                DataplaneChoice::Kernel => Choice::Kernel,
                DataplaneChoice::Userspace => Choice::Userspace,
            },
            offload: match self.config.link.offload {
                OffloadChoice::Off => Offload::Off,
                OffloadChoice::Phy => Offload::Phy,
                OffloadChoice::Mac => Offload::Mac,
                OffloadChoice::Auto => Offload::Auto,
            },
            delete_on_stop: self.config.link.delete_on_stop,
            policy: policy(&self.config.link),
            keys: Arc::clone(&self.keys),
            delay,
        }
    }

    /// Tells whether a port that begins again by this plan can take up the secure interface that it
    /// has by the other.
    pub(crate) fn keeps_secure_interface_of(&self, before: &Self) -> bool {
        let (after, before) = (&self.config, &before.config);
        after.secure_interface == before.secure_interface
            && after.link.dataplane == before.link.dataplane
            && after.link.confidentiality_offset == before.link.confidentiality_offset
            && after.link.port_id == before.link.port_id
    }

    /// What has to be done to make `self` of the ports that run.
    pub(crate) fn change_from<'a>(&self, mut running: impl Iterator<Item = &'a Self>) -> Change {
        let Some(before) = running.find(|port| port.interface() == self.interface()) else {
            return Change::Add;
        };
        if !self.config.same_settings(&before.config) {
            return Change::Restart;
        }
        if self.config.same_keys(&before.config) { Change::None } else { Change::Keys }
    }
}

/// What of the control socket would be another at the next start, a line each.
pub(crate) fn control_changes(before: &ControlConfig, after: &ControlConfig) -> Vec<String> {
    let ControlConfig { socket, group } = after;
    let socket = (*socket != before.socket)
        .then(|| format!("control-socket = {}: takes effect at the next start", socket.display()));
    let group = (*group != before.group)
        .then(|| format!("control-group = {group}: takes effect at the next start"));
    socket.into_iter().chain(group).collect()
}

/// The rules of a port. The SCI is put in when the interface is known.
fn policy(link: &LinkSettings) -> Policy {
    Policy {
        sci: Sci::new(MacAddress([0; 6]), link.port_id),
        priority: link.key_server_priority,
        cipher_suites: link.cipher_suites.clone(),
        offset: link.offset(),
        access: match link.policy {
            SecurePolicy::MustSecure => Access::MustSecure,
            SecurePolicy::ShouldSecure => Access::ShouldSecure,
        },
        replay_protect: link.replay_protect,
        replay_window: link.replay_window,
        delay_protect: link.delay_protect,
        include_sci: link.include_sci,
        rekey_after: link.rekey,
        rekey_octets: link.rekey_octets,
        destination: destination(link.eapol_destination),
        ethertype: match link.eapol_ethertype {
            EtherTypeChoice::Eapol => EapolEthertype::Eapol,
            EtherTypeChoice::Carried => EapolEthertype::Carried,
        },
        manners: manners(link),
    }
}

/// Where the key-exchange frames of a port go (802.1X-2020 Table 11-1).
const fn destination(choice: DestinationChoice) -> MacAddress {
    match choice {
        DestinationChoice::NearestNonTpmr => MacAddress::PAE_GROUP,
        DestinationChoice::NearestCustomer => MacAddress([0x01, 0x80, 0xc2, 0x00, 0x00, 0x00]),
        DestinationChoice::NearestBridge => MacAddress([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]),
        DestinationChoice::Broadcast => MacAddress([0xff; 6]),
    }
}

/// The ways of a port.
fn manners(link: &LinkSettings) -> Manners {
    Manners {
        version: match link.mka_version {
            1 => MkaVersion::V1,
            2 => MkaVersion::V2,
            _ => MkaVersion::V3,
        },
        icv_indicator: match link.icv_indicator {
            IcvIndicatorChoice::Auto => IcvIndicator::Auto,
            IcvIndicatorChoice::On => IcvIndicator::On,
            IcvIndicatorChoice::Off => IcvIndicator::Off,
        },
        lone_key_in_latest: link.lone_key_latest,
        ssci: match link.ssci_order {
            SsciChoice::Stated => SsciOrder::Stated,
            SsciChoice::BySci => SsciOrder::BySci,
        },
        announce: link.announce_suites,
        hello: Duration::from_secs(link.mka_hello.into()),
        life: Duration::from_secs(link.mka_life.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAK: &str = "000102030405060708090a0b0c0d0e0f";

    fn port(interface: &str, extra: &str, ckns: &[&str]) -> String {
        let keys =
            ckns.iter().map(|ckn| format!("[[port.key]]\nckn = \"{ckn}\"\ncak = \"{CAK}\"\n"));
        let keys: String = keys.collect();
        format!(
            "[[port]]\ninterface = \"{interface}\"\nsecure-interface = \"sec-{interface}\"\n\
             cipher-suites = [\"gcm-aes-128\"]\n{extra}\n{keys}"
        )
    }

    fn plan(text: &str) -> Result<Plan, String> {
        Plan::parse(text, Path::new("test.toml"))
    }

    fn changes(before: &str, after: &str) -> Vec<Change> {
        let (before, after) = (plan(before).unwrap(), plan(after).unwrap());
        after.ports.iter().map(|port| port.change_from(before.ports.iter())).collect()
    }

    #[test]
    fn a_port_that_reads_the_same_goes_on_even_if_it_stands_elsewhere_in_the_file() {
        let (one, other) = (port("eth1", "", &["01"]), port("eth2", "", &["02"]));
        let changes = changes(&format!("{one}{other}"), &format!("# moved\n{other}{one}"));
        assert_eq!(changes, [Change::None, Change::None]);
    }

    #[test]
    fn a_port_with_other_keys_goes_on() {
        let before = port("eth1", "", &["01", "02"]);
        for keys in [&["01"][..], &["03", "01", "02"], &["02", "01"]] {
            assert_eq!(changes(&before, &port("eth1", "", keys)), [Change::Keys]);
        }
        let other_cak = before.replace(CAK, "ff0102030405060708090a0b0c0d0e0f");
        assert_eq!(changes(&before, &other_cak), [Change::Keys]);
    }

    /// Seconds since 1970; what the clock says now is far beyond the first start.
    #[test]
    fn a_port_turns_to_the_key_that_has_started_and_then_stays() {
        let keys = port("eth1", "rotation = \"start-time\"", &["01", "02"]);
        let text = keys + "start = \"2100-01-01T00:00:00Z\"\n";
        let before = plan(&text).unwrap().ports.remove(0);
        let first = |port: &PortPlan| port.keys.iter().next().unwrap().ckn.to_string();
        assert_eq!(first(&before), "01");
        assert!(before.turned(4_102_444_799).is_none());
        let after = before.turned(4_102_444_800).unwrap();
        assert_eq!(first(&after), "02");
        assert!(after.turned(4_102_444_801).is_none());
        assert_eq!(first(&after.turned(0).unwrap()), "01", "a clock may be set back");
    }

    #[test]
    fn another_way_to_choose_among_keys_is_no_reason_to_begin_again() {
        let before = port("eth1", "rotation = \"follow-peer\"", &["01"]);
        let after = port("eth1", "rotation = \"primary-fallback\"", &["01"]);
        assert_eq!(changes(&before, &after), [Change::Keys]);
    }

    #[test]
    fn a_port_with_another_setting_begins_again() {
        let before = port("eth1", "replay-window = 64", &["01"]);
        let after = port("eth1", "replay-window = 65", &["01"]);
        assert_eq!(changes(&before, &after), [Change::Restart]);
        assert_eq!(changes(&before, &port("eth2", "", &["01"])), [Change::Add]);
    }

    #[test]
    fn the_data_plane_that_is_asked_for_reaches_the_port_as_it_is_written() {
        let of = |lines: &str| {
            let setup = plan(&port("eth1", lines, &["01"])).unwrap().ports[0].setup(Duration::ZERO);
            (setup.dataplane, setup.offload, setup.delete_on_stop)
        };
        assert_eq!(of(""), (Choice::Auto, Offload::Off, false));
        assert_eq!(of("dataplane = \"userspace\""), (Choice::Userspace, Offload::Off, false));
        for (word, offload) in [
            ("off", Offload::Off),
            ("phy", Offload::Phy),
            ("mac", Offload::Mac),
            ("auto", Offload::Auto),
        ] {
            let lines =
                format!("dataplane = \"kernel\"\noffload = \"{word}\"\ndelete-on-stop = true");
            assert_eq!(of(&lines), (Choice::Kernel, offload, true));
        }
    }

    #[test]
    fn the_ways_of_a_port_reach_it_as_they_are_written() {
        let of = |lines: &str| {
            let text = port("eth1", lines, &["01"]);
            plan(&text).unwrap().ports[0].setup(Duration::ZERO).policy
        };
        let usual = of("");
        assert_eq!((usual.delay_protect, usual.manners), (false, Manners::default()));
        let policy = of("delay-protect = true\nannounce-suites = true\nicv-indicator = \"off\"\n\
             mka-version = 1\nmka-hello-seconds = 5\nmka-life-seconds = 20\n\
             lone-key-latest = true\nssci-order = \"by-sci\"");
        let manners = Manners {
            version: MkaVersion::V1,
            icv_indicator: IcvIndicator::Off,
            lone_key_in_latest: true,
            ssci: SsciOrder::BySci,
            announce: true,
            hello: Duration::from_secs(5),
            life: Duration::from_secs(20),
        };
        assert_eq!((policy.delay_protect, policy.manners), (true, manners));
    }

    #[test]
    fn the_kernel_data_plane_is_refused_with_an_offset_and_with_what_to_write_instead() {
        let lines = "dataplane = \"kernel\"\nconfidentiality-offset = 30";
        let refused = plan(&port("eth1", lines, &["01"])).unwrap_err();
        assert!(
            refused.contains("test.toml:6:26") && refused.contains("\"userspace\""),
            "{refused}"
        );
        plan(&port("eth1", "dataplane = \"auto\"\nconfidentiality-offset = 30", &["01"])).unwrap();
    }

    #[test]
    fn a_secure_interface_is_kept_unless_its_name_its_sci_or_its_maker_changes() {
        let of = |lines: &str| plan(&port("eth1", lines, &["01"])).unwrap().ports.remove(0);
        let before = of("replay-window = 64");
        for lines in ["replay-window = 65", "offload = \"mac\"", "confidentiality = false"] {
            assert!(of(lines).keeps_secure_interface_of(&before), "{lines}");
        }
        let others = ["dataplane = \"userspace\"", "confidentiality-offset = 30", "port-id = 2"];
        for lines in others {
            assert!(!of(lines).keeps_secure_interface_of(&before), "{lines}");
        }
        let text = port("eth1", "", &["01"]).replace("sec-eth1", "other");
        assert!(!plan(&text).unwrap().ports[0].keeps_secure_interface_of(&before));
    }

    #[test]
    fn another_control_socket_or_group_is_told_and_put_off() {
        let before = ControlConfig { socket: "/run/a.sock".into(), group: "a".to_owned() };
        assert!(control_changes(&before, &before).is_empty());
        let group = ControlConfig { group: "b".to_owned(), ..before.clone() };
        assert_eq!(
            control_changes(&before, &group),
            ["control-group = b: takes effect at the next start"]
        );
        let both = ControlConfig { socket: "/run/b.sock".into(), ..group };
        let lines = control_changes(&before, &both);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], "control-socket = /run/b.sock: takes effect at the next start");
    }

    #[test]
    fn settings_reach_the_policy() {
        let text = port(
            "eth1",
            "include-sci = false\nkey-server-priority = 7\npolicy = \"should-secure\"\n\
             replay-window = 9\nrekey-seconds = 3600\nconfidentiality = false\nport-id = 5\n\
             rekey-gigabytes = 7\neapol-destination = \"nearest-customer\"\n\
             eapol-ethertype = \"0x876f\"",
            &["01"],
        );
        let setup = plan(&text).unwrap().ports[0].setup(Duration::ZERO);
        assert_eq!((setup.port_id, setup.policy.sci.port()), (5, 5));
        assert_eq!(setup.policy.priority.0, 7);
        assert_eq!(setup.policy.access, Access::ShouldSecure);
        assert_eq!((setup.policy.include_sci, setup.policy.replay_window), (false, 9));
        assert_eq!(setup.policy.rekey_after, Some(Duration::from_secs(3600)));
        assert_eq!(setup.policy.rekey_octets, Some(7_000_000_000));
        assert_eq!(setup.policy.destination, MacAddress([0x01, 0x80, 0xc2, 0, 0, 0]));
        assert_eq!(setup.policy.ethertype, EapolEthertype::Carried);
        assert_eq!(setup.policy.offset, crate::ident::ConfidentialityOffset::IntegrityOnly);
    }
}
