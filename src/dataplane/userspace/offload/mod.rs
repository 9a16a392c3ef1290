//! What a network card does for the system, done here: frames that are many in one are cut up on
//! the way out, and frames of one flow joined on the way in.
//!
//! A frame costs the system most when it is handed over, whatever its length. So the tap gives and
//! takes up to 64 KiB at once, and only the wire sees frames of the MTU. Everything here is a
//! function of octets: no socket, no clock, no allocation.

mod checksum;
mod coalesce;
mod headers;
mod segment;

#[cfg(test)]
mod tests;

pub(super) use coalesce::Coalescer;
pub(super) use segment::Pieces;
