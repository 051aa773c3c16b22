// Makes what is missing: the set, of which this server is a member under its own address, and the app's user. Says how
// it is then.
load(`${__dirname}/connection.js`);

const config = configuration();
if (config === null) {
  server.runCommand({ replSetInitiate: { _id: process.env.MONGODB_SET, members: [{ _id: 0, host: own }] } });
} else if (!isOurs(config)) {
  // The server got another address or port. One that does not find itself in its set can be told so by force alone.
  const member = { ...config.members[0], host: own };
  server.runCommand({ replSetReconfig: { ...config, members: [member], version: config.version + 1 }, force: true });
}
if (!becomesPrimary()) throw new Error(`${own} was not elected`);
if (!isUserReady()) {
  const { MONGODB_USER: user, MONGODB_DATABASE: db, MONGODB_PASSWORD: pwd } = process.env;
  const wanted = { pwd, roles: [{ role: 'readWrite', db }] };
  if (server.getUser(user) === null) server.createUser({ user, ...wanted });
  else server.updateUser(user, wanted);
}
report();
