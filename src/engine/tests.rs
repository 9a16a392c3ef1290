//! Tests of all engines.
