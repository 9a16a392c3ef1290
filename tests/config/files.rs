//! Files and their permissions: of keys, and of the configuration itself.

use std::{
    env, fs,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process,
};

use macsecd::config::{self, Code, KeyFileError, KeyReader, KeySource};

use super::PORT;

/// A directory of its own that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("macsecd-config-{}-{name}", process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, mode: u32, text: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        let mut options = fs::OpenOptions::new();
        fs::remove_file(&path).ok();
        let mut file = options.write(true).create_new(true).mode(mode).open(&path).unwrap();
        std::io::Write::write_all(&mut file, text).unwrap();
        // The mask may have taken bits away.
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn config(&self, cak: &str) -> PathBuf {
        let text = format!("{PORT}[[port.key]]\nckn = \"01\"\ncak = \"{cak}\"\n");
        self.file("macsecd.toml", 0o644, text.as_bytes())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

const CAK: &[u8] = b"c0c1c2c3c4c5c6c7c8c9cacbcccdcecf\n";

fn refusal(config: &Path) -> String {
    config::load(config).unwrap_err().render(false)
}

#[test]
fn a_key_is_read_from_a_private_file() {
    let scratch = Scratch::new("good");
    let key = scratch.file("a.cak", 0o600, CAK);
    let config = scratch.config(&format!("file:{}", key.display()));
    let (config, warnings) = config::load(&config).unwrap();
    assert_eq!((config.ports[0].keys[0].key.cak.len(), warnings.len()), (16, 0));
    assert_eq!(config.ports[0].keys[0].source, KeySource::File(key));
}

#[test]
fn a_key_file_that_others_can_read_or_write_is_refused_with_the_remedy() {
    let scratch = Scratch::new("open");
    for mode in [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610] {
        let key = scratch.file("a.cak", mode, CAK);
        let said = refusal(&scratch.config(&format!("file:{}", key.display())));
        assert!(said.contains(&format!("is open to others: its mode is {mode:04o}")), "{said}");
        assert!(said.contains(&format!("help: `chmod 600 {}`", key.display())), "{said}");
    }
}

#[test]
fn a_link_a_directory_a_pipe_and_a_device_are_no_key_files() {
    let scratch = Scratch::new("kinds");
    let key = scratch.file("a.cak", 0o600, CAK);
    let link = scratch.0.join("link");
    symlink(&key, &link).unwrap();
    let pipe = scratch.0.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let said = |path: &Path| refusal(&scratch.config(&format!("file:{}", path.display())));
    assert!(said(&link).contains("is a symbolic link"));
    assert!(said(&scratch.0).contains("is not a regular file"));
    // Nobody writes to it: a reader that waited would wait for ever.
    assert!(said(&pipe).contains("is not a regular file"));
    assert!(said(Path::new("/dev/null")).contains("is not a regular file"));
    assert!(said(&scratch.0.join("none")).contains("does not exist"));
    assert!(said(&scratch.0.join("a.cak/b")).contains("does not exist"));
}

#[test]
fn a_key_file_of_somebody_else_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new("owner");
    let key = scratch.file("a.cak", 0o600, CAK);
    std::os::unix::fs::chown(&key, Some(12345), None).unwrap();
    let said = refusal(&scratch.config(&format!("file:{}", key.display())));
    assert!(said.contains("belongs to user 12345, who could change it"), "{said}");
    assert!(said.contains("help: `chown root "), "{said}");
}

#[test]
fn a_key_file_far_too_long_is_refused_and_never_shown() {
    let scratch = Scratch::new("long");
    let key = scratch.file("a.cak", 0o600, &[b'7'; 5000]);
    let said = refusal(&scratch.config(&format!("file:{}", key.display())));
    assert!(said.contains("is too long for a key") && !said.contains("777"), "{said}");
}

#[test]
fn a_credential_is_read_from_the_service_managers_directory() {
    let scratch = Scratch::new("credential");
    scratch.file("link1", 0o440, CAK);
    let keys =
        config::SystemKeys::new(Some(scratch.0.clone()), vec![nix::unistd::geteuid().as_raw()]);
    let read = keys.read(&KeySource::Credential("link1".to_owned())).unwrap();
    assert_eq!(*read, CAK);
    scratch.file("link1", 0o444, CAK);
    let refused = keys.read(&KeySource::Credential("link1".to_owned())).unwrap_err();
    assert!(matches!(refused, KeyFileError::Open { mode: 0o444, .. }));
}

