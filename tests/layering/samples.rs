//! Shows that each rule can fail, on samples that break it, and where it must not.

use crate::rules::{self, File, Layers};
use crate::{CORE, LAYERS, UNSAFE, dependencies};

fn files(named: &[(&str, &str)]) -> Vec<File> {
    named.iter().map(|(name, text)| File::new(name, text)).collect()
}

fn layers(named: &[(&str, &str)]) -> Vec<String> {
    rules::layers(&files(named), LAYERS)
}

#[test]
fn a_path_up_the_layers_is_found_with_its_line() {
    let found = layers(&[("src/wire/eapol.rs", "use std::fmt;\n\nuse crate::mka::Kay;\n")]);
    assert_eq!(found, ["src/wire/eapol.rs:3: `wire` may not name `crate::mka::Kay`"]);
}

#[test]
fn a_path_up_the_layers_is_found_however_it_is_written() {
    for text in [
        "use crate::{ident::Sci, mka::Kay};",
        "use crate::{\n    ident::{Ckn, Sci},\n    mka,\n};",
        "use crate::mka as agreement;",
        "use crate::mka::*;",
        "pub(crate) use crate::mka::Kay;",
        "fn f() -> crate::mka::Kay { todo!() }",
        "macro_rules! kay { () => { $crate::mka::Kay } }",
        "use super::mka::Kay;",
        "mod inner { use super::super::mka::Kay; }",
        "use macsecd::mka::Kay;",
        "use ::macsecd::mka::Kay;",
    ] {
        assert_eq!(layers(&[("src/wire/mod.rs", text)]).len(), 1, "{text}");
    }
}

#[test]
fn the_whole_library_cannot_be_named() {
    for text in ["use crate as all;", "use crate::*;", "use super::*;", "use macsecd as all;"] {
        assert!(!layers(&[("src/wire/mod.rs", text)]).is_empty(), "{text}");
    }
}

