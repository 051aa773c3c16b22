// Makes what is missing: the set, of which this server is a member under its own address, and the app's user. Says how
// it is then.
load(`${__dirname}/connection.js`);

// A set that another server belongs to already: this one has taken the place of one that is lost, and must not begin
// another set beside it.
function existing() {
  for (const address of wanted.filter((address) => address !== own)) {
    const there = reach(address);
    const config = there === null ? null : configuration(there);
    if (config !== null) return { there, config };
  }
  return null;
}

// The one that writes of a set that this server does not belong to.
function primaryOf({ there, config }) {
  for (const { host } of config.members) {
    const member = reach(host);
    if (member !== null && member.hello().isWritablePrimary) return member;
  }
  throw new Error(`${there.hello().me} belongs to a set in which nobody can write`);
}

const config = configuration();
const others = config === null ? existing() : null;
if (others !== null) {
  const one = primaryOf(others);
  const now = configuration(one);
  // One that came back with nothing at the same address is told by the others, and gets the data from them.
  if (!now.members.some(({ host }) => host === own)) {
    const id = Math.max(...now.members.map(({ _id }) => _id)) + 1;
    // It has no voice before it has the data. `reshape` gives it one.
    const member = { _id: id, host: own, priority: 0, votes: 0 };
    one.runCommand({ replSetReconfig: { ...now, members: [...now.members, member], version: now.version + 1 } });
  }
} else if (config === null) {
  server.runCommand({ replSetInitiate: { _id: process.env.MONGODB_SET, members: [{ _id: 0, host: own }] } });
} else if (!isOurs(config)) {
  // The server got another address or port. One that does not find itself in its set can be told so by force alone. One of
  // several that lost its address is not alone for that reason.
  if (config.members.length > 1 && process.env.MONGODB_MEMBERS) {
    throw new Error(`the set has the members ${config.members.map(({ host }) => host).join(' ')}, and ${own} is none`);
  }
  const member = { ...config.members[0], host: own };
  server.runCommand({ replSetReconfig: { ...config, members: [member], version: config.version + 1 }, force: true });
}
const one = primary();
if (one === null) throw new Error(`nobody was elected in the set of ${own}`);
if (!isUserReady()) {
  const { MONGODB_USER: user, MONGODB_DATABASE: db, MONGODB_PASSWORD: pwd } = process.env;
  const roles = { pwd, roles: [{ role: 'readWrite', db }] };
  if (one.getUser(user) === null) one.createUser({ user, ...roles });
  else one.updateUser(user, roles);
}
report();
