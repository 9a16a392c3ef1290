//! Which faults of the kernel's MACsec a kernel may still have, by its version.
//!
//! The spans are those of the kernel's own CVE records (`https://osv.dev/vulnerability/CVE-…`). They
//! count versions of kernel.org. A distribution that numbers its kernels otherwise may have fixed a
//! fault without a sign of it in the number; then what is said here is a question to it.

use std::fmt;

use super::Finding;

/// A version of kernel.org: of 6.1.176 the three numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct KernelVersion(pub u32, pub u32, pub u32);

/// The kernel that runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kernel {
    release: String,
    version: KernelVersion,
    /// The number is a distribution's own: it says where its kernel began, not what was fixed since.
    own_number: bool,
}

/// What has to be in use for a fault to matter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Concerns {
    All,
    Xpn,
    Offload,
}

/// A fault of the kernel's MACsec.
#[derive(Debug)]
struct Fault {
    cve: &'static str,
    effect: &'static str,
    concerns: Concerns,
    /// From which version on it is there, and from which one on not any more.
    spans: &'static [(KernelVersion, KernelVersion)],
}

const fn v(major: u32, minor: u32, patch: u32) -> KernelVersion {
    KernelVersion(major, minor, patch)
}

/// The newest first.
const FAULTS: &[Fault] = &[
    Fault {
        cve: "CVE-2026-72019",
        effect: "a program that sends frames past the queues has memory of the kernel sent out",
        concerns: Concerns::All,
        spans: &[
            (v(4, 6, 0), v(5, 10, 265)),
            (v(5, 11, 0), v(5, 15, 216)),
            (v(5, 16, 0), v(6, 1, 178)),
            (v(6, 2, 0), v(6, 6, 145)),
            (v(6, 7, 0), v(6, 12, 97)),
            (v(6, 13, 0), v(6, 18, 40)),
            (v(6, 19, 0), v(7, 1, 5)),
        ],
    },
    Fault {
        cve: "CVE-2026-63925",
        effect: "with XPN, a recorded frame can be delivered again and again",
        concerns: Concerns::Xpn,
        spans: &[
            (v(5, 7, 0), v(5, 10, 259)),
            (v(5, 11, 0), v(5, 15, 210)),
            (v(5, 16, 0), v(6, 1, 176)),
            (v(6, 2, 0), v(6, 6, 143)),
            (v(6, 7, 0), v(6, 12, 93)),
            (v(6, 13, 0), v(6, 18, 35)),
            (v(6, 19, 0), v(7, 0, 12)),
        ],
    },
    Fault {
        cve: "CVE-2025-39874",
        effect: "changing the features of the port with ethtool can lock up its interfaces",
        concerns: Concerns::All,
        spans: &[(v(6, 15, 0), v(6, 16, 8))],
    },
    Fault {
        cve: "CVE-2024-50261",
        effect: "with offload, deleting the secure interface under load can crash the kernel",
        concerns: Concerns::Offload,
        spans: &[(v(6, 1, 0), v(6, 1, 116)), (v(6, 2, 0), v(6, 6, 60)), (v(6, 7, 0), v(6, 11, 7))],
    },
    Fault {
        cve: "CVE-2022-49390",
        effect: "removing the port under its secure interface can crash the kernel",
        concerns: Concerns::All,
        spans: &[(v(5, 4, 0), v(5, 17, 15)), (v(5, 18, 0), v(5, 18, 3))],
    },
    Fault {
        cve: "CVE-2022-48720",
        effect: "with offload, what the card was told stays in it when the port is removed",
        concerns: Concerns::Offload,
        spans: &[
            (v(5, 6, 0), v(5, 10, 99)),
            (v(5, 11, 0), v(5, 15, 22)),
            (v(5, 16, 0), v(5, 16, 8)),
        ],
    },
];

impl Fault {
    /// The version of the same line of kernels that it is fixed in; `None` where it is not there.
    fn fixed(&self, version: KernelVersion) -> Option<KernelVersion> {
        let span = self.spans.iter().find(|(since, fixed)| (*since..*fixed).contains(&version));
        span.map(|(_, fixed)| *fixed)
    }
}

impl Kernel {
    /// Recognises a kernel by what `uname -r` and `uname -v` say of it; `None` where that begins with
    /// no number.
    ///
    /// Debian's `6.1.0-32-amd64` does not show the number of kernel.org, and its version does:
    /// `#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-09-02)`.
    #[must_use]
    pub fn read(release: &str, version: &str) -> Option<Self> {
        let number = KernelVersion::read(release)?;
        let KernelVersion(major, minor, patch) = number;
        let same_line = |other: &KernelVersion| (other.0, other.1) == (major, minor);
        let named = version.split_whitespace().filter_map(KernelVersion::read).filter(same_line);
        let better = named.max().filter(|other| *other > number);
        let own_number = better.is_none() && patch == 0 && release.contains('-');
        let release = release.to_owned();
        Some(Self { release, version: better.unwrap_or(number), own_number })
    }

