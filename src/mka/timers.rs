//! The times of MKA (802.1X-2020 Table 9-3).

use std::time::Duration;

/// How often a member is heard from: MKA Hello Time.
pub const HELLO: Duration = Duration::from_secs(2);

/// The same with delay protection: MKA Bounded Hello Time.
pub const BOUNDED_HELLO: Duration = Duration::from_millis(500);

/// How long a silent peer stays: MKA Life Time.
pub const LIFE: Duration = Duration::from_secs(6);

/// How long the old SA is still received after the new one transmits: SAK Retire Time.
pub const RETIRE: Duration = Duration::from_secs(3);
