//! What becomes of the header fields of a message that passes through.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The client's address. What clients send under these names is replaced: the front is the edge, there is nobody
/// before it who could be trusted.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `http` or `https`.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host (and port) that the client asked for.
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Asks a server to speak HTTP/2 on this connection: the front does not pass that on, because it would no longer
/// see the requests.
const HTTP2_SETTINGS: &str = "http2-settings";

/// Fields that are meant for the next hop only (RFC 9110, 7.6.1), in both directions.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Fields by which a client could pretend to be somebody else, or to have come another way.
///
/// Servers that map field names to variables (CGI, WSGI, Rack) do not tell `_` from `-`, so neither does this.
fn is_claim_of_a_proxy(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let is = |known: &[u8]| {
        name.len() == known.len() && name.iter().zip(known).all(|(a, b)| a == b || (*a == b'_' && *b == b'-'))
    };
    match name.first() {
        // The last one becomes HTTP_PROXY, the variable that some programs take their own proxy from.
        Some(b'p') => is(b"proxy"),
        Some(b'f') => is(b"forwarded"),
        Some(b'x') => is(b"x-real-ip") || (name.len() > 12 && is_prefix(&name[..12])),
        _ => false,
    }
}

fn is_prefix(name: &[u8]) -> bool {
    name.iter().zip(b"x-forwarded-").all(|(a, b)| a == b || (*a == b'_' && *b == b'-'))
}

/// Names listed in `Connection`: they too are meant for the next hop only.
fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case("close"))
        .filter(|token| !token.eq_ignore_ascii_case("keep-alive") && !token.eq_ignore_ascii_case("upgrade"))
        .filter_map(|token| token.parse().ok())
        // Content-Length frames the message: hyper has read it already and sends it on.
        .filter(|name: &HeaderName| *name != header::CONTENT_LENGTH)
        .collect()
}

fn remove(headers: &mut HeaderMap, also: impl Fn(&HeaderName) -> bool) {
    let listed = if headers.contains_key(header::CONNECTION) { listed_in_connection(headers) } else { Vec::new() };
    // Two passes, because most messages have nothing to remove but perhaps `Connection`.
    let gone: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name) || also(name)).cloned().collect();
    for name in gone.iter().chain(&listed) {
        headers.remove(name);
    }
}

/// The protocol that a request asks to switch to, where the front lets it: anything but HTTP/2.
pub(crate) fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(header::UPGRADE)?;
    let asked = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let names_http = wanted.to_str().map_or(true, |protocols| {
        protocols.split(',').map(str::trim).any(|protocol| {
            let name = protocol.split('/').next().unwrap_or_default();
            name.eq_ignore_ascii_case("h2c") || name.eq_ignore_ascii_case("h2") || name.eq_ignore_ascii_case("http")
        })
    });
    (asked && !names_http && headers.get_all(header::UPGRADE).iter().count() == 1).then(|| wanted.clone())
}

/// What the front knows of a client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Its address, without the port.
    pub(crate) address: HeaderValue,
    /// `http` or `https`.
    pub(crate) scheme: HeaderValue,
}

/// Makes a client's header fields into those that a backend gets.
///
/// `host` is what the client asked for; none where it did not say (HTTP/1.0).
/// `upgrade` is the answer of [`wanted_upgrade`].
pub(crate) fn prepare_request(
    headers: &mut HeaderMap,
    client: &Client,
    host: Option<HeaderValue>,
    upgrade: Option<HeaderValue>,
) {
    let wants_trailers = headers
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("trailers"));
    remove(headers, |name| {
        is_claim_of_a_proxy(name)
            || matches!(*name, header::TE | header::EXPECT | header::PROXY_AUTHORIZATION)
            || name.as_str() == HTTP2_SETTINGS
    });
    join_cookies(headers);
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    headers.insert(X_FORWARDED_FOR, client.address.clone());
    headers.insert(X_FORWARDED_PROTO, client.scheme.clone());
    match host {
        Some(host) => {
            headers.insert(X_FORWARDED_HOST, host.clone());
            headers.insert(header::HOST, host);
        }
        // HTTP/1.1 demands the field, and allows it to be empty (RFC 9110, 7.2).
        None => {
            headers.insert(header::HOST, HeaderValue::from_static(""));
        }
    }
}

