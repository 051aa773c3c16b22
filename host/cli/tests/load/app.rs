//! An app that answers in all the ways that a deployment could break.

/// `/` answers at once; `/endless` writes a line every 20 ms until the client goes; `/slow` writes a line every 100 ms for two seconds; `/upload` answers with the number of bytes
/// that it read; `/up` is its health; a WebSocket echoes. Every answer names the version.
const SERVER: &str = r#"
const http = require('node:http');
const crypto = require('node:crypto');
const version = VERSION;
const server = http.createServer((request, answer) => {
  answer.setHeader('x-version', version);
  if (request.url === '/slow') {
    let lines = 0;
    const timer = setInterval(() => {
      lines += 1;
      answer.write(`line ${lines}\n`);
      if (lines === 20) { clearInterval(timer); answer.end('the end\n'); }
    }, 100);
    return;
  }
  if (request.url === '/endless') {
    let lines = 0;
    const timer = setInterval(() => { lines += 1; answer.write(`line ${lines}\n`); }, 20);
    answer.on('close', () => clearInterval(timer));
    return;
  }
  if (request.url === '/upload') {
    let bytes = 0;
    request.on('data', (chunk) => { bytes += chunk.length; });
    request.on('end', () => answer.end(`${bytes}`));
    return;
  }
  if (request.url === '/up') { answer.statusCode = HEALTH; }
  answer.end(`version ${version}`);
});
server.on('upgrade', (request, socket) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.on('data', (data) => socket.write(data));
  socket.on('end', () => socket.end());
  socket.on('error', () => {});
});
LISTEN
process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });
"#;

/// How a version behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it should.
    Good,
    /// Ends right after its start.
    Crashes,
    /// Answers 500 to its health check.
    Unhealthy,
}

/// The sources of a version.
pub(crate) fn server(version: u64, kind: Kind) -> String {
    let listen = if kind == Kind::Crashes { "throw new Error('broken');" } else { "server.listen(process.env.PORT);" };
    let health = if kind == Kind::Unhealthy { "500" } else { "200" };
    SERVER.replace("VERSION", &version.to_string()).replace("HEALTH", health).replace("LISTEN", listen)
}
