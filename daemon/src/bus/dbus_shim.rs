//! The five methods of `org.freedesktop.DBus` without which busctl, gdbus and
//! the Python bindings do not talk to a peer-to-peer socket. There is one name
//! on such a connection, ours; matches are not needed, since everything that
//! may be heard is sent.

use super::door::Greeting;
use fetchml_api::names::BUS_NAME;
use zbus::{fdo, interface};

/// Where the bus daemon's object is.
pub(super) const PATH: &str = "/org/freedesktop/DBus";
/// The client's own name, the same on every connection.
const CLIENT: &str = ":1.1";
/// Our unique name.
pub(super) const SERVER: &str = ":1.0";

/// Stands in for the bus daemon.
#[derive(Debug)]
pub(super) struct DBusShim {
    pub(super) greeting: Greeting,
}

#[interface(name = "org.freedesktop.DBus", introspection_docs = false)]
impl DBusShim {
    fn hello(&self) -> &'static str {
        CLIENT
    }

    fn add_match(&self, _rule: &str) {
        self.greeting.over();
    }

    fn remove_match(&self, _rule: &str) {
        self.greeting.over();
    }

    fn get_name_owner(&self, name: &str) -> fdo::Result<&'static str> {
        match name {
            BUS_NAME | SERVER => Ok(SERVER),
            CLIENT => Ok(CLIENT),
            "org.freedesktop.DBus" => Ok("org.freedesktop.DBus"),
            _ => Err(fdo::Error::NameHasNoOwner(format!("nobody owns {name} on this socket"))),
        }
    }

    fn list_names(&self) -> Vec<&'static str> {
        vec!["org.freedesktop.DBus", BUS_NAME, SERVER, CLIENT]
    }
}
