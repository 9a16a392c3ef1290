//! Varlink messages: calls and replies as JSON, and which calls there are.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};

/// What the service offers, for anybody who asks it.
pub const INTERFACE_DESCRIPTION: &str = include_str!("io.macsecd.varlink");

/// The interface that every Varlink service has.
const SERVICE_DESCRIPTION: &str = include_str!("org.varlink.service.varlink");

const INTERFACE: &str = "io.macsecd";
const SERVICE_INTERFACE: &str = "org.varlink.service";

/// A call, as it comes or goes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) method: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) parameters: Value,
    /// The caller wants no reply.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) oneway: bool,
    /// The caller takes any number of replies.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) more: bool,
    /// The caller wants to speak another protocol from here on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) upgrade: bool,
}

/// A reply, as it goes.
#[derive(Debug, Serialize)]
pub(crate) struct Reply<P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'static str>,
    /// Left out where there are none: some libraries want it so in an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<P>,
    /// Another follows.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) continues: bool,
}

/// A reply, as it comes: its parameters are left as they were written.
#[derive(Debug, Deserialize)]
pub(crate) struct RawReply {
    #[serde(default)]
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) parameters: Option<Box<RawValue>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Turns a call or a reply into octets, with the NUL that ends it.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut octets = serde_json::to_vec(message)?;
    octets.push(0);
    Ok(octets)
}

/// What a client can ask for.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Request {
    GetInfo,
    GetInterfaceDescription { description: &'static str },
    Status { interface: Option<String> },
    Watch { interface: Option<String> },
    Rekey { interface: String },
    Reload,
}

/// An error of the interface `org.varlink.service`: the call itself is wrong.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    InterfaceNotFound(String),
    MethodNotFound(String),
    InvalidParameter(String),
    ExpectedMore,
}

impl Fault {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::InterfaceNotFound(_) => "org.varlink.service.InterfaceNotFound",
            Self::MethodNotFound(_) => "org.varlink.service.MethodNotFound",
            Self::InvalidParameter(_) => "org.varlink.service.InvalidParameter",
            Self::ExpectedMore => "org.varlink.service.ExpectedMore",
        }
    }

    pub(crate) fn parameters(&self) -> Option<Value> {
        Some(match self {
            Self::InterfaceNotFound(interface) => json!({ "interface": interface }),
            Self::MethodNotFound(method) => json!({ "method": method }),
            Self::InvalidParameter(parameter) => json!({ "parameter": parameter }),
            Self::ExpectedMore => return None,
        })
    }
}

impl Request {
    /// Reads what is asked for.
    ///
    /// A parameter that is not known is refused: to pass over one that was meant to restrain a
    /// change would be worse than to say no.
    pub(crate) fn from_call(call: &Call) -> Result<Self, Fault> {
        if call.upgrade {
            return Err(Fault::InvalidParameter("upgrade".into()));
        }
        let (interface, method) = call
            .method
            .rsplit_once('.')
            .ok_or_else(|| Fault::InterfaceNotFound(call.method.clone()))?;
        let parameters = Parameters::of(call)?;
        match (interface, method) {
            (SERVICE_INTERFACE, "GetInfo") => parameters.none().map(|()| Self::GetInfo),
            (SERVICE_INTERFACE, "GetInterfaceDescription") => {
                let description = describe(parameters.required_interface()?)?;
                Ok(Self::GetInterfaceDescription { description })
            }
            (INTERFACE, "Status") => {
                parameters.optional_interface().map(|interface| Self::Status { interface })
            }
            (INTERFACE, "Watch") if !call.more => Err(Fault::ExpectedMore),
            (INTERFACE, "Watch") => {
                parameters.optional_interface().map(|interface| Self::Watch { interface })
            }
            (INTERFACE, "Rekey") => {
                parameters.required_interface().map(|interface| Self::Rekey { interface })
            }
            (INTERFACE, "Reload") => parameters.none().map(|()| Self::Reload),
            (SERVICE_INTERFACE | INTERFACE, _) => Err(Fault::MethodNotFound(call.method.clone())),
            (unknown, _) => Err(Fault::InterfaceNotFound(unknown.to_owned())),
        }
    }
}

fn describe(interface: String) -> Result<&'static str, Fault> {
    match interface.as_str() {
        INTERFACE => Ok(INTERFACE_DESCRIPTION),
        SERVICE_INTERFACE => Ok(SERVICE_DESCRIPTION),
        _ => Err(Fault::InterfaceNotFound(interface)),
    }
}

