// Takes the members that are wanted into the set and the others out of it, one at a time. It looks before each step, so that
// it can be begun anew after any of them.
load(`${__dirname}/connection.js`);

// How long a new member may take to have the data, in milliseconds; a command may take an hour.
const COPY = 50 * 60000;

function writer() {
  const one = primary();
  if (one === null) throw new Error(`nobody was elected in the set of ${own}`);
  return one;
}

// A reconfiguration is refused while the one before is not everywhere.
function reconfigure(change) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    try {
      const one = writer();
      const config = configuration(one);
      const members = change(config.members);
      one.runCommand({ replSetReconfig: { ...config, members, version: config.version + 1 } });
      return;
    } catch (error) {
      const again = ['ConfigurationInProgress', 'CurrentConfigNotCommittedYet', 'NotWritablePrimary'];
      if (!again.includes(error.codeName) || Date.now() > end) throw error;
      sleep(200);
    }
  }
}

// Whether a member has the data.
function isComplete(host) {
  const status = writer().runCommand({ replSetGetStatus: 1 });
  return status.members.some(({ name, stateStr }) => name === host && ['PRIMARY', 'SECONDARY'].includes(stateStr));
}

function awaited(host) {
  const end = Date.now() + COPY;
  while (!isComplete(host)) {
    if (Date.now() > end) throw new Error(`${host} does not get the data`);
    sleep(200);
  }
}

const hosts = () => configuration(writer()).members.map(({ host }) => host);

for (const host of wanted) {
  if (!hosts().includes(host)) {
    reconfigure((members) => {
      const id = Math.max(...members.map(({ _id }) => _id)) + 1;
      return [...members, { _id: id, host, priority: 0, votes: 0 }];
    });
  }
  awaited(host);
  if (configuration(writer()).members.some((member) => member.host === host && member.votes === 0)) {
    reconfigure((members) => {
      return members.map((member) => (member.host === host ? { ...member, priority: 1, votes: 1 } : member));
    });
  }
}
for (const host of hosts().filter((host) => !wanted.includes(host))) {
  // Who writes hands that over before it goes.
  if (writer().hello().me === host) {
    reconfigure((members) => members.map((member) => (member.host === host ? member : { ...member, priority: 2 })));
    const one = writer();
    if (one.hello().me === host) one.runCommand({ replSetStepDown: 60, secondaryCatchUpPeriodSecs: 30 });
    const end = Date.now() + PATIENCE;
    while (writer().hello().me === host) {
      if (Date.now() > end) throw new Error(`${host} goes on writing`);
      sleep(200);
    }
  }
  reconfigure((members) => members.filter((member) => member.host !== host));
}
if (configuration(writer()).members.some(({ priority }) => priority !== 1)) {
  reconfigure((members) => members.map((member) => ({ ...member, priority: 1 })));
}
print(EJSON.stringify({ members: hosts() }));
