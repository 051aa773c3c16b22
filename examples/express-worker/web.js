'use strict';

const express = require('express');

const app = express();

app.get('/', (request, response) => {
  response.type('text').send(`Hello from Express in ${process.env.JECLOUD_ENV ?? 'development'}\n`);
});

// Asked by JeCloud before this process gets requests: look here whether the app can do its work.
app.get('/up', (request, response) => {
  response.type('text').send('up\n');
});

const port = process.env.PORT ?? 3000;
const server = app.listen(port, (error) => {
  if (error) throw error;
  console.log(`listening on port ${port}`);
});

// A new version serves by now: finish the requests in flight, then end.
process.on('SIGTERM', () => server.close(() => process.exit(0)));
