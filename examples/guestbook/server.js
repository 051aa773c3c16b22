'use strict';

const express = require('express');
const { MongoClient } = require('mongodb');
const { createClient } = require('redis');

// JeCloud sets both. A driver that is given the whole URL needs to know nothing else.
const mongo = new MongoClient(process.env.MONGODB_URL ?? 'mongodb://127.0.0.1/guestbook');
const redis = createClient({ url: process.env.REDIS_URL });
// Without a listener a lost connection would end the process. The client connects again by itself.
redis.on('error', (error) => console.error('Redis:', error.message));

const entries = mongo.db().collection('entries');
const app = express();
app.use(express.urlencoded({ extended: false }));

app.get('/', async (request, response) => {
  const visits = await redis.incr('visits');
  const all = await entries.find().sort({ _id: -1 }).limit(100).toArray();
  response.send(page(all, visits));
});

app.get('/entries', async (request, response) => {
  const all = await entries.find().sort({ _id: 1 }).toArray();
  response.json({ visits: Number(await redis.get('visits')), entries: all.map(({ name, text }) => `${name}: ${text}`) });
});

app.post('/entries', async (request, response) => {
  const { name, text } = request.body ?? {};
  if (!name || !text) return response.status(400).type('text').send('a name and a text are needed\n');
  // Acknowledged once it is in the journal of most members of the replica set.
  await entries.insertOne({ name: String(name), text: String(text), at: new Date() });
  response.redirect(303, '/');
});

// Asked by JeCloud before this process gets requests.
app.get('/up', async (request, response) => {
  await Promise.all([mongo.db().command({ ping: 1 }), redis.ping()]);
  response.type('text').send('up\n');
});

function page(all, visits) {
  const escape = (text) => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
  const items = all.map(({ name, text }) => `<li><b>${escape(name)}</b> ${escape(text)}</li>`);
  return `<!doctype html>
<title>Guestbook</title>
<h1>Guestbook</h1>
<form method="post" action="/entries"><input name="name" placeholder="Name"> <input name="text" placeholder="Text"> <button>Sign</button></form>
<ul>${items.join('')}</ul>
<p>Visit number ${visits}.</p>
`;
}

async function main() {
  await Promise.all([mongo.connect(), redis.connect()]);
  const port = process.env.PORT ?? 3000;
  const server = app.listen(port, (error) => {
    if (error) throw error;
    console.log(`listening on port ${port}`);
  });
  // A new version serves by now: finish the requests in flight, then end.
  process.on('SIGTERM', () => server.close(() => process.exit(0)));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
