//! The kernel's numbers in `dataplane::kernel::uapi` are those of the installed kernel headers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "daemon")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use macsecd::dataplane::kernel::uapi;

const HEADERS: [&str; 6] =
    ["if.h", "if_link.h", "if_macsec.h", "genetlink.h", "netlink.h", "rtnetlink.h"];

/// Has the C compiler compare, without making anything.
fn compare(numbers: &[(&str, u32)]) -> Result<(), String> {
    let mut program = String::new();
    for header in HEADERS {
        writeln!(program, "#include <linux/{header}>").unwrap();
    }
    for (name, value) in numbers {
        writeln!(program, "_Static_assert({name} == {value}, \"{name}\");").unwrap();
    }
    let mut compiler = Command::new("cc")
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the crypto library needs a C compiler too");
    compiler.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn numbers() -> Vec<(&'static str, u32)> {
    let narrow = [
        ("MACSEC_VALIDATE_DISABLED", uapi::VALIDATE_DISABLED),
        ("MACSEC_VALIDATE_CHECK", uapi::VALIDATE_CHECK),
        ("MACSEC_VALIDATE_STRICT", uapi::VALIDATE_STRICT),
        ("MACSEC_OFFLOAD_OFF", uapi::OFFLOAD_OFF),
        ("MACSEC_OFFLOAD_PHY", uapi::OFFLOAD_PHY),
        ("MACSEC_OFFLOAD_MAC", uapi::OFFLOAD_MAC),
        ("IF_OPER_DORMANT", uapi::OPER_DORMANT),
        ("IF_OPER_UP", uapi::OPER_UP),
        ("IF_LINK_MODE_DORMANT", uapi::LINK_MODE_DORMANT),
        ("MACSEC_GENL_VERSION", uapi::FAMILY_VERSION),
    ];
    let wide = [("IFF_UP", uapi::IFF_UP), ("IFF_LOWER_UP", uapi::IFF_LOWER_UP)];
    let all = uapi::ALL.iter().map(|(name, value)| (*name, u32::from(*value)));
    all.chain(narrow.map(|(name, value)| (name, u32::from(value)))).chain(wide).collect()
}

#[test]
fn every_number_is_the_headers() {
    compare(&numbers()).unwrap();
}

#[test]
fn a_wrong_number_is_found() {
    let errors = compare(&[("MACSEC_CMD_ADD_TXSA", 5)]).unwrap_err();
    assert!(errors.contains("MACSEC_CMD_ADD_TXSA"), "{errors}");
}
