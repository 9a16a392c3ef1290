//! The control socket as a Varlink library of somebody else's sees it, and its description as that
//! library's parser reads it.

#![cfg(feature = "daemon")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod fake_daemon;

use fake_daemon::{Rig, degraded, listening, secured};
use futures_util::{Stream, StreamExt, pin_mut};
use macsecd::control::{INTERFACE_DESCRIPTION, Status};
use serde_json::Value;
use zlink::{
    idl::{Interface, Type},
    varlink_service::Proxy as _,
};

#[zlink::proxy("io.macsecd")]
trait Macsecd {
    async fn status(&mut self, interface: Option<&str>) -> zlink::Result<Result<Status, Refused>>;

    #[zlink(more)]
    async fn watch(
        &mut self,
        interface: Option<String>,
    ) -> zlink::Result<impl Stream<Item = zlink::Result<Result<Status, Refused>>>>;

    async fn rekey(&mut self, interface: &str) -> zlink::Result<Result<(), Refused>>;
}

#[derive(Debug, PartialEq, zlink::ReplyError)]
#[zlink(interface = "io.macsecd")]
enum Refused {
    PortNotFound { interface: String },
    NotPermitted,
    NotKeyServer { peer: String },
    Busy,
    NotSecured,
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn a_foreign_library_is_served() {
    let rig = Rig::start(vec![secured("eth1")]);
    block_on(async {
        let mut connection = zlink::tokio::unix::connect(rig.path()).await.unwrap();
        let info = connection.get_info().await.unwrap().unwrap();
        assert_eq!(info.product, "macsecd");

        let status = connection.status(None).await.unwrap().unwrap();
        assert_eq!(status.ports, [secured("eth1")]);

        let refused = connection.rekey("follower").await.unwrap().unwrap_err();
        assert_eq!(refused, Refused::NotKeyServer { peer: "02:00:00:00:00:02/0001".to_owned() });
        let refused = connection.rekey("busy").await.unwrap().unwrap_err();
        assert_eq!(refused, Refused::Busy);

        let replies = connection.watch(None).await.unwrap();
        pin_mut!(replies);
        let first = replies.next().await.unwrap().unwrap().unwrap();
        assert_eq!(first.ports, [secured("eth1")]);
        rig.fake.publish(vec![listening("eth1")]);
        let second = replies.next().await.unwrap().unwrap().unwrap();
        assert_eq!(second.ports, [listening("eth1")]);
    });
}

#[test]
fn a_foreign_parser_reads_both_descriptions() {
    let rig = Rig::start(vec![]);
    block_on(async {
        let mut connection = zlink::tokio::unix::connect(rig.path()).await.unwrap();
        for (name, methods) in [("io.macsecd", 4), ("org.varlink.service", 2)] {
            let name = name.try_into().unwrap();
            let description = connection.get_interface_description(name).await.unwrap().unwrap();
            assert_eq!(description.parse().unwrap().methods().count(), methods);
        }
    });
}

/// Fails where a value is not of a type, or has a field that the type does not name.
fn check(interface: &Interface<'_>, ty: &Type<'_>, value: &Value, at: &str) {
    match (ty, value) {
        (Type::Optional(_), Value::Null)
        | (Type::Bool, Value::Bool(_))
        | (Type::String, Value::String(_)) => {}
        (Type::Int, Value::Number(number)) => assert!(number.is_u64(), "{at}: {number}"),
        (Type::Float, Value::Number(number)) => assert!(number.is_f64(), "{at}: {number}"),
        (Type::Optional(ty), value) => check(interface, ty.inner(), value, at),
        (Type::Array(ty), Value::Array(values)) => {
            for value in values {
                check(interface, ty.inner(), value, at);
            }
        }
        (Type::Map(ty), Value::Object(values)) => {
            for value in values.values() {
                check(interface, ty.inner(), value, at);
            }
        }
        (Type::Custom(name), value) => check_custom(interface, name.as_str(), value, at),
        (ty, value) => panic!("{at}: {value} is no {ty}"),
    }
}

fn check_custom(interface: &Interface<'_>, name: &str, value: &Value, at: &str) {
    let ty = interface.custom_types().find(|ty| ty.name().as_str() == name).unwrap();
    if let Some(ty) = ty.as_enum() {
        let text = value.as_str().unwrap();
        assert!(ty.variants().any(|variant| variant.name() == text), "{at}: {text}");
        return;
    }
    let mut fields = value.as_object().unwrap().clone();
    for field in ty.as_object().unwrap().fields() {
        let at = format!("{at}.{}", field.name());
        // A field that may be null may be left out.
        let value = fields.remove(field.name().as_str()).unwrap_or_default();
        check(interface, field.ty(), &value, &at);
    }
    assert!(fields.is_empty(), "{at}: not in the description: {fields:?}");
}

#[test]
fn the_description_names_every_field_of_the_document_and_its_type() {
    let interface = Interface::try_from(INTERFACE_DESCRIPTION).unwrap();
    let status = interface.methods().find(|method| method.name().as_str() == "Status").unwrap();
    let document =
        serde_json::to_value(Status::new(vec![secured("a"), listening("b"), degraded("c")]))
            .unwrap();
    for output in status.outputs() {
        let name = output.name().as_str();
        check(&interface, output.ty(), document.get(name).unwrap(), name);
    }
    assert_eq!(document.as_object().unwrap().len(), status.outputs().count());
}
