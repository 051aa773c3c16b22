//! Clients.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::within;

pub type OutBody = BoxBody<Bytes, Infallible>;

/// A keep-alive connection.
pub struct Client(http1::SendRequest<OutBody>);

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// The head of the answer, and its body still to come.
    pub async fn send(&mut self, request: Request<OutBody>) -> hyper::Result<Response<Incoming>> {
        within("an answer", async {
            self.0.ready().await?;
            self.0.send_request(request).await
        })
        .await
    }

    /// Status and body.
    pub async fn get(&mut self, path: &str) -> hyper::Result<(u16, String)> {
        let response = self.send(get(path)).await?;
        let status = response.status().as_u16();
        Ok((status, text(response.into_body()).await?))
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// A connection that speaks HTTP/2 from the first byte.
pub async fn connect_http2(address: SocketAddr) -> http2::SendRequest<OutBody> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Over a connection of its own: status and body.
pub async fn get_once(address: SocketAddr, path: &str) -> hyper::Result<(u16, String)> {
    Client::connect(address).await.get(path).await
}

pub fn get(path: &str) -> Request<OutBody> {
    Request::get(path).header("host", "shop.example").body(Empty::new().boxed()).unwrap()
}

pub fn post(path: &str, body: &str) -> Request<OutBody> {
    Request::post(path).header("host", "shop.example").body(Full::from(body.to_owned()).boxed()).unwrap()
}

pub async fn text(body: Incoming) -> hyper::Result<String> {
    let bytes = within("a body", body.collect()).await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// Sends bytes as they are and reads until the connection ends.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = within("the end of the connection", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub async fn open_socket(address: SocketAddr) -> Socket {
    let url = format!("ws://{address}/socket");
    within("a WebSocket", tokio_tungstenite::connect_async(url)).await.unwrap().0
}

/// Sends a message over a WebSocket and checks that it comes back.
pub async fn echo(socket: &mut Socket, message: &str) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    socket.send(Message::text(message)).await.unwrap();
    let back = within("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(back, Message::text(message));
}