    /// Tells what an operator should know who has the kernel's MACsec at work, with these in use.
    ///
    /// A fault that the kernel has is a warning (W604). Where the number of the kernel does not show
    /// whether a fault was fixed, it is a note (N604).
    #[must_use]
    pub fn finding(&self, xpn: bool, offload: bool) -> Option<Finding> {
        let matters = |fault: &&Fault| match fault.concerns {
            Concerns::All => true,
            Concerns::Xpn => xpn,
            Concerns::Offload => offload,
        };
        let faults: Vec<(&Fault, KernelVersion)> = FAULTS
            .iter()
            .filter(matters)
            .filter_map(|fault| Some((fault, fault.fixed(self.version)?)))
            .collect();
        let safe = faults.iter().map(|(_, fixed)| *fixed).max()?;
        let names: Vec<_> = faults.iter().map(|(fault, _)| fault.cve).collect();
        let each = faults
            .iter()
            .map(|(fault, fixed)| format!("{}: {}; fixed in {fixed}. ", fault.cve, fault.effect));
        let each: String = each.collect();
        let names = names.join(", ");
        Some(if self.own_number {
            Finding::new(
                "N604",
                format!("the kernel {self} does not show whether it has the fix of {names}"),
                format!(
                    "{each}Ask the distribution for them by these names, or write `dataplane = \"userspace\"`."
                ),
            )
        } else {
            Finding::new(
                "W604",
                format!("the MACsec of the kernel {self} lacks the fix of {names}"),
                format!(
                    "{each}Install a kernel from {safe} on, or write `dataplane = \"userspace\"` until then."
                ),
            )
        })
    }
}