/// The reply to `GetInfo`.
pub(crate) fn info() -> Value {
    json!({
        "vendor": "macsecd",
        "product": "macsecd",
        "version": env!("CARGO_PKG_VERSION"),
        "url": env!("CARGO_PKG_REPOSITORY"),
        "interfaces": [SERVICE_INTERFACE, INTERFACE],
    })
}

/// The parameters of a call. No method has any but `interface`.
struct Parameters<'a>(Option<&'a Map<String, Value>>);

impl<'a> Parameters<'a> {
    fn of(call: &'a Call) -> Result<Self, Fault> {
        match &call.parameters {
            Value::Null => Ok(Self(None)),
            Value::Object(map) => Ok(Self(Some(map))),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(Fault::InvalidParameter("parameters".into()))
            }
        }
    }

    fn none(self) -> Result<(), Fault> {
        self.0
            .and_then(|map| map.keys().next())
            .map_or(Ok(()), |key| Err(Fault::InvalidParameter(key.clone())))
    }

    fn optional_interface(self) -> Result<Option<String>, Fault> {
        let Some(map) = self.0 else { return Ok(None) };
        if let Some(stranger) = map.keys().find(|key| *key != "interface") {
            return Err(Fault::InvalidParameter(stranger.clone()));
        }
        match map.get("interface") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(interface)) => Ok(Some(interface.clone())),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(Fault::InvalidParameter("interface".into()))
            }
        }
    }

    fn required_interface(self) -> Result<String, Fault> {
        self.optional_interface()?.ok_or_else(|| Fault::InvalidParameter("interface".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Request, Fault> {
        Request::from_call(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn each_method_is_found_by_its_full_name() {
        let eth1 = || "eth1".to_owned();
        for (json, request) in [
            (r#"{"method":"org.varlink.service.GetInfo"}"#, Request::GetInfo),
            (r#"{"method":"org.varlink.service.GetInfo","parameters":{}}"#, Request::GetInfo),
            (r#"{"method":"io.macsecd.Status"}"#, Request::Status { interface: None }),
            (
                r#"{"method":"io.macsecd.Status","parameters":{"interface":null}}"#,
                Request::Status { interface: None },
            ),
            (
                r#"{"method":"io.macsecd.Status","parameters":{"interface":"eth1"}}"#,
                Request::Status { interface: Some(eth1()) },
            ),
            (r#"{"method":"io.macsecd.Watch","more":true}"#, Request::Watch { interface: None }),
            (
                r#"{"method":"io.macsecd.Rekey","parameters":{"interface":"eth1"}}"#,
                Request::Rekey { interface: eth1() },
            ),
            (r#"{"method":"io.macsecd.Reload","parameters":null}"#, Request::Reload),
        ] {
            assert_eq!(read(json), Ok(request), "{json}");
        }
    }

    #[test]
    fn a_wrong_call_is_refused_by_what_is_wrong_with_it() {
        let text = |text: &str| text.to_owned();
        for (json, fault) in [
            (r#"{"method":"Status"}"#, Fault::InterfaceNotFound(text("Status"))),
            (r#"{"method":"io.other.Status"}"#, Fault::InterfaceNotFound(text("io.other"))),
            (
                r#"{"method":"io.macsecd.Explode"}"#,
                Fault::MethodNotFound(text("io.macsecd.Explode")),
            ),
            (r#"{"method":"io.macsecd.Watch"}"#, Fault::ExpectedMore),
            (r#"{"method":"io.macsecd.Rekey"}"#, Fault::InvalidParameter(text("interface"))),
            (
                r#"{"method":"io.macsecd.Rekey","parameters":{"interface":7}}"#,
                Fault::InvalidParameter(text("interface")),
            ),
            (
                r#"{"method":"io.macsecd.Rekey","parameters":{"interface":"eth1","dry_run":true}}"#,
                Fault::InvalidParameter(text("dry_run")),
            ),
            (
                r#"{"method":"io.macsecd.Reload","parameters":{"force":true}}"#,
                Fault::InvalidParameter(text("force")),
            ),
            (
                r#"{"method":"io.macsecd.Status","parameters":[1]}"#,
                Fault::InvalidParameter(text("parameters")),
            ),
            (
                r#"{"method":"io.macsecd.Status","upgrade":true}"#,
                Fault::InvalidParameter(text("upgrade")),
            ),
        ] {
            assert_eq!(read(json), Err(fault), "{json}");
        }
    }
}
