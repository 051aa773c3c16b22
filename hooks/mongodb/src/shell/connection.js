// What all scripts begin with. `server` is the mongod on this machine, asked as the user that its key file stands for.
// It is never another member of the set, whatever state this one is in.
const own = `${process.env.MONGODB_HOST}:${process.env.MONGODB_PORT}`;
const server = at(`127.0.0.1:${process.env.MONGODB_PORT}`);

// The members that the set is to have; this server alone where it knows of no others.
const wanted = (process.env.MONGODB_MEMBERS || own).split(',');

// The mongod at an address, asked as the same user.
function at(address) {
  const time = 'connectTimeoutMS=5000&serverSelectionTimeoutMS=5000';
  const there = connect(`mongodb://${address}/admin?directConnection=true&${time}`);
  there.getSiblingDB('local').auth({ user: '__system', pwd: process.env.MONGODB_KEY });
  return there;
}

// The same; null where it cannot be reached.
function reach(address) {
  try {
    return address === own ? server : at(address);
  } catch {
    return null;
  }
}

// What is waited for is there within this time, or something is wrong with it. In milliseconds.
const PATIENCE = 60000;

// The configuration of the set that a mongod knows; null where it was never initiated.
function configuration(there = server) {
  try {
    return there.runCommand({ replSetGetConfig: 1 }).config ?? null;
  } catch (error) {
    if (error.codeName === 'NotYetInitialized') return null;
    throw error;
  }
}

// Whether this is a set in which others find this server at the address that it has now: of one, or of several where
// several are wanted.
function isOurs(config) {
  if (config === null || !config.members.some(({ host }) => host === own)) return false;
  return config.members.length === 1 || Boolean(process.env.MONGODB_MEMBERS);
}

// The one that writes of the set that this server belongs to, once there is one; null where nobody is elected. A set of
// one elects itself within moments.
function primary() {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const hello = server.hello();
    if (hello.isWritablePrimary) return server;
    const other = hello.primary && hello.secondary ? reach(hello.primary) : null;
    if (other !== null && other.hello().isWritablePrimary) return other;
    if (Date.now() > end) return null;
    sleep(100);
  }
}

// Whether the app gets in with the password that it has, and may do what it should, and no more.
function isUserReady() {
  const { MONGODB_USER: user, MONGODB_DATABASE: database, MONGODB_PASSWORD: pwd } = process.env;
  const found = server.getUser(user);
  const roles = (found?.roles ?? []).map(({ role, db }) => `${role} ${db}`);
  if (roles.join() !== `readWrite ${database}`) return false;
  try {
    connect(`mongodb://127.0.0.1:${process.env.MONGODB_PORT}/admin?directConnection=true`).auth({ user, pwd });
    return true;
  } catch (error) {
    if (error.codeName === 'AuthenticationFailed') return false;
    throw error;
  }
}

function compatibility() {
  return server.runCommand({ getParameter: 1, featureCompatibilityVersion: 1 }).featureCompatibilityVersion.version;
}

// How it is: the last line of what is printed.
function report() {
  const set = isOurs(configuration()) && primary() !== null;
  const state = { version: server.version(), compatibility: set ? compatibility() : '', set, user: set && isUserReady() };
  print(EJSON.stringify(state));
}

// How many documents are in what people keep. What MongoDB takes away by itself when its time has come is not counted:
// it may be gone a moment later.
function counts() {
  const found = {};
  for (const { name: database } of server.runCommand({ listDatabases: 1, nameOnly: true }).databases) {
    if (['admin', 'config', 'local'].includes(database)) continue;
    const db = server.getSiblingDB(database);
    for (const { name, type, options } of db.getCollectionInfos()) {
      if (type === 'view' || name.startsWith('system.') || 'expireAfterSeconds' in options) continue;
      const collection = db.getCollection(name);
      const indexes = type === 'collection' ? collection.getIndexes() : [];
      if (indexes.some((index) => 'expireAfterSeconds' in index)) continue;
      const hint = indexes.some((index) => index.name === '_id_') ? { hint: '_id_' } : {};
      found[`${database}.${name}`] = collection.countDocuments({}, hint);
    }
  }
  return found;
}

// What is in the data: the last line of what is printed.
function inventory() {
  return EJSON.stringify({ version: server.version(), counts: counts() });
}