impl KernelVersion {
    /// Reads the number at the start of a text, with or without a third part.
    fn read(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut parts = text.get(..end)?.split('.');
        let mut part = || parts.next().map(str::parse::<u32>);
        let (major, minor) = (part()?.ok()?, part()?.ok()?);
        let patch = part().and_then(Result::ok).unwrap_or(0);
        Some(Self(major, minor, patch))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Writes the release, and the number of kernel.org where the release does not show it.
impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if KernelVersion::read(&self.release) == Some(self.version) {
            return f.write_str(&self.release);
        }
        write!(f, "{} ({})", self.release, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(cve: &str, version: KernelVersion) -> bool {
        let fault = FAULTS.iter().find(|fault| fault.cve == cve).unwrap();
        fault.fixed(version).is_some()
    }

    /// Written out from the records, the last version with the fault and the first without it.
    #[test]
    fn each_fault_ends_and_begins_with_the_version_that_its_record_says() {
        for (cve, fixed) in [
            (
                "CVE-2026-63925",
                &[(5, 10, 259), (5, 15, 210), (6, 1, 176), (6, 6, 143), (6, 12, 93), (6, 18, 35)][..],
            ),
            ("CVE-2026-63925", &[(7, 0, 12)]),
            (
                "CVE-2026-72019",
                &[(5, 10, 265), (5, 15, 216), (6, 1, 178), (6, 6, 145), (6, 12, 97), (6, 18, 40)],
            ),
            ("CVE-2026-72019", &[(7, 1, 5)]),
            ("CVE-2025-39874", &[(6, 16, 8)]),
            ("CVE-2024-50261", &[(6, 1, 116), (6, 6, 60), (6, 11, 7)]),
            ("CVE-2022-49390", &[(5, 17, 15), (5, 18, 3)]),
            ("CVE-2022-48720", &[(5, 10, 99), (5, 15, 22), (5, 16, 8)]),
        ] {
            for &(major, minor, patch) in fixed {
                assert!(has(cve, v(major, minor, patch - 1)), "{cve} {major}.{minor}.{patch}");
                assert!(!has(cve, v(major, minor, patch)), "{cve} {major}.{minor}.{patch}");
                assert!(!has(cve, v(major, minor, patch + 1)), "{cve} {major}.{minor}.{patch}");
            }
        }
        for (cve, before, since) in [
            ("CVE-2026-63925", v(5, 6, 19), v(5, 7, 0)),
            ("CVE-2026-72019", v(4, 5, 7), v(4, 6, 0)),
            ("CVE-2025-39874", v(6, 14, 11), v(6, 15, 0)),
            ("CVE-2024-50261", v(6, 0, 19), v(6, 1, 0)),
            ("CVE-2022-49390", v(5, 3, 18), v(5, 4, 0)),
            ("CVE-2022-48720", v(5, 5, 19), v(5, 6, 0)),
        ] {
            assert!(!has(cve, before) && has(cve, since), "{cve}");
        }
        // A line of kernels that ended before the fix never got it.
        assert!(has("CVE-2026-63925", v(6, 17, 13)) && has("CVE-2026-72019", v(7, 0, 99)));
        assert!(FAULTS.iter().all(|fault| fault.fixed(v(7, 2, 0)).is_none()));
    }

    fn version(release: &str, version: &str) -> (KernelVersion, bool) {
        let kernel = Kernel::read(release, version).unwrap();
        (kernel.version, kernel.own_number)
    }

    #[test]
    fn a_kernel_is_recognised_by_release_and_where_that_hides_it_by_version() {
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-09-02)";
        assert_eq!(version("6.1.0-32-amd64", debian), (v(6, 1, 192), false));
        assert_eq!(
            version("6.12.90+deb13-amd64", "#1 SMP Debian 6.12.90-1"),
            (v(6, 12, 90), false)
        );
        assert_eq!(version("6.1.176", "#1 SMP"), (v(6, 1, 176), false));
        assert_eq!(version("6.6.143-g1a2b3c4", "#7 SMP PREEMPT"), (v(6, 6, 143), false));
        assert_eq!(version("6.19.0", "#1 SMP"), (v(6, 19, 0), false));
        assert_eq!(version("7.2", ""), (v(7, 2, 0), false));
        // A number of another line, or a lower one, is about something else.
        assert_eq!(version("6.1.176-x", "built with 9.9.9 on 6.1.20"), (v(6, 1, 176), false));
    }

    #[test]
    fn a_number_of_the_distribution_is_known_as_its_own() {
        let ubuntu = "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2026";
        assert_eq!(version("6.8.0-45-generic", ubuntu), (v(6, 8, 0), true));
        assert_eq!(version("5.14.0-503.11.1.el9_5.x86_64", "#1 SMP"), (v(5, 14, 0), true));
    }

    #[test]
    fn what_is_no_kernel_version_is_not_taken_for_one() {
        for release in ["", "six", "6", "6.", "6.x", "-6.1", "99999999999.1.1"] {
            assert_eq!(Kernel::read(release, "6.1.176"), None, "{release}");
        }
    }

    fn finding(release: &str, xpn: bool, offload: bool) -> Option<(&'static str, String)> {
        let found = Kernel::read(release, "").unwrap().finding(xpn, offload)?;
        Some((found.code, format!("{} | {}", found.title, found.advice)))
    }

    #[test]
    fn a_kernel_without_a_fix_is_named_with_the_version_that_has_all_of_them() {
        let (code, text) = finding("6.1.170", true, false).unwrap();
        assert_eq!(code, "W604");
        assert!(
            text.starts_with(
                "the MACsec of the kernel 6.1.170 lacks the fix of CVE-2026-72019, CVE-2026-63925 | "
            ),
            "{text}"
        );
        assert!(text.contains("delivered again and again; fixed in 6.1.176."), "{text}");
        assert!(text.contains("Install a kernel from 6.1.178 on"), "{text}");
    }

    #[test]
    fn what_is_not_in_use_does_not_count() {
        let (_, text) = finding("6.1.110", false, false).unwrap();
        assert!(!text.contains("CVE-2026-63925") && !text.contains("CVE-2024-50261"), "{text}");
        let (_, text) = finding("6.1.110", false, true).unwrap();
        assert!(text.contains("CVE-2024-50261"), "{text}");
        assert_eq!(finding("6.1.177", true, true).unwrap().1.matches("CVE").count(), 2);
        assert_eq!(finding("6.1.178", true, true), None);
        assert_eq!(finding("7.1.5", true, true), None);
    }

    #[test]
    fn a_number_that_does_not_show_it_is_a_note_and_a_question() {
        let (code, text) = finding("6.8.0-45-generic", true, false).unwrap();
        assert_eq!(code, "N604");
        assert!(text.contains("does not show whether") && text.contains("Ask the distribution"));
        let kernel = Kernel::read("6.1.0-32-amd64", "#1 SMP Debian 6.1.170-1").unwrap();
        let found = kernel.finding(true, false).unwrap();
        assert_eq!(found.code, "W604");
        assert!(
            found.title.contains("the kernel 6.1.0-32-amd64 (6.1.170) lacks"),
            "{}",
            found.title
        );
    }
}
