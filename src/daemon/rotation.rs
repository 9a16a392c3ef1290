//! Which keys of a port are preferred when: the shell's part of it, for the core knows no date.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{KeyConfig, PortConfig, RotationChoice, StartTime};
use crate::keyring::{KeyRing, KeyRingError, Preference};

/// Seconds since 1970 by the clock on the wall, which can be wrong, and can be set.
pub(super) fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The keys of a port as they are to be preferred at this time, in seconds since 1970.
///
/// # Errors
///
/// Where they cannot stand in one ring.
pub(super) fn ring(port: &PortConfig, now: u64) -> Result<KeyRing, KeyRingError> {
    let mut keys: Vec<&KeyConfig> = port.keys.iter().collect();
    let preference = match port.link.rotation {
        RotationChoice::FollowPeer => Preference::LastSpoken,
        RotationChoice::NewestWithFallback | RotationChoice::PrimaryFallback => Preference::InOrder,
        RotationChoice::StartTime => {
            keys.sort_by_key(|key| StartTime::place(key.start, now));
            Preference::InOrder
        }
    };
    let keys = keys.into_iter().map(|key| Arc::clone(&key.key)).collect();
    Ok(KeyRing::new(keys)?.preferring(preference))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Config};

    fn config(rotation: &str, keys: &[(&str, &str)]) -> Config {
        let key = |(at, (ckn, start)): (usize, &(&str, &str))| {
            format!("[[port.key]]\nckn = \"{ckn}\"\ncak = \"{:032x}\"\n{start}\n", at + 1)
        };
        let keys: String = keys.iter().enumerate().map(key).collect();
        let text = format!(
            "[[port]]\ninterface = \"eth1\"\ncipher-suites = [\"gcm-aes-128\"]\n\
             rotation = \"{rotation}\"\n{keys}"
        );
        let reader = config::SystemKeys::from_env();
        config::parse(&text, Path::new("test.toml"), 0o600, &reader).unwrap().0
    }

    fn order(config: &Config, now: u64) -> String {
        let ring = ring(&config.ports[0], now).unwrap();
        let names: Vec<_> = ring.iter().map(|key| key.ckn.to_string()).collect();
        names.join(" ")
    }

    const STARTS: [(&str, &str); 4] = [
        ("01", ""),
        ("02", "start = 1970-01-01T00:00:20Z"),
        ("03", "start = \"1970-01-01T00:00:10Z\""),
        ("04", "start = \"1970-01-01T00:00:30Z\""),
    ];

    #[test]
    fn the_key_that_started_last_comes_first_and_those_to_come_come_last() {
        let config = config("start-time", &STARTS);
        for (now, names) in [
            (0, "01 03 02 04"),
            (10, "03 01 02 04"),
            (29, "02 03 01 04"),
            (30, "04 02 03 01"),
            (1 << 40, "04 02 03 01"),
        ] {
            assert_eq!(order(&config, now), names, "{now}");
        }
    }

    #[test]
    fn without_starts_the_order_is_that_of_the_file() {
        for rotation in ["start-time", "newest-with-fallback", "primary-fallback", "follow-peer"] {
            let config = config(rotation, &[("02", ""), ("01", ""), ("03", "")]);
            assert_eq!(order(&config, 50), "02 01 03", "{rotation}");
        }
        assert_eq!(order(&config("follow-peer", &STARTS), 50), "01 02 03 04");
    }

    #[test]
    fn only_following_goes_by_what_was_spoken_last() {
        for (rotation, preference) in [
            ("start-time", Preference::InOrder),
            ("newest-with-fallback", Preference::InOrder),
            ("primary-fallback", Preference::InOrder),
            ("follow-peer", Preference::LastSpoken),
        ] {
            let config = config(rotation, &STARTS);
            assert_eq!(ring(&config.ports[0], 0).unwrap().preference(), preference, "{rotation}");
        }
    }
}
