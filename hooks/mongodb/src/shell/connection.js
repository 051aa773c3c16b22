// What all scripts begin with. `server` is the mongod on this machine, asked as the user that its key file stands for.
// It is never another member of the set, whatever state this one is in.
const own = `${process.env.MONGODB_HOST}:${process.env.MONGODB_PORT}`;
const server = connect(`mongodb://127.0.0.1:${process.env.MONGODB_PORT}/admin?directConnection=true`);
server.getSiblingDB('local').auth({ user: '__system', pwd: process.env.MONGODB_KEY });

// What is waited for is there within this time, or something is wrong with it. In milliseconds.
const PATIENCE = 60000;

// The configuration of the set; null where it was never initiated.
function configuration() {
  try {
    return server.runCommand({ replSetGetConfig: 1 }).config ?? null;
  } catch (error) {
    if (error.codeName === 'NotYetInitialized') return null;
    throw error;
  }
}

// Whether this is a set of one that others find at the address that this server has now.
function isOurs(config) {
  return config !== null && config.members.length === 1 && config.members[0].host === own;
}

// A set of one elects itself within moments. Whether it has.
function becomesPrimary() {
  const end = Date.now() + PATIENCE;
  while (!server.hello().isWritablePrimary) {
    if (Date.now() > end) return false;
    sleep(100);
  }
  return true;
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
  const set = isOurs(configuration()) && becomesPrimary();
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