/// HTTP/2 may split a cookie header into pieces; HTTP/1.1 allows one only (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let mut joined = Vec::new();
    for piece in headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(piece.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Makes a backend's header fields into those that a client gets. `switching`: the response is the 101 that a client
/// asked for.
pub(crate) fn prepare_response(headers: &mut HeaderMap, switching: bool) {
    let protocol = if switching { headers.get(header::UPGRADE).cloned() } else { None };
    remove(headers, |_| false);
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in fields.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn print(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    /// What a backend gets beside the fields that every request has.
    fn check_request(fields: &str, expected: &[&str]) {
        let mut headers = parse(fields);
        let client =
            Client { address: HeaderValue::from_static("192.0.2.1"), scheme: HeaderValue::from_static("http") };
        let upgrade = wanted_upgrade(&headers);
        prepare_request(&mut headers, &client, Some(HeaderValue::from_static("shop.example:8080")), upgrade);
        for (name, value) in [
            ("host", "shop.example:8080"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.example:8080"),
        ] {
            let values: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(values, [value], "{name} of {fields}");
            headers.remove(name);
        }
        assert_eq!(print(&headers), expected, "{fields}");
    }

    // Each line fails without the rule that it names: its arm in `is_hop_by_hop`, `is_claim_of_a_proxy`,
    // `prepare_request`, `wanted_upgrade` or `listed_in_connection`.
    #[test]
    fn request_fields() {
        // Ordinary fields pass, repeated ones too.
        check_request("Accept: a\nAccept: b\nX-Custom: c", &["accept: a", "accept: b", "x-custom: c"]);
        check_request("Content-Length: 5\nTrailer: x-sum", &["content-length: 5", "trailer: x-sum"]);
        check_request("Authorization: Basic eA==", &["authorization: Basic eA=="]);
        // Hop by hop.
        check_request("Connection: keep-alive\nKeep-Alive: timeout=5\nProxy-Connection: keep-alive", &[]);
        check_request("Transfer-Encoding: chunked\nProxy-Authorization: Basic eA==", &[]);
        check_request("Connection: close, X-Secret-Hop\nX-Secret-Hop: 1\nX-Other: 2", &["x-other: 2"]);
        check_request("Connection: x-a\nConnection: x-b\nX-A: 1\nX-B: 1\nX-C: 1", &["x-c: 1"]);
        // Neither framing nor what the front says can be talked away.
        check_request("Connection: content-length\nContent-Length: 5", &["content-length: 5"]);
        check_request("Connection: host, x-forwarded-for, x-forwarded-host", &[]);
        check_request("TE: trailers, deflate;q=0.5", &["te: trailers"]);
        check_request("TE: deflate", &[]);
        check_request("Expect: 100-continue", &[]);
        // Claims of clients.
        check_request("X-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: bank.example", &[]);
        check_request("X_Forwarded_For: 10.0.0.1\nX-Forwarded_Proto: https\nX-Forwarded-Port: 443", &[]);
        check_request("Forwarded: for=10.0.0.1\nX-Real-IP: 10.0.0.1\nX_Real_IP: 10.0.0.1\nProxy: evil", &[]);
        check_request(
            "X-Forwarded: 1\nX-Real-IPs: 2\nProxyish: 3",
            &["proxyish: 3", "x-forwarded: 1", "x-real-ips: 2"],
        );
        // Upgrades.
        check_request(
            "Connection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13",
            &["connection: upgrade", "sec-websocket-version: 13", "upgrade: websocket"],
        );
        check_request("Connection: upgrade\nUpgrade: foo/2", &["connection: upgrade", "upgrade: foo/2"]);
        check_request("Upgrade: websocket", &[]);
        check_request("Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMA", &[]);
        check_request("Connection: Upgrade\nUpgrade: websocket, H2C\nHTTP2-Settings: AAMA", &[]);
        check_request("Connection: Upgrade\nUpgrade: websocket\nUpgrade: h2c", &[]);
        check_request("Connection: Upgrade\nUpgrade: HTTP/2.0", &[]);
        // HTTP/2's pieces of cookies.
        check_request("Cookie: a=1\nCookie: b=2", &["cookie: a=1; b=2"]);
        check_request("Cookie: a=1; b=2", &["cookie: a=1; b=2"]);
    }

    fn check_response(fields: &str, switching: bool, expected: &[&str]) {
        let mut headers = parse(fields);
        prepare_response(&mut headers, switching);
        assert_eq!(print(&headers), expected, "{fields}");
    }

    // Fails without: `remove` (all remain), the exception for a 101 (the client's handshake fails).
    #[test]
    fn response_fields() {
        check_response(
            "Content-Type: a\nSet-Cookie: a\nSet-Cookie: b",
            false,
            &["content-type: a", "set-cookie: a", "set-cookie: b"],
        );
        check_response(
            "Connection: close, X-Hop\nX-Hop: 1\nKeep-Alive: timeout=5\nTransfer-Encoding: chunked",
            false,
            &[],
        );
        check_response("Connection: Upgrade\nUpgrade: websocket", false, &[]);
        check_response(
            "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: x",
            true,
            &["connection: upgrade", "sec-websocket-accept: x", "upgrade: websocket"],
        );
        check_response("X-Forwarded-For: 1", false, &["x-forwarded-for: 1"]);
    }
}
