//! The body of the fuzz target `config`: whatever is in the file, reading it ends with a value or
//! with an error that can be shown.

use std::path::Path;

use macsecd::config::{self, KeyFileError, KeyReader, KeySource};
use zeroize::Zeroizing;

/// Gives every source the same key.
struct OneKey;

impl KeyReader for OneKey {
    fn read(&self, _: &KeySource) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        Ok(Zeroizing::new(b"c0c1c2c3c4c5c6c7c8c9cacbcccdcecf\n".to_vec()))
    }
}

/// Reads `data` as a configuration file and draws whatever comes of it.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match config::parse(&text, Path::new("macsecd.toml"), 0o600, &OneKey) {
        Ok((config, warnings)) => {
            assert!(!config.ports.is_empty());
            for port in &config.ports {
                assert!(!port.keys.is_empty() && !port.link.cipher_suites.is_empty());
                assert!(port.same_settings(port) && port.same_keys(port));
                assert_ne!(port.interface, port.secure_interface);
            }
            let _ = config::render(&warnings, true);
        }
        Err(error) => {
            assert!(!error.diagnostics().is_empty());
            for diagnostic in error.diagnostics() {
                assert!(!diagnostic.title().is_empty() && !diagnostic.advice().is_empty());
                let _ = diagnostic.position();
            }
            let _ = (error.render(true), error.render(false), error.to_string());
        }
    }
}
