//! The control socket: what is said over it, the daemon's end and the tool's end.
//!
//! The language is Varlink (JSON messages, each ended by a NUL octet), so that `varlinkctl` and any
//! language with a JSON parser can speak it. [`INTERFACE_DESCRIPTION`] is the contract with them;
//! [`Status`] is its one large type.
//!
//! The framing is done here and not by a library. The one library that could have done it serves
//! all its clients from one task and awaits each write there, so that a client that stops reading
//! would stop everybody; and it lets a request grow to 100 MB. Here every client has a task, a
//! limit on what it may send and a time within which it must take what it asked for ([`Limits`]),
//! and none of them can hold up the daemon. The tests use that library as a foreign client.

#![forbid(unsafe_code)]

mod access;
mod client;
mod frame;
mod message;
mod refusal;
mod server;
mod session;
mod socket;
mod status;

pub use access::{Action, permits};
pub use client::{Client, ClientError, Document, Info, Watch};
pub use message::INTERFACE_DESCRIPTION;
pub use refusal::Refusal;
pub use server::{Limits, Server, Service};
pub use socket::{BindError, ControlSocket};
pub use status::{
    Dataplane, Kernel, KeyServer, Mka, Offload, Participant, Peer, PortState, PortStatus, Reason,
    Role, SCHEMA, Sak, Severity, Status,
};

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/macsecd/control.sock";

/// Who may look at the status, besides root, unless the daemon is told otherwise.
pub const DEFAULT_GROUP: &str = "macsecd";
