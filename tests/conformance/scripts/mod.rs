//! The scripts, by what they are about.

mod boundary;
mod closed;
mod keys;
mod protect;
mod random;
mod receive;
mod refused;
mod replay;
mod tags;

use macsecd::secy::{SecySettings, Validate};

use crate::secy::STRICT;

/// Frames that fail the check are delivered all the same, where they are in clear.
const CHECK: SecySettings = SecySettings { validate: Validate::Check, ..STRICT };
/// Frames in clear are not checked.
const DISABLED: SecySettings = SecySettings { validate: Validate::Disabled, ..STRICT };