#[test]
fn a_configuration_that_holds_a_key_is_taken_only_if_private() {
    let scratch = Scratch::new("inline");
    let text = format!("{PORT}[[port.key]]\nckn = \"01\"\ncak = \"{}\"\n", "5a".repeat(16));
    let open = scratch.file("open.toml", 0o640, text.as_bytes());
    let private = scratch.file("private.toml", 0o600, text.as_bytes());
    assert!(refusal(&open).contains("error[inline-cak]") && !refusal(&open).contains("5a5a"));
    // One octet over and over draws a warning, and no refusal.
    assert_eq!(config::load(&private).unwrap().1[0].code(), Code::WeakCak);
}

#[test]
fn a_configuration_that_cannot_be_read_says_why() {
    let scratch = Scratch::new("unreadable");
    let none = scratch.0.join("none.toml");
    assert!(refusal(&none).starts_with("error[unreadable]: No such file"), "{}", refusal(&none));
    assert!(refusal(&scratch.0).contains("this is not a regular file"));
    let open = scratch.file("open.toml", 0o646, b"");
    let said = refusal(&open);
    assert!(said.starts_with("error[unprotected]: anybody may change this file"), "{said}");
    assert!(said.contains("help: `chmod o-w "), "{said}");
}

#[test]
fn a_configuration_that_its_group_can_change_is_refused() {
    use config::check::{CheckOptions, check};
    let scratch = Scratch::new("group");
    let key = scratch.file("a.cak", 0o600, CAK);
    let config = scratch.config(&format!("file:{}", key.display()));
    fs::set_permissions(&config, fs::Permissions::from_mode(0o664)).unwrap();
    let said = refusal(&config);
    assert!(said.starts_with("error[unprotected]: its group may change this file"), "{said}");
    assert!(said.contains("help: `chmod g-w "), "{said}");
    let options = CheckOptions { read_keys: false, explain: false, color: false };
    assert_eq!(check(&config, options).exit_code, 78);
}

#[test]
fn a_configuration_of_somebody_else_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new("stranger");
    let key = scratch.file("a.cak", 0o600, CAK);
    let config = scratch.config(&format!("file:{}", key.display()));
    std::os::unix::fs::chown(&config, Some(12345), None).unwrap();
    let said = refusal(&config);
    assert!(said.starts_with("error[unprotected]: this file belongs to user 12345"), "{said}");
    assert!(said.contains("help: `chown root "), "{said}");
}

#[test]
fn a_configuration_that_is_not_text_shows_where() {
    let scratch = Scratch::new("binary");
    let file = scratch.file("a.toml", 0o644, b"# good\n# caf\xe9\n");
    let error = config::load(&file).unwrap_err();
    let [found] = error.diagnostics() else { panic!("{error:?}") };
    assert_eq!((found.code(), found.position()), (Code::NotText, Some((2, 6))));
}

#[test]
fn check_says_good_with_0_and_refused_with_78() {
    use config::check::{CheckOptions, check};
    let options = CheckOptions { read_keys: true, explain: true, color: false };
    let scratch = Scratch::new("check");
    let key = scratch.file("a.cak", 0o600, CAK);
    let path = scratch.config(&format!("file:{}", key.display()));
    let good = check(&path, options);
    assert_eq!(good.exit_code, 0, "{}", good.text);
    assert!(good.text.contains("macsecd.toml: good, 1 port, 1 key\n"), "{}", good.text);
    assert!(good.text.contains("key 1: CKN 01, CAK of 16 octets, from file:"), "{}", good.text);
    assert!(good.text.contains("  port-id = 1  # default\n"), "{}", good.text);

    let elsewhere = scratch.config("file:/not/on/this/machine.cak");
    let refused = check(&elsewhere, options);
    assert_eq!(refused.exit_code, 78);
    assert!(refused.text.ends_with("macsecd.toml: refused, 1 error\n"), "{}", refused.text);
    let unread = check(&elsewhere, CheckOptions { read_keys: false, ..options });
    assert_eq!(unread.exit_code, 0);
    assert!(unread.text.contains("CAK not read"), "{}", unread.text);
    assert_eq!(check(&scratch.0.join("none"), options).exit_code, 78);
}
