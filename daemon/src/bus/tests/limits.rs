//! Connections: how many, how long half-open, and what is left of a refusal.

use super::*;
use crate::access::Mode;
use crate::serve::{Gate, Listener};
use std::io::Read;

/// Serves a socket in the world's directory with room for two connections.
async fn listening(world: &World, timeout: Duration) -> std::path::PathBuf {
    let mut settings = (*world.desk.engine.settings()).clone();
    settings.config.bus.handshake_timeout = timeout;
    world.desk.engine.set_settings(settings);
    let path = world.dir.path().join("bus.sock");
    let owner = rustix::process::geteuid().as_raw();
    let desk = Desk { access: Arc::new(Access::private(owner)), ..world.desk.clone() };
    let listener = Listener::bind(&path, Mode::Private { owner }, None).expect("bind");
    tokio::spawn(async move { listener.serve(&desk, &Gate::new(2, 2)).await });
    path
}

/// What a client that is turned away reads until the end.
fn last_words(mut socket: UnixStream) -> String {
    let mut words = String::new();
    socket.read_to_string(&mut words).expect("closed in an orderly way");
    words
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_recorded_once() {
    let world = World::new(1).await;
    let path = listening(&world, Duration::from_secs(60)).await;
    let _half_open = UnixStream::connect(&path).expect("connect");
    let socket = UnixStream::connect(&path).expect("connect");
    let client = Builder::unix_stream(socket).p2p().build().await.expect("handshake");
    for _ in 0..5 {
        let socket = UnixStream::connect(&path).expect("connect");
        let words = tokio::task::spawn_blocking(|| last_words(socket)).await.expect("read");
        assert!(words.starts_with("ERROR 2 connections are open"), "{words}");
    }
    until("a record", || world.count(Event::AuthFailure) > 0).await;
    assert_eq!(world.count(Event::AuthFailure), 1, "a flood of records");
    client.close().await.expect("closed");
    let again = async {
        loop {
            let socket = UnixStream::connect(&path).expect("connect");
            if let Ok(client) = Builder::unix_stream(socket).p2p().build().await {
                break client;
            }
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(30), again).await;
    assert!(again.is_ok(), "the place is not given back");
}

#[tokio::test]
async fn a_client_that_does_not_authenticate_is_dropped() {
    let world = World::new(1).await;
    let path = listening(&world, Duration::from_millis(50)).await;
    for _ in 0..2 {
        let idle = UnixStream::connect(&path).expect("connect");
        let words = tokio::task::spawn_blocking(|| last_words(idle)).await.expect("read");
        assert_eq!(words, "");
    }
    let socket = UnixStream::connect(&path).expect("connect");
    let client = Builder::unix_stream(socket).p2p().build().await.expect("handshake");
    let manager = ManagerProxy::new(&client).await.expect("proxy");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(manager.mode().await.expect("still served"), "private");
}
