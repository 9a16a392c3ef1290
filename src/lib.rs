//! A MACsec daemon for Linux edge routers: MKA (IEEE 802.1X-2020) from a CAK and CKN to
//! protected frames (IEEE 802.1AE-2018).
//!
//! Read from the top: [`ident`] and [`time`] are the vocabulary, [`wire`] and [`crypto`] the
//! octets and the keys, [`engine`] the cipher for many frames, [`secy`] what a SecY is, [`keyring`] and [`mka`] the key agreement,
//! [`diagnose`] the reasons, and [`port`] one port of the router. Those do no I/O and know no
//! clock. The rest, behind the `daemon` feature, touches the machine. `docs/architecture.md` has
//! the picture.

#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod control;
pub mod crypto;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod dataplane;
pub mod diagnose;
pub mod engine;
pub mod ident;
pub mod keyring;
pub mod mka;
pub mod port;
#[cfg(feature = "daemon")]
pub mod profile;
pub mod secy;
#[cfg(feature = "daemon")]
pub mod sys;
pub mod time;
pub mod wire;
