//! The tool's end: blocking, and never for longer than it is told.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    message::{self, Call, RawReply},
    refusal::Refusal,
    status::{SCHEMA, Status},
};

/// A connection to the daemon, for one request at a time.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// A status as it was sent, and as it was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// All that the daemon said, in one line, with what a later daemon may have added.
    pub json: String,
    /// What this version knows of it.
    pub status: Status,
}

/// What the daemon says of itself.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
pub struct Info {
    /// Whose it is.
    pub vendor: String,
    /// What it is.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The interfaces it serves.
    pub interfaces: Vec<String>,
}

/// Why there is no answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("macsecd is not running: nothing answers on {}", .0.display())]
    NotRunning(PathBuf),
    /// The socket is not for this user.
    #[error("not permitted to open {}; it is for root and its group", .0.display())]
    SocketClosed(PathBuf),
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The daemon knows no such method or parameter: it is of another version.
    #[error("the daemon does not understand this request ({0}); is it of another version?")]
    NotUnderstood(String),
    /// The time was up.
    #[error("the daemon did not answer in time")]
    TimedOut,
    /// The daemon went away.
    #[error("the daemon closed the connection")]
    Closed,
    /// What came back makes no sense.
    #[error("the daemon's answer cannot be read: {0}")]
    Unreadable(String),
    /// The system said no.
    #[error("the control socket: {0}")]
    Io(io::Error),
}

impl Client {
    /// Connects to the daemon at `path`.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`] and [`ClientError::SocketClosed`] above all.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = open(path).map_err(|error| {
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
                ClientError::NotRunning(path.to_owned())
            } else if error.kind() == ErrorKind::PermissionDenied {
                ClientError::SocketClosed(path.to_owned())
            } else {
                error.into()
            }
        })?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks the daemon who it is.
    ///
    /// # Errors
    ///
    /// Where no answer comes that can be read.
    pub fn info(&mut self) -> Result<Info, ClientError> {
        let parameters = self.call("org.varlink.service.GetInfo", Value::Null)?;
        serde_json::from_str(&parameters).map_err(unreadable)
    }

    /// Asks for the status of all ports, or of one.
    ///
    /// # Errors
    ///
    /// [`Refusal::PortNotFound`], or where no answer comes that can be read.
    pub fn status(&mut self, interface: Option<&str>) -> Result<Document, ClientError> {
        let json = self.call("io.macsecd.Status", one_port(interface))?;
        Document::read(json)
    }

    /// Has a new SAK made.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], or where no answer comes.
    pub fn rekey(&mut self, interface: &str) -> Result<(), ClientError> {
        self.call("io.macsecd.Rekey", one_port(Some(interface))).map(drop)
    }

    /// Has the configuration read again, and gives what changed, a line each.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], or where no answer comes.
    pub fn reload(&mut self) -> Result<Vec<String>, ClientError> {
        #[derive(Deserialize)]
        struct Reloaded {
            changes: Vec<String>,
        }
        let parameters = self.call("io.macsecd.Reload", Value::Null)?;
        serde_json::from_str(&parameters).map(|Reloaded { changes }| changes).map_err(unreadable)
    }

    /// Asks to be told of each change.
    ///
    /// # Errors
    ///
    /// Where the question cannot be sent; the rest shows in [`Watch::next`].
    pub fn watch(mut self, interface: Option<&str>) -> Result<Watch, ClientError> {
        self.send(&Call {
            method: "io.macsecd.Watch".to_owned(),
            parameters: one_port(interface),
            more: true,
            ..Call::default()
        })?;
        Ok(Watch { client: self })
    }

    fn call(&mut self, method: &str, parameters: Value) -> Result<String, ClientError> {
        self.send(&Call { method: method.to_owned(), parameters, ..Call::default() })?;
        self.receive(Instant::now() + ANSWER)
    }

    fn send(&mut self, call: &Call) -> Result<(), ClientError> {
        let octets = message::encode(call).map_err(unreadable)?;
        match self.stream.get_mut().write_all(&octets) {
            // A daemon that is full says so and hangs up: what it said is still to be read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(ClientError::from),
        }
    }

    /// Reads a reply and gives its parameters, as they were written.
    fn receive(&mut self, deadline: Instant) -> Result<String, ClientError> {
        let octets = self.read_message(deadline)?;
        let reply: RawReply = serde_json::from_slice(&octets).map_err(unreadable)?;
        let parameters =
            reply.parameters.map_or_else(|| "{}".to_owned(), |raw| Box::<str>::from(raw).into());
        let Some(name) = reply.error else { return Ok(parameters) };
        let values = serde_json::from_str(&parameters).map_err(unreadable)?;
        Err(Refusal::from_reply(&name, &values)
            .map_or(ClientError::NotUnderstood(name), ClientError::Refused))
    }

    fn read_message(&mut self, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        let mut message = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::TimedOut);
            }
            self.stream.get_ref().set_read_timeout(Some(left)).map_err(ClientError::from)?;
            let chunk = match self.stream.fill_buf() {
                Ok([]) => return Err(ClientError::Closed),
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let end = chunk.iter().position(|octet| *octet == 0);
            let (length, used) = end.map_or((chunk.len(), chunk.len()), |end| (end, end + 1));
            message.extend(chunk.iter().take(length));
            self.stream.consume(used);
            if end.is_some() {
                return Ok(message);
            }
            if message.len() > REPLY_OCTETS {
                return Err(ClientError::Unreadable("it does not end".to_owned()));
            }
        }
    }
}

/// The status, again and again.
#[derive(Debug)]
pub struct Watch {
    client: Client,
}

impl Watch {
    /// Waits until the daemon tells of a change, or `deadline`.
    ///
    /// # Errors
    ///
    /// [`ClientError::TimedOut`] at the deadline. After that and any other error the watch is over.
    pub fn next(&mut self, deadline: Instant) -> Result<Document, ClientError> {
        self.client.receive(deadline).and_then(Document::read)
    }
}

impl Document {
    fn read(json: String) -> Result<Self, ClientError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } = serde_json::from_str(&json).map_err(unreadable)?;
        if schema != SCHEMA {
            return Err(ClientError::Unreadable(format!(
                "its schema is {schema}, and this tool knows {SCHEMA}; is it of another version?"
            )));
        }
        let status = serde_json::from_str(&json).map_err(unreadable)?;
        Ok(Self { json, status })
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            Self::TimedOut
        } else if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
            Self::Closed
        } else {
            Self::Io(error)
        }
    }
}

fn open(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Holds for connecting too, which waits where the daemon has stopped taking clients in.
    socket.set_write_timeout(Some(ANSWER))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

fn one_port(interface: Option<&str>) -> Value {
    interface.map_or(Value::Null, |interface| json!({ "interface": interface }))
}

#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
fn unreadable(error: serde_json::Error) -> ClientError {
    ClientError::Unreadable(error.to_string())
}

/// How long the daemon may take; longer than it allows itself, so that its own word is heard.
const ANSWER: Duration = Duration::from_secs(15);

/// The longest reply that is read. A hundred ports need a tenth of it.
const REPLY_OCTETS: usize = 16 * 1024 * 1024;