#[test]
fn what_is_allowed_passes() {
    let found = layers(&[
        ("src/wire/mod.rs", "mod sectag;\npub use sectag::SecTag;\nuse self::sectag::V;"),
        ("src/wire/sectag.rs", "use super::ICV_LEN;\nuse crate::ident::{Sci, Ckn};"),
        ("src/secy/transform.rs", "use crate::wire::{ICV_LEN, SecTag};\nuse crate::crypto;"),
        ("src/bin/macsecd.rs", "fn main() { macsecd::daemon::main() }"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn comments_strings_and_tests_are_not_looked_at() {
    let text = r##"
        //! See [`crate::mka`].
        /* use crate::mka; /* nested */ use crate::sys; */
        const A: &str = "use crate::mka;";
        const B: &str = r#"" use crate::mka;"#;
        const C: (char, &[u8]) = ('"', b"\" use crate::mka;");
        fn life<'a>(x: &'a str) -> &'a str { x }
        #[cfg(test)]
        use crate::mka::Kay;
        #[cfg(test)]
        #[allow(clippy::panic)]
        mod tests { use crate::mka; fn f() { if true { crate::sys::f() } } }
        #[cfg(test)]
        mod more;
        #[cfg(test)]
        #[path = "far_tests.rs"]
        mod far;
    "##;
    let more = ("src/wire/more.rs", "use crate::mka;");
    let far = ("src/wire/far_tests.rs", "use crate::mka;");
    assert_eq!(layers(&[("src/wire/mod.rs", text), more, far]), [""; 0]);
    assert_eq!(layers(&[more, far]).len(), 2);
}

#[test]
fn code_after_a_test_module_and_under_not_test_is_looked_at() {
    for text in [
        "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::mka::Kay;",
        "#[cfg(not(test))]\nuse crate::mka::Kay;",
        "#[cfg(feature = \"daemon\")]\nuse crate::mka::Kay;",
        "const Q: char = '\\'';\nuse crate::mka::Kay; // '",
    ] {
        assert_eq!(layers(&[("src/wire/mod.rs", text)]).len(), 1, "{text}");
    }
}

/// Where a row allows a part of a module, a name counts as of the part that it is re-exported from.
#[test]
fn a_part_of_a_module_can_be_all_that_is_allowed() {
    let secy = (
        "src/secy/mod.rs",
        "mod command;\nmod model;\npub use command::{Id, Cmd};\npub use model::Model;",
    );
    let kay = |text| ("src/mka/kay.rs", text);
    assert_eq!(layers(&[secy, kay("use crate::secy::{Cmd, command::Id};")]), [""; 0]);
    assert_eq!(
        layers(&[secy, kay("use crate::secy::{Cmd, Model};")]),
        ["src/mka/kay.rs:1: `mka` may not name `crate::secy::model::Model`"]
    );
    assert_eq!(layers(&[secy, kay("use crate::secy;")]).len(), 1);
}

#[test]
fn a_submodule_with_its_own_row_is_held_to_it() {
    let port = ("src/port/mod.rs", "pub mod driver;\npub mod task;\npub use task::Task;");
    for text in ["use super::task::Task;", "use crate::port::Task;", "use crate::sys::Tap;"] {
        assert_eq!(layers(&[port, ("src/port/driver.rs", text)]).len(), 1, "{text}");
    }
    let below = ("src/port/driver/queue.rs", "use super::super::task::Task;");
    assert_eq!(layers(&[port, below]).len(), 1);
    let task = ("src/port/task.rs", "use super::driver::Driver;\nuse crate::sys::Tap;");
    assert_eq!(layers(&[port, task]), [""; 0]);
}

#[test]
fn a_module_without_a_row_is_found() {
    let found = layers(&[("src/helpers.rs", "")]);
    assert_eq!(found, ["src/helpers.rs: its module is not in the table of layers"]);
    assert_eq!(layers(&[("src/wire/mod.rs", "use crate::helpers::f;")]).len(), 1);
}

#[test]
fn the_machine_is_found_in_the_core() {
    for text in [
        "use std::time::Instant;",
        "use std::time::{Duration, SystemTime};",
        "use std::{fmt, net::IpAddr};",
        "fn f() { std::thread::yield_now() }",
        "use std::fs;",
        "use std::collections::HashMap;",
        "use tokio::sync::mpsc;",
        "fn f() { tracing::debug!(\"x\") }",
        "use libc;",
        "fn f() -> nix::Result<()> { Ok(()) }",
    ] {
        let core = files(&[("src/mka/kay.rs", text), ("src/port/driver.rs", text)]);
        assert_eq!(rules::core_is_pure(&core, CORE, LAYERS).len(), 2, "{text}");
        let rest = files(&[("src/port/task.rs", text), ("src/daemon/mod.rs", text)]);
        assert_eq!(rules::core_is_pure(&rest, CORE, LAYERS), [""; 0], "{text}");
    }
}

#[test]
fn the_core_may_use_the_rest_of_std() {
    let text = "use std::{collections::BTreeMap, fmt, time::Duration};\n// Instant, tokio::spawn\n\
                #[cfg(test)] mod tests { use std::collections::HashMap; }";
    let core = files(&[("src/mka/kay.rs", text)]);
    assert_eq!(rules::core_is_pure(&core, CORE, LAYERS), [""; 0]);
}

#[test]
fn unsafe_is_found_outside_its_fence_and_in_tests_too() {
    let block = "fn f() { unsafe { g() } }";
    let inside = files(&[("src/sys/tap.rs", block), ("src/engine/avx512/frame.rs", block)]);
    assert_eq!(rules::unsafe_is_fenced(&inside, UNSAFE), [""; 0]);
    let outside = files(&[
        ("src/secy/model.rs", "#[cfg(test)] mod tests { unsafe impl Send for X {} }"),
        ("tests/daemon.rs", block),
        ("src/system/mod.rs", block),
        ("src/wire/mod.rs", "#![forbid(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";"),
    ]);
    assert_eq!(rules::unsafe_is_fenced(&outside, UNSAFE).len(), 3);
}

#[test]
fn a_root_that_does_not_forbid_unsafe_code_is_found() {
    let good = "//! Doc.\n\n#![forbid(unsafe_code)]\n";
    let bad = "//! `#![forbid(unsafe_code)]`\n#![deny(unsafe_code)]\n";
    let all = files(&[
        ("src/time.rs", good),
        ("src/mka/mod.rs", bad),
        ("src/mka/kay.rs", bad),
        ("src/sys/mod.rs", bad),
        ("src/bin/macsecd.rs", bad),
    ]);
    let found = rules::roots_forbid_unsafe(&all, LAYERS, UNSAFE);
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("src/mka/mod.rs:1") && found[1].starts_with("src/bin/macsecd.rs"));
}

#[test]
fn a_library_that_differs_from_the_table_is_found() {
    const TABLE: &Layers = &[("ident", &[]), ("wire", &[]), ("wire::x", &[]), ("bin", &[])];
    let library = files(&[("src/lib.rs", "pub mod ident;\npub mod extra;")]);
    assert_eq!(
        rules::library_matches_table(&library, TABLE),
        [
            "src/lib.rs: `extra` is not in the table of layers",
            "src/lib.rs: `pub mod wire` is missing"
        ]
    );
}

#[test]
fn a_long_file_is_found() {
    let all = files(&[("src/a.rs", &"\n".repeat(800)), ("src/b.rs", &"\n".repeat(801))]);
    assert_eq!(rules::files_are_short(&all, 800), ["src/b.rs: 801 lines, 800 allowed"]);
}

#[test]
fn a_dependency_without_its_record_is_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# Why.\na = \"1\"\n\
                    b = { version = \"2.1\", optional = true }\n[dev-dependencies]\nc = \"3\"\n[lints.rust]\nd = \"deny\"\n";
    let record = "| `a` | 1 | MIT | |\n| `b` | 2 | MIT | |\n| `e` | 5 | MIT | |\n";
    assert_eq!(
        dependencies::differences(manifest, record),
        [
            "`b` is 2.1 in Cargo.toml and 2 in the record",
            "`c` is in Cargo.toml and not in the record",
            "`e` is in the record and not in Cargo.toml",
        ]
    );
}
