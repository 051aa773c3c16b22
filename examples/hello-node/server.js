'use strict';

const http = require('node:http');

const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(`Hello from ${process.env.JECLOUD_APP ?? 'hello-node'}\n`);
});

const port = process.env.PORT ?? 3000;
server.listen(port, () => console.log(`listening on port ${port}`));

// A new version serves by now: finish the requests in flight, then end.
process.on('SIGTERM', () => {
  console.log('finishing');
  server.close(() => process.exit(0));
});
