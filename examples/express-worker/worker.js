'use strict';

// Stands for whatever an app does beside answering requests: sending mail, resizing pictures.
const SECONDS_BETWEEN_JOBS = 10;

let jobs = 0;

function work() {
  jobs += 1;
  console.log(`job ${jobs} is done`);
}

console.log('waiting for jobs');
const timer = setInterval(work, SECONDS_BETWEEN_JOBS * 1000);

// Let the job in hand finish, take no other.
process.on('SIGTERM', () => {
  clearInterval(timer);
  console.log(`ending after ${jobs} jobs`);
});
